//! `payloadd`: configuration, wiring, gRPC, the local socket, HTTP and telemetry around the engine.

mod bytes;
mod calls;
pub mod clock;
pub mod command;
pub mod config;
mod data_dir;
mod fatal;
mod gauges;
mod grpc;
pub mod http;
mod identity;
mod keeping;
mod local;
mod peers;
mod probe;
mod repository;
mod serve;
mod sockets;
mod subscribe;
mod supervisor;
pub mod telemetry;
mod tiers;
mod update;
mod wire;
