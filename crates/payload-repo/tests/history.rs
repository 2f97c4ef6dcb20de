//! I9: memory, SQLite and PostgreSQL give the same answers to the same history.
#![allow(missing_docs)]

mod support;

use payload_testkit::repository::history::compare;

/// How often each engine answers in the test command.
const OPERATIONS: u64 = 20_000;

/// A number from the environment, for longer runs and to repeat one.
fn chosen(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is not a number")),
    )
}

#[test]
fn one_history_gives_the_same_answers_from_all_engines() {
    let seed = chosen("PAYLOAD_HISTORY_SEED").unwrap_or_else(payload_testkit::clock::fresh_seed);
    let operations = chosen("PAYLOAD_HISTORY_OPERATIONS").unwrap_or(OPERATIONS);
    println!("PAYLOAD_HISTORY_SEED={seed} PAYLOAD_HISTORY_OPERATIONS={operations}");
    let (memory, sqlite, postgres) = (support::memory(), support::sqlite(), support::postgres());
    compare(
        seed,
        usize::try_from(operations).unwrap(),
        &[("memory", &memory), ("sqlite", &sqlite), ("postgres", &postgres)],
    );
}

#[test]
fn histories_that_were_seen_before_end_alike() {
    for seed in 1..=4 {
        compare(
            seed,
            4_000,
            &[("memory", &support::memory()), ("sqlite", &support::sqlite())],
        );
    }
}
