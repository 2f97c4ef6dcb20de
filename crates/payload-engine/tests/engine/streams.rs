//! Streams through the ports: what they hold, what retention takes, and answers that got lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use payload_core::stream::{EntryDraft, Hold, Offset, ProducerBatch, Retention, Start, StreamRef, StreamSettings};
use payload_core::{Durability, Namespace, Payload, PayloadId, Reason, Result, Span, StateKind, Tier};
use payload_engine::{
    AcquireOptions, AppendRequest, CommitRequest, DeleteRequest, EntryFilter, Holder, OffsetRequest, Placed, Publish,
    PutRequest, ReadPage, ReadRequest, StreamEdit,
};

use crate::common::calls::{delete_request, put_request};
use crate::common::{Backend, Rig, Setup, alice, refusal, secs};

fn frames() -> StreamRef {
    StreamRef {
        namespace: Namespace::default(),
        name: "frames".parse().unwrap(),
        incarnation: None,
    }
}

fn append_request(ids: &[PayloadId]) -> AppendRequest {
    AppendRequest {
        stream: frames(),
        request_id: None,
        entries: ids
            .iter()
            .map(|payload| EntryDraft {
                payload: *payload,
                tags: Vec::new(),
            })
            .collect(),
        expected: None,
        producer: None,
        progress: None,
    }
}

fn read_request(start: Start) -> ReadRequest {
    ReadRequest {
        stream: frames(),
        start,
        limit: 0,
        bytes_max: None,
        filter: EntryFilter::default(),
    }
}

fn progress(offset: u64) -> OffsetRequest {
    OffsetRequest {
        stream: frames(),
        group: "g".parse().unwrap(),
        offset: Offset::from_u64(offset),
        expected: None,
        generation: None,
    }
}

impl Rig {
    fn stream(backend: Backend, settings: StreamSettings) -> (Self, Arc<Holder>) {
        let setup = Setup {
            backend,
            ..Setup::default()
        };
        let rig = setup.start();
        rig.create_stream(&Namespace::default(), &frames().name, settings)
            .unwrap();
        let holder = rig.session();
        (rig, holder)
    }

    fn append_ids(&self, ids: &[PayloadId]) -> Result<Placed> {
        self.append(&alice(), &append_request(ids))
    }

    fn read_all(&self) -> ReadPage {
        self.read_stream(&read_request(Start::Earliest)).unwrap()
    }

    fn put_for(&self, holder: &Arc<Holder>, ttl: Span) -> Arc<Payload> {
        let request = PutRequest {
            ttl: Some(ttl),
            ..put_request(b"content", Tier::Ram, Durability::Volatile)
        };
        self.put(holder, &request).unwrap()
    }
}

#[test]
fn a_follower_that_is_woken_can_lease_what_was_published_at_once() {
    for backend in Backend::ALL {
        let (rig, holder) = Rig::stream(backend, StreamSettings::default());
        let publish = Some(Publish {
            stream: frames().name,
            incarnation: None,
            tags: Vec::new(),
            expected: None,
            producer: None,
            progress: None,
        });
        let granted = Arc::new(Mutex::new(Vec::new()));
        let engine = Arc::downgrade(&*rig);
        let (consumer, told) = (rig.session(), Arc::clone(&granted));
        let _watch = rig.watch_stream(rig.stream(&frames()).unwrap().id, move || {
            let engine = engine.upgrade().unwrap();
            let page = engine.read_stream(&read_request(Start::Earliest)).unwrap();
            let payload = page.entries.last().unwrap().entry.payload;
            let grant = engine.acquire_quick(&consumer, &Namespace::default(), payload, AcquireOptions::default());
            told.lock()
                .push(grant.map(|grant| grant.map(|grant| grant.row.id).map_err(|error| error.reason())));
        });
        let put = PutRequest {
            publish: publish.clone(),
            ..put_request(b"put", Tier::Ram, Durability::Volatile)
        };
        let put = rig.publish_small(&holder, &put).unwrap().row.id;
        let commit = CommitRequest {
            publish,
            ..rig.allocate_filled(&holder, 100_000, 1).commit_request()
        };
        let committed = rig.publish(&holder, &commit).unwrap().row.id;
        assert_eq!(*granted.lock(), [Some(Ok(put)), Some(Ok(committed))]);
    }
}

#[test]
fn a_held_payload_outlives_its_time_and_is_readable() {
    for backend in Backend::ALL {
        let (rig, holder) = Rig::stream(backend, StreamSettings::default());
        let (held, free) = (rig.put_for(&holder, secs(10)), rig.put_for(&holder, secs(10)));
        rig.append_ids(&[held.id]).unwrap();
        rig.advance(secs(20));
        assert_eq!(
            (rig.state(held.id), rig.state(free.id)),
            (StateKind::Active, StateKind::Deleted)
        );
        assert_eq!(rig.content(&holder, held.id), b"content");
        let grant = rig.lease(&holder, held.id).unwrap();
        rig.renew_for(&holder, &grant, Some(secs(5))).unwrap();
        rig.append_ids(&[held.id]).unwrap();
        assert_eq!(refusal(rig.remove(held.id)), Reason::PayloadHeld);
        rig.delete_stream(&frames()).unwrap();
        rig.release(&holder, grant.lease).unwrap();
        rig.tick();
        assert_eq!(rig.state(held.id), StateKind::Deleted, "nothing holds it any more");
        rig.quiesce();
    }
}

#[test]
fn force_deletes_what_a_stream_holds_and_the_entry_says_so() {
    for backend in Backend::ALL {
        let (rig, holder) = Rig::stream(backend, StreamSettings::default());
        let row = rig.put_small(&holder, 1);
        rig.append_ids(&[row.id]).unwrap();
        assert_eq!(refusal(rig.remove(row.id)), Reason::PayloadHeld);
        assert_eq!(rig.state(row.id), StateKind::Active);
        rig.lease(&holder, row.id).unwrap();
        let force = DeleteRequest {
            force: true,
            ..delete_request(row.id)
        };
        rig.delete(&alice(), &force).unwrap();
        assert_eq!(rig.read_all().entries[0].state, Some(StateKind::Deleted));
        rig.delete_stream(&frames()).unwrap();
        rig.quiesce();
    }
}

#[test]
fn retention_takes_what_is_too_much_too_large_and_too_old() {
    for backend in Backend::ALL {
        let (rig, holder) = Rig::stream(backend, StreamSettings::default());
        let ids: Vec<PayloadId> = (0..700).map(|seed| rig.put_small(&holder, seed).id).collect();
        let edit = |entries, bytes, age| StreamEdit {
            retention: Some(Retention { entries, age, bytes }),
            ..StreamEdit::default()
        };
        let earliest = |rig: &Rig| rig.stream(&frames()).unwrap().earliest.as_u64();
        rig.append_ids(&ids).unwrap();
        rig.tick();
        assert_eq!(earliest(&rig), 0, "without limits nothing leaves");
        rig.update_stream(&frames(), &edit(Some(50), None, None)).unwrap();
        rig.tick();
        assert_eq!(earliest(&rig), 650);
        rig.update_stream(&frames(), &edit(Some(50), Some(10_999), None))
            .unwrap();
        rig.tick();
        assert_eq!(earliest(&rig), 690, "10 payloads of 1,000 bytes");
        rig.advance(secs(30));
        rig.append_ids(&ids[..2]).unwrap();
        rig.update_stream(&frames(), &edit(None, None, Some(secs(90)))).unwrap();
        rig.advance(secs(61));
        assert_eq!(earliest(&rig), 700);
        let page = rig.read_all();
        assert_eq!((page.entries.len(), page.head.as_u64()), (2, 702));
        rig.advance(secs(61));
        assert_eq!((earliest(&rig), rig.read_all().entries.len()), (702, 0));
        assert_eq!(rig.repository().holds(ids[0]).unwrap(), 0);
        assert_eq!(rig.append_ids(&ids[..1]).unwrap().appended.first.as_u64(), 702);
    }
}

#[test]
fn a_reader_begins_where_it_wants_or_is_told_what_there_is() {
    let (rig, holder) = Rig::stream(Backend::Sqlite, StreamSettings::default());
    let id = rig.put_small(&holder, 1).id;
    let mut times = Vec::new();
    for _ in 0..50 {
        rig.clock.advance(secs(1));
        times.push(rig.clock().wall());
        rig.append_ids(&[id, id]).unwrap();
    }
    let first = |start| {
        rig.read_stream(&read_request(start))
            .map(|page| page.next.since(Offset::ZERO) - page.entries.len() as u64)
    };
    for (number, at) in (0..).zip(&times) {
        assert_eq!(first(Start::Time(*at)).unwrap(), 2 * number);
        assert_eq!(first(Start::Time(at.before(Span::from_micros(1)))).unwrap(), 2 * number);
    }
    assert_eq!(first(Start::Time(times[49].after(secs(1)))).unwrap(), 100);
    assert_eq!(first(Start::Latest).unwrap(), 100);
    assert_eq!(first(Start::Offset(Offset::from_u64(100))).unwrap(), 100);
    assert_eq!(
        refusal(first(Start::Offset(Offset::from_u64(101)))),
        Reason::OffsetBeyondHead
    );
    let retention = Retention {
        entries: Some(10),
        ..Retention::default()
    };
    let edit = StreamEdit {
        retention: Some(retention),
        ..StreamEdit::default()
    };
    rig.update_stream(&frames(), &edit).unwrap();
    rig.tick();
    assert_eq!(
        refusal(first(Start::Offset(Offset::from_u64(89)))),
        Reason::OffsetBehindRetention
    );
    assert_eq!(first(Start::Time(times[0])).unwrap(), 90);
}

#[test]
fn a_repeated_append_gets_the_first_answer_whatever_has_changed_since() {
    for backend in Backend::ALL {
        let (rig, holder) = Rig::stream(backend, StreamSettings::default());
        let ids = [rig.put_small(&holder, 1).id, rig.put_small(&holder, 2).id];
        let by_id = AppendRequest {
            request_id: Some("r1".parse().unwrap()),
            ..append_request(&ids)
        };
        let by_producer = AppendRequest {
            producer: Some(ProducerBatch {
                name: "p".parse().unwrap(),
                epoch: 3,
                sequence: 0,
            }),
            ..append_request(&ids)
        };
        let first = [&by_id, &by_producer].map(|request| rig.append(&alice(), request).unwrap());
        assert_eq!(first.map(|placed| placed.appended.first.as_u64()), [0, 2]);
        rig.append_ids(&ids).unwrap();
        let again = [&by_id, &by_producer].map(|request| rig.append(&alice(), request).unwrap());
        assert_eq!(again, first);
        assert_eq!(rig.stream(&frames()).unwrap().head.as_u64(), 6);
        let smaller = StreamEdit {
            batch_max: Some(1),
            ..StreamEdit::default()
        };
        rig.update_stream(&frames(), &smaller).unwrap();
        assert_eq!(rig.append(&alice(), &by_id).unwrap(), first[0]);
        rig.delete_stream(&frames()).unwrap();
        assert_eq!(rig.append(&alice(), &by_id).unwrap(), first[0]);
        let other = AppendRequest {
            entries: append_request(&ids[..1]).entries,
            ..by_id
        };
        assert_eq!(refusal(rig.append(&alice(), &other)), Reason::RequestIdReused);
    }
}

#[test]
fn fault_7_a_batch_or_an_offset_is_there_as_a_whole_after_a_restart() {
    let (mut rig, holder) = Rig::stream(Backend::Sqlite, StreamSettings::default());
    let request = put_request(b"content", Tier::Disk, Durability::Host);
    let ids: Vec<PayloadId> = (0..3).map(|_| rig.put(&holder, &request).unwrap().id).collect();
    rig.append_ids(&ids).unwrap();
    rig.commit_offset(&progress(2)).unwrap();
    rig.restart();
    let page = rig.read_all();
    let found: Vec<PayloadId> = page.entries.iter().map(|read| read.entry.payload).collect();
    assert_eq!(found, ids);
    let view = rig.group(&frames(), &"g".parse().unwrap()).unwrap();
    assert_eq!(
        (view.group.offset.as_u64(), view.lag_entries, view.lag_bytes),
        (2, 1, 7)
    );
    assert_eq!(refusal(rig.remove(ids[0])), Reason::PayloadHeld);
}

#[test]
fn lag_is_counted_in_entries_bytes_and_time() {
    let settings = StreamSettings {
        hold: Hold::Nothing,
        ..StreamSettings::default()
    };
    let (rig, holder) = Rig::stream(Backend::Sqlite, settings);
    let id = rig.put_small(&holder, 1).id;
    for _ in 0..4 {
        rig.append_ids(&[id]).unwrap();
        rig.clock.advance(secs(10));
    }
    let view = rig.commit_offset(&progress(1)).unwrap();
    assert_eq!((view.lag_entries, view.lag_bytes, view.lag_age), (3, 3_000, secs(30)));
    let view = rig.commit_offset(&progress(4)).unwrap();
    assert_eq!((view.lag_entries, view.lag_bytes, view.lag_age), (0, 0, Span::ZERO));
    assert_eq!(
        refusal(rig.group(&frames(), &"nobody".parse().unwrap())),
        Reason::GroupNotFound
    );
}

#[test]
fn whoever_follows_a_stream_is_woken_by_what_happens_to_it_and_to_no_other() {
    let (rig, holder) = Rig::stream(Backend::Memory, StreamSettings::default());
    let other = rig
        .create_stream(
            &Namespace::default(),
            &"other".parse().unwrap(),
            StreamSettings::default(),
        )
        .unwrap();
    let row = rig.stream(&frames()).unwrap();
    let woken: [Arc<AtomicUsize>; 2] = Default::default();
    let watch = |id, count: &Arc<AtomicUsize>| {
        let count = Arc::clone(count);
        rig.watch_stream(id, move || {
            count.fetch_add(1, Ordering::SeqCst);
        })
    };
    let seen = || woken.each_ref().map(|count| count.load(Ordering::SeqCst));
    let follows = watch(row.id, &woken[0]);
    let _other = watch(other.id, &woken[1]);
    let id = rig.put_small(&holder, 1).id;
    rig.append_ids(&[id]).unwrap();
    assert_eq!(seen(), [1, 0]);
    rig.append_ids(&[]).unwrap_err();
    assert_eq!(seen(), [1, 0]);
    drop(follows);
    rig.append_ids(&[id]).unwrap();
    rig.delete_stream(&frames()).unwrap();
    assert_eq!(seen(), [1, 0]);
}
