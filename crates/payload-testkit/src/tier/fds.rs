//! What a client does with a descriptor: reads, writes, maps, and what it must not get away with.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

/// Reads exactly `size` bytes.
pub fn read(fd: &OwnedFd, offset: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    file(fd).read_exact_at(&mut bytes, offset).unwrap();
    bytes
}

/// Writes all of `bytes`.
pub fn write(fd: &OwnedFd, offset: u64, bytes: &[u8]) {
    file(fd).write_all_at(bytes, offset).unwrap();
}

fn file(fd: &OwnedFd) -> File {
    File::from(fd.try_clone().unwrap())
}

/// A shared mapping.
#[derive(Debug)]
pub struct Mapping {
    start: *mut u8,
    len: usize,
}

impl Mapping {
    /// Maps the first `len` bytes for reading and writing.
    pub fn writable(fd: &OwnedFd, len: usize) -> rustix::io::Result<Self> {
        Self::new(fd, len, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// Maps the first `len` bytes for reading.
    pub fn readable(fd: &OwnedFd, len: usize) -> rustix::io::Result<Self> {
        Self::new(fd, len, ProtFlags::READ)
    }

    fn new(fd: &OwnedFd, len: usize, rights: ProtFlags) -> rustix::io::Result<Self> {
        // SAFETY: without a fixed address the kernel chooses one that nothing else uses.
        let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, rights, MapFlags::SHARED, fd, 0) }?;
        let start = start.cast();
        Ok(Self { start, len })
    }

    /// Copies bytes in; the mapping must be writable.
    pub fn fill(&self, bytes: &[u8]) {
        assert!(bytes.len() <= self.len);
        // SAFETY: the range is inside of the mapping, and no slice of it is ever made.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start, bytes.len()) }
    }

    /// Copies the bytes out.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        // SAFETY: the mapping is this long, and the target as well.
        unsafe { std::ptr::copy_nonoverlapping(self.start, bytes.as_mut_ptr(), self.len) }
        bytes
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped with this address and length, and nothing points into it.
        unsafe { rustix::mm::munmap(self.start.cast(), self.len) }.unwrap();
    }
}

/// Immutable shared memory, as another tier would hand it in.
pub fn sealed(bytes: &[u8]) -> OwnedFd {
    let fd = rustix::fs::memfd_create("source", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    write(&fd, 0, bytes);
    rustix::fs::fcntl_add_seals(&fd, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW).unwrap();
    fd
}

/// Tries everything that could change the bytes behind a reader's descriptor, from this process and from another one
/// of another user where that can be had.
pub fn attack(fd: &OwnedFd, offset: u64) {
    let at = usize::try_from(offset).unwrap();
    assert!(file(fd).write_at(b"attack", offset).is_err(), "written through");
    assert!(file(fd).set_len(0).is_err(), "truncated");
    assert!(file(fd).set_len(1 << 30).is_err(), "grown");
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    assert!(rustix::fs::fallocate(fd, punch, 0, 4096 + offset).is_err(), "punched");
    assert!(Mapping::writable(fd, at + 1).is_err(), "mapped for writing");
    attack_from_another_process(fd);
}

/// A process that inherits the descriptor opens it again for writing, which the kernel must refuse, or make useless.
/// A process of the superuser is beyond protection on disk, so it becomes somebody else first.
fn attack_from_another_process(fd: &OwnedFd) {
    let script = "exec 3<>/proc/self/fd/0 && printf attack >&3 && echo written; \
                  : >/proc/self/fd/0 && echo truncated; \
                  printf attack >>/proc/self/fd/0 && echo appended; exit 0";
    let mut child = Command::new("/bin/sh");
    child
        .args(["-c", script])
        .stdin(fd.try_clone().unwrap())
        .stderr(Stdio::piped());
    if rustix::process::geteuid().is_root() {
        child.uid(65_534).gid(65_534);
    }
    let output = child.output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "",
        "another process got through"
    );
}

/// Opens a descriptor once more, with other rights.
pub fn reopen(fd: &OwnedFd, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty())
}
