//! What the machine has: memory that the cgroup allows.

use std::fs;
use std::io;
use std::path::Path;

/// Bytes of memory that this process may use: the host's, or less if a cgroup above it says so.
pub(super) fn memory() -> io::Result<u64> {
    let host = meminfo_total(&fs::read_to_string("/proc/meminfo")?)
        .ok_or_else(|| io::Error::other("no MemTotal in /proc/meminfo"))?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Ok(cgroup_limit(Path::new("/sys/fs/cgroup"), &groups).map_or(host, |limit| limit.min(host)))
}

fn meminfo_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The tightest limit on the way from the process's cgroup to the root. `groups` is what /proc/self/cgroup says;
/// in a container the path that it names may not exist below the mount, and then the mount itself has the limit.
fn cgroup_limit(mount: &Path, groups: &str) -> Option<u64> {
    groups
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let (root, file) = match controllers {
                "" => (mount.to_owned(), "memory.max"),
                names if names.split(',').any(|name| name == "memory") => {
                    (mount.join("memory"), "memory.limit_in_bytes")
                }
                _ => return None,
            };
            let group = root.join(path.trim_start_matches('/'));
            group
                .ancestors()
                .take_while(|ancestor| ancestor.starts_with(&root))
                .filter_map(|ancestor| fs::read_to_string(ancestor.join(file)).ok()?.trim().parse().ok())
                .min()
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_cgroup_on_the_way_up_counts() {
        let mount = tempfile::tempdir().unwrap();
        let group = mount.path().join("outer/inner");
        fs::create_dir_all(&group).unwrap();
        assert_eq!(cgroup_limit(mount.path(), "0::/outer/inner\n"), None);
        fs::write(group.join("memory.max"), "max\n").unwrap();
        assert_eq!(cgroup_limit(mount.path(), "0::/outer/inner\n"), None);
        fs::write(mount.path().join("outer/memory.max"), "1000\n").unwrap();
        assert_eq!(cgroup_limit(mount.path(), "0::/outer/inner\n"), Some(1000));
        fs::write(mount.path().join("memory.max"), "500\n").unwrap();
        assert_eq!(cgroup_limit(mount.path(), "0::/elsewhere\n"), Some(500));
    }

    #[test]
    fn a_version_one_cgroup_counts_too() {
        let mount = tempfile::tempdir().unwrap();
        fs::create_dir_all(mount.path().join("memory/job")).unwrap();
        fs::write(mount.path().join("memory/job/memory.limit_in_bytes"), "77\n").unwrap();
        assert_eq!(
            cgroup_limit(mount.path(), "5:cpu,cpuacct:/job\n4:memory:/job\n"),
            Some(77)
        );
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(memory().unwrap() > 0);
    }
}
