//! Bad input of the stream service.

use payload_proto::v1;

use super::doors::{Bed, Door, Doors, refused};
use crate::support::grpc::Grpc;
use crate::support::refusal::Refusal;
use crate::support::samples::{
    append, commit_offset, create_stream, delete, from_offset, put, read_stream, stream_ref,
};

type Send = fn(&Bed, &dyn Door) -> Refusal;

const NOBODY: &str = "0190a000-0000-7000-8000-000000000000";

/// A stream of its own for a case, with entries in it.
fn stream_with(grpc: &Grpc, name: &str, entries: usize) -> String {
    grpc.create_stream(create_stream(name)).unwrap();
    let id = grpc.put(put(b"x")).unwrap().payload.unwrap().payload_id;
    if entries > 0 {
        grpc.append(append(name, &vec![&*id; entries])).unwrap();
    }
    id
}

fn create(bed: &Bed, name: &str) -> Refusal {
    refused(bed.grpc.create_stream(create_stream(name)))
}

fn keeping(bed: &Bed, retention: v1::Retention) -> Refusal {
    refused(bed.grpc.create_stream(v1::CreateStreamRequest {
        retention: Some(retention),
        ..create_stream("kept")
    }))
}

/// A batch of a producer whose first batch of two entries is there.
fn batch(bed: &Bed, name: &str, epoch: u64, sequence: u64, entries: usize) -> Refusal {
    let id = stream_with(&bed.grpc, name, 0);
    let request = |epoch, sequence, entries| v1::AppendRequest {
        producer: Some(v1::ProducerBatch {
            producer: "p".to_owned(),
            epoch,
            sequence,
        }),
        ..append(name, &vec![&*id; entries])
    };
    bed.grpc.append(request(5, 0, 2)).unwrap();
    refused(bed.grpc.append(request(epoch, sequence, entries)))
}

/// A payload that goes to a stream with its commit.
fn published(door: &dyn Door, stream: &str) -> Refusal {
    let publish = v1::Publish {
        stream: stream.to_owned(),
        ..Default::default()
    };
    refused(door.put(v1::PutRequest {
        publish: Some(publish),
        ..put(b"x")
    }))
}

/// The incarnation of a stream that was made again.
fn stale(bed: &Bed, name: &str) -> Option<v1::StreamRef> {
    let made = bed.grpc.create_stream(create_stream(name)).unwrap().stream.unwrap();
    let stream = stream_ref(name);
    bed.grpc.delete_stream(v1::DeleteStreamRequest { stream }).unwrap();
    bed.grpc.create_stream(create_stream(name)).unwrap();
    Some(v1::StreamRef {
        stream: name.to_owned(),
        incarnation: made.incarnation,
        ..Default::default()
    })
}

pub(super) const CASES: &[(&str, Doors, Send)] = &[
    ("create stream: an empty name", Doors::Grpc, |bed, _| create(bed, "")),
    ("create stream: a name that is a path", Doors::Grpc, |bed, _| {
        create(bed, "../frames")
    }),
    ("create stream: a name of 128 letters", Doors::Grpc, |bed, _| {
        create(bed, &"a".repeat(128))
    }),
    ("create stream: a name with a NUL", Doors::Grpc, |bed, _| {
        create(bed, "a\0b")
    }),
    (
        "create stream: in a namespace that nobody made",
        Doors::Grpc,
        |bed, _| {
            refused(bed.grpc.create_stream(v1::CreateStreamRequest {
                namespace: "nobody".to_owned(),
                ..create_stream("frames")
            }))
        },
    ),
    (
        "create stream: one that is there, with other settings",
        Doors::Grpc,
        |bed, _| {
            stream_with(&bed.grpc, "there", 0);
            refused(bed.grpc.create_stream(v1::CreateStreamRequest {
                batch_max: 7,
                ..create_stream("there")
            }))
        },
    ),
    ("create stream: hold number 9", Doors::Grpc, |bed, _| {
        refused(bed.grpc.create_stream(v1::CreateStreamRequest {
            hold: 9,
            ..create_stream("kept")
        }))
    }),
    ("create stream: batches of 1,001", Doors::Grpc, |bed, _| {
        refused(bed.grpc.create_stream(v1::CreateStreamRequest {
            batch_max: 1_001,
            ..create_stream("kept")
        }))
    }),
    ("create stream: retention of 0 entries", Doors::Grpc, |bed, _| {
        keeping(
            bed,
            v1::Retention {
                entries: Some(0),
                ..Default::default()
            },
        )
    }),
    ("create stream: retention for 0 ms", Doors::Grpc, |bed, _| {
        keeping(
            bed,
            v1::Retention {
                age_ms: Some(0),
                ..Default::default()
            },
        )
    }),
    ("create stream: retention for ever and a day", Doors::Grpc, |bed, _| {
        keeping(
            bed,
            v1::Retention {
                age_ms: Some(u64::MAX),
                ..Default::default()
            },
        )
    }),
    ("get stream: none named", Doors::Grpc, |bed, _| {
        refused(bed.grpc.get_stream(v1::GetStreamRequest { stream: None }))
    }),
    ("get stream: one that nobody made", Doors::Grpc, |bed, _| {
        let stream = stream_ref("nowhere");
        refused(bed.grpc.get_stream(v1::GetStreamRequest { stream }))
    }),
    ("get stream: another namespace's", Doors::Grpc, |bed, _| {
        stream_with(&bed.grpc, "mine", 0);
        let stream = stream_ref("mine").map(|stream| v1::StreamRef {
            namespace: "other".to_owned(),
            ..stream
        });
        refused(bed.grpc.get_stream(v1::GetStreamRequest { stream }))
    }),
    ("get stream: an incarnation that is none", Doors::Grpc, |bed, _| {
        let stream = stream_ref("mine").map(|stream| v1::StreamRef {
            incarnation: "1".to_owned(),
            ..stream
        });
        refused(bed.grpc.get_stream(v1::GetStreamRequest { stream }))
    }),
    ("list streams: a page of 1,001", Doors::Grpc, |bed, _| {
        refused(bed.grpc.list_streams(v1::ListStreamsRequest {
            page_size: 1_001,
            ..Default::default()
        }))
    }),
    ("list streams: a page token that is none", Doors::Grpc, |bed, _| {
        refused(bed.grpc.list_streams(v1::ListStreamsRequest {
            page_token: "x' OR 1=1 --".to_owned(),
            ..Default::default()
        }))
    }),
    ("update stream: a stale incarnation", Doors::Grpc, |bed, _| {
        let stream = stale(bed, "stale-1");
        refused(bed.grpc.update_stream(v1::UpdateStreamRequest {
            stream,
            ..Default::default()
        }))
    }),
    ("delete stream: a stale incarnation", Doors::Grpc, |bed, _| {
        let stream = stale(bed, "stale-2");
        refused(bed.grpc.delete_stream(v1::DeleteStreamRequest { stream }))
    }),
    ("append: a stale incarnation", Doors::Grpc, |bed, door| {
        let stream = stale(bed, "stale-3");
        refused(bed.grpc.append(v1::AppendRequest {
            stream,
            ..append("stale-3", &[&*door.committed()])
        }))
    }),
    ("append: to a stream that nobody made", Doors::Grpc, |bed, door| {
        refused(bed.grpc.append(append("nowhere", &[&*door.committed()])))
    }),
    ("append: no entry", Doors::Grpc, |bed, _| {
        refused(bed.grpc.append(append("nowhere", &[])))
    }),
    ("append: 1,001 entries", Doors::Grpc, |bed, _| {
        refused(bed.grpc.append(append("nowhere", &[NOBODY; 1_001])))
    }),
    (
        "append: more entries than the stream takes",
        Doors::Grpc,
        |bed, door| {
            bed.grpc
                .create_stream(v1::CreateStreamRequest {
                    batch_max: 2,
                    ..create_stream("small")
                })
                .unwrap();
            refused(bed.grpc.append(append("small", &[&*door.committed(); 3])))
        },
    ),
    ("append: an id that is none", Doors::Grpc, |bed, _| {
        refused(bed.grpc.append(append("nowhere", &["x"])))
    }),
    ("append: a payload that nobody has", Doors::Grpc, |bed, _| {
        stream_with(&bed.grpc, "ids-1", 0);
        refused(bed.grpc.append(append("ids-1", &[NOBODY])))
    }),
    ("append: another namespace's payload", Doors::Grpc, |bed, _| {
        stream_with(&bed.grpc, "ids-2", 0);
        let foreign = v1::PutRequest {
            namespace: "other".to_owned(),
            ..put(b"x")
        };
        let id = bed.grpc.put(foreign).unwrap().payload.unwrap().payload_id;
        refused(bed.grpc.append(append("ids-2", &[&*id])))
    }),
    ("append: an allocation", Doors::Grpc, |bed, door| {
        stream_with(&bed.grpc, "ids-3", 0);
        refused(bed.grpc.append(append("ids-3", &[&*door.allocated()])))
    }),
    ("append: a payload that is deleted", Doors::Grpc, |bed, _| {
        stream_with(&bed.grpc, "ids-4", 0);
        refused(bed.grpc.append(append("ids-4", &[&*bed.deleted()])))
    }),
    ("append: a tag with a space", Doors::Grpc, |bed, door| {
        let mut request = append("nowhere", &[&*door.committed()]);
        request.entries[0].tags = vec!["a b".to_owned()];
        refused(bed.grpc.append(request))
    }),
    ("append: nine tags", Doors::Grpc, |bed, door| {
        let mut request = append("nowhere", &[&*door.committed()]);
        request.entries[0].tags = (0..9).map(|number| format!("t{number}")).collect();
        refused(bed.grpc.append(request))
    }),
    ("append: another offset than expected", Doors::Grpc, |bed, _| {
        let id = stream_with(&bed.grpc, "expected", 3);
        refused(bed.grpc.append(v1::AppendRequest {
            expected_offset: Some(2),
            ..append("expected", &[&*id])
        }))
    }),
    ("append: a producer without a name", Doors::Grpc, |bed, door| {
        refused(bed.grpc.append(v1::AppendRequest {
            producer: Some(v1::ProducerBatch::default()),
            ..append("nowhere", &[&*door.committed()])
        }))
    }),
    ("append: an old epoch", Doors::Grpc, |bed, _| {
        batch(bed, "epochs", 4, 2, 2)
    }),
    ("append: a gap in the numbers", Doors::Grpc, |bed, _| {
        batch(bed, "gaps", 5, 3, 2)
    }),
    (
        "append: numbers that were used for other entries",
        Doors::Grpc,
        |bed, _| batch(bed, "used", 5, 0, 1),
    ),
    (
        "append: a request id that was used for other entries",
        Doors::Grpc,
        |bed, _| {
            let id = stream_with(&bed.grpc, "reused", 0);
            let request = |entries: usize| v1::AppendRequest {
                request_id: "reused-append".to_owned(),
                ..append("reused", &vec![&*id; entries])
            };
            bed.grpc.append(request(1)).unwrap();
            refused(bed.grpc.append(request(2)))
        },
    ),
    ("read stream: beyond its end", Doors::Grpc, |bed, _| {
        stream_with(&bed.grpc, "read-1", 3);
        refused(bed.grpc.read_stream(read_stream("read-1", 4)))
    }),
    ("read stream: the largest offset there is", Doors::Grpc, |bed, _| {
        stream_with(&bed.grpc, "read-2", 3);
        refused(bed.grpc.read_stream(read_stream("read-2", u64::MAX)))
    }),
    ("read stream: edge number 9", Doors::Grpc, |bed, _| {
        let start = Some(v1::ReadStart {
            start: Some(v1::read_start::Start::Edge(9)),
        });
        refused(bed.grpc.read_stream(v1::ReadStreamRequest {
            start,
            ..read_stream("nowhere", 0)
        }))
    }),
    ("read stream: 1,001 entries", Doors::Grpc, |bed, _| {
        refused(bed.grpc.read_stream(v1::ReadStreamRequest {
            limit: 1_001,
            ..read_stream("nowhere", 0)
        }))
    }),
    ("commit offset: an empty group", Doors::Grpc, |bed, _| {
        refused(bed.grpc.commit_offset(commit_offset("nowhere", "", 0)))
    }),
    ("commit offset: past the head", Doors::Grpc, |bed, _| {
        stream_with(&bed.grpc, "groups-1", 3);
        refused(bed.grpc.commit_offset(commit_offset("groups-1", "g", 4)))
    }),
    ("commit offset: backwards", Doors::Grpc, |bed, _| {
        stream_with(&bed.grpc, "groups-2", 3);
        bed.grpc.commit_offset(commit_offset("groups-2", "g", 2)).unwrap();
        refused(bed.grpc.commit_offset(commit_offset("groups-2", "g", 1)))
    }),
    ("commit offset: the group is somewhere else", Doors::Grpc, |bed, _| {
        stream_with(&bed.grpc, "groups-3", 3);
        refused(bed.grpc.commit_offset(v1::CommitOffsetRequest {
            expected_offset: Some(1),
            ..commit_offset("groups-3", "g", 2)
        }))
    }),
    (
        "commit offset: a generation that is not the group's",
        Doors::Grpc,
        |bed, _| {
            stream_with(&bed.grpc, "groups-4", 3);
            refused(bed.grpc.commit_offset(v1::CommitOffsetRequest {
                generation: Some(3),
                ..commit_offset("groups-4", "g", 2)
            }))
        },
    ),
    ("reset offset: past the head", Doors::Grpc, |bed, _| {
        stream_with(&bed.grpc, "groups-5", 3);
        refused(bed.grpc.reset_offset(v1::ResetOffsetRequest {
            stream: stream_ref("groups-5"),
            group: "g".to_owned(),
            to: from_offset(4),
        }))
    }),
    ("get group: one that nobody has used", Doors::Grpc, |bed, _| {
        stream_with(&bed.grpc, "groups-6", 0);
        refused(bed.grpc.get_group(v1::GetGroupRequest {
            stream: stream_ref("groups-6"),
            group: "g".to_owned(),
        }))
    }),
    ("list groups: of a stream that nobody made", Doors::Grpc, |bed, _| {
        let stream = stream_ref("nowhere");
        refused(bed.grpc.list_groups(v1::ListGroupsRequest { stream }))
    }),
    ("put: published to a stream that nobody made", Doors::Both, |_, door| {
        published(door, "nowhere")
    }),
    ("put: published to a stream that is a path", Doors::Both, |_, door| {
        published(door, "../frames")
    }),
    ("delete: a payload that a stream holds", Doors::Grpc, |bed, _| {
        let id = stream_with(&bed.grpc, "holding", 1);
        refused(bed.grpc.delete_payload(delete(&id)))
    }),
    ("delete namespace: one with a stream in it", Doors::Grpc, |bed, _| {
        bed.world.namespace("streaming");
        let request = v1::CreateStreamRequest {
            namespace: "streaming".to_owned(),
            ..create_stream("s")
        };
        bed.grpc.create_stream(request).unwrap();
        refused(bed.grpc.delete_namespace(v1::DeleteNamespaceRequest {
            name: "streaming".to_owned(),
            ..Default::default()
        }))
    }),
];
