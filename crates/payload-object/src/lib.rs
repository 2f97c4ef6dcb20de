//! Where bytes outlive the host: the `ObjectStore` port on a bucket, or on a directory that stands for one.
//!
//! [`BucketStore`] speaks to S3 and what is like it, to GCS and to Azure, through the `object_store` library, which no other
//! crate sees. [`DirectoryStore`] keeps objects in files, for a file system that many hosts share and for trying things out.
//! Neither knows payloads, rows or leases: they see keys and bytes.

mod bucket;
mod content;
mod directory;
mod fault;

use std::sync::Arc;

use payload_core::Result;
use payload_core::port::{Clock, ObjectStore};

pub use bucket::{Addressing, BucketOptions, BucketStore, Credentials, Finding, Place, Step};
pub use directory::DirectoryStore;

/// The store that the options name.
pub fn open(options: BucketOptions, clock: Arc<dyn Clock>) -> Result<Arc<dyn ObjectStore>> {
    if let Place::Directory(dir) = &options.place {
        return Ok(Arc::new(DirectoryStore::open(dir)?));
    }
    Ok(Arc::new(BucketStore::open(options, clock)?))
}

/// Asks a bucket, step by step, whether the object tier can rest on it; of a directory only whether it can be used. It leaves
/// nothing behind. `name` makes its objects its own: give another one each time.
pub fn probe(options: BucketOptions, clock: Arc<dyn Clock>, name: &[u8; 16]) -> Result<Vec<Finding>> {
    if let Place::Directory(dir) = &options.place {
        let result = DirectoryStore::open(dir).and_then(|store| store.check());
        let step = Step::Reach;
        return Ok(vec![Finding { step, result }]);
    }
    Ok(BucketStore::open(options, clock)?.probe(name))
}
