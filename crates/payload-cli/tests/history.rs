//! What happened, as a person sees it.
#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use world::{World, interrupt};

fn kinds(document: &serde_json::Value) -> Vec<&str> {
    let events = document["events"].as_array().unwrap();
    events.iter().map(|event| event["kind"].as_str().unwrap()).collect()
}

#[test]
fn events_are_shown_of_all_of_one_and_of_some_kinds() {
    let world = World::new();
    let (one, two) = (world.put(b"1", &[]), world.put(b"2", &[]));
    world.ok(&["rm", &one, "--reason", "not needed"]);
    let all = world.json(&["events"]);
    assert_eq!(kinds(&all), ["committed", "committed", "delete_requested", "deleted"]);
    assert_eq!(kinds(&world.json(&["events", "--payload", &two])), ["committed"]);
    let some = world.json(&["events", "--kind", "deleted", "--kind", "delete_requested"]);
    assert_eq!(kinds(&some), ["delete_requested", "deleted"]);
    assert_eq!(some["events"][0]["reason"], "not needed");

    let cursor = all["cursor"].as_str().unwrap();
    assert_eq!(kinds(&world.json(&["events", "--after", cursor])), [""; 0]);
    world.ok(&["rm", &two]);
    let later = world.json(&["events", "--after", cursor]);
    assert_eq!(kinds(&later), ["delete_requested", "deleted"]);
    let table = world.ok(&["events"]);
    assert!(table.starts_with("TIME ") && table.contains("not needed"), "{table}");
    assert_eq!(table.lines().count(), 7);
}

#[test]
fn metadata_is_set_patched_and_read_as_of_any_revision() {
    let world = World::new();
    let id = world.put(b"x", &[]);
    world.file("one", br#"{"a": 1}"#);
    world.file("patch", br#"{"b": [2]}"#);
    let ran = world.run(&["meta", "get", &id]);
    assert_eq!(ran.code, 3);
    world.ok(&[
        "meta",
        "set",
        &id,
        "--file",
        "one",
        "--content-type",
        "application/json",
    ]);
    let set = world.json(&[
        "meta",
        "patch",
        &id,
        "--file",
        "patch",
        "--if-revision",
        "1",
        "--reason",
        "more",
    ]);
    assert_eq!((&set["revision"], &set["version"]), (&2.into(), &3.into()));
    let ran = world.run(&["meta", "patch", &id, "--file", "patch", "--if-revision", "1"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert_eq!(world.ok(&["meta", "get", &id, "--raw"]), r#"{"a":1,"b":[2]}"#);
    assert_eq!(
        world.ok(&["meta", "get", &id, "--raw", "--revision", "1"]),
        r#"{"a": 1}"#
    );
    let page = world.ok(&["meta", "get", &id]);
    assert!(page.contains("application/json") && page.contains(r#""b""#), "{page}");
    let history = world.ok(&["meta", "history", &id]);
    assert_eq!(history.lines().count(), 3);
    assert!(history.contains("more"), "{history}");
    let shown = world.ok(&["show", &id]);
    assert!(shown.contains("METADATA") && shown.contains("revision    2"), "{shown}");

    world.file("raw", &[0, 0xff, b'\n']);
    world.ok(&["meta", "set", &id, "--file", "raw"]);
    assert_eq!(world.run(&["meta", "get", &id, "--raw"]).stdout, [0, 0xff, b'\n']);
    assert!(world.ok(&["meta", "get", &id]).contains("not text"));
    world.file("large", &[b'x'; (64 << 10) + 1]);
    assert_eq!(world.run(&["meta", "set", &id, "--file", "large"]).code, 2);
}

#[test]
fn an_application_notes_events() {
    let world = World::new();
    let id = world.put(b"x", &[]);
    world.file("note", b"sharp");
    world.ok(&[
        "event",
        "append",
        &id,
        "--type",
        "quality/checked",
        "--file",
        "note",
        "--content-type",
        "text/plain",
    ]);
    world.ok(&["event", "append", &id, "--type", "seen"]);
    let events = world.json(&["events", "--kind", "application"]);
    let note = &events["events"][0]["note"];
    assert_eq!(
        (&note["event_type"], &note["document"]["text"]),
        (&"quality/checked".into(), &"sharp".into())
    );
    assert_eq!(kinds(&events), ["application", "application"]);
    let ran = world.run(&["event", "append", &id, "--type", "no spaces"]);
    assert_eq!(ran.code, 2);
}

#[test]
fn events_are_followed_until_somebody_interrupts_also_over_a_restart() {
    let mut world = World::new();
    let first = world.put(b"x", &["--durability", "host"]);
    let mut child = world
        .command(&["-o", "json", "events", "--follow", "--kind", "committed"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || {
        let document: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        document["events"][0]["payload_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(next(), first);
    let second = world.put(b"y", &["--durability", "host"]);
    assert_eq!(next(), second);
    world.kill();
    world.start();
    let third = world.put(b"z", &[]);
    assert_eq!(next(), third);
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn the_events_of_every_payload_add_up() {
    let world = World::new();
    let ids: Vec<String> = (0..5)
        .map(|i| world.put(&[i], &["--label", "a=b", "--ttl", "1h"]))
        .collect();
    world.ok(&["rm", &ids[0]]);
    let text = world.ok(&["verify", "--events"]);
    assert_eq!(text, "5 payloads verified, 0 of them without their first events\n");
    assert_eq!(world.json(&["verify", "--events", &ids[0]])["payloads"], 1);
    let ran = world.run(&["verify"]);
    assert_eq!(ran.code, 2);
}
