//! What people read about tiers.
#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use payload_client::{AcquireOptions, Client, PayloadId};
use payload_testkit::process::until;
use world::{World, bytes};

/// Each of the words, in this order.
fn reads(text: &str, words: &[&str]) {
    let mut rest = text;
    for word in words {
        let (_, after) = rest
            .split_once(word)
            .unwrap_or_else(|| panic!("no {word:?} in\n{text}"));
        rest = after;
    }
}

#[tokio::test]
async fn explain_tells_a_payloads_story() {
    let world = World::new();
    let id = world.put(&bytes(3_000_000), &["--priority", "high"]);
    let free = [
        "ram",
        "here since",
        "allocated by",
        "may go when room is short: copied to a tier below first",
    ];
    reads(&world.ok(&["explain", &id]), &free);
    let client = Client::connect(world.endpoint()).await.unwrap();
    let payload = id.parse::<PayloadId>().unwrap();
    let lease = client.acquire(payload, AcquireOptions::default()).await.unwrap();
    world.ok(&["spill", &id]);
    let held = [
        &*id,
        "2.86 MiB in namespace default, active, durability volatile; policy: priority high",
        "ram",
        "stays: 1 lease holds it",
        "disk",
        "replica added by server:mover (spill)",
        "stays: there is no tier below",
        "next    it leaves ram when the last lease there ends",
        "SERIAL",
    ];
    reads(&world.ok(&["explain", &id]), &held);
    reads(
        &world.ok(&["holders"]),
        &["PID", "LEASES", &std::process::id().to_string(), "1", "2.86 MiB"],
    );
    drop(lease);
}

#[test]
fn a_payload_is_pinned_and_unpinned() {
    let world = World::new();
    let id = world.put(&bytes(3_000_000), &["--min-residency", "30s", "--min-tier", "disk"]);
    assert_eq!(world.ok(&["pin", &id]), format!("{id}  pinned to ram\n"));
    reads(
        &world.ok(&["explain", &id]),
        &["stays: somebody has pinned it; it has not been there", "nothing"],
    );
    reads(
        &world.ok(&["show", &id]),
        &["not below disk, in RAM for 30000 ms at least"],
    );
    reads(&world.ok(&["pin", &id, "--for", "10m"]), &[&id, "pinned to ram until"]);
    assert_eq!(
        world.ok(&["unpin", &id, "--tier", "ram"]),
        format!("{id}  not pinned\n")
    );
}

#[test]
fn what_is_written_behind_is_shown_until_it_is_there_and_then_as_what_it_is() {
    let world = World::new();
    let id = world.put(&bytes(3_000_000), &["--write-behind", "host"]);
    reads(&world.ok(&["show", &id]), &["written behind, to survive as host soon"]);
    until("the copy to be made", || {
        let shown = world.json(&["show", &id]);
        (shown["payload"]["durability"] == "HOST").then_some(())
    });
    reads(&world.ok(&["explain", &id]), &["disk", "write-behind"]);
    let refused = world.run(&["put", "--durability", "host", "--write-behind", "host", "-"]);
    assert_ne!(refused.code, 0);
}

#[test]
fn tiers_and_transfers_are_shown() {
    let world = World::new();
    let id = world.put(&bytes(3_000_000), &[]);
    let words = [
        "ram",
        "% of",
        "payloads",
        "1 replica in",
        "free",
        "marks",
        "above 90 % replicas leave until 80 % is reached",
        "may go",
        "first",
        &id,
        "copied to a tier below first",
        "disk",
    ];
    reads(&world.ok(&["tiers"]), &words);
    reads(&world.ok(&["transfers"]), &["nothing moves"]);
    reads(&world.ok(&["transfers", "cancel", &id]), &["nothing of it moves"]);
}

#[test]
fn a_payload_goes_from_memory_to_the_bucket_and_back_and_survives_the_host() {
    let mut world = World::with_bucket();
    let content = bytes(3_000_000);
    let volatile = world.put(&content, &[]);
    let kept = world.put(&content, &["--durability", "object"]);
    let small = world.put(b"small", &["--tier", "object"]);
    reads(&world.ok(&["show", &kept]), &["durability", "object"]);
    world.ok(&["spill", &volatile, "--to", "object"]);
    reads(&world.ok(&["explain", &volatile]), &["object", "spill"]);
    reads(&world.ok(&["tiers"]), &["ram", "disk", "object", "3 replicas"]);
    // Without its keeper the server takes what is in memory along.
    world.kill();
    world.start();
    for (id, expected) in [(&volatile, &content[..]), (&kept, &content), (&small, b"small")] {
        assert!(
            world.run(&["cat", id]).stdout == expected,
            "{id} came back as something else"
        );
    }
    let shown = world.json(&["show", &volatile]);
    let replicas = shown["payload"]["replicas"].as_array().unwrap();
    let mut tiers: Vec<_> = replicas
        .iter()
        .map(|replica| replica["tier"].as_str().unwrap())
        .collect();
    tiers.sort_unstable();
    assert_eq!(tiers, ["OBJECT", "RAM"]);
    for id in [&volatile, &kept, &small] {
        world.ok(&["rm", id]);
    }
    while !world::files_below(&world.bucket()).is_empty() {
        world::pause();
    }
}

#[test]
fn without_a_bucket_nothing_goes_there() {
    let world = World::new();
    let id = world.put(&bytes(1_000), &[]);
    for args in [
        &["spill", &id, "--to", "object"][..],
        &["put", "-", "--durability", "object"],
    ] {
        let ran = world.run_with_input(args, b"x");
        assert!(ran.stderr.contains("this server has no tier object"), "{}", ran.stderr);
    }
}
