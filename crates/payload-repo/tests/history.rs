//! I9: memory, SQLite and PostgreSQL give the same answers to the same history.
#![allow(missing_docs)]

mod support;

use payload_testkit::repository::history::compare;

#[test]
fn random_histories_end_alike() {
    for seed in 1..=4 {
        compare(seed, 1_500, &support::memory(), &support::sqlite());
    }
}

#[test]
fn a_history_nobody_has_seen_ends_alike() {
    let seed = payload_testkit::clock::fresh_seed();
    println!("seed {seed}");
    compare(seed, 1_500, &support::memory(), &support::sqlite());
}

#[test]
fn a_history_on_postgres_ends_alike() {
    let seed = payload_testkit::clock::fresh_seed();
    println!("seed {seed}");
    compare(seed, 1_500, &support::memory(), &support::postgres());
}
