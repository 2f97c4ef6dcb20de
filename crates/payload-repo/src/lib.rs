//! The catalog's stores: the [`Repository`](payload_core::port::Repository) port on memory, SQLite and PostgreSQL.
//!
//! [`MemoryRepository`] says in plain Rust what a repository does; [`SqliteRepository`] does the same in a file, and
//! [`PostgresRepository`] in a database that several servers share. One contract suite and one generator of random
//! histories (in `payload-testkit`) hold them to the same answers.

mod body;
mod book;
mod check;
mod listing;
mod log;
mod memory;
mod migration;
mod observer;
mod postgres;
mod sqlite;
mod stream_row;

pub use memory::MemoryRepository;
pub use observer::{CommitObserver, Purpose};
pub use postgres::{Database, PostgresOptions, PostgresRepository, Rivals, Settings};
pub use sqlite::{PutBack, SqliteOptions, SqliteRepository};
