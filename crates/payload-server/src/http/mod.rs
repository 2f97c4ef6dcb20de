//! The HTTP listener for people and monitors on this host: health, readiness, metrics. No payload bytes, no changes.

pub(crate) mod guard;
mod readiness;
mod routes;
mod serve;

pub use readiness::{Condition, Readiness};
pub use serve::HttpServer;
