//! The wire: generated messages and services, and their conversion to and from the words of the core.
//!
//! Only the conversions in [`convert`] may fail, and they fail before any I/O: what has passed them needs no check
//! inside. [`status`] maps every error to its gRPC status, and back.

pub mod convert;
pub mod policy;
pub mod status;

/// The generated package `payload.v1`; its protos carry the documentation.
pub mod v1 {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    tonic::include_proto!("payload.v1");
}

/// The protos' descriptors, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
