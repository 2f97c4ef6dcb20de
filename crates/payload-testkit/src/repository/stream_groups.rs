//! Groups: positions that move forward, and whose members shut each other out.

use std::sync::Barrier;
use std::thread;

use payload_core::stream::{
    Append, GroupJoin, Offset, OffsetCommit, OffsetReset, ProducerBatch, StreamChange, StreamRef, StreamRefusal,
};
use payload_core::{ChangeSet, CommitOutcome};

use super::Open;
use super::sample::{at, created, set};
use super::stream_sample::{Bed, active, append, group_name, progress, stream_name, streams, the_stream};

fn commit(commit: OffsetCommit) -> StreamChange {
    StreamChange::CommitOffset(commit)
}

fn join(group: &str, start: u64, generation: u64) -> StreamChange {
    StreamChange::Join(GroupJoin {
        stream: the_stream(),
        group: group_name(group),
        start: Offset::from_u64(start),
        generation,
        at: at(30),
    })
}

fn reset(group: &str, offset: u64) -> StreamChange {
    StreamChange::ResetOffset(OffsetReset {
        stream: the_stream(),
        group: group_name(group),
        offset: Offset::from_u64(offset),
        at: at(40),
    })
}

fn of(generation: u64, offset: u64) -> StreamChange {
    commit(OffsetCommit {
        generation: Some(generation),
        ..progress("g", offset)
    })
}

fn bed(open: Open<'_>, seed: u64) -> Bed {
    let mut bed = Bed::new(open, seed);
    let payloads = bed.payloads(5);
    bed.append(append(&payloads));
    bed
}

/// I8: never back, never past the head; each group by itself.
pub fn a_group_moves_forward_up_to_the_head(open: Open<'_>) {
    let bed = bed(open, 81);
    let id = bed.row().id;
    assert_eq!(bed.repo.group(id, &group_name("g")).unwrap(), None);
    let beyond = bed.refused(commit(progress("g", 6)));
    assert_eq!(beyond, StreamRefusal::OffsetBeyondHead(Offset::from_u64(5)));
    assert_eq!(bed.repo.groups(id).unwrap(), []);
    for offset in [0, 2, 2, 5] {
        bed.change(commit(progress("g", offset)));
        assert_eq!(bed.group("g").offset.as_u64(), offset);
    }
    let back = bed.refused(commit(progress("g", 4)));
    assert_eq!(back, StreamRefusal::OffsetBackwards(Offset::from_u64(5)));
    bed.change(commit(progress("a", 1)));
    let groups = bed.repo.groups(id).unwrap();
    let seen: Vec<_> = groups
        .iter()
        .map(|group| (group.name.as_str(), group.offset.as_u64()))
        .collect();
    assert_eq!(seen, [("a", 1), ("g", 5)]);
    assert_eq!((groups[0].generation, groups[0].at), (0, at(20)));
    assert_eq!(bed.row().groups, 2);
    let nowhere = StreamRef {
        name: stream_name("nowhere"),
        ..the_stream()
    };
    let stray = OffsetCommit {
        stream: nowhere,
        ..progress("g", 0)
    };
    assert_eq!(bed.refused(commit(stray)), StreamRefusal::NotFound);
}

/// A retry finds the group where it wants it, and that is fine; everybody else is told where it is.
pub fn compare_and_set_knows_its_own_repetition(open: Open<'_>) {
    let bed = bed(open, 82);
    let from_to = |expected, offset| {
        commit(OffsetCommit {
            expected: Some(Offset::from_u64(expected)),
            ..progress("g", offset)
        })
    };
    assert_eq!(bed.refused(from_to(1, 2)), StreamRefusal::GroupMoved(Offset::ZERO));
    for _ in 0..2 {
        bed.change(from_to(0, 3));
    }
    assert_eq!(
        bed.refused(from_to(0, 4)),
        StreamRefusal::GroupMoved(Offset::from_u64(3))
    );
    bed.change(from_to(3, 4));
    assert_eq!(bed.group("g").offset, Offset::from_u64(4));
}

/// Whoever was replaced learns it with its next commit, whatever it says.
pub fn fault_41_a_generation_that_is_over_commits_nothing(open: Open<'_>) {
    let bed = bed(open, 83);
    bed.change(join("g", 2, 1));
    assert_eq!((bed.group("g").offset.as_u64(), bed.group("g").generation), (2, 1));
    bed.change(of(1, 3));
    assert_eq!(bed.refused(join("g", 0, 1)), StreamRefusal::GroupFenced(1));
    bed.change(join("g", 0, 2));
    assert_eq!(
        bed.group("g").offset.as_u64(),
        3,
        "a group that is there keeps its place"
    );
    for offset in [3, 4, 5] {
        assert_eq!(bed.refused(of(1, offset)), StreamRefusal::GroupFenced(2));
    }
    bed.change(of(2, 4));
    bed.change(commit(progress("g", 5)));
    assert_eq!(
        bed.refused(join("other", 6, 1)),
        StreamRefusal::OffsetBeyondHead(Offset::from_u64(5))
    );
}

/// Back, forward, never past the head; who follows the group does not undo it.
pub fn a_reset_moves_anywhere_and_fences(open: Open<'_>) {
    let bed = bed(open, 84);
    bed.change(join("g", 4, 1));
    bed.change(reset("g", 1));
    let group = bed.group("g");
    assert_eq!((group.offset.as_u64(), group.generation, group.at), (1, 2, at(40)));
    assert_eq!(bed.refused(of(1, 5)), StreamRefusal::GroupFenced(2));
    bed.change(reset("g", 5));
    bed.change(reset("new", 3));
    assert_eq!(bed.group("new").offset.as_u64(), 3);
    assert_eq!(
        bed.refused(reset("g", 6)),
        StreamRefusal::OffsetBeyondHead(Offset::from_u64(5))
    );
}

/// What was made and how far it was read become true together, or not at all.
pub fn consuming_and_producing_is_one_transaction(open: Open<'_>) {
    let mut bed = bed(open, 85);
    let made = active(bed.maker.allocated());
    let step = |progress: StreamChange| ChangeSet {
        streams: vec![StreamChange::Append(append(&[made.id])), progress],
        ..set([created(&made)])
    };
    bed.change(join("g", 0, 1));
    assert_eq!(bed.refused_set(step(of(7, 1))), StreamRefusal::GroupFenced(1));
    assert_eq!((bed.repo.get(made.id).unwrap(), bed.row().head.as_u64()), (None, 5));
    let outcome = bed.commit(step(of(1, 1)));
    assert!(matches!(outcome, CommitOutcome::Appended(place) if place.first.as_u64() == 5));
    assert_eq!((bed.group("g").offset.as_u64(), bed.row().head.as_u64()), (1, 6));
    assert_eq!(bed.refused(of(7, 2)), StreamRefusal::GroupFenced(1));
    assert_eq!(bed.group("g").offset.as_u64(), 1);
}

/// The same step under another request must not produce twice, though the group is where it is told to go.
pub fn what_was_consumed_and_produced_is_not_produced_again(open: Open<'_>) {
    let mut bed = bed(open, 87);
    let made = active(bed.maker.allocated());
    bed.commit(set([created(&made)]));
    let step = |producer: Option<ProducerBatch>, expected: Option<u64>| {
        let append = Append {
            producer,
            ..append(&[made.id])
        };
        let commit = OffsetCommit {
            expected: expected.map(Offset::from_u64),
            ..progress("g", 2)
        };
        streams([StreamChange::Append(append), StreamChange::CommitOffset(commit)])
    };
    let batch = ProducerBatch {
        name: "p".parse().unwrap(),
        epoch: 1,
        sequence: 0,
    };
    let first = bed.commit(step(Some(batch.clone()), Some(0)));
    assert_eq!(first.appended().unwrap().first.as_u64(), 5);
    for (expected, refusal) in [
        (Some(0), StreamRefusal::GroupMoved(Offset::from_u64(2))),
        (None, StreamRefusal::OffsetBackwards(Offset::from_u64(2))),
        (Some(2), StreamRefusal::OffsetBackwards(Offset::from_u64(2))),
    ] {
        assert_eq!(bed.refused_set(step(None, expected)), refusal);
    }
    let again = bed.commit(step(Some(batch), Some(0)));
    assert_eq!(again, first, "a producer that repeats itself is told what it did");
    assert_eq!(bed.row().head.as_u64(), 6);
}

/// However many come at once.
pub fn one_of_many_members_takes_a_group_over(open: Open<'_>) {
    const MEMBERS: usize = 16;
    let bed = &bed(open, 86);
    let start = &Barrier::new(MEMBERS);
    let winners: usize = thread::scope(|scope| {
        let members: Vec<_> = (0..MEMBERS)
            .map(|_| {
                scope.spawn(move || {
                    start.wait();
                    bed.commit(streams([join("g", 0, 1)]))
                })
            })
            .collect();
        let outcomes = members.into_iter().map(|member| member.join().unwrap());
        outcomes.filter(CommitOutcome::is_applied).count()
    });
    assert_eq!((winners, bed.group("g").generation), (1, 1));
}
