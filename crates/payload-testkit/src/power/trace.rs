//! Reads what `strace -f -y -xx` has written down.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// How a process must be traced: `strace -o LOG` and this, and then its command.
pub const TRACED: [&str; 8] = [
    "-f",
    "-y",
    "-qq",
    "-xx",
    "-s",
    "4000000",
    "-e",
    "trace=openat,openat2,pwrite64,ftruncate,fallocate,fsync,fdatasync,linkat,unlink,unlinkat,rename,renameat,renameat2",
];

/// A thing that happened to a file or a directory, in the order in which the calls ended. Files are called what the kernel
/// calls them, also those without a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is a file of this name, if there was none.
    Create(PathBuf),
    /// There is a new file without a name.
    CreateUnnamed(PathBuf),
    /// Bytes at an offset.
    Write(PathBuf, u64, Vec<u8>),
    /// It has this length.
    SetLen(PathBuf, u64),
    /// It has at least this length.
    Reserve(PathBuf, u64),
    /// What has happened to it so far will be synced …
    SyncBegins(PathBuf),
    /// … now.
    SyncEnds(PathBuf),
    /// The file has this name, too.
    Link(PathBuf, PathBuf),
    /// It has another name, in place of what had it before.
    Rename(PathBuf, PathBuf),
    /// Nothing has this name any more.
    Unlink(PathBuf),
}

impl Step {
    /// What it happens to.
    pub fn path(&self) -> &Path {
        match self {
            Self::Create(path)
            | Self::CreateUnnamed(path)
            | Self::Write(path, ..)
            | Self::SetLen(path, _)
            | Self::Reserve(path, _)
            | Self::SyncBegins(path)
            | Self::SyncEnds(path)
            | Self::Link(path, _)
            | Self::Rename(path, _)
            | Self::Unlink(path) => path,
        }
    }
}

/// The steps of a trace, each with the line in which it was over. A call that others come between is in two lines: it counts from the second, a sync covers what was
/// there at the first.
///
/// # Panics
///
/// If the text is no such trace.
pub fn steps(trace: &str) -> Vec<(usize, Step)> {
    let mut steps = Vec::new();
    let mut open: HashMap<&str, &str> = HashMap::new();
    let mut names = Names::default();
    for (number, line) in (1..).zip(trace.lines()) {
        let mut note = |step: Option<Step>| steps.extend(step.map(|step| (number, step)));
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        if let Some(begun) = call.strip_suffix("<unfinished ...>") {
            let begun = begun.trim_end();
            open.insert(thread, begun);
            note(names.sync_begins(begun));
            continue;
        }
        let whole = match call.strip_prefix("<... ") {
            None => {
                note(names.sync_begins(call));
                call.to_owned()
            }
            Some(rest) => {
                let rest = rest.split_once("resumed>").map_or("", |(_, rest)| rest);
                format!("{}{rest}", open.remove(thread).unwrap_or_default())
            }
        };
        note(names.ended(&whole));
    }
    steps
}

/// Which file each descriptor was of when it was last seen.
#[derive(Default)]
struct Names(HashMap<String, PathBuf>);

impl Names {
    fn sync_begins(&self, call: &str) -> Option<Step> {
        let (name, arguments) = call.split_once('(')?;
        matches!(name, "fsync" | "fdatasync").then(|| Step::SyncBegins(file(arguments).expect("a sync names its file")))
    }

    /// What a call has done that is over; nothing if it failed.
    fn ended(&mut self, call: &str) -> Option<Step> {
        let (name, rest) = call.split_once('(')?;
        let (arguments, result) = rest.rsplit_once(" = ")?;
        let result = result.trim_start();
        if result.starts_with('-') || result.starts_with('?') {
            return None;
        }
        let arguments = arguments.trim_end().strip_suffix(')')?;
        if let Some(file) = file(arguments) {
            let number = arguments.split('<').next()?;
            self.0.insert(number.to_owned(), file);
        }
        let of = || file(arguments).expect("the call names its file");
        // From the end: the numbers that a call ends with.
        let number = |from_end: usize| {
            let number = arguments.rsplit(", ").nth(from_end).map(str::parse::<u64>);
            number
                .and_then(Result::ok)
                .unwrap_or_else(|| panic!("a number is missing: {call}"))
        };
        Some(match name {
            "openat" | "openat2" => {
                let opened = file(result)?;
                let number = result.split('<').next()?.to_owned();
                self.0.insert(number, opened.clone());
                match arguments {
                    flags if flags.contains("O_TMPFILE") => Step::CreateUnnamed(opened),
                    flags if flags.contains("O_CREAT") => Step::Create(opened),
                    _ => return None,
                }
            }
            "pwrite64" => Step::Write(of(), number(0), unescape(arguments.split('"').nth(1)?)),
            "ftruncate" => Step::SetLen(of(), number(0)),
            "fallocate" => Step::Reserve(of(), number(1) + number(0)),
            "fsync" | "fdatasync" => Step::SyncEnds(of()),
            "linkat" => Step::Link(self.linked(arguments)?, self.second(arguments)?),
            "unlink" | "unlinkat" => Step::Unlink(self.first(arguments)?),
            "rename" | "renameat" | "renameat2" => Step::Rename(self.first(arguments)?, self.second(arguments)?),
            _ => return None,
        })
    }

    /// The file behind `/proc/self/fd/N`.
    fn linked(&self, arguments: &str) -> Option<PathBuf> {
        let source = text(arguments.split('"').nth(1)?);
        let number = source.strip_prefix("/proc/self/fd/")?;
        self.0.get(number).cloned()
    }

    fn first(&self, arguments: &str) -> Option<PathBuf> {
        let (directory, rest) = arguments.split_once('"')?;
        Some(file(directory).unwrap_or_default().join(text(rest.split('"').next()?)))
    }

    fn second(&self, arguments: &str) -> Option<PathBuf> {
        self.first(arguments.splitn(3, '"').nth(2)?)
    }
}

/// What the first descriptor is of, as `-y` tells.
fn file(arguments: &str) -> Option<PathBuf> {
    let (_, rest) = arguments.split_once('<')?;
    let name = rest.split_once('>')?.0;
    name.starts_with("\\x2f").then(|| text(name).into())
}

fn text(hex: &str) -> String {
    String::from_utf8(unescape(hex)).expect("names here are UTF-8")
}

fn unescape(hex: &str) -> Vec<u8> {
    let bytes = hex.split("\\x").skip(1);
    let byte = |digits: &str| u8::from_str_radix(digits, 16).expect("strace writes hexadecimal numbers");
    bytes.map(byte).collect()
}
