//! What the kernel says of a process, from `/proc`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;

/// Processor time that a process has used, in user mode and in the kernel.
pub fn cpu_time(pid: u32) -> Duration {
    let ticks: u64 = [11, 12].into_iter().map(|field| stat(pid, field)).sum();
    Duration::from_millis(ticks * 1_000 / clock_ticks_per_second())
}

/// The process that started this one, or took it over.
pub fn parent(pid: u32) -> u32 {
    u32::try_from(stat(pid, 1)).unwrap_or_default()
}

/// Bytes of memory that a process occupies (`VmRSS`).
pub fn memory(pid: u32) -> u64 {
    1_024 * field(&status(&format!("/proc/{pid}/status")), "VmRSS:")
}

/// The most bytes of memory that a process has ever occupied (`VmHWM`).
pub fn memory_peak(pid: u32) -> u64 {
    1_024 * field(&status(&format!("/proc/{pid}/status")), "VmHWM:")
}

/// How many file descriptors a process has open.
pub fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// How many threads a process has.
pub fn threads(pid: u32) -> usize {
    tasks(pid).len()
}

/// How often the threads that a process has now went to sleep by themselves: one that polls does so again and again.
pub fn sleeps(pid: u32) -> u64 {
    let count = |task: &String| {
        field(
            &status(&format!("/proc/{pid}/task/{task}/status")),
            "voluntary_ctxt_switches:",
        )
    };
    tasks(pid).iter().map(count).sum()
}

/// Whether a process is there and has not ended.
pub(super) fn is_running(pid: u32) -> bool {
    let status = status(&format!("/proc/{pid}/status"));
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| !state.trim_start().starts_with(['Z', 'X']))
}

/// Every process that there is.
pub(super) fn processes() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// A process's command line.
pub(super) fn arguments(pid: u32) -> Vec<OsString> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0)
        .map(|argument| OsString::from_vec(argument.to_vec()))
        .collect()
}

fn tasks(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    tasks
        .filter_map(|task| task.ok()?.file_name().into_string().ok())
        .collect()
}

/// One of the fields of `/proc/PID/stat` behind the command, which may contain anything; zero if the process is gone.
fn stat(pid: u32, number: usize) -> u64 {
    let text = status(&format!("/proc/{pid}/stat"));
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let field = fields.split_whitespace().nth(number);
    field.and_then(|field| field.parse().ok()).unwrap_or_default()
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn status(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
