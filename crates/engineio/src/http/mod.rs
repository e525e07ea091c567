//! Engine.IO over HTTP: which request means what, and how it is answered.

pub(crate) mod body;
pub(crate) mod compression;
pub(crate) mod cookie;
pub(crate) mod cors;
pub(crate) mod response;
