//! The commands against a real server.
#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::io::Read;
use std::process::Stdio;

use payload_client::{AcquireOptions, Client, LeaseState, PayloadId, PutOptions};
use world::{World, bytes, files_below, interrupt, pause};

const NOBODY: &str = "01890000-0000-7000-8000-000000000001";

#[test]
fn what_was_put_comes_back_from_every_tier_in_every_size() {
    let world = World::new();
    for tier in ["ram", "disk"] {
        for size in [0, 1, 4096, 4097, 65_536, 65_537, 3_000_000] {
            let content = bytes(size);
            let id = world.put(&content, &["--tier", tier]);
            let ran = world.run(&["cat", &id]);
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{size} bytes in {tier}");
            assert!(ran.stdout == content, "{size} bytes in {tier}");
            world.ok(&["get", &id]);
            assert!(
                std::fs::read(world.path(&id)).unwrap() == content,
                "{size} bytes in {tier}"
            );
        }
    }
}

#[test]
fn standard_input_and_pipes_are_put_like_files() {
    let world = World::new();
    let content = bytes(200_000);
    let ran = world.run_with_input(
        &["put", "-", "--label", "from=pipe", "--ttl", "1h", "-o", "json"],
        &content,
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let document: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    let payload = &document["payloads"][0];
    assert_eq!(
        (&payload["labels"]["from"], &payload["ttl_ms"]),
        (&"pipe".into(), &3_600_000.into())
    );
    assert!(world.run(&["cat", payload["payload_id"].as_str().unwrap()]).stdout == content);
}

#[test]
fn the_files_before_one_that_fails_are_put_and_named() {
    let world = World::new();
    world.file("good", b"good");
    let ran = world.run(&["put", "good", "missing", "good"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.starts_with("payloadctl: read missing: "), "{}", ran.stderr);
    assert_eq!(String::from_utf8(ran.stdout).unwrap().lines().count(), 1);
}

#[test]
fn a_file_is_overwritten_only_by_force_and_nothing_is_left_beside_it() {
    let world = World::new();
    let id = world.put(b"new", &[]);
    world.file("taken", b"old");
    let ran = world.run(&["get", &id, "-O", "taken"]);
    assert_eq!(ran.code, 1);
    let line = format!("payloadctl: get {id}: taken exists; name another one with -O, or overwrite it with --force\n");
    assert_eq!(ran.stderr, line);
    assert_eq!(std::fs::read(world.path("taken")).unwrap(), b"old");
    world.ok(&["get", &id, "-O", "taken", "--force"]);
    assert_eq!(std::fs::read(world.path("taken")).unwrap(), b"new");
    let names = std::fs::read_dir(world.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(
        names
            .into_iter()
            .all(|name| !name.to_string_lossy().starts_with(".payloadctl"))
    );
}

#[test]
fn lists_are_paged_filtered_and_bounded() {
    let world = World::new();
    let ids: Vec<String> = (0..5).map(|i| world.put(&[i], &[])).collect();
    world.ok(&["rm", &ids[0]]);
    let listed = |args: &[&str]| -> Vec<String> {
        let document = world.json(&[&["ls"], args].concat());
        let payloads = document["payloads"].as_array().unwrap().clone();
        payloads
            .iter()
            .map(|payload| payload["payload_id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(listed(&[]), ids);
    assert_eq!(listed(&["--state", "active"]), ids[1..]);
    assert_eq!(listed(&["-n", "2"]), ids[..2]);
    assert_eq!(listed(&["-n", "0"]), ids[..0]);
    world.ok(&["namespace", "create", "other"]);
    assert_eq!(listed(&["--namespace", "other"]), ids[..0]);
    let table = world.ok(&["ls"]);
    assert_eq!(table.lines().count(), 6);
    assert!(table.starts_with("ID ") && !table.contains('\u{1b}'), "{table}");
}

#[tokio::test]
async fn leases_are_seen_revoked_and_waited_for() {
    let world = World::new();
    let id = world.put(b"held", &[]);
    let client = Client::connect(world.endpoint()).await.unwrap();
    let lease = client
        .acquire(id.parse::<PayloadId>().unwrap(), AcquireOptions::default())
        .await
        .unwrap();

    let leases = world.json(&["leases", "--payload", &id]);
    let holder = &leases["leases"][0]["holder"];
    assert_eq!(
        (&holder["pid"], &holder["kind"]),
        (&std::process::id().into(), &"local".into())
    );
    assert!(world.ok(&["leases"]).contains(&id));

    let removed = world.json(&["rm", &id, "--reason", "old"]);
    assert_eq!(
        (&removed["payloads"][0]["state"], &removed["payloads"][0]["leases"]),
        (&"DELETING".into(), &1.into())
    );
    let serial = leases["leases"][0]["lease_serial"].to_string();
    world.ok(&["revoke", &serial]);
    while lease.state() == LeaseState::Live {
        tokio::task::yield_now().await;
    }
    assert_eq!((lease.state(), &*lease), (LeaseState::Revoked, &b"held"[..]));
    assert_eq!(world.run(&["revoke", &serial]).code, 3);
    while world.json(&["show", &id])["payload"]["state"] != "DELETED" {
        pause();
    }
    let events = world.json(&["show", &id, "--events"])["events"].clone();
    let reasons: Vec<_> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["reason"].clone())
        .collect();
    assert!(reasons.contains(&"old".into()), "{events}");
}

#[tokio::test]
async fn a_forced_removal_waits_for_nobody() {
    let world = World::new();
    let id = world.put(b"held", &[]);
    let client = Client::connect(world.endpoint()).await.unwrap();
    let lease = client
        .acquire(id.parse::<PayloadId>().unwrap(), AcquireOptions::default())
        .await
        .unwrap();
    let removed = world.json(&["rm", &id, "--force"]);
    assert_eq!(removed["payloads"][0]["leases"], 0);
    assert_eq!(&*lease, b"held");
}

#[test]
fn without_the_local_socket_contents_of_every_size_travel() {
    let world = World::new();
    let address = world.address();
    let remote = |args: &[&str]| {
        let ran = world.run(&[&["--endpoint", &address], args].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stdout
    };
    for tier in ["ram", "disk"] {
        for size in [0, 1, 65_536, 65_537, 300_000, 3_000_000] {
            let file = world.file("sent", &bytes(size));
            let sent = remote(&["put", "--tier", tier, file.to_str().unwrap()]);
            let id = String::from_utf8(sent).unwrap().trim().to_owned();
            assert!(world.run(&["cat", &id]).stdout == bytes(size), "{size} bytes to {tier}");
            assert!(remote(&["cat", &id]) == bytes(size), "{size} bytes from {tier}");
            remote(&["get", &id, "-O", "got"]);
            assert!(std::fs::read(world.path("got")).unwrap() == bytes(size));
            std::fs::remove_file(world.path("got")).unwrap();
        }
    }
    assert!(remote(&["ls"]) == world.run(&["ls"]).stdout);
}

#[tokio::test]
async fn a_batch_of_the_largest_small_contents_travels_without_the_local_socket() {
    let world = World::new();
    let client = Client::connect(payload_client::Endpoint::address(world.address()))
        .await
        .unwrap();
    assert!(client.is_remote());
    let mut ids = Vec::new();
    for n in 0..65u8 {
        let payload = client.put(&vec![n; 65_536], PutOptions::default()).await.unwrap();
        ids.push(payload.payload_id.parse().unwrap());
    }
    let leases = client.acquire_many(&ids, AcquireOptions::default()).await.unwrap();
    for (n, lease) in leases.into_iter().enumerate() {
        let lease = lease.unwrap();
        assert!(*lease == vec![n as u8; 65_536]);
        lease.release().await.unwrap();
    }
}

#[test]
fn a_reader_that_stops_early_is_no_error() {
    let world = World::new();
    let id = world.put(&bytes(3_000_000), &[]);
    let mut child = world.command(&["cat", &id]).spawn().unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    assert_eq!(first, bytes(10)[..]);
}

#[test]
fn wrong_command_lines_and_requests_have_code_2() {
    let world = World::new();
    world.file("f", b"x");
    let bad: [&[&str]; 7] = [
        &["nonsense"],
        &["cat", "not-an-id"],
        &["put", "f", "--tier", "tape"],
        &["put", "f", "--ttl", "10"],
        &["--namespace", "../etc", "ls"],
        &["--endpoint", "ftp://x", "ls"],
        &["put", "f", "--label", "BAD KEY=x"],
    ];
    for args in bad {
        assert_eq!(world.run(args).code, 2, "{args:?}");
    }
}

#[test]
fn what_is_not_there_has_code_3() {
    let world = World::new();
    for args in [
        &["cat", NOBODY][..],
        &["get", NOBODY],
        &["show", NOBODY],
        &["rm", NOBODY],
        &["revoke", "1"],
    ] {
        let ran = world.run(args);
        assert_eq!(ran.code, 3, "{args:?}: {}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1);
    }
}

#[test]
fn fault_58_without_a_server_the_code_is_4() {
    let world = World::empty();
    for endpoint in [world.endpoint_file().to_str().unwrap(), "http://127.0.0.1:1"] {
        for args in [&["ls"][..], &["cat", NOBODY], &["stats"]] {
            let ran = world.run(&[&["--endpoint", endpoint], args].concat());
            assert_eq!(ran.code, 4, "{args:?}: {}", ran.stderr);
            assert!(
                ran.stderr
                    .ends_with("; start payloadd, or name the server with --endpoint\n"),
                "{}",
                ran.stderr
            );
        }
    }
}

#[test]
fn fault_58_help_and_completions_need_no_server() {
    let world = World::empty();
    assert!(world.ok(&["--help"]).contains("completions"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(world.ok(&["completions", shell]).contains("payloadctl"));
    }
}

#[test]
fn fault_10_damaged_bytes_have_code_5_and_are_never_shown() {
    let world = World::new();
    let id = world.put(&bytes(3_000_000), &["--tier", "disk"]);
    let is_the_file = |path: &std::path::PathBuf| path.metadata().unwrap().len() >= 3_000_000;
    let file = files_below(&world.data().join("disk"))
        .into_iter()
        .find(is_the_file)
        .unwrap();
    let mut damaged = bytes(3_000_000);
    damaged[1_500_000] ^= 1;
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(&file, damaged).unwrap();
    let ran = world.run(&["cat", &id]);
    assert_eq!((ran.code, ran.stdout.len()), (5, 0), "{}", ran.stderr);
    for endpoint in [world.endpoint_file().to_str().unwrap(), &world.address()] {
        let ran = world.run(&["--endpoint", endpoint, "get", &id]);
        assert_eq!((ran.code, world.path(&id).exists()), (5, false), "{}", ran.stderr);
    }
}

#[test]
fn an_interrupt_has_code_130_even_while_a_pipe_is_silent() {
    let world = World::new();
    let mut child = world.command(&["put", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let silent = child.stdin.take().unwrap();
    // The program listens for the signal before it connects.
    while world.json(&["stats"])["sessions"] == 0 {
        pause();
    }
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(output.stderr, b"payloadctl: stopped: interrupted\n");
    drop(silent);
}

#[test]
fn payloads_are_moved_between_tiers_and_stay_readable() {
    let world = World::new();
    let content = bytes(3_000_000);
    let (one, two) = (world.put(&content, &[]), world.put(b"small", &[]));
    let spilled = world.json(&["spill", &one, &two]);
    for payload in spilled["payloads"].as_array().unwrap() {
        let replicas = payload["replicas"].as_array().unwrap();
        assert_eq!((replicas.len(), &replicas[0]["tier"]), (1, &"DISK".into()));
    }
    assert!(world.run(&["cat", &one]).stdout == content);
    assert_eq!(world.ok(&["promote", &one]).trim(), format!("{one}  ram disk"));
    world.ok(&["prefetch", &two]);
    let ran = world.run(&["promote", NOBODY, &two]);
    assert_eq!(
        (ran.code, String::from_utf8(ran.stdout).unwrap().lines().count()),
        (3, 1)
    );
    assert!(ran.stderr.contains(NOBODY), "{}", ran.stderr);
    assert_eq!(world.run(&["spill", &one, "--to", "ram"]).code, 2);
}
