//! Publishing: a payload is committed and appended in one transaction, and a group moves with it.

use payload_core::stream::{Offset, StreamName, StreamRef, StreamSettings};
use payload_core::{Durability, Namespace, Reason, StateKind, Tier};
use payload_engine::{CommitRequest, OffsetRequest, Publish, PutRequest};

use crate::common::calls::put_request;
use crate::common::{Backend, Rig, Setup, refusal};

fn name() -> StreamName {
    "frames".parse().unwrap()
}

fn stream() -> StreamRef {
    StreamRef {
        namespace: Namespace::default(),
        name: name(),
        incarnation: None,
    }
}

fn publish() -> Option<Publish> {
    Some(Publish {
        stream: name(),
        incarnation: None,
        tags: Vec::new(),
        expected: None,
        producer: None,
        progress: None,
    })
}

fn rig(backend: Backend) -> Rig {
    let setup = Setup {
        backend,
        ..Setup::default()
    };
    let rig = setup.start();
    rig.create_stream(&Namespace::default(), &name(), StreamSettings::default())
        .unwrap();
    rig
}

impl Rig {
    fn head(&self) -> u64 {
        self.stream(&stream()).unwrap().head.as_u64()
    }
}

#[test]
fn a_commit_and_its_entry_become_true_together_and_once() {
    for backend in Backend::ALL {
        let rig = rig(backend);
        let holder = rig.session();
        let filled = rig.allocate_filled(&holder, 100_000, 1);
        let request = CommitRequest {
            request_id: Some("r1".parse().unwrap()),
            publish: publish(),
            ..filled.commit_request()
        };
        let first = rig.publish(&holder, &request).unwrap();
        assert_eq!(first.appended.unwrap().first, Offset::ZERO);
        let again = rig.publish(&holder, &request).unwrap();
        assert_eq!(
            (again.row.id, again.appended, rig.head()),
            (first.row.id, first.appended, 1)
        );
        let elsewhere = CommitRequest {
            publish: None,
            ..request
        };
        assert_eq!(
            refusal(rig.publish(&holder, &elsewhere).map(|_| ())),
            Reason::RequestIdReused
        );
        let small = PutRequest {
            publish: publish(),
            ..put_request(b"small", Tier::Ram, Durability::Volatile)
        };
        let put = rig.publish_small(&holder, &small).unwrap();
        assert_eq!((put.appended.unwrap().first.as_u64(), rig.head()), (1, 2));
        assert_eq!(rig.repository().holds(put.row.id).unwrap(), 1);
        rig.delete_stream(&stream()).unwrap();
        rig.quiesce();
    }
}

#[test]
fn a_publication_that_is_refused_leaves_the_allocation_as_it_was() {
    for backend in Backend::ALL {
        let rig = rig(backend);
        let holder = rig.session();
        let filled = rig.allocate_filled(&holder, 1_000, 1);
        let progress = |expected| {
            publish().map(|publish| Publish {
                progress: Some(OffsetRequest {
                    stream: stream(),
                    group: "g".parse().unwrap(),
                    offset: Offset::from_u64(1),
                    expected: None,
                    generation: Some(expected),
                }),
                ..publish
            })
        };
        let request = |publish| CommitRequest {
            publish,
            ..filled.commit_request()
        };
        let nowhere = publish().map(|publish| Publish {
            stream: "nowhere".parse().unwrap(),
            ..publish
        });
        assert_eq!(
            refusal(rig.publish(&holder, &request(nowhere)).map(|_| ())),
            Reason::StreamNotFound
        );
        assert_eq!(
            refusal(rig.publish(&holder, &request(progress(3))).map(|_| ())),
            Reason::GroupFenced
        );
        assert_eq!((rig.state(filled.row.id), rig.head()), (StateKind::Allocated, 0));
        let done = rig.publish(&holder, &request(progress(0))).unwrap();
        assert_eq!((done.appended.unwrap().first, rig.head()), (Offset::ZERO, 1));
        assert_eq!(rig.content(&holder, done.row.id), filled.content);
        assert_eq!(
            rig.group(&stream(), &"g".parse().unwrap()).unwrap().group.offset,
            Offset::from_u64(1)
        );
    }
}
