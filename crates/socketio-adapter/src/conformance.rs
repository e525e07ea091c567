//! A behaviour suite for adapters.
