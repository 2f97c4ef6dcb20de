//! `ls` finds what it is asked for.
#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use world::World;

fn ids(world: &World, args: &[&str]) -> Vec<String> {
    let document = world.json(&[&["ls"], args].concat());
    let payloads = document["payloads"].as_array().unwrap().iter();
    let ids = payloads.map(|payload| payload["payload_id"].as_str().unwrap().to_owned());
    ids.collect()
}

#[test]
fn payloads_are_found_by_what_they_are() {
    let world = World::new();
    let small = world.put(b"1", &["--label", "camera=left", "--label", "run=7"]);
    let large = world.put(&[7; 5_000], &["--label", "camera=left", "--tier", "disk"]);
    let plain = world.put(b"22", &[]);
    let gone = world.put(b"333", &["--label", "camera=left"]);
    world.ok(&["rm", &gone]);
    let (small, large, plain) = (small.as_str(), large.as_str(), plain.as_str());
    assert_eq!(ids(&world, &["--label", "camera=left", "--label", "run=7"]), [small]);
    assert_eq!(ids(&world, &["--label", "camera=left", "--state", "deleted"]), [&*gone]);
    assert_eq!(ids(&world, &["--sort", "size"]), [small, plain, large]);
    assert_eq!(ids(&world, &["--sort", "size", "--reverse", "-n", "2"]), [large, plain]);
    assert_eq!(ids(&world, &["--tier", "disk"]), [large]);
    assert_eq!(
        ids(&world, &["--min-size", "2", "--max-size", "1KiB", "--state", "active"]),
        [plain]
    );
    assert_eq!(ids(&world, &["--since", "1h", "--state", "active"]).len(), 3);
    assert!(ids(&world, &["--until", "1h"]).is_empty());
    assert_eq!(
        ids(
            &world,
            &["--committed-since", "1h", "--committed-until", "9999-01-01T00:00:00Z"]
        )
        .len(),
        4
    );
    assert!(ids(&world, &["-n", "0"]).is_empty());
}

#[test]
fn payloads_are_counted_listed_or_not() {
    let world = World::new();
    for content in [b"1", b"2", b"3"] {
        world.put(content, &[]);
    }
    let table = world.ok(&["ls", "-n", "1", "--count"]);
    assert!(table.ends_with("\n3 payloads\n"), "{table}");
    assert_eq!(table.lines().count(), 3, "{table}");
}

#[test]
fn what_cannot_be_listed_is_refused() {
    let world = World::new();
    for args in [
        &["--label", "camera"][..],
        &["--sort", "size", "--state", "deleted"],
        &["--min-size", "2", "--max-size", "1"],
        &["--since", "yesterday"],
        &["--tier", "tape"],
    ] {
        assert_eq!(world.run(&[&["ls"], args].concat()).code, 2, "{args:?}");
    }
}
