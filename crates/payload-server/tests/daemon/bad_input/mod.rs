//! Bad input gets the answer that docs/reference/bad-input.md promises, by whichever door it comes.
//!
//! Wrong numbers (fault 48) and hostile texts (fault 49) are one table. Each row of the page is a case here and each case a row there; status, reason and message are compared with the page.

mod calls;
mod catalog;
mod doors;
mod lineage;
mod listing;
mod metadata;
mod names;
mod namespaces;
mod state;
mod streams;
mod tiers;
mod updates;
mod values;
mod watch;

use payload_testkit::process::Postgres;
use tonic::Code;

use self::doors::{Bed, Doors};
use crate::support::refusal::Refusal;

const PAGE: &str = include_str!("../../../../../docs/reference/bad-input.md");

/// One bad input: how the page calls it, by which doors it can come, and how to send it.
struct Case {
    input: &'static str,
    doors: Doors,
    send: fn(&Bed, &dyn doors::Door) -> Refusal,
}

/// A row of the page.
struct Row<'a> {
    input: &'a str,
    status: &'a str,
    reason: &'a str,
    message: &'a str,
}

fn cases() -> Vec<Case> {
    [
        values::CASES,
        calls::CASES,
        state::CASES,
        catalog::CASES,
        names::CASES,
        updates::CASES,
        namespaces::CASES,
        lineage::CASES,
        listing::CASES,
        streams::CASES,
        tiers::CASES,
        metadata::CASES,
        watch::CASES,
    ]
    .into_iter()
    .flatten()
    .map(|(input, doors, send)| Case {
        input,
        doors: *doors,
        send: *send,
    })
    .collect()
}

fn rows() -> Vec<Row<'static>> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| ")).filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [input, status, reason, message] = cells[..] else {
            panic!("not a row: {line}");
        };
        let code = |text: &'static str| text.trim_matches('`');
        (input != "input").then_some(Row {
            input,
            status: code(status),
            reason: code(reason),
            message,
        })
    });
    rows.collect()
}

#[test]
fn the_page_and_the_cases_are_the_same() {
    let mut listed: Vec<&str> = rows().iter().map(|row| row.input).collect();
    let mut tried: Vec<&str> = cases().iter().map(|case| case.input).collect();
    listed.sort_unstable();
    tried.sort_unstable();
    assert_eq!(listed, tried);
}

#[test]
fn fault_48_bad_input_over_the_local_socket() {
    try_all(&Bed::make(""), Doors::is_local, |bed| &bed.local);
}

#[test]
fn fault_49_bad_input_over_grpc() {
    try_all(&Bed::make(""), Doors::is_grpc, |bed| &bed.grpc);
}

#[test]
fn fault_48_bad_input_over_the_local_socket_with_the_catalog_in_postgres() {
    let server = Postgres::start();
    try_all(&in_postgres(&server), Doors::is_local, |bed| &bed.local);
}

#[test]
fn fault_49_bad_input_over_grpc_with_the_catalog_in_postgres() {
    let server = Postgres::start();
    try_all(&in_postgres(&server), Doors::is_grpc, |bed| &bed.grpc);
}

#[test]
fn fault_48_bad_input_over_the_local_socket_with_the_catalog_in_memory() {
    try_all(&Bed::make(IN_MEMORY), Doors::is_local, |bed| &bed.local);
}

#[test]
fn fault_49_bad_input_over_grpc_with_the_catalog_in_memory() {
    try_all(&Bed::make(IN_MEMORY), Doors::is_grpc, |bed| &bed.grpc);
}

const IN_MEMORY: &str = "[repository]\nurl = \"memory:\"\n";

fn in_postgres(server: &Postgres) -> Bed {
    Bed::make(&format!("[repository]\nurl = \"{}\"\n", server.url()))
}

fn try_all(bed: &Bed, by: fn(Doors) -> bool, door: fn(&Bed) -> &dyn doors::Door) {
    let rows = rows();
    let mut wrong = Vec::new();
    for case in cases().into_iter().filter(|case| by(case.doors)) {
        let refusal = (case.send)(bed, door(bed));
        let row = rows.iter().find(|row| row.input == case.input);
        if !row.is_some_and(|row| row.fits(&refusal)) {
            wrong.push(format!(
                "| {} | `{}` | `{}` | {} |",
                case.input,
                screaming(refusal.code),
                refusal.reason,
                refusal.message
            ));
        }
    }
    assert!(wrong.is_empty(), "the server says otherwise:\n{}", wrong.join("\n"));
    // None of it has cost anything, and the server goes on.
    bed.assert_unharmed();
}

impl Row<'_> {
    /// `…` in the page's message stands for anything.
    fn fits(&self, refusal: &Refusal) -> bool {
        let reason = if self.reason == "–" { "" } else { self.reason };
        let mut rest = Some(&*refusal.message);
        for (position, part) in self.message.split('…').enumerate() {
            rest = rest.and_then(|text| match position {
                0 => text.strip_prefix(part),
                _ => text
                    .split_once(part)
                    .map(|(_, rest)| rest)
                    .or(part.is_empty().then_some("")),
            });
        }
        let whole = self.message.ends_with('…') || rest == Some("");
        (screaming(refusal.code), &*refusal.reason) == (self.status.to_owned(), reason) && rest.is_some() && whole
    }
}

/// `InvalidArgument` as the page writes it.
fn screaming(code: Code) -> String {
    let mut text = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}
