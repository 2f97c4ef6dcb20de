//! The server as its clients see it: a real `payloadd` behind its local socket, gRPC and HTTP.
//!
//! Each test starts a server of its own in a directory of its own, and kills only what it started.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the lint's exception for tests does not reach helpers"
)]

mod bad_input;
mod batches;
mod behind;
mod bucket;
mod bucket_trouble;
mod bucket_urls;
mod bytes;
mod carried;
mod catalog_faults;
mod clients;
mod crowds;
mod grpc;
mod kept;
mod killed_moves;
mod lineage;
mod listing;
mod local_subscriptions;
mod malformed;
mod managed;
mod metadata;
mod names;
mod notices;
mod operation;
mod peers;
mod postgres;
mod power;
mod pressure;
mod roles;
mod shared;
mod sick_disk;
mod story;
mod streams;
mod subscriptions;
mod support;
mod tiers;
mod watch;
