//! Labels and expiry from the command line.
#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use world::World;

#[test]
fn labels_are_set_and_removed() {
    let world = World::new();
    let id = world.put(b"x", &["--label", "camera=left", "--label", "run=7"]);
    let shown = world.ok(&["label", &id, "camera=right", "run-", "sharp="]);
    assert!(shown.contains("labels      camera=right sharp=\n"), "{shown}");
    let stale = world.run(&["label", &id, "camera=up", "--if-version", "1"]);
    assert_eq!(stale.code, 1);
    let events = world.ok(&["show", &id, "--events"]);
    assert!(events.contains("updated"), "{events}");
}

#[test]
fn an_expiry_is_changed_and_taken_away() {
    let world = World::new();
    let id = world.put(b"x", &["--name", "n"]);
    let deadline = |args: &[&str]| {
        let document = world.json(&[&["expire", "name:n"], args].concat());
        document["payload"]["deadline_at_us"].as_i64()
    };
    let soon = deadline(&["--in", "10m"]).unwrap();
    let late = jiff::Timestamp::from_microsecond(soon + 86_400_000_000).unwrap();
    assert_eq!(deadline(&["--at", &late.to_string()]), Some(late.as_microsecond()));
    assert_eq!(deadline(&["--never"]), None);
    assert_eq!(world.run(&["cat", &id]).stdout, b"x");
    world.ok(&["expire", &id, "--at", "2001-01-01T00:00:00Z"]);
    assert_eq!(world.run(&["cat", &id]).code, 1);
    assert_eq!(world.run(&["expire", &id, "--never"]).code, 1);
}

#[test]
fn what_cannot_be_meant_is_refused_at_the_command_line() {
    let world = World::empty();
    for args in [
        &["label", "name:n"][..],
        &["label", "name:n", "camera"],
        &["expire", "name:n"],
        &["expire", "name:n", "--never", "--in", "1s"],
        &["expire", "name:n", "--at", "tomorrow"],
    ] {
        assert_eq!(world.run(args).code, 2, "{args:?}");
    }
}
