//! What happened, as a person sees it.
#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use world::World;

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
