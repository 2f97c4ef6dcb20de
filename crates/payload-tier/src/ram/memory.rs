//! Makes memfds whose memory is really there, while the machine and the control groups have enough.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use payload_core::{Error, Reason, Result};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;

use crate::fault::Doing;
use crate::mapping;

/// memfds have no limit of their own: who takes too much meets the OOM killer. So each is checked beforehand against
/// what the kernel says is available.
#[derive(Debug)]
pub(super) struct Memory {
    reserve: u64,
    meminfo: Option<File>,
    groups: Vec<Group>,
    huge_pages: bool,
    /// Whether it makes a difference which part of the memory bytes are in.
    several_nodes: bool,
    /// Bytes that are being taken at this moment, which the kernel's figures may not show yet.
    pending: AtomicU64,
}

impl Memory {
    pub(super) fn of_this_process(reserve: u64) -> Self {
        Self::new(reserve, Path::new("/proc"), Path::new("/sys"))
    }

    fn new(reserve: u64, proc: &Path, sys: &Path) -> Self {
        Self {
            reserve,
            meminfo: File::open(proc.join("meminfo")).ok(),
            groups: limited_groups(&proc.join("self/cgroup"), &sys.join("fs/cgroup")),
            huge_pages: huge_pages(sys),
            several_nodes: several_nodes(sys),
            pending: AtomicU64::new(0),
        }
    }

    /// A new memfd of `size` bytes, which are all allocated: writing to it cannot fail for want of memory. Its length
    /// is sealed.
    pub(super) fn create(&self, size: u64) -> Result<OwnedFd> {
        let fd = Self::begin()?;
        self.grow(fd.as_fd(), 0, size)?;
        fix(fd.as_fd(), size).doing("seal the length of a segment")?;
        Ok(fd)
    }

    /// A new memfd without any bytes.
    pub(super) fn begin() -> Result<OwnedFd> {
        memfd().doing("make a segment")
    }

    /// Allocates the bytes from `from` to `to`; those before are there already.
    pub(super) fn grow(&self, fd: BorrowedFd<'_>, from: u64, to: u64) -> Result<()> {
        let more = to - from;
        let pending = self.pending.fetch_add(more, Ordering::Relaxed) + more;
        let result = self.require(pending).and_then(|()| {
            rustix::fs::ftruncate(fd, to).doing("size a segment")?;
            if self.huge_pages {
                // Best effort: what does not come in huge pages now comes in small ones next.
                let _small_instead = mapping::populate_huge(fd, from, more);
            }
            allocate(fd, FallocateFlags::empty(), from, more).doing("reserve memory for a segment")
        });
        self.pending.fetch_sub(more, Ordering::Relaxed);
        result
    }

    /// Whether memfds can have huge pages on this machine.
    pub(super) fn has_huge_pages(&self) -> bool {
        self.huge_pages
    }

    /// In which memory node a page of a segment is; nothing where there is only one.
    pub(super) fn node_of(&self, fd: BorrowedFd<'_>, offset: u64) -> Option<u32> {
        mapping::node_of(fd, offset).filter(|_| self.several_nodes)
    }

    fn require(&self, size: u64) -> Result<()> {
        let Some(available) = self.available() else {
            return Ok(());
        };
        if size.saturating_add(self.reserve) <= available {
            return Ok(());
        }
        Err(Error::new(
            Reason::MemoryShort,
            format!(
                "{available} bytes of memory are available, {} are to stay free, {size} are asked for",
                self.reserve
            ),
        ))
    }

    /// How many bytes there can be of memfds, if there are `used` now and nobody else takes or gives any.
    pub(super) fn attainable(&self, used: u64) -> Option<u64> {
        let available = self.available()?;
        Some(used.saturating_add(available).saturating_sub(self.reserve))
    }

    /// The least that the machine and any of the control groups can still give; nothing if none of them says.
    fn available(&self) -> Option<u64> {
        let machine = self.meminfo.as_ref().and_then(|file| {
            let mut text = [0; 512];
            let len = file.read_at(&mut text, 0).ok()?;
            let kib = field(std::str::from_utf8(&text[..len]).ok()?, "MemAvailable:")?;
            Some(kib * 1024)
        });
        let groups = self.groups.iter().filter_map(left_in);
        machine.into_iter().chain(groups).min()
    }
}

/// A control group that may bound the process's memory, and how its version calls the figures.
#[derive(Debug)]
struct Group {
    dir: PathBuf,
    words: Words,
}

/// The files of a control group's memory, and the line of its statistics that counts file pages not used for a while.
#[derive(Clone, Copy, Debug)]
struct Words {
    max: &'static str,
    current: &'static str,
    inactive: &'static str,
}

const VERSION_2: Words = Words {
    max: "memory.max",
    current: "memory.current",
    inactive: "inactive_file",
};
const VERSION_1: Words = Words {
    max: "memory.limit_in_bytes",
    current: "memory.usage_in_bytes",
    inactive: "total_inactive_file",
};

/// The process's control groups and those around them that exist under `root`, whichever version bounds the memory.
fn limited_groups(membership: &Path, root: &Path) -> Vec<Group> {
    let text = std::fs::read_to_string(membership).unwrap_or_default();
    let mut groups = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (mount, words) = match controllers {
            "" => (root.to_owned(), VERSION_2),
            names if names.split(',').any(|name| name == "memory") => (root.join("memory"), VERSION_1),
            _ => continue,
        };
        let own = mount.join(path.trim_start_matches('/'));
        let around = own.ancestors().take_while(|dir| dir.starts_with(&mount));
        let limited = around.filter(|dir| dir.join(words.max).exists());
        groups.extend(limited.map(|dir| Group {
            dir: dir.to_owned(),
            words,
        }));
    }
    groups
}

/// What a control group may still take, or nothing if it has no limit. File pages that it has not used for a while
/// count as free: the kernel drops them before it says no.
fn left_in(group: &Group) -> Option<u64> {
    let read = |name: &str| std::fs::read_to_string(group.dir.join(name)).ok();
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    let max = number(group.words.max)?;
    let current = number(group.words.current)?;
    let stat = read("memory.stat").unwrap_or_default();
    let inactive = field(&stat, group.words.inactive).unwrap_or(0);
    Some(max.saturating_sub(current).saturating_add(inactive).min(max))
}

/// The first number after a name, one pair in each line.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut words = text
        .lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_whitespace();
    words.next()?.parse().ok()
}

/// Gives a memfd its length for good, which is no more than it has; memory behind it is freed.
pub(super) fn fix(fd: BorrowedFd<'_>, size: u64) -> rustix::io::Result<()> {
    rustix::fs::ftruncate(fd, size)?;
    rustix::fs::fcntl_add_seals(fd, SealFlags::SHRINK | SealFlags::GROW)
}

/// Whether the kernel gives shared memory in huge pages to who asks for them (transparent_hugepage, admin guide).
fn huge_pages(sys: &Path) -> bool {
    let file = sys.join("kernel/mm/transparent_hugepage/shmem_enabled");
    let choice = std::fs::read_to_string(file).unwrap_or_default();
    ["[always]", "[within_size]", "[advise]", "[force]"]
        .iter()
        .any(|chosen| choice.contains(chosen))
}

/// Whether more than one memory node is online (sysfs-devices-node: a list of ranges).
fn several_nodes(sys: &Path) -> bool {
    let online = std::fs::read_to_string(sys.join("devices/system/node/has_memory")).unwrap_or_default();
    online.trim().contains([',', '-'])
}

/// Data is not to be run: kernels from 6.3 on can promise that.
fn memfd() -> rustix::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create("payload", flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create("payload", flags),
        other => other,
    }
}

/// Allocates or frees a range, to its end even if signals come.
pub(super) fn allocate(fd: BorrowedFd<'_>, flags: FallocateFlags, offset: u64, len: u64) -> rustix::io::Result<()> {
    rustix::io::retry_on_intr(|| rustix::fs::fallocate(fd, flags, offset, len))
}

/// Makes the bytes immutable for ever. `BUSY` while anybody has them mapped for writing.
pub(super) fn seal(fd: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::fs::fcntl_add_seals(fd, SealFlags::WRITE | SealFlags::SEAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(available_kib: u64, groups: &[(&str, &str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: String| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "meminfo",
            format!("MemTotal: 99999999 kB\nMemAvailable: {available_kib} kB\n"),
        );
        write("self/cgroup", "4:memory:/old\n0::/a/b\n".to_owned());
        for (group, max, current) in groups {
            write(&format!("fs/cgroup/{group}/memory.max"), format!("{max}\n"));
            write(&format!("fs/cgroup/{group}/memory.current"), format!("{current}\n"));
            write(
                &format!("fs/cgroup/{group}/memory.stat"),
                "anon 5\ninactive_file 4096\n".to_owned(),
            );
        }
        dir
    }

    fn available(dir: &tempfile::TempDir) -> Option<u64> {
        Memory::new(0, dir.path(), dir.path()).available()
    }

    #[test]
    fn the_tightest_of_machine_and_control_groups_counts() {
        assert_eq!(available(&machine(100, &[])), Some(102_400));
        assert_eq!(available(&machine(100, &[("a/b", "max", "7")])), Some(102_400));
        assert_eq!(available(&machine(100, &[("a/b", "50000", "20000")])), Some(34_096));
        let nested = [("a/b", "50000", "20000"), ("a", "30000", "29000"), ("", "90000", "0")];
        assert_eq!(available(&machine(100, &nested)), Some(5_096));
    }

    #[test]
    fn a_version_one_control_group_counts_too() {
        let dir = machine(100, &[]);
        let old = dir.path().join("fs/cgroup/memory/old");
        std::fs::create_dir_all(&old).unwrap();
        for (file, text) in [
            ("memory.limit_in_bytes", "50000\n"),
            ("memory.usage_in_bytes", "20000\n"),
            ("memory.stat", "inactive_file 1\ntotal_inactive_file 96\n"),
        ] {
            std::fs::write(old.join(file), text).unwrap();
        }
        assert_eq!(available(&dir), Some(30_096));
    }

    #[test]
    fn what_can_be_had_is_what_there_is_and_what_the_machine_can_spare() {
        let dir = machine(100, &[]);
        let attainable = |reserve, used| Memory::new(reserve, dir.path(), dir.path()).attainable(used);
        assert_eq!(attainable(2_400, 50_000), Some(150_000));
        assert_eq!(attainable(152_400, 60_000), Some(10_000), "others need some of it back");
        assert_eq!(attainable(u64::MAX, 60_000), Some(0));
    }

    #[test]
    fn a_machine_that_says_nothing_is_trusted() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(available(&dir), None);
    }

    #[test]
    fn the_memory_node_is_told_where_there_are_several() {
        let dir = machine(100, &[]);
        let node = |has_memory: &str| {
            let file = dir.path().join("devices/system/node/has_memory");
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, has_memory).unwrap();
            let memory = Memory::new(0, dir.path(), dir.path());
            let fd = memory.create(2 * crate::PAGE).unwrap();
            memory.node_of(fd.as_fd(), crate::PAGE + 5)
        };
        // Whatever this machine has, its first node has memory.
        assert_eq!((node("0-1\n"), node("0,2\n")), (Some(0), Some(0)));
        assert_eq!(node("0\n"), None);
    }

    #[test]
    fn memory_that_is_to_stay_free_is_not_taken() {
        let dir = machine(100, &[]);
        let memory = Memory::new(50_000, dir.path(), dir.path());
        assert!(memory.create(40_960).is_ok());
        assert_eq!(memory.create(53_248).unwrap_err().reason(), Reason::MemoryShort);
        assert!(memory.create(40_960).is_ok(), "a refusal leaves nothing pending");
    }
}
