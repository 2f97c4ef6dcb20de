//! The byte endpoint: payloads' bytes over HTTP, for clients that cannot be handed a file descriptor.
//!
//! It has its own listener, and a thread for each connection, so that no byte of a payload ever waits in, or is copied
//! by, the runtime that control calls run on (ADR 11). What is read goes from the memfd or file to the socket inside the
//! kernel. What it understands of HTTP/1.1, and what it refuses, stands in docs/reference/byte-endpoint.md.

mod answer;
mod body;
mod conditions;
mod connection;
mod content;
mod door;
mod head;
mod metrics;
mod range;
mod status;
mod target;
mod upload;
mod wire;

pub(crate) use door::{Door, Limits};
pub(crate) use target::url;
