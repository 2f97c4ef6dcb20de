//! A real `payloadd`, and a real PostgreSQL, for tests: started from their binaries, awaited, stopped or killed by pid, and
//! never left behind.
//!
//! The harness knows the server only as its users do: a command line, a configuration file, `endpoint.json` and signals.

mod daemon;
mod identity;
mod manager;
mod numbers;
mod postgres;
mod proxy;
mod strace;
mod wait;

pub use daemon::{Daemon, Endpoint, Setup};
pub use identity::{Authority, Identity};
pub use manager::Manager;
pub use numbers::{cpu_time, descriptors, memory, memory_peak, parent, sleeps, threads};
pub use postgres::Postgres;
pub use proxy::{Cut, Proxy};
pub use strace::Strace;
pub use wait::{elapsed, pass, until};
