//! Graceful stops: what is held lingers in the background, and the next keeper takes it over.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{LONG, World, alive, kill, until};
use rustix::process::Signal;

/// Starts a server that stores `1=one`, and stops everything; a keeper is left in the background.
fn stopped(world: &World, linger: &str) -> i32 {
    let keeper = world.keeper(linger, &[]);
    let server = world.server();
    server.store(1, "one");
    server.ready();
    kill(keeper.pid(), Signal::TERM);
    assert_eq!(keeper.wait().code(), Some(0));
    assert!(!alive(server.pid));
    world.keeper_pid()
}

#[test]
fn a_stopped_server_leaves_its_segments_to_the_next_one() {
    let world = World::new();
    let mut holder = stopped(&world, LONG);
    for _ in 0..2 {
        let keeper = world.keeper(LONG, &[]);
        let server = world.server();
        assert_eq!(server.ask("list"), "1=one");
        until(|| !alive(holder));
        assert_eq!(world.keeper_pid(), keeper.pid());
        kill(keeper.pid(), Signal::INT);
        assert_eq!(keeper.wait().code(), Some(0));
        holder = world.keeper_pid();
    }
}

#[test]
fn the_holder_keeps_neither_the_terminal_nor_a_pipe() {
    let world = World::new();
    let holder = stopped(&world, LONG);
    for number in 0..3 {
        let target = std::fs::read_link(format!("/proc/{holder}/fd/{number}")).unwrap();
        assert_eq!(target.to_str(), Some("/dev/null"));
    }
    let stat = std::fs::read_to_string(format!("/proc/{holder}/stat")).unwrap();
    let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap();
    assert_eq!(
        session,
        holder.to_string(),
        "a session of its own has no controlling terminal"
    );
}

#[test]
fn the_holder_goes_when_its_time_is_over() {
    let world = World::new();
    let keeper = world.keeper("1", &[]);
    let server = world.server();
    server.store(1, "one");
    kill(keeper.pid(), Signal::TERM);
    assert_eq!(keeper.wait().code(), Some(0));
    until(|| world.processes().is_empty());
    assert!(!world.socket().exists());
}

#[test]
fn the_holder_goes_when_it_is_told_to() {
    let world = World::new();
    let holder = stopped(&world, LONG);
    kill(holder, Signal::TERM);
    until(|| !alive(holder));
    assert!(!world.socket().exists());
    let _keeper = world.keeper(LONG, &[]);
    assert_eq!(world.server().ask("list"), "nothing");
}

#[test]
fn nothing_lingers_that_is_to_be_dropped() {
    let world = World::new();
    let keeper = world.keeper(LONG, &[]);
    let server = world.server();
    server.store(1, "one");
    assert_eq!(server.ask("drop_at_term"), "ok");
    kill(keeper.pid(), Signal::TERM);
    assert_eq!(keeper.wait().code(), Some(0));
    assert!(world.processes().is_empty());
    assert!(!world.socket().exists());
}

#[test]
fn nothing_lingers_when_nothing_is_held_or_the_time_is_zero() {
    for (linger, store) in [(LONG, false), ("0", true)] {
        let world = World::new();
        let keeper = world.keeper(linger, &[]);
        let server = world.server();
        if store {
            server.store(1, "one");
        }
        kill(server.pid, Signal::TERM);
        assert_eq!(keeper.wait().code(), Some(0));
        assert!(world.processes().is_empty());
    }
}

#[test]
fn a_server_that_said_it_stops_is_not_started_again_however_it_ends() {
    let world = World::new();
    let keeper = world.keeper("0", &[]);
    let server = world.server();
    server.ready();
    assert_eq!(server.ask("stop"), "ok");
    server.kill();
    assert_eq!(keeper.wait().code(), Some(128 + 9));
}

#[test]
fn a_start_that_fails_loses_nothing_that_lingers() {
    let world = World::new();
    stopped(&world, LONG);
    let keeper = world.keeper(LONG, &["exit", "3"]);
    assert_eq!(keeper.wait().code(), Some(3));
    let _keeper = world.keeper(LONG, &[]);
    assert_eq!(world.server().ask("list"), "1=one");
}

#[test]
fn fault_57_a_second_keeper_is_refused_and_the_first_goes_on() {
    let world = World::new();
    let keeper = world.keeper(LONG, &[]);
    let server = world.server();
    server.store(1, "one");
    let (code, said) = world.keeper(LONG, &[]).output();
    assert_eq!(code, Some(78));
    let expected = format!("data directory in use by pid {}", keeper.pid());
    assert!(said.contains(&expected), "{said}");
    server.kill();
    assert_eq!(world.server().ask("list"), "1=one");
}

#[test]
fn fault_57_of_two_keepers_that_take_over_at_once_one_gets_everything() {
    let world = World::new();
    stopped(&world, LONG);
    let keepers = [world.keeper(LONG, &[]), world.keeper(LONG, &[])];
    let server = world.server();
    assert_eq!(server.ask("list"), "1=one");
    let winner = world.keeper_pid();
    let [loser] = keepers
        .into_iter()
        .filter(|keeper| keeper.pid() != winner)
        .collect::<Vec<_>>()
        .try_into()
        .ok()
        .unwrap();
    assert_eq!(loser.output().0, Some(78));
    assert_eq!(server.ask("list"), "1=one");
}
