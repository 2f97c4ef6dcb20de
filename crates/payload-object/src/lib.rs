//! Where bytes outlive the host: the `ObjectStore` port on a bucket, or on a directory that stands for one.
//!
//! [`DirectoryStore`] keeps objects in files, for a file system that many hosts share and for trying things out. No adapter
//! knows payloads, rows or leases: they see keys and bytes.

mod content;
mod directory;
mod fault;

pub use directory::DirectoryStore;
