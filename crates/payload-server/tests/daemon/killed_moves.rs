//! The server killed in the middle of moves, at each system call by which it changes a disk, its memory or its keeper.
//!
//! What was in memory is with the keeper, so nothing may be missing afterwards, and nothing may be left over.

use payload_proto::v1;
use payload_proto::v1::Tier::{Disk, Ram};
use payload_testkit::process::{Strace, until};

use crate::support::grpc::Grpc;
use crate::support::local::Local;
use crate::support::refusal::Answer;
use crate::support::samples::{content, delete, get, put};
use crate::support::{data_dir, directory, setup};

/// One mover, so that the calls of a move come one after the other. Nothing is made ready ahead.
const CONFIG: &str = r#"
tiers.movers = 1
tiers.ram.capacity = "64MiB"
tiers.disk.capacity = "64MiB"
leases.grace = "100ms"
"#;

/// Big enough for a segment or a file of its own, and small enough to share one.
const BIG: usize = 3 << 20;
const SMALL: usize = 20_000;

/// By which something changes that outlives the process.
const CALLS: [&str; 9] = [
    "openat2",
    "fallocate",
    "ftruncate",
    "pwrite64",
    "fsync",
    "fdatasync",
    "linkat",
    "memfd_create",
    "unlinkat",
];

/// Which move, from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Spill,
    Promotion,
}

/// Payloads and what is in them.
type Contents = Vec<(String, Vec<u8>)>;

impl Move {
    fn from(self) -> v1::Tier {
        match self {
            Self::Spill => Ram,
            Self::Promotion => Disk,
        }
    }

    /// A payload of its own and a few that share a container.
    fn prepare(self, session: &Local, seed: u8) -> Contents {
        let big = content(BIG, seed);
        let payload = match self {
            Self::Spill => session.publish(&big),
            Self::Promotion => session.publish_on_disk(&big),
        };
        let small = (0..3).map(|number| {
            let bytes = content(SMALL + number, seed);
            let request = v1::PutRequest {
                tier: self.from().into(),
                ..put(&bytes)
            };
            (session.put(request).unwrap().payload.unwrap().payload_id, bytes)
        });
        std::iter::once((payload.payload_id, big)).chain(small).collect()
    }

    /// Whether all of them were moved. One who is killed meanwhile gives no answer.
    fn ask(self, grpc: &Grpc, contents: &Contents) -> bool {
        let request = v1::MoveRequest {
            payload_ids: contents.iter().map(|(id, _)| id.clone()).collect(),
            ..Default::default()
        };
        let answer: Answer<v1::MoveResponse> = match self {
            Self::Spill => grpc.spill(v1::MoveRequest {
                to: Disk.into(),
                ..request
            }),
            Self::Promotion => grpc.promote(v1::MoveRequest {
                to: Ram.into(),
                ..request
            }),
        };
        let Ok(response) = answer else { return false };
        let is_done = |one: &v1::MoveResult| matches!(one.result, Some(v1::move_result::Result::Payload(_)));
        assert!(response.results.iter().all(is_done), "{response:?}");
        true
    }
}

/// Moves and dies at one call; false if the move was answered before. Nothing where a server cannot be killed like that.
fn is_killed(which: Move, call: &str, number: u8) -> Option<bool> {
    // Each time anew: a keeper takes its time with a server that dies again and again.
    let dir = directory();
    let mut daemon = setup(&data_dir(&dir)).config(CONFIG).kept().start();
    let contents = which.prepare(&Local::open(&daemon.endpoint().socket), number);
    let grpc = Grpc::tcp(&daemon.endpoint().grpc);
    let inject = format!("inject={call}:signal=KILL:when={number}");
    let log = daemon.data_dir().with_extension("strace");
    let strace = Strace::attach(daemon.pid(), &log, &["-e", &format!("trace={call}"), "-e", &inject])?;
    let moved = which.ask(&grpc, &contents);
    drop(strace);
    // What is done after the answer may have been the last, too.
    let lives = moved && grpc.get_stats(v1::GetStatsRequest {}).is_ok();
    if !lives {
        daemon.await_next();
    }
    let grpc = Grpc::tcp(&daemon.endpoint().grpc);
    for (id, bytes) in &contents {
        let read = Local::open(&daemon.endpoint().socket).lease(id).read();
        assert!(read == *bytes, "{which:?}, killed at {call} number {number}");
        let row = grpc.get_payload(get(id)).unwrap().payload.unwrap();
        let stays = row.replicas.iter().any(|replica| replica.tier() == Disk);
        assert!(stays || which == Move::Spill && !moved, "{row:?}");
    }
    for (id, _) in &contents {
        grpc.delete_payload(delete(id)).unwrap();
    }
    until("everything to be free but one slab and one pack", || {
        let stats = grpc.get_stats(v1::GetStatsRequest {}).unwrap();
        let is_empty = |tier: &v1::TierStats| tier.containers <= 1 && (tier.replicas, tier.charged_bytes) == (0, 0);
        stats.tiers.iter().all(is_empty).then_some(())
    });
    Some(!moved)
}

/// Kills at each call in turn until the move is answered before.
fn kill_at_every_call(which: Move) {
    let mut kills = 0;
    for call in CALLS {
        for number in 1.. {
            let Some(killed) = is_killed(which, call, number) else {
                return println!("this user may not look into the server, so nothing is killed");
            };
            if !killed {
                println!("{which:?}: killed at {} of {call}", number - 1);
                break;
            }
            kills += 1;
        }
    }
    assert!(kills > 8, "{kills} kills");
}

#[test]
fn fault_03_a_server_killed_at_every_call_of_a_spill_loses_nothing_and_leaves_nothing() {
    kill_at_every_call(Move::Spill);
}

#[test]
fn fault_04_a_server_killed_at_every_call_of_a_promotion_loses_nothing_and_leaves_nothing() {
    kill_at_every_call(Move::Promotion);
}
