//! Streams: their settings, their entries, their producers, and what they hold.

use std::sync::Barrier;
use std::thread;

use payload_core::stream::{
    Append, Appended, EntryDraft, Hold, Offset, Retention, StreamChange, StreamQuery, StreamRef, StreamRefusal,
    StreamSettings, Trim, tags,
};
use payload_core::{
    ChangeSet, CommitOutcome, Namespace, Operation, Payload, Reason, RequestRecord, Span, State, StateKind, StreamId,
    Version, limits,
};

use super::Open;
use super::namespaces::namespace;
use super::rows::apply;
use super::sample::{at, changed, created, edited, name, set};
use super::stream_sample::{Bed, active, append, batch, draft, stream_name, streams, the_stream};

const NO_HOLD: StreamSettings = StreamSettings {
    hold: Hold::Nothing,
    retention: Retention {
        entries: None,
        age: None,
        bytes: None,
    },
    batch_max: 10,
};

/// Settings too, and counters from the first moment on.
pub fn a_stream_comes_back_with_every_field(open: Open<'_>) {
    let settings = StreamSettings {
        hold: Hold::Nothing,
        retention: Retention {
            entries: Some(1 << 40),
            age: Some(Span::new(7 * 24 * 3600, 1)),
            bytes: Some(1 << 50),
        },
        batch_max: 7,
    };
    let (bed, id) = Bed::with(open, 61, settings);
    let row = bed.row();
    assert_eq!((row.id, row.settings, row.version), (id, settings, Version::FIRST));
    assert_eq!(
        (row.earliest, row.head, row.bytes, row.ended),
        (Offset::ZERO, Offset::ZERO, 0, false)
    );
    assert_eq!((row.created_at, row.last_at), (at(1), at(1)));
    assert_eq!(bed.repo.stream(&name("other"), &row.name).unwrap(), None);
    assert_eq!(bed.repo.streams_to_trim(None, 10).unwrap(), [row]);
    let again = StreamChange::Create {
        id: StreamId::from_parts(9, [9; 10]),
        namespace: Namespace::default(),
        name: stream_name("frames"),
        settings,
        at: at(2),
    };
    assert_eq!(bed.refused(again), StreamRefusal::Exists);
}

/// In order of names, page after page, of one namespace.
pub fn streams_are_listed_by_name_and_only_while_they_are_there(open: Open<'_>) {
    let mut bed = Bed::new(open, 62);
    for stream in ["z", "a", "a.b", "a-b"] {
        bed.create(stream, NO_HOLD);
    }
    let names = |after: Option<&str>, limit| {
        let query = StreamQuery {
            namespace: Namespace::default(),
            after: after.map(stream_name),
            limit,
        };
        let rows = bed.repo.streams(&query).unwrap();
        rows.iter().map(|row| row.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 10), ["a", "a-b", "a.b", "frames", "z"]);
    assert_eq!(names(Some("a-b"), 2), ["a.b", "frames"]);
    assert_eq!(names(Some("z"), 2), [""; 0]);
    bed.change(StreamChange::Delete(the_stream()));
    assert_eq!(names(None, 10), ["a", "a-b", "a.b", "z"]);
    assert_eq!(bed.refused(StreamChange::Delete(the_stream())), StreamRefusal::NotFound);
    let query = StreamQuery {
        namespace: name("other"),
        after: None,
        limit: 10,
    };
    assert_eq!(bed.repo.streams(&query).unwrap(), []);
}

/// One of two decisions that saw the same settings wins; entries do not count.
pub fn settings_change_from_the_version_that_was_seen(open: Open<'_>) {
    let mut bed = Bed::new(open, 63);
    let update = |version, settings| StreamChange::Update {
        stream: the_stream(),
        version: Version::from_u64(version),
        settings,
    };
    assert_eq!(bed.repo.streams_to_trim(None, 10).unwrap(), []);
    let payloads = bed.payloads(1);
    bed.append(append(&payloads));
    bed.change(update(1, NO_HOLD));
    assert_eq!(bed.refused(update(1, NO_HOLD)), StreamRefusal::Changed);
    let row = bed.row();
    assert_eq!((row.version, row.settings), (Version::from_u64(2), NO_HOLD));
    assert_eq!(row.head, Offset::from_u64(1));
    let retention = Retention {
        entries: Some(1),
        ..Retention::default()
    };
    bed.change(update(2, StreamSettings { retention, ..NO_HOLD }));
    assert_eq!(bed.repo.streams_to_trim(None, 10).unwrap(), [bed.row()]);
}

/// Offsets, sizes, sums, times, tags and the payload's state.
pub fn entries_are_dense_and_come_back_as_they_were_written(open: Open<'_>) {
    let mut bed = Bed::new(open, 64);
    let id = bed.row().id;
    let mut expected = Vec::new();
    for (round, count) in [1usize, 3, 10].into_iter().enumerate() {
        let payloads = bed.payloads(count);
        let words = ["a", "left.front-1"];
        let entries: Vec<EntryDraft> = payloads
            .iter()
            .map(|payload| EntryDraft {
                tags: tags(words.into_iter().take(round)).unwrap(),
                ..draft(*payload)
            })
            .collect();
        let first = bed.append(Append {
            entries,
            at: at(100 + round as i64),
            ..append(&[])
        });
        assert_eq!(first, expected.len() as u64);
        expected.extend(payloads);
    }
    assert_eq!(bed.referred(), expected);
    let entries = bed.repo.entries(id, Offset::from_u64(4), 2).unwrap();
    assert_eq!(entries.len(), 2);
    let entry = &entries[0].entry;
    assert_eq!(
        (entry.offset.as_u64(), entry.size, entry.bytes_through),
        (4, 4_000, 20_000)
    );
    assert_eq!((entry.at, entry.held), (at(102), true));
    assert_eq!(entry.tags, tags(["a", "left.front-1"]).unwrap());
    assert_eq!(entries[0].state, Some(StateKind::Active));
    assert_eq!(bed.row().bytes, 14 * 4_000);
    assert_eq!(bed.repo.entries(id, Offset::from_u64(14), 10).unwrap(), []);
    assert_eq!(
        bed.repo
            .entries(StreamId::from_parts(9, [9; 10]), Offset::ZERO, 10)
            .unwrap(),
        []
    );
}

/// Publish: the payload is committed and appended together, or neither.
pub fn an_append_is_all_or_nothing_with_the_changes_of_its_set(open: Open<'_>) {
    let mut bed = Bed::new(open, 65);
    let stranger = bed.maker.allocated().id;
    let fresh = active(bed.maker.allocated());
    let publish = |payloads: &[payload_core::PayloadId]| ChangeSet {
        streams: vec![StreamChange::Append(append(payloads))],
        ..set([created(&fresh)])
    };
    assert_eq!(
        bed.refused_set(publish(&[fresh.id, stranger])),
        StreamRefusal::PayloadNotFound(stranger)
    );
    assert_eq!(bed.repo.get(fresh.id).unwrap(), None);
    assert_eq!(bed.referred(), []);
    let outcome = bed.commit(publish(&[fresh.id]));
    let stream = bed.row().id;
    assert_eq!(
        outcome,
        CommitOutcome::Appended(Appended {
            stream,
            first: Offset::ZERO
        })
    );
    let conflict = bed.commit(publish(&[fresh.id]));
    assert_eq!(conflict, CommitOutcome::Conflict);
    assert_eq!(bed.referred(), [fresh.id]);
    let twice = [
        StreamChange::Append(append(&[fresh.id])),
        StreamChange::Append(append(&[fresh.id])),
    ];
    assert!(
        bed.repo.commit(streams(twice)).is_err(),
        "an outcome says where one batch is"
    );
    assert!(bed.repo.commit(streams([StreamChange::Append(append(&[]))])).is_err());
}

/// Nothing that is not committed, has ended, or belongs to somebody else; and not too many at once.
pub fn only_live_payloads_of_the_namespace_are_appended(open: Open<'_>) {
    let (mut bed, _) = Bed::with(open, 66, NO_HOLD);
    bed.repo.create_namespace(&namespace("other")).unwrap();
    let plain = bed.maker.allocated();
    let foreign = active(Payload {
        namespace: name("other"),
        ..bed.maker.allocated()
    });
    let ended = Payload {
        state: State::Deleting,
        ..bed.maker.allocated()
    };
    let late = Payload {
        state: State::Active {
            expires_at: Some(at(10)),
        },
        ..bed.maker.allocated()
    };
    apply(&*bed.repo, set([&plain, &foreign, &ended, &late].map(created)));
    let good = bed.payload().id;
    let refused = |bed: &Bed, payload: &Payload| bed.refused(StreamChange::Append(append(&[good, payload.id])));
    assert_eq!(refused(&bed, &plain), StreamRefusal::PayloadNotCommitted(plain.id));
    assert_eq!(refused(&bed, &foreign), StreamRefusal::PayloadNotFound(foreign.id));
    assert_eq!(refused(&bed, &ended), StreamRefusal::PayloadEnded(ended.id));
    assert_eq!(refused(&bed, &late), StreamRefusal::PayloadEnded(late.id));
    let many = StreamChange::Append(append(&[good; 11]));
    assert_eq!(bed.refused(many), StreamRefusal::BatchTooLarge(10));
    let nowhere = Append {
        stream: StreamRef {
            name: stream_name("nowhere"),
            ..the_stream()
        },
        ..append(&[good])
    };
    assert_eq!(bed.refused(StreamChange::Append(nowhere)), StreamRefusal::NotFound);
    assert_eq!(bed.referred(), []);
    bed.append(append(&[good; 10]));
}

/// Of two producers that expect the same offset, one is told where the stream is.
pub fn an_expected_offset_is_a_condition(open: Open<'_>) {
    let mut bed = Bed::new(open, 67);
    let payloads = bed.payloads(2);
    let expecting = |offset| Append {
        expected: Some(Offset::from_u64(offset)),
        ..append(&payloads)
    };
    assert_eq!(bed.append(expecting(0)), 0);
    for wrong in [0, 1, 3] {
        let refusal = bed.refused(StreamChange::Append(expecting(wrong)));
        assert_eq!(refusal, StreamRefusal::OffsetUnexpected(Offset::from_u64(2)));
    }
    assert_eq!(bed.append(expecting(2)), 2);
}

/// I7: the same request id gives the same offsets, whatever came in between.
pub fn a_request_id_remembers_where_its_entries_are(open: Open<'_>) {
    let mut bed = Bed::new(open, 68);
    let payload = bed.payload();
    bed.append(append(&[payload.id]));
    let record = RequestRecord {
        operation: Operation::Append,
        ..bed.maker.request(&payload)
    };
    let ask = || ChangeSet {
        request: Some(record.clone()),
        ..streams([StreamChange::Append(append(&[payload.id]))])
    };
    let outcome = bed.commit(ask());
    let place = Appended {
        stream: bed.row().id,
        first: Offset::from_u64(1),
    };
    assert_eq!(outcome, CommitOutcome::Appended(place));
    bed.append(append(&[payload.id]));
    let remembered = RequestRecord {
        appended: Some(place),
        ..record.clone()
    };
    assert_eq!(bed.commit(ask()), CommitOutcome::Duplicate(remembered.clone()));
    let found = bed.repo.find_request(&record.principal, &record.request_id).unwrap();
    assert_eq!(found, Some(remembered));
    assert_eq!(bed.referred().len(), 3);
}

/// So that an offset can be found by time, even if the clock was set back.
pub fn times_never_go_back_along_a_stream(open: Open<'_>) {
    let mut bed = Bed::new(open, 69);
    let payloads = bed.payloads(1);
    for moment in [50, 20, 60] {
        bed.append(Append {
            at: at(moment),
            ..append(&payloads)
        });
    }
    let row = bed.row();
    let entries = bed.repo.entries(row.id, Offset::ZERO, 10).unwrap();
    let times: Vec<_> = entries.iter().map(|read| read.entry.at).collect();
    assert_eq!(times, [at(50), at(50), at(60)]);
    assert_eq!(row.last_at, at(60));
}

/// Whoever has seen the old one is told; the old one's entries are not the new one's.
pub fn a_stream_made_again_is_another_one(open: Open<'_>) {
    let mut bed = Bed::new(open, 70);
    let payloads = bed.payloads(2);
    bed.append(append(&payloads));
    let old = bed.row();
    bed.change(StreamChange::Delete(the_stream()));
    assert_eq!(bed.repo.stream(&old.namespace, &old.name).unwrap(), None);
    bed.create("frames", NO_HOLD);
    assert_eq!(bed.referred(), []);
    let seen = StreamRef {
        incarnation: Some(old.id),
        ..the_stream()
    };
    let stale = Append {
        stream: seen.clone(),
        ..append(&payloads)
    };
    assert_eq!(bed.refused(StreamChange::Append(stale)), StreamRefusal::Replaced);
    assert_eq!(bed.refused(StreamChange::Delete(seen)), StreamRefusal::Replaced);
    assert_eq!(bed.append(append(&payloads)), 0);
    assert_eq!(bed.repo.entries(old.id, Offset::ZERO, 10).unwrap().len(), 2);
    assert_eq!(bed.repo.streams_to_trim(None, 10).unwrap()[0].id, old.id);
}

/// The last batches of a producer are known by number and content; others are not guessed at.
pub fn fault_40_a_repeated_batch_is_not_appended_twice(open: Open<'_>) {
    let mut bed = Bed::new(open, 71);
    let payloads = bed.payloads(20);
    for (sequence, pair) in (0..).step_by(2).zip(payloads.chunks(2)) {
        assert_eq!(bed.append(batch(pair, 1, sequence)), sequence);
        assert_eq!(bed.append(batch(pair, 1, sequence)), sequence);
    }
    let remembered = 20 - 2 * limits::PRODUCER_BATCHES_MAX as u64;
    for (sequence, pair) in (0..).step_by(2).zip(payloads.chunks(2)) {
        if sequence >= remembered {
            assert_eq!(bed.append(batch(pair, 1, sequence)), sequence);
        } else {
            let again = StreamChange::Append(batch(pair, 1, sequence));
            assert_eq!(bed.refused(again), StreamRefusal::SequenceReused);
        }
    }
    let other = StreamChange::Append(batch(&payloads[..2], 1, 18));
    assert_eq!(bed.refused(other), StreamRefusal::SequenceReused);
    let shorter = StreamChange::Append(batch(&payloads[18..19], 1, 18));
    assert_eq!(bed.refused(shorter), StreamRefusal::SequenceReused);
    let gap = StreamChange::Append(batch(&payloads[..2], 1, 21));
    assert_eq!(bed.refused(gap), StreamRefusal::SequenceGap(20));
    assert_eq!(bed.referred(), payloads);
}

/// A higher epoch begins anew; from then on a lower one is refused, even a repetition.
pub fn fault_40_an_old_life_of_a_producer_is_shut_out(open: Open<'_>) {
    let mut bed = Bed::new(open, 72);
    let payloads = bed.payloads(2);
    bed.append(batch(&payloads, 1, u64::MAX - 9));
    assert_eq!(bed.append(batch(&payloads, 7, 40)), 2);
    for sequence in [u64::MAX - 9, u64::MAX - 7, 40, 42] {
        let zombie = StreamChange::Append(batch(&payloads, 6, sequence));
        assert_eq!(bed.refused(zombie), StreamRefusal::ProducerFenced(7));
    }
    let producer = bed
        .repo
        .producer(bed.row().id, &"camera".parse().unwrap())
        .unwrap()
        .unwrap();
    assert_eq!(
        (producer.epoch, producer.next_sequence, producer.batches.len()),
        (7, 42, 1)
    );
    assert_eq!(bed.append(batch(&payloads, 7, 42)), 4);
}

/// A stream remembers a bounded number of producers.
pub fn the_idlest_producer_gives_way(open: Open<'_>) {
    let mut bed = Bed::new(open, 73);
    let payloads = bed.payloads(1);
    let of = |number: u32, sequence| {
        let mut append = batch(&payloads, 1, sequence);
        if let Some(producer) = &mut append.producer {
            producer.name = format!("p{number}").parse().unwrap();
        }
        append.at = at(i64::from(number) + 1_000 * i64::try_from(sequence).unwrap());
        append
    };
    for number in 0..limits::STREAM_PRODUCERS_MAX {
        bed.append(of(number, 0));
    }
    bed.append(of(0, 1));
    bed.append(of(limits::STREAM_PRODUCERS_MAX, 0));
    let known = |number: u32| {
        let name = format!("p{number}").parse().unwrap();
        bed.repo.producer(bed.row().id, &name).unwrap().is_some()
    };
    assert!(known(0) && !known(1) && known(2) && known(limits::STREAM_PRODUCERS_MAX));
    assert_eq!(bed.row().producers, limits::STREAM_PRODUCERS_MAX);
}

/// A reader who follows the stream while many append never sees an entry before the one in front of it.
pub fn fault_32_many_producers_leave_no_hole_that_a_reader_could_see(open: Open<'_>) {
    const PRODUCERS: usize = 8;
    const EACH: usize = 25;
    let mut bed = Bed::new(open, 74);
    let id = bed.row().id;
    let payloads = bed.payloads(PRODUCERS);
    let start = Barrier::new(PRODUCERS + 1);
    let (bed, start) = (&bed, &start);
    thread::scope(|scope| {
        for payload in &payloads {
            scope.spawn(move || {
                start.wait();
                for _ in 0..EACH {
                    bed.append(append(&[*payload, *payload]));
                }
            });
        }
        start.wait();
        let mut next = Offset::ZERO;
        while next.as_u64() < (2 * PRODUCERS * EACH) as u64 {
            for read in bed.repo.entries(id, next, 7).unwrap() {
                assert_eq!(read.entry.offset, next, "skipped an entry");
                next = next.plus(1);
            }
        }
    });
    let referred = bed.referred();
    for payload in &payloads {
        let own = referred.iter().filter(|found| *found == payload).count();
        assert_eq!(own, 2 * EACH);
    }
}

/// While an entry holds it a payload has no deadline, and whoever would end it is told.
pub fn held_payloads_are_not_due_and_not_given_up(open: Open<'_>) {
    let mut bed = Bed::new(open, 75);
    let payload = Payload {
        state: State::Active {
            expires_at: Some(at(30)),
        },
        ..bed.maker.allocated()
    };
    apply(&*bed.repo, set([created(&payload)]));
    let due = |bed: &Bed| bed.repo.due(bed.maker.node, at(100), 10).unwrap();
    assert_eq!(due(&bed), [payload.id]);
    bed.append(append(&[payload.id]));
    bed.append(append(&[payload.id, payload.id]));
    assert_eq!((due(&bed), bed.repo.holds(payload.id).unwrap()), (vec![], 3));
    assert_eq!(bed.repo.next_deadline(bed.maker.node).unwrap(), None);
    let gone = edited(&payload, |after| after.state = State::Deleting);
    let end = || ChangeSet {
        streams: vec![StreamChange::Unheld(payload.id)],
        ..set([changed(&payload, &gone)])
    };
    assert_eq!(bed.refused_set(end()), StreamRefusal::PayloadHeld(payload.id));
    assert_eq!(bed.repo.get(payload.id).unwrap(), Some(payload.clone()));
    // What is held is alive, and may be appended again although its time is over.
    bed.append(Append {
        at: at(40),
        ..append(&[payload.id])
    });
    let all = Trim {
        stream: bed.row().id,
        until: Offset::from_u64(4),
    };
    bed.change(StreamChange::Trim(all));
    assert_eq!((due(&bed), bed.repo.holds(payload.id).unwrap()), (vec![payload.id], 0));
    assert_eq!(bed.repo.next_deadline(bed.maker.node).unwrap(), Some(at(30)));
    apply(&*bed.repo, end());
    assert_eq!(bed.repo.holds(payload.id).unwrap(), 0);
}

/// In steps, as far as there is anything, and only forward.
pub fn trimming_moves_the_beginning_and_lets_payloads_go(open: Open<'_>) {
    let mut bed = Bed::new(open, 76);
    let payloads = bed.payloads(6);
    bed.append(append(&payloads));
    let id = bed.row().id;
    let trim = |until| {
        StreamChange::Trim(Trim {
            stream: id,
            until: Offset::from_u64(until),
        })
    };
    bed.change(trim(0));
    bed.change(trim(2));
    bed.change(trim(1));
    let row = bed.row();
    assert_eq!((row.earliest.as_u64(), row.head.as_u64()), (2, 6));
    assert_eq!((row.bytes, row.bytes_trimmed), (24_000, 8_000));
    assert_eq!(bed.referred(), payloads[2..]);
    let holds: Vec<u64> = payloads.iter().map(|id| bed.repo.holds(*id).unwrap()).collect();
    assert_eq!(holds, [0, 0, 1, 1, 1, 1]);
    bed.change(trim(100));
    assert_eq!(bed.row().earliest, Offset::from_u64(6));
    assert_eq!(bed.append(append(&payloads[..1])), 6);
    bed.change(StreamChange::Trim(Trim {
        stream: StreamId::from_parts(9, [9; 10]),
        until: Offset::from_u64(1),
    }));
}

/// Streams need a namespace, and keep it.
pub fn a_namespace_stays_while_it_has_streams(open: Open<'_>) {
    let mut bed = Bed::new(open, 78);
    let mut create = |namespace: &str| StreamChange::Create {
        id: bed.maker.stream(),
        namespace: name(namespace),
        name: stream_name("s"),
        settings: NO_HOLD,
        at: at(1),
    };
    let (early, late, other) = (create("tenant"), create("tenant"), create("tenant"));
    assert_eq!(bed.refused(early), StreamRefusal::NoNamespace(name("tenant")));
    bed.repo.create_namespace(&namespace("tenant")).unwrap();
    bed.change(late);
    let remove = |bed: &Bed| bed.repo.remove_namespace(&name("tenant"), Version::FIRST);
    assert_eq!(remove(&bed).unwrap_err().reason(), Reason::NamespaceInUse);
    bed.change(StreamChange::Delete(StreamRef {
        namespace: name("tenant"),
        name: stream_name("s"),
        incarnation: None,
    }));
    remove(&bed).unwrap();
    assert_eq!(bed.refused(other), StreamRefusal::NoNamespace(name("tenant")));
}

/// Nothing of it is left, and not before.
pub fn the_last_of_a_deleted_stream_is_dropped_when_it_is_empty(open: Open<'_>) {
    let mut bed = Bed::new(open, 77);
    let payloads = bed.payloads(2);
    bed.append(batch(&payloads, 1, 0));
    let id = bed.row().id;
    bed.change(StreamChange::CommitOffset(super::stream_sample::progress("g", 1)));
    bed.change(StreamChange::Drop(id));
    assert_eq!(bed.row().id, id, "it was not deleted");
    bed.change(StreamChange::Delete(the_stream()));
    bed.change(StreamChange::Drop(id));
    assert_eq!(bed.repo.streams_to_trim(None, 10).unwrap()[0].id, id, "it is not empty");
    bed.change(StreamChange::Trim(Trim {
        stream: id,
        until: Offset::from_u64(2),
    }));
    bed.change(StreamChange::Drop(id));
    assert_eq!(bed.repo.streams_to_trim(None, 10).unwrap(), []);
    assert_eq!(bed.repo.groups(id).unwrap(), []);
    assert_eq!(bed.repo.producer(id, &"camera".parse().unwrap()).unwrap(), None);
    assert_eq!(bed.repo.holds(payloads[0]).unwrap(), 0);
}
