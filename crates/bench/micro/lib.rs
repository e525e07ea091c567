//! The micro-benchmarks are in `benches/micro.rs`.
