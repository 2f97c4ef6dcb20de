//! Where a measurement was made: without that, no figure can be read.

use std::path::Path;
use std::process::Command;

use serde::Serialize;

/// The machine, and the version that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    /// Of the directory where the server's data was.
    pub(crate) file_system: String,
    /// Transparent huge pages for shared memory, and reserved huge pages.
    pub(crate) huge_pages: String,
    /// Processes that wanted to run in the last minute, when the measurement began: above zero, others were at work.
    pub(crate) load: String,
    /// Absent outside of a git work tree.
    pub(crate) commit: Option<String>,
    pub(crate) date: String,
}

impl Machine {
    /// Looks around; what cannot be found out is left empty.
    pub(crate) fn describe(directory: &Path) -> Self {
        Self {
            cpu: line_of("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: kib_of("/proc/meminfo", "MemTotal").map_or(0.0, |kib| kib / f64::from(1 << 20)),
            kernel: text("/proc/sys/kernel/osrelease"),
            file_system: output(
                "stat",
                &["--file-system", "--format=%T", &directory.display().to_string()],
            )
            .unwrap_or_default(),
            huge_pages: format!(
                "shmem {}, {} reserved",
                chosen(&text("/sys/kernel/mm/transparent_hugepage/shmem_enabled")),
                text("/proc/sys/vm/nr_hugepages")
            ),
            load: text("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            commit: output("git", &["describe", "--always", "--dirty", "--abbrev=12"]),
            date: output("date", &["--utc", "+%Y-%m-%dT%H:%M:%SZ"]).unwrap_or_default(),
        }
    }

    /// The same in one line.
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} × {}, {:.0} GiB, Linux {}, {}, huge pages: {}, load before {}, commit {}, {}",
            self.cores,
            self.cpu,
            self.memory_gib,
            self.kernel,
            self.file_system,
            self.huge_pages,
            self.load,
            self.commit.as_deref().unwrap_or("unknown"),
            self.date
        )
    }
}

/// A number of kibibytes from a file of `/proc`.
pub(crate) fn kib_of(file: &str, name: &str) -> Option<f64> {
    line_of(file, name).split_whitespace().next()?.parse().ok()
}

fn line_of(file: &str, name: &str) -> String {
    let text = text(file);
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or(String::new(), |(_, value)| value.trim().to_owned())
}

fn text(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_default().trim().to_owned()
}

/// The word in brackets.
fn chosen(choices: &str) -> String {
    let word = choices.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    word.map_or(choices, |(word, _)| word).to_owned()
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
