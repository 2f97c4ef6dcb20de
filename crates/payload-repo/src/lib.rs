//! The catalog's stores: the [`Repository`](payload_core::port::Repository) port on memory and on SQLite.
//!
//! [`MemoryRepository`] says in plain Rust what a repository does; [`SqliteRepository`] does the same on disk. One
//! contract suite and one generator of random histories (in `payload-testkit`) hold them to the same answers.

mod check;
mod memory;
mod observer;
mod sqlite;

pub use memory::MemoryRepository;
pub use observer::CommitObserver;
pub use sqlite::{SqliteOptions, SqliteRepository};
