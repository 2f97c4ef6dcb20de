//! What people read about tiers.
#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use payload_client::{AcquireOptions, Client, PayloadId};
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
        "may go when room is short: copied to disk first",
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
        "copied to disk first",
        "disk",
    ];
    reads(&world.ok(&["tiers"]), &words);
    reads(&world.ok(&["transfers"]), &["nothing moves"]);
    reads(&world.ok(&["transfers", "cancel", &id]), &["nothing of it moves"]);
}
