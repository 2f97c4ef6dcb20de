//! A small file system of a test's own, which root can fill and make read-only.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::is_root;

/// Unmounted when dropped.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// With room for so many MiB. Nothing where this user may not mount.
    pub(crate) fn new(path: &Path, mib: u64) -> Option<Self> {
        if !is_root() {
            return None;
        }
        std::fs::create_dir(path).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]);
        let mounted = command.arg(path).status().unwrap().success();
        mounted.then(|| Self(path.to_owned()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a file that takes up all room but so many MiB.
    pub(crate) fn fill_but(&self, mib: u64) -> PathBuf {
        let path = self.0.join("ballast");
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        let mut left = stat.f_bavail * stat.f_frsize - (mib << 20);
        let mut file = File::create(&path).unwrap();
        while left > 0 && file.write_all(&[0; 4_096]).is_ok() {
            left -= 4_096;
        }
        path
    }

    /// With another option from now on, such as `ro`.
    pub(crate) fn remount(&self, option: &str) {
        let mut command = Command::new("mount");
        command.args(["-o", &format!("remount,{option}")]).arg(&self.0);
        assert!(command.status().unwrap().success(), "{option}");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: the server that uses it may end after this.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
