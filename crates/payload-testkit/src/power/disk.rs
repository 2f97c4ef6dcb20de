//! A disk on which syncs count, and nothing else does for certain.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use super::trace::Step;

/// What has happened to the files below a directory.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    contents: Vec<Content>,
    /// Which file the kernel calls by which name, with or without one of its own.
    known: HashMap<PathBuf, usize>,
    directories: BTreeMap<PathBuf, Directory>,
}

/// The files that a disk may have, relative to the directory.
pub type Image = BTreeMap<PathBuf, Vec<u8>>;

/// Which of what was not synced has reached the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsynced {
    /// The names of files, and that they have gone.
    pub names: bool,
    /// What was written.
    pub bytes: bool,
}

impl Unsynced {
    /// Every way in which both can come out.
    pub const ALL: [Self; 4] = [
        Self::of(false, false),
        Self::of(true, false),
        Self::of(false, true),
        Self::of(true, true),
    ];

    const fn of(names: bool, bytes: bool) -> Self {
        Self { names, bytes }
    }
}

#[derive(Debug)]
enum Edit {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Reserve(u64),
}

#[derive(Debug, Default)]
struct Content {
    synced: Vec<u8>,
    pending: Vec<Edit>,
    /// How many of these a sync covers that has begun.
    covered: usize,
}

#[derive(Debug, Default)]
struct Directory {
    synced: BTreeMap<String, usize>,
    pending: Vec<(String, Option<usize>)>,
    covered: usize,
}

impl Disk {
    /// An empty directory. Nothing outside of it is of interest.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            contents: Vec::new(),
            known: HashMap::new(),
            directories: BTreeMap::new(),
        }
    }

    /// Takes one step; returns whether an image may be another than before.
    pub fn take(&mut self, step: &Step) -> bool {
        match step {
            Step::Create(path) => {
                if !self.is_inside(path) || self.known.contains_key(path) {
                    return false;
                }
                let new = self.new_file(path);
                self.name(path, Some(new));
            }
            Step::CreateUnnamed(path) => {
                if self.is_inside(path) {
                    self.new_file(path);
                }
                return false;
            }
            Step::Write(path, offset, bytes) => return self.edit(path, Edit::Write(*offset, bytes.clone())),
            Step::SetLen(path, len) => return self.edit(path, Edit::SetLen(*len)),
            Step::Reserve(path, len) => return self.edit(path, Edit::Reserve(*len)),
            Step::SyncBegins(path) => {
                self.sync_begins(path);
                return false;
            }
            Step::SyncEnds(path) => self.sync_ends(path),
            Step::Link(file, path) => {
                let Some(file) = self.known.get(file).copied() else {
                    return false;
                };
                self.known.insert(path.clone(), file);
                self.name(path, Some(file));
            }
            Step::Rename(from, to) => {
                let Some(file) = self.known.remove(from) else {
                    return false;
                };
                self.known.insert(to.clone(), file);
                self.name(from, None);
                self.name(to, Some(file));
            }
            Step::Unlink(path) => {
                if self.known.remove(path).is_none() {
                    return false;
                }
                self.name(path, None);
            }
        }
        true
    }

    /// What the disk has if so much of what was not synced has reached it.
    pub fn image(&self, unsynced: Unsynced) -> Image {
        let mut image = Image::new();
        for (directory, names) in &self.directories {
            let relative = directory
                .strip_prefix(&self.root)
                .expect("only what is inside is known");
            for (name, file) in names.with(unsynced.names) {
                image.insert(relative.join(name), self.contents[file].with(unsynced.bytes));
            }
        }
        image
    }

    fn is_inside(&self, path: &Path) -> bool {
        path.starts_with(&self.root)
    }

    fn new_file(&mut self, path: &Path) -> usize {
        self.contents.push(Content::default());
        self.known.insert(path.to_owned(), self.contents.len() - 1);
        self.contents.len() - 1
    }

    fn name(&mut self, path: &Path, file: Option<usize>) {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return;
        };
        let directory = self.directories.entry(directory.to_owned()).or_default();
        directory.pending.push((name.to_string_lossy().into_owned(), file));
    }

    fn edit(&mut self, path: &Path, edit: Edit) -> bool {
        let Some(file) = self.known.get(path) else { return false };
        self.contents[*file].pending.push(edit);
        true
    }

    fn sync_begins(&mut self, path: &Path) {
        if let Some(directory) = self.directories.get_mut(path) {
            directory.covered = directory.pending.len();
        }
        if let Some(file) = self.known.get(path) {
            let content = &mut self.contents[*file];
            content.covered = content.pending.len();
        }
    }

    fn sync_ends(&mut self, path: &Path) {
        if let Some(directory) = self.directories.get_mut(path) {
            for (name, file) in directory.pending.drain(..std::mem::take(&mut directory.covered)) {
                apply(&mut directory.synced, name, file);
            }
        }
        if let Some(file) = self.known.get(path) {
            let content = &mut self.contents[*file];
            for edit in content.pending.drain(..std::mem::take(&mut content.covered)) {
                edit.apply(&mut content.synced);
            }
        }
    }
}

impl Directory {
    fn with(&self, unsynced: bool) -> BTreeMap<String, usize> {
        let mut names = self.synced.clone();
        for (name, file) in self.pending.iter().filter(|_| unsynced) {
            apply(&mut names, name.clone(), *file);
        }
        names
    }
}

impl Content {
    fn with(&self, unsynced: bool) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for edit in self.pending.iter().filter(|_| unsynced) {
            edit.apply(&mut bytes);
        }
        bytes
    }
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let index = |at: u64| usize::try_from(at).expect("files of tests are small");
        match self {
            Self::Write(offset, written) => {
                let (start, end) = (index(*offset), index(*offset) + written.len());
                bytes.resize(bytes.len().max(end), 0);
                bytes[start..end].copy_from_slice(written);
            }
            Self::SetLen(len) => bytes.resize(index(*len), 0),
            Self::Reserve(len) => bytes.resize(bytes.len().max(index(*len)), 0),
        }
    }
}

fn apply(names: &mut BTreeMap<String, usize>, name: String, file: Option<usize>) {
    match file {
        Some(file) => names.insert(name, file),
        None => names.remove(&name),
    };
}

/// Writes an image into a directory. Directories that are there already stay.
///
/// # Panics
///
/// If that does not work.
pub fn write(image: &Image, directory: &Path) {
    for (path, bytes) in image {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().expect("it is below the directory")).expect("a directory can be made");
        fs::write(path, bytes).expect("a file can be written");
    }
}
