//! What is there after the power went: everything that was acknowledged as surviving the host, from synced bytes alone.
//!
//! A child works under `strace`, which writes down every write with its bytes. From that the disk is rebuilt as it may
//! be at each moment: what was synced is there; of what was not, all, nothing, or every second write.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

mod support;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use payload_core::port::Repository;
use payload_core::stream::{
    Append, EntryDraft, EntryRead, Offset, OffsetCommit, ProducerBatch, StreamChange, StreamRef, StreamSettings, tags,
};
use payload_core::{
    Actor, Carried, ChangeSet, CommitOutcome, Durability, FileId, Location, NameChange, NameGuard, Namespace, Naming,
    Payload, PayloadId, ReplicaState, Result, State, Version,
};
use payload_repo::{SqliteOptions, SqliteRepository};
use payload_testkit::clock::fresh_seed;
use payload_testkit::repository::sample::{Maker, at, changed, created, edited, set};

/// How many bytes a commit carries here.
const CONTENT: usize = 700;
const PATH: &str = "PAYLOAD_REPO_POWER_PATH";
const TEST: &str = "fault_9_host_commits_survive_a_power_cut_at_any_write";

/// A journal of which a half is soon full.
fn open(path: &Path) -> SqliteRepository {
    let options = SqliteOptions {
        journal_half: 4 << 10,
        ..SqliteOptions::default()
    };
    support::open_carrying(path, options, &|contents| put_back(path, contents)).unwrap()
}

/// Where contents are that commits carry.
fn pack(path: &Path) -> File {
    let path = path.with_file_name("pack");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).unwrap()
}

fn put_back(path: &Path, contents: &[Carried]) -> Result<()> {
    let pack = pack(path);
    for carried in contents {
        pack.write_all_at(&carried.content, carried.location.offset()).unwrap();
    }
    pack.sync_data().unwrap();
    Ok(())
}

/// Puts something into the pack, which nobody syncs yet.
fn store(maker: &mut Maker, pack: &File, id: FileId, number: u64) -> (Payload, Carried) {
    let offset = number * CONTENT as u64;
    let content = content(number);
    pack.write_all_at(&content, offset).unwrap();
    let location = Location::Pack { pack: id, offset };
    let payload = Payload {
        replicas: vec![maker.replica(ReplicaState::Ready, location, CONTENT as u64)],
        ..maker.allocated()
    };
    let carried = Carried {
        payload: payload.id,
        location,
        content: Bytes::from(content),
    };
    (payload, carried)
}

fn content(number: u64) -> Vec<u8> {
    vec![number as u8 + 1; CONTENT]
}

/// Commits by all ways that there are, and says what was promised.
fn work(path: &Path) {
    let repo = open(path);
    let mut maker = Maker::new(fresh_seed());
    repo.claim(maker.node, at(0)).unwrap();
    create_stream(&repo, &mut maker);
    let (pack, pack_id) = (pack(path), maker.file());
    let synced = pack.try_clone().unwrap();
    repo.carry(Arc::new(move || {
        synced.sync_data().unwrap();
        Ok(())
    }));
    for round in 0..12 {
        let (a, b, c) = (maker.allocated(), maker.allocated(), maker.allocated());
        let a2 = edited(&a, |after| after.state = State::Active { expires_at: None });
        commit(&repo, Durability::Volatile, set([created(&a)]));
        commit(&repo, Durability::Host, set([created(&b)]));
        let b2 = edited(&b, |after| after.size += 1);
        commit(&repo, Durability::Volatile, set([changed(&b, &b2)]));
        // A payload that comes with its entry, and entries by themselves.
        let published = active(maker.allocated());
        append(&repo, set([created(&published)]), published.id, 1);
        append(&repo, set([]), published.id, 3);
        // The tables decide this one, and do not wait for the disk; what follows it on the same row does.
        let direct = ChangeSet {
            without_dependents: Some(c.id),
            ..set([created(&c)])
        };
        commit(&repo, Durability::Volatile, direct);
        let c2 = edited(&c, |after| after.size += 1);
        commit(&repo, Durability::Host, set([changed(&c, &c2)]));
        // One that changes nothing waits for the disk all the same, and whatever rests on what went before.
        let still = || naming(&a2);
        commit(
            &repo,
            Durability::Volatile,
            ChangeSet {
                name: Some(still()),
                ..set([changed(&a, &a2)])
            },
        );
        let nothing = ChangeSet {
            name: Some(still()),
            ..set([])
        };
        let nothing = repo.commit(ChangeSet {
            durability: Durability::Host,
            ..nothing
        });
        assert_eq!(nothing.unwrap(), CommitOutcome::Applied);
        println!("\nsaid: {} {}", a2.id, a2.version);
        append(&repo, set([]), published.id, 1);
        // By the journal, and by the tables.
        let (kept, carried) = store(&mut maker, &pack, pack_id, 2 * round);
        let by_journal = ChangeSet {
            contents: vec![carried],
            ..set([created(&kept)])
        };
        commit(&repo, Durability::Host, by_journal);
        println!("\ncarried: {} {CONTENT}", 2 * round);
        let (direct, carried) = store(&mut maker, &pack, pack_id, 2 * round + 1);
        let by_tables = ChangeSet {
            without_dependents: Some(direct.id),
            contents: vec![carried],
            ..set([created(&direct)])
        };
        commit(&repo, Durability::Host, by_tables);
        println!("\ncarried: {} {CONTENT}", 2 * round + 1);
        // Everything into the tables, without a sync.
        repo.due(maker.node, at(0), 1).unwrap();
        commit(
            &repo,
            Durability::Host,
            set([changed(&b2, &edited(&b2, |after| after.size += 1))]),
        );
    }
}

fn the_stream() -> StreamRef {
    StreamRef {
        namespace: Namespace::default(),
        name: "frames".parse().unwrap(),
        incarnation: None,
    }
}

fn create_stream(repo: &dyn Repository, maker: &mut Maker) {
    let stream = the_stream();
    let create = StreamChange::Create {
        id: maker.stream(),
        namespace: stream.namespace,
        name: stream.name,
        settings: StreamSettings::default(),
        at: at(0),
    };
    let made = repo.commit(ChangeSet {
        streams: vec![create],
        durability: Durability::Host,
        ..set([])
    });
    assert_eq!(made.unwrap(), CommitOutcome::Applied);
}

fn active(payload: Payload) -> Payload {
    Payload {
        state: State::Active { expires_at: None },
        ..payload
    }
}

/// Appends a payload so many times, moves a group behind it, and says where the entries are.
fn append(repo: &dyn Repository, set: ChangeSet, payload: PayloadId, times: usize) {
    let stream = the_stream();
    let head = repo.stream(&stream.namespace, &stream.name).unwrap().unwrap().head;
    let entry = EntryDraft {
        payload,
        tags: tags(["left"]).unwrap(),
    };
    let append = Append {
        stream: the_stream(),
        entries: vec![entry; times],
        expected: Some(head),
        producer: Some(ProducerBatch {
            name: "camera".parse().unwrap(),
            epoch: 1,
            sequence: head.as_u64(),
        }),
        at: at(3),
    };
    let progress = OffsetCommit {
        stream,
        group: "readers".parse().unwrap(),
        offset: head.plus(times as u64),
        expected: Some(head),
        generation: None,
        at: at(3),
    };
    let outcome = repo.commit(ChangeSet {
        streams: vec![StreamChange::Append(append), StreamChange::CommitOffset(progress)],
        durability: Durability::Host,
        ..set
    });
    assert_eq!(outcome.unwrap().appended().map(|place| place.first), Some(head));
    for number in 0..times as u64 {
        println!("\nappended: {payload} {}", head.plus(number));
    }
}

fn naming(to: &Payload) -> NameChange {
    NameChange {
        namespace: to.namespace.clone(),
        naming: Naming {
            name: "the/last".parse().unwrap(),
            guard: NameGuard::Any,
        },
        to: Some(to.id),
        actor: Actor::from_stored("uid:1000"),
        reason: None,
        at: at(9),
    }
}

fn commit(repo: &dyn Repository, durability: Durability, set: ChangeSet) {
    let last: Payload = (*set.changes.last().unwrap().after).clone();
    let outcome = repo.commit(ChangeSet { durability, ..set }).unwrap();
    assert_eq!(outcome, CommitOutcome::Applied);
    if durability == Durability::Host {
        println!("\nsaid: {} {}", last.id, last.version);
    }
}

/// A system call that is over, or the beginning of a sync.
enum Step {
    Write(PathBuf, u64, Vec<u8>),
    Truncate(PathBuf, u64),
    SyncBegins(PathBuf),
    SyncEnds(PathBuf),
    Promise(PayloadId, Version),
    Entry(PayloadId, Offset),
    Content(u64),
}

/// The calls of a trace. One that another thread's calls come between is in two lines: writes count from the second,
/// syncs cover what was there at the first.
fn steps(trace: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut open: BTreeMap<&str, &str> = BTreeMap::new();
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').unwrap();
        let call = call.trim_start();
        if let Some(call) = call.strip_suffix("<unfinished ...>") {
            open.insert(thread, call);
            steps.extend(sync_begins(call));
            continue;
        }
        let whole = match call.strip_prefix("<... ") {
            None => {
                steps.extend(sync_begins(call));
                call
            }
            Some(_) => open.remove(thread).unwrap(),
        };
        assert!(!call.contains(" = -1 "), "{line}");
        steps.extend(ended(whole));
    }
    steps
}

/// The call's name, its file and the rest of its arguments.
fn parts(call: &str) -> Option<(&str, PathBuf, &str)> {
    let (name, rest) = call.split_once('(')?;
    let (path, rest) = rest.split_once('<')?.1.split_once('>')?;
    let path = String::from_utf8(unescape(path)).ok()?;
    Some((name, path.into(), rest))
}

fn sync_begins(call: &str) -> Option<Step> {
    let (name, path, _) = parts(call)?;
    matches!(name, "fsync" | "fdatasync").then_some(Step::SyncBegins(path))
}

fn ended(call: &str) -> Option<Step> {
    let (name, path, rest) = parts(call)?;
    let last_number = |text: &str| text.split(')').next()?.rsplit(", ").next()?.trim().parse().ok();
    Some(match name {
        "write" => {
            let text = String::from_utf8(unescape(rest.split('"').nth(1)?)).ok()?;
            let (word, what) = text.trim().split_once(": ")?;
            let (id, number) = what.split_once(' ')?;
            match word {
                "said" => Step::Promise(id.parse().unwrap(), Version::from_u64(number.parse().unwrap())),
                "carried" => Step::Content(id.parse().unwrap()),
                "appended" => Step::Entry(id.parse().unwrap(), Offset::from_u64(number.parse().unwrap())),
                _ => return None,
            }
        }
        "pwrite64" => {
            let mut parts = rest.split('"');
            let bytes = unescape(parts.nth(1)?);
            Step::Write(path, last_number(parts.next()?)?, bytes)
        }
        "ftruncate" => Step::Truncate(path, last_number(rest)?),
        "fsync" | "fdatasync" => Step::SyncEnds(path),
        _ => return None,
    })
}

fn unescape(hex: &str) -> Vec<u8> {
    let bytes = hex.split("\\x").skip(1);
    bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// A file as the disk has it, and what it may have besides.
#[derive(Clone, Default)]
struct Disk {
    synced: Vec<u8>,
    unsynced: Vec<(u64, Option<Vec<u8>>)>,
    /// How many of these a sync that has begun covers.
    covered: usize,
}

impl Disk {
    /// With those of the unsynced writes that `kept` is true for.
    fn image(&self, kept: impl Fn(usize) -> bool) -> Vec<u8> {
        let mut image = self.synced.clone();
        for (number, (offset, bytes)) in self.unsynced.iter().enumerate() {
            let offset = *offset as usize;
            match bytes {
                Some(bytes) if kept(number) => {
                    image.resize(image.len().max(offset + bytes.len()), 0);
                    image[offset..offset + bytes.len()].copy_from_slice(bytes);
                }
                Some(_) => {}
                None if kept(number) => image.truncate(offset),
                None => {}
            }
        }
        image
    }

    fn sync_ends(&mut self) {
        self.synced = self.image(|number| number < self.covered);
        self.unsynced.drain(..self.covered);
        self.covered = 0;
    }
}

/// What the disk must have.
#[derive(Default)]
struct Promised {
    versions: BTreeMap<PayloadId, Version>,
    entries: BTreeMap<Offset, PayloadId>,
    contents: Vec<u64>,
}

/// Opens what is left of the disk and looks for all that was promised.
fn check(disks: &BTreeMap<PathBuf, Disk>, promised: &Promised, kept: impl Fn(usize) -> bool + Copy) {
    let dir = tempfile::tempdir().unwrap();
    for (path, disk) in disks {
        std::fs::write(dir.path().join(path.file_name().unwrap()), disk.image(kept)).unwrap();
    }
    let repo = open(&dir.path().join("catalog.db"));
    for (id, version) in &promised.versions {
        let found = repo.get(*id).unwrap().map(|row| row.version);
        assert!(
            found >= Some(*version),
            "{id} was promised at version {version}, and is {found:?}"
        );
    }
    check_stream(&repo, &promised.entries);
    let pack = pack(&dir.path().join("catalog.db"));
    for number in &promised.contents {
        let mut found = vec![0; CONTENT];
        let read = pack.read_exact_at(&mut found, number * CONTENT as u64);
        assert!(
            read.is_ok() && found == content(*number),
            "content {number} was promised"
        );
    }
    let mut maker = Maker::new(fresh_seed());
    repo.claim(maker.node, at(0)).unwrap();
    repo.commit(set([created(&maker.allocated())])).unwrap();
}

/// Every entry is where it was said to be, and with it what was written in the same set.
fn check_stream(repo: &dyn Repository, promised: &BTreeMap<Offset, PayloadId>) {
    let named = the_stream();
    let Some(stream) = repo.stream(&named.namespace, &named.name).unwrap() else {
        return assert!(promised.is_empty());
    };
    let entries = repo.entries(stream.id, Offset::ZERO, u32::MAX).unwrap();
    assert_eq!(stream.head.as_u64(), entries.len() as u64);
    for (offset, payload) in promised {
        let found = entries.get(offset.as_u64() as usize).map(|read| read.entry.payload);
        assert_eq!(found, Some(*payload), "the entry at {offset}");
    }
    for (payload, holds) in count(&entries) {
        assert!(repo.get(payload).unwrap().is_some());
        assert_eq!(repo.holds(payload).unwrap(), holds);
    }
    let group = repo.group(stream.id, &"readers".parse().unwrap()).unwrap();
    assert_eq!(group.map_or(Offset::ZERO, |group| group.offset), stream.head);
    let producer = repo.producer(stream.id, &"camera".parse().unwrap()).unwrap();
    let next = producer.map_or(0, |producer| producer.next_sequence);
    assert_eq!(next, stream.head.as_u64());
}

fn count(entries: &[EntryRead]) -> BTreeMap<PayloadId, u64> {
    let mut holds = BTreeMap::new();
    for read in entries {
        *holds.entry(read.entry.payload).or_default() += 1;
    }
    holds
}

/// Of what was not synced, nothing may be there, or every second write, or all.
fn check_all(disks: &BTreeMap<PathBuf, Disk>, promised: &Promised) {
    check(disks, promised, |_| false);
    check(disks, promised, |number| number % 2 == 0);
    check(disks, promised, |number| number % 2 == 1);
    check(disks, promised, |_| true);
}

#[test]
fn fault_9_host_commits_survive_a_power_cut_at_any_write() {
    if let Some(path) = std::env::var_os(PATH) {
        return work(Path::new(&path));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    drop(open(&path));
    pack(&path);
    let files = ["catalog.db", "catalog.db-wal", "catalog.db-commits", "pack"].map(|name| dir.path().join(name));
    let mut disks: BTreeMap<PathBuf, Disk> = BTreeMap::new();
    for file in &files {
        let synced = std::fs::read(file).unwrap();
        disks.insert(
            file.clone(),
            Disk {
                synced,
                ..Disk::default()
            },
        );
    }
    let log = dir.path().join("strace");
    let status = Command::new("strace")
        .args([
            "-f",
            "-y",
            "-qq",
            "-xx",
            "-s",
            "2000000",
            "-e",
            "trace=pwrite64,write,ftruncate,fsync,fdatasync",
            "-o",
        ])
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .args([TEST, "--exact", "--nocapture", "--test-threads=1"])
        .env(PATH, &path)
        .stdout(Stdio::null())
        .status()
        .expect("strace is installed");
    assert!(status.success());

    let mut promised = Promised::default();
    let trace = std::fs::read_to_string(&log).unwrap();
    for step in steps(&trace) {
        match step {
            Step::Write(path, offset, bytes) => {
                let Some(disk) = disks.get_mut(&path) else { continue };
                disk.unsynced.push((offset, Some(bytes)));
            }
            Step::Truncate(path, len) => {
                let Some(disk) = disks.get_mut(&path) else { continue };
                disk.unsynced.push((len, None));
            }
            Step::SyncBegins(path) => {
                let Some(disk) = disks.get_mut(&path) else { continue };
                disk.covered = disk.unsynced.len();
            }
            Step::SyncEnds(path) => {
                let Some(disk) = disks.get_mut(&path) else { continue };
                disk.sync_ends();
                check(&disks, &promised, |_| false);
            }
            Step::Promise(id, version) => {
                promised.versions.insert(id, version);
                check_all(&disks, &promised);
            }
            Step::Content(number) => {
                promised.contents.push(number);
                check_all(&disks, &promised);
            }
            Step::Entry(id, offset) => {
                promised.entries.insert(offset, id);
                check_all(&disks, &promised);
            }
        }
    }
    let promised = (promised.versions.len(), promised.entries.len(), promised.contents.len());
    assert_eq!(promised, (60, 60, 24));
}
