//! What a disk may have when the power goes, rebuilt from the system calls of a process that ran under `strace`.
//!
//! What was synced is there. Of what was not, each may have reached the device or not: the names of files, and what was
//! written to them. No file system loses as much as this one, and none that keeps its word loses more.

mod disk;
mod trace;

pub use disk::{Disk, Image, Unsynced, write};
pub use trace::{Step, TRACED, steps};
