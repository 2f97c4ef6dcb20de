//! `payloadctl stream` against a real server.
#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use payload_client::{Client, ConsumerOptions, PayloadId, Reason, v1};
use payload_core::limits;
use world::World;

#[test]
fn a_stream_is_made_appended_to_read_followed_and_removed() {
    let world = World::new();
    let ids: Vec<String> = (0..5u8).map(|content| world.put(&[content], &[])).collect();
    world.ok(&["stream", "create", "frames"]);
    let appended = world.ok(&["stream", "append", "frames", &ids[0]]);
    assert_eq!(appended, "offset 0\n");
    let appended = world.ok(&["stream", "append", "frames", &ids[1], &ids[2], &ids[3], "--tag", "left"]);
    assert_eq!(appended, "offsets 1 to 3\n");

    let offsets = |args: &[&str]| -> Vec<u64> {
        let document = world.json(&[&["stream", "read", "frames"], args].concat());
        let entries = document["entries"].as_array().unwrap().clone();
        entries.iter().map(|entry| entry["offset"].as_u64().unwrap()).collect()
    };
    assert_eq!(offsets(&[]), [0, 1, 2, 3]);
    assert_eq!(offsets(&["--from", "2"]), [2, 3]);
    assert_eq!(offsets(&["--from", "1", "-n", "2"]), [1, 2]);
    assert_eq!(offsets(&["--from", "latest"]), [0; 0]);
    assert_eq!(offsets(&["--tag", "left", "-n", "1"]), [1]);

    world.ok(&["stream", "commit", "frames", "--group", "archive", "--offset", "3"]);
    let groups = world.json(&["stream", "groups", "frames"]);
    assert_eq!(groups["groups"][0]["lag_entries"], 1);
    let ran = world.run(&["stream", "commit", "frames", "--group", "archive", "--offset", "1"]);
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.stderr,
        "payloadctl: commit in frames: the group is at offset 3 already; only a reset moves it back\n"
    );
    let reset = world.json(&["stream", "reset", "frames", "--group", "archive", "--to", "1"]);
    assert_eq!(
        (&reset["group"]["offset"], &reset["group"]["generation"]),
        (&1.into(), &1.into())
    );

    let ran = world.run(&["rm", &ids[0]]);
    assert!(ran.stderr.contains("holds payload"), "{}", ran.stderr);
    world.ok(&["stream", "rm", "frames"]);
    let ran = world.run(&["stream", "show", "frames"]);
    assert_eq!(ran.code, 3);
    assert_eq!(
        ran.stderr,
        "payloadctl: show stream frames: no such stream in this namespace; look at payloadctl stream ls\n"
    );
}

#[test]
fn settings_are_changed_one_by_one() {
    let world = World::new();
    world.ok(&["stream", "create", "s", "--keep-entries", "10", "--hold", "nothing"]);
    world.ok(&["stream", "set", "s", "--keep-for", "90s"]);
    let stream = &world.json(&["stream", "set", "s", "--batch-max", "7"])["stream"];
    assert_eq!((&stream["hold"], &stream["batch_max"]), (&"NOTHING".into(), &7.into()));
    let retention = serde_json::json!({ "entries": 10, "age_ms": 90_000 });
    assert_eq!(stream["retention"], retention);
    for bad in [
        &["create", "../x"][..],
        &["create", "s", "--batch-max", "0"],
        &["read", "s", "--from", "-1"],
    ] {
        assert_eq!(world.run(&[&["stream"], bad].concat()).code, 2, "{bad:?}");
    }
}

#[test]
fn a_command_is_run_for_each_entry_and_its_success_is_remembered() {
    let world = World::new();
    let put = |content: &[u8]| world.put(content, &[]);
    let ids = [put(b"one "), put(b"two "), put(b"three ")];
    world.ok(&["stream", "create", "frames"]);
    world.ok(&["stream", "append", "frames", &ids[0], &ids[1]]);
    let out = world.path("out");
    let collect = format!("cat >> {0}; echo \"$STREAM_OFFSET $PAYLOAD_ID\" >> {0}", out.display());
    let tail = ["stream", "tail", "frames", "--group", "g", "--exec"];
    world.ok(&[&tail[..], &[&*collect]].concat());
    let seen = || std::fs::read_to_string(&out).unwrap();
    let expected = format!("one 0 {}\ntwo 1 {}\n", ids[0], ids[1]);
    assert_eq!(seen(), expected);
    world.ok(&[&tail[..], &[&*collect]].concat());
    assert_eq!(seen(), expected, "what was dealt with does not come again");

    world.ok(&["stream", "append", "frames", &ids[2]]);
    let ran = world.run(&[&tail[..], &["exit 3"]].concat());
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.stderr,
        "payloadctl: run the command for offset 2 of frames: exit status: 3\n"
    );
    world.ok(&[&tail[..], &[&*collect]].concat());
    assert_eq!(seen(), format!("{expected}three 2 {}\n", ids[2]));
    assert_eq!(world.json(&["stream", "groups", "frames"])["groups"][0]["offset"], 3);
}

#[test]
fn a_follower_prints_what_comes() {
    let world = World::new();
    let id = world.put(b"x", &["--tier", "disk"]);
    world.ok(&["stream", "create", "frames"]);
    world.ok(&["stream", "append", "frames", &id]);
    let mut follower = world
        .command(&["-o", "json", "stream", "tail", "frames", "-f"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next = || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["offset"], 0);
    world.ok(&["stream", "append", "frames", &id]);
    assert_eq!(next()["offset"], 1);
    follower.kill().unwrap();
    follower.wait().unwrap();
}

/// Pages that end where they are expected to, pages that end before that, and a stream that grows meanwhile.
#[tokio::test]
async fn a_stream_is_read_in_pages_to_its_end_whatever_ends_them() {
    let world = World::new();
    let id: PayloadId = world.put(&[7; 10], &[]).parse().unwrap();
    let client = Client::connect(world.endpoint()).await.unwrap();
    let (streams, name) = (client.streams(), "frames".parse().unwrap());
    streams.create(&name, v1::CreateStreamRequest::default()).await.unwrap();
    for _ in 0..5 {
        streams.append(&name, &[id; 5]).await.unwrap();
    }
    for (limit, bytes_max) in [(0, None), (4, None), (5, None), (25, None), (10, Some(40))] {
        let request = v1::ReadStreamRequest {
            limit,
            bytes_max,
            ..v1::ReadStreamRequest::default()
        };
        let (mut pages, mut offsets) = (streams.pages(&name, request), Vec::new());
        while let Some(page) = pages.next().await.unwrap() {
            offsets.extend(page.entries.iter().map(|entry| entry.offset));
        }
        assert_eq!(offsets, (0..25).collect::<Vec<u64>>(), "limit {limit}, {bytes_max:?}");
    }

    let request = v1::ReadStreamRequest {
        limit: 20,
        ..v1::ReadStreamRequest::default()
    };
    let mut pages = streams.pages(&name, request);
    assert_eq!(pages.next().await.unwrap().unwrap().next_offset, 20);
    streams.append(&name, &[id; 5]).await.unwrap();
    let mut last = 20;
    while let Some(page) = pages.next().await.unwrap() {
        assert_eq!(page.entries[0].offset, last);
        last = page.next_offset;
    }
    assert!(last >= 25, "what was there when it was asked for is read: {last}");
    streams.delete(&name).await.unwrap();
    assert_eq!(
        streams
            .pages(&name, v1::ReadStreamRequest::default())
            .next()
            .await
            .unwrap_err()
            .reason(),
        Reason::StreamNotFound
    );
}

/// The client's own tasks go on while the server is stopped in the end, which waits for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_client_has_more_consumers_than_its_session_has_subscriptions() {
    let world = World::new();
    let id: PayloadId = world.put(b"x", &[]).parse().unwrap();
    let client = Client::connect(world.endpoint()).await.unwrap();
    let (streams, name) = (client.streams(), "frames".parse().unwrap());
    streams.create(&name, v1::CreateStreamRequest::default()).await.unwrap();
    streams.append(&name, &[id]).await.unwrap();
    let mut consumers = Vec::new();
    for number in 0..limits::SESSION_SUBSCRIPTIONS_MAX + 3 {
        let mut consumer = streams.consume(&name, ConsumerOptions::default());
        let entry = consumer
            .next()
            .await
            .unwrap_or_else(|error| panic!("consumer {number}: {error}"));
        assert_eq!(entry.offset, 0);
        consumers.push(consumer);
    }
}
