//! A hundred thousand streams: nothing that is done for one of them looks at the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use payload_core::stream::{
    EntryDraft, Offset, Retention, StreamChange, StreamName, StreamQuery, StreamRef, StreamSettings,
};
use payload_core::{ChangeSet, Durability, Namespace, StreamId, Tier, Timestamp};
use payload_engine::AppendRequest;

use crate::common::calls::put_request;
use crate::common::{Backend, Setup, alice};

const STREAMS: u64 = 100_000;
const FOLLOWERS: u64 = 10_000;
const BATCH: u64 = 1_000;

fn name(number: u64) -> StreamName {
    format!("s{number:06}").parse().unwrap()
}

fn stream(number: u64) -> StreamRef {
    StreamRef {
        namespace: Namespace::default(),
        name: name(number),
        incarnation: None,
    }
}

fn id(number: u64) -> StreamId {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&number.to_be_bytes());
    StreamId::from_parts(1, random)
}

/// Only the last of them has a limit.
fn create(number: u64) -> StreamChange {
    let retention = Retention {
        entries: (number == STREAMS - 1).then_some(2),
        ..Retention::default()
    };
    StreamChange::Create {
        id: id(number),
        namespace: Namespace::default(),
        name: name(number),
        settings: StreamSettings {
            retention,
            ..StreamSettings::default()
        },
        at: Timestamp::from_micros(1),
    }
}

#[test]
fn fault_44_of_many_streams_an_append_and_a_round_of_retention_concern_those_that_they_concern() {
    let setup = Setup {
        backend: Backend::Sqlite,
        ..Setup::default()
    };
    let rig = setup.start();
    let holder = rig.session();
    for first in (0..STREAMS).step_by(BATCH as usize) {
        let set = ChangeSet {
            streams: (first..first + BATCH).map(create).collect(),
            ..ChangeSet::new(Vec::new(), Durability::Volatile)
        };
        assert!(rig.repository().commit(set).unwrap().is_applied());
    }
    let payload = rig
        .put(&holder, &put_request(b"x", Tier::Ram, Durability::Volatile))
        .unwrap();
    let append = |number| AppendRequest {
        stream: stream(number),
        request_id: None,
        entries: vec![EntryDraft {
            payload: payload.id,
            tags: Vec::new(),
        }],
        expected: None,
        producer: None,
        progress: None,
    };

    let woken = Arc::new(AtomicU64::new(0));
    let _watches: Vec<_> = (0..FOLLOWERS)
        .map(|number| {
            let woken = Arc::clone(&woken);
            rig.watch_stream(id(number), move || {
                woken.fetch_add(number, Ordering::Relaxed);
            })
        })
        .collect();
    rig.append(&alice(), &append(7)).unwrap();
    assert_eq!(
        woken.load(Ordering::Relaxed),
        7,
        "the follower of the seventh, and nobody else"
    );
    rig.append(&alice(), &append(STREAMS - 2)).unwrap();
    assert_eq!(woken.load(Ordering::Relaxed), 7, "nobody follows this one");

    let trimmed = rig.repository().streams_to_trim(None, u32::MAX).unwrap();
    assert_eq!(trimmed.len(), 1, "a round looks at the streams that have limits");
    for _ in 0..3 {
        rig.append(&alice(), &append(STREAMS - 1)).unwrap();
    }
    rig.trim_streams().unwrap();
    let row = rig.stream(&stream(STREAMS - 1)).unwrap();
    assert_eq!((row.earliest, row.head), (Offset::from_u64(1), Offset::from_u64(3)));
    let page = rig.repository().streams(&StreamQuery {
        namespace: Namespace::default(),
        after: Some(name(STREAMS - 3)),
        limit: 10,
    });
    assert_eq!(page.unwrap().len(), 2);
}
