//! Streams over gRPC: made, appended to, read, followed by groups, trimmed, and there after a kill.

use payload_proto::v1;
use payload_testkit::process::until;

use crate::support::World;
use crate::support::grpc::Grpc;
use crate::support::refusal::reason;
use crate::support::samples::{
    allocate, append, commit, commit_offset, create_stream, delete, from_offset, get, put, read_stream, stream_ref,
};

fn put_id(grpc: &Grpc, content: &[u8]) -> String {
    grpc.put(put(content)).unwrap().payload.unwrap().payload_id
}

/// Payloads that outlive a server without a keeper.
fn put_on_disk(grpc: &Grpc, content: &[u8]) -> String {
    let request = v1::PutRequest {
        tier: v1::Tier::Disk.into(),
        ..put(content)
    };
    grpc.put(request).unwrap().payload.unwrap().payload_id
}

fn row(grpc: &Grpc, name: &str) -> v1::Stream {
    let stream = stream_ref(name);
    grpc.get_stream(v1::GetStreamRequest { stream })
        .unwrap()
        .stream
        .unwrap()
}

fn offsets(page: &v1::ReadStreamResponse) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.offset).collect()
}

#[test]
fn a_stream_is_made_once_changed_listed_and_removed() {
    let world = World::start();
    let grpc = world.grpc();
    let request = v1::CreateStreamRequest {
        retention: Some(v1::Retention {
            entries: Some(100),
            age_ms: Some(60_000),
            bytes: None,
        }),
        batch_max: 10,
        ..create_stream("frames")
    };
    let made = grpc.create_stream(request.clone()).unwrap().stream.unwrap();
    assert_eq!((made.hold(), made.batch_max, made.version), (v1::Hold::Payload, 10, 1));
    assert_eq!(made.retention, request.retention);
    let again = grpc.create_stream(request.clone()).unwrap().stream.unwrap();
    assert_eq!(again, made, "a retry finds what it made");
    let other = v1::CreateStreamRequest {
        batch_max: 11,
        ..request
    };
    assert_eq!(reason(grpc.create_stream(other)), "STREAM_EXISTS");

    let request = v1::UpdateStreamRequest {
        stream: stream_ref("frames"),
        hold: v1::Hold::Nothing.into(),
        ..Default::default()
    };
    let changed = grpc.update_stream(request).unwrap().stream.unwrap();
    assert_eq!(
        (changed.hold(), changed.batch_max, changed.version),
        (v1::Hold::Nothing, 10, 2)
    );
    assert_eq!(changed.retention, made.retention, "what is not named stays");

    for name in ["a", "b"] {
        grpc.create_stream(create_stream(name)).unwrap();
    }
    let mut request = v1::ListStreamsRequest {
        page_size: 2,
        ..Default::default()
    };
    let first = grpc.list_streams(request.clone()).unwrap();
    request.page_token = first.next_page_token;
    let second = grpc.list_streams(request).unwrap();
    let pages = first.streams.into_iter().chain(second.streams);
    assert_eq!(pages.map(|row| row.stream).collect::<Vec<_>>(), ["a", "b", "frames"]);
    assert_eq!(second.next_page_token, "");

    let stream = stream_ref("frames");
    grpc.delete_stream(v1::DeleteStreamRequest { stream: stream.clone() })
        .unwrap();
    assert_eq!(
        reason(grpc.get_stream(v1::GetStreamRequest { stream })),
        "STREAM_NOT_FOUND"
    );
    let made_again = grpc.create_stream(create_stream("frames")).unwrap().stream.unwrap();
    assert_ne!(made_again.incarnation, made.incarnation);
}

#[test]
fn fault_7_entries_and_offsets_are_there_after_a_kill() {
    let world = World::start();
    let grpc = world.grpc();
    grpc.create_stream(create_stream("frames")).unwrap();
    let ids: Vec<String> = (0..10u8).map(|content| put_on_disk(&grpc, &[content])).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let request = v1::AppendRequest {
        request_id: "batch-1".to_owned(),
        ..append("frames", &ids)
    };
    let placed = grpc.append(request.clone()).unwrap();
    assert_eq!((placed.first_offset, placed.count), (0, 10));
    grpc.commit_offset(commit_offset("frames", "archive", 4)).unwrap();

    let world = world.kill_and_restart();
    let grpc = world.grpc();
    assert_eq!(grpc.append(request).unwrap(), placed, "a retry gets the same offsets");
    let page = grpc.read_stream(read_stream("frames", 0)).unwrap();
    let found: Vec<&str> = page.entries.iter().map(|entry| &*entry.payload_id).collect();
    assert_eq!(found, ids);
    assert_eq!((page.next_offset, page.earliest_offset, page.head_offset), (10, 0, 10));
    assert_eq!(page.incarnation, placed.incarnation);
    let request = v1::GetGroupRequest {
        stream: stream_ref("frames"),
        group: "archive".to_owned(),
    };
    let group = grpc.get_group(request).unwrap().group.unwrap();
    assert_eq!((group.offset, group.lag_entries, group.lag_bytes), (4, 6, 6));
}

#[test]
fn pages_are_bounded_and_filtered_and_join_up() {
    let world = World::start();
    let grpc = world.grpc();
    grpc.create_stream(create_stream("frames")).unwrap();
    for number in 0..20u8 {
        let labelled = v1::PutRequest {
            labels: [("side".to_owned(), if number < 10 { "left" } else { "right" }.to_owned())].into(),
            ..put(&[number; 100])
        };
        let id = grpc.put(labelled).unwrap().payload.unwrap().payload_id;
        let mut request = append("frames", &[&id]);
        request.entries[0].tags = vec![
            if number % 2 == 0 { "even" } else { "odd" }.to_owned(),
            "all".to_owned(),
        ];
        assert_eq!(grpc.append(request).unwrap().first_offset, u64::from(number));
    }
    let page = |request: v1::ReadStreamRequest| grpc.read_stream(request).unwrap();
    let few = page(v1::ReadStreamRequest {
        limit: 3,
        ..read_stream("frames", 5)
    });
    assert_eq!((offsets(&few), few.next_offset), (vec![5, 6, 7], 8));
    let small = page(v1::ReadStreamRequest {
        bytes_max: Some(250),
        ..read_stream("frames", 18)
    });
    assert_eq!((offsets(&small), small.next_offset), (vec![18, 19], 20));
    let least = page(v1::ReadStreamRequest {
        bytes_max: Some(0),
        ..read_stream("frames", 4)
    });
    assert_eq!((offsets(&least), least.next_offset), (vec![4], 5));
    let odd = page(v1::ReadStreamRequest {
        tags: vec!["all".to_owned(), "odd".to_owned()],
        labels: [("side".to_owned(), "right".to_owned())].into(),
        limit: 3,
        ..read_stream("frames", 0)
    });
    assert_eq!((offsets(&odd), odd.next_offset), (vec![11, 13, 15], 16));
    let third = &page(read_stream("frames", 3)).entries[0];
    let since = page(v1::ReadStreamRequest {
        start: Some(v1::ReadStart {
            start: Some(v1::read_start::Start::AtUs(third.at_us)),
        }),
        ..read_stream("frames", 0)
    });
    assert!(since.entries[0].offset <= 3 && since.entries[0].at_us == third.at_us);
    let latest = page(v1::ReadStreamRequest {
        start: Some(v1::ReadStart {
            start: Some(v1::read_start::Start::Edge(v1::Edge::Latest.into())),
        }),
        ..read_stream("frames", 0)
    });
    assert_eq!((offsets(&latest), latest.next_offset), (vec![], 20));
}

#[test]
fn groups_move_forward_are_reset_and_know_their_lag() {
    let world = World::start();
    let grpc = world.grpc();
    grpc.create_stream(create_stream("frames")).unwrap();
    let id = put_id(&grpc, &[0; 50]);
    grpc.append(append("frames", &[&*id; 8])).unwrap();
    let from_to = |expected, offset| v1::CommitOffsetRequest {
        expected_offset: Some(expected),
        ..commit_offset("frames", "g", offset)
    };
    let group = grpc.commit_offset(from_to(0, 5)).unwrap().group.unwrap();
    assert_eq!((group.offset, group.lag_entries, group.lag_bytes), (5, 3, 150));
    assert_eq!(grpc.commit_offset(from_to(0, 5)).unwrap().group.unwrap().offset, 5);
    assert_eq!(reason(grpc.commit_offset(from_to(0, 6))), "GROUP_MOVED");
    let reset = v1::ResetOffsetRequest {
        stream: stream_ref("frames"),
        group: "g".to_owned(),
        to: from_offset(2),
    };
    let group = grpc.reset_offset(reset).unwrap().group.unwrap();
    assert_eq!((group.offset, group.generation), (2, 1));
    let late = v1::CommitOffsetRequest {
        generation: Some(0),
        ..commit_offset("frames", "g", 6)
    };
    assert_eq!(reason(grpc.commit_offset(late)), "GROUP_FENCED");
    grpc.commit_offset(commit_offset("frames", "a", 8)).unwrap();
    let stream = stream_ref("frames");
    let groups = grpc.list_groups(v1::ListGroupsRequest { stream }).unwrap().groups;
    let seen: Vec<_> = groups
        .iter()
        .map(|group| (&*group.group, group.lag_entries, group.lag_age_ms > 0))
        .collect();
    assert_eq!(seen[0], ("a", 0, false));
    assert_eq!((seen[1].0, seen[1].1), ("g", 6));
}

#[test]
fn fault_43_what_retention_took_is_refused_naming_the_earliest() {
    let world = World::start();
    let grpc = world.grpc();
    let request = v1::CreateStreamRequest {
        retention: Some(v1::Retention {
            entries: Some(3),
            ..Default::default()
        }),
        ..create_stream("frames")
    };
    grpc.create_stream(request).unwrap();
    let ids: Vec<String> = (0..10u8).map(|content| put_id(&grpc, &[content])).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    grpc.append(append("frames", &ids)).unwrap();
    until("retention to take the first entries", || {
        (row(&grpc, "frames").earliest_offset == 7).then_some(())
    });
    let refusal = grpc.read_stream(read_stream("frames", 6)).unwrap_err();
    assert_eq!(
        (refusal.code, &*refusal.reason, &*refusal.message),
        (
            tonic::Code::OutOfRange,
            "OFFSET_BEHIND_RETENTION",
            "retention has removed what was before offset 7; the stream begins there"
        )
    );
    assert_eq!(offsets(&grpc.read_stream(read_stream("frames", 7)).unwrap()), [7, 8, 9]);
    // What left does not hold its payload any more, what stayed does.
    grpc.delete_payload(delete(ids[0])).unwrap();
    assert_eq!(reason(grpc.delete_payload(delete(ids[9]))), "PAYLOAD_HELD");
}

#[test]
fn an_entry_says_that_its_payload_is_gone() {
    let world = World::start();
    let grpc = world.grpc();
    let request = v1::CreateStreamRequest {
        hold: v1::Hold::Nothing.into(),
        ..create_stream("free")
    };
    grpc.create_stream(request).unwrap();
    grpc.create_stream(create_stream("held")).unwrap();
    let (free, held) = (put_id(&grpc, b"1"), put_id(&grpc, b"2"));
    grpc.append(append("free", &[&free, &held])).unwrap();
    grpc.append(append("held", &[&held])).unwrap();
    grpc.delete_payload(delete(&free)).unwrap();
    assert_eq!(reason(grpc.delete_payload(delete(&held))), "PAYLOAD_HELD");
    let states = |name: &str| -> Vec<v1::State> {
        let page = grpc.read_stream(read_stream(name, 0)).unwrap();
        page.entries.iter().map(v1::Entry::state).collect()
    };
    assert_eq!(states("free"), [v1::State::Deleted, v1::State::Active]);
    let force = v1::DeletePayloadRequest {
        force: true,
        ..delete(&held)
    };
    grpc.delete_payload(force).unwrap();
    assert_eq!(states("held"), [v1::State::Deleted]);
    // A stream that is deleted lets go of what it held.
    let kept = put_id(&grpc, b"3");
    grpc.append(append("held", &[&kept])).unwrap();
    grpc.delete_stream(v1::DeleteStreamRequest {
        stream: stream_ref("held"),
    })
    .unwrap();
    until("the deleted stream to let go", || {
        grpc.delete_payload(delete(&kept)).ok()
    });
    let payload = grpc.get_payload(get(&kept)).unwrap().payload.unwrap();
    assert_eq!(payload.state(), v1::State::Deleted);
}

#[test]
fn publishing_is_one_call_over_either_door_and_moves_a_group_with_it() {
    let world = World::start();
    let (grpc, local) = (world.grpc(), world.session());
    for name in ["raw", "made"] {
        grpc.create_stream(create_stream(name)).unwrap();
    }
    let to = |stream: &str| {
        Some(v1::Publish {
            stream: stream.to_owned(),
            tags: vec!["t".to_owned()],
            ..Default::default()
        })
    };
    let request = v1::PutRequest {
        request_id: "publish-1".to_owned(),
        publish: to("raw"),
        ..put(b"raw")
    };
    let first = local.put(request.clone()).unwrap();
    assert_eq!(first.appended.as_ref().unwrap().first_offset, 0);
    grpc.append(append("raw", &[&*first.payload.as_ref().unwrap().payload_id]))
        .unwrap();
    assert_eq!(
        local.put(request).unwrap().appended,
        first.appended,
        "a retry gets the same offset"
    );

    // Consume, transform, produce: the output and the group's offset become true together, or not at all.
    let step = |from: u64, offset: u64| v1::Publish {
        progress: Some(v1::CommitOffsetRequest {
            expected_offset: Some(from),
            ..commit_offset("raw", "transform", offset)
        }),
        ..to("made").unwrap()
    };
    let (allocation, fd) = local.allocate(allocate(100)).unwrap();
    drop(fd);
    let publish = |publish| v1::CommitRequest {
        publish: Some(publish),
        ..commit(&allocation.payload_id)
    };
    assert_eq!(reason(local.commit(publish(step(1, 2)))), "GROUP_MOVED");
    let state = grpc
        .get_payload(get(&allocation.payload_id))
        .unwrap()
        .payload
        .unwrap()
        .state();
    assert_eq!((state, row(&grpc, "made").head_offset), (v1::State::Allocated, 0));
    let made = local.commit(publish(step(0, 1))).unwrap();
    assert_eq!(made.appended.unwrap().first_offset, 0);
    let page = grpc.read_stream(read_stream("made", 0)).unwrap();
    assert_eq!(
        (&*page.entries[0].payload_id, &*page.entries[0].tags),
        (&*allocation.payload_id, &["t".to_owned()][..])
    );
    let request = v1::GetGroupRequest {
        stream: stream_ref("raw"),
        group: "transform".to_owned(),
    };
    assert_eq!(grpc.get_group(request).unwrap().group.unwrap().offset, 1);
    // Many outputs of one step are appended together with its progress.
    let outputs = [put_id(&grpc, b"1"), put_id(&grpc, b"2")];
    let request = v1::AppendRequest {
        progress: step(1, 2).progress,
        ..append("made", &[&*outputs[0], &*outputs[1]])
    };
    assert_eq!(grpc.append(request.clone()).unwrap().first_offset, 1);
    assert_eq!(reason(grpc.append(request)), "GROUP_MOVED");
    assert_eq!(row(&grpc, "made").head_offset, 3);
}
