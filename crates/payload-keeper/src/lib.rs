//! The fd keeper: memory lives as long as some process has it open, so a process that does nothing else keeps it open.
//!
//! Three processes appear in `ps`, all the same binary; what they are called is up to the caller:
//!
//! * the keeper in the foreground ([`Start::Serve`]), which starts the server as its child and starts it again when
//!   it dies;
//! * a keeper that the server started in the background when its keeper had died ([`Start::Adopt`]);
//! * a keeper that holds on in the background after a graceful stop ([`Start::Hold`]), until its time is over or the
//!   next keeper takes over.
//!
//! A keeper is one thread around `poll`. It knows no payloads, maps no memory, and has no state but its table of
//! descriptors; what it says with the server is in the `protocol` module. [`KeeperClient`] is the server's side.
//!
//! Descriptors move from one keeper to the next by one way only, the takeover, together with the listening socket:
//! there is never a moment without a keeper, and never two. The keeper that holds on in the background is a new process
//! that takes over too, and not a fork of the old one, so that the keeper needs no unsafe code.
//!
//! Where systemd starts the server it can be the keeper itself: see [`systemd`].

mod client;
mod keeper;
mod options;
mod protocol;
pub mod systemd;
mod wire;

pub use client::{ClientOptions, KeeperClient, Link, NoKeeper};
pub use keeper::run;
pub use options::{Backoff, KeeperOptions, Start};
pub use protocol::Fate;

use std::path::{Path, PathBuf};

/// Where the keeper of a data directory listens.
pub fn socket_path(directory: &Path) -> PathBuf {
    directory.join("keeper.sock")
}
