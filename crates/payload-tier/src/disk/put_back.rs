//! Puts contents back that a journal has, and the packs perhaps not.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;

use payload_core::{Carried, Error, Location, Reason, Result};

use super::Temporaries;
use super::draft::write_all;
use super::root::Root;
use crate::fault::{Doing, foreign};

/// Writes contents to their places in a directory that no [`DiskStore`](super::DiskStore) has open, and returns when they are
/// on the device. A pack that is gone is made again; the directory is not, because it may be another one that is missing.
///
/// Everything is written, also what seems to be there: after a failed sync the kernel may show what the device has not.
pub fn put_back(dir: &Path, contents: &[Carried]) -> Result<()> {
    if !dir.is_dir() {
        let message = format!("{} is not there, and contents are to be put into it", dir.display());
        return Err(Error::new(Reason::TierUnavailable, message));
    }
    let root = Root::open(dir, Temporaries::Named, 0)?;
    let mut packs: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for carried in contents {
        let Location::Pack { pack, offset } = carried.location else {
            return Err(foreign());
        };
        packs.entry(pack).or_default().push((offset, &carried.content));
    }
    for (pack, contents) in packs {
        let fd = match root.open_pack_to_mend(pack) {
            Err(error) if error.reason() == Reason::BytesMissing => root.create_pack(pack)?,
            other => other?,
        };
        for (offset, content) in contents {
            write_all(fd.as_fd(), content, offset).doing("put contents back into a pack")?;
        }
        rustix::fs::fdatasync(&fd).doing("sync the pack")?;
    }
    Ok(())
}
