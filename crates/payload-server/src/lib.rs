//! `payloadd`: the parts of the server process that are not the engine.

pub mod clock;
pub mod config;
pub mod http;
pub mod telemetry;
