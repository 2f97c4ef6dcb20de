//! Deaths of the keeper: the server starts another one and stores everything again.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Keeper, LONG, World, alive, kill, until};
use rustix::process::Signal;

#[test]
fn a_killed_keeper_is_replaced_and_the_segments_survive_the_server() {
    let world = World::new();
    let mut keeper = world.keeper(LONG, &[]);
    let server = world.server();
    assert_eq!(server.ask("storm 150"), "150");
    assert_eq!(server.ask("remove 150"), "ok");
    server.ready();
    keeper.kill();
    // A call waits for the repair.
    server.store(1000, "after");
    assert_eq!(server.ask("state"), "Up");
    let second = world.keeper_pid();
    assert_ne!(second, keeper.pid());
    assert_eq!(server.ask("list").matches("=storm").count(), 149);
    server.kill();

    let server = world.server();
    assert!(server.ask("list").ends_with("1000=after"));
    assert_eq!(server.ask("list").matches("=storm").count(), 149);
    // The keeper was the first server's child and is the second one's parent.
    assert_eq!(world.keeper_pid(), second);
    // It was told that its server had been ready, so an error before the next one is ready is no reason to give up.
    server.tell("exit 101");
    world.server();
}

#[test]
fn a_segment_that_its_owner_has_not_registered_yet_is_stored_again_too() {
    let world = World::new();
    let mut keeper = world.keeper(LONG, &[]);
    let server = world.server();
    assert_eq!(server.ask("store_only 5"), "ok");
    keeper.kill();
    assert_eq!(server.ask("list"), "5=unregistered");
    assert_eq!(server.ask("remove 5"), "ok");
    server.kill();
    assert_eq!(world.server().ask("list"), "nothing");
}

#[test]
fn keepers_killed_in_a_row_are_replaced_and_reaped() {
    let world = World::new();
    let mut keeper = world.keeper(LONG, &[]);
    let server = world.server();
    server.store(1, "one");
    keeper.kill();
    for round in 0..3 {
        assert_eq!(server.ask("list"), "1=one", "round {round}");
        let pid = world.keeper_pid();
        kill(pid, Signal::KILL);
        until(|| !std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
    assert_eq!(server.ask("list"), "1=one");
}

#[test]
fn an_adopted_server_is_stopped_with_its_keeper_and_its_segments_linger() {
    let world = World::new();
    let mut keeper = world.keeper(LONG, &[]);
    let server = world.server();
    server.store(1, "one");
    keeper.kill();
    assert_eq!(server.ask("list"), "1=one");
    kill(world.keeper_pid(), Signal::TERM);
    assert_eq!(server.read(), None);
    until(|| !alive(server.pid));

    let _keeper = world.keeper(LONG, &[]);
    assert_eq!(world.server().ask("list"), "1=one");
}

#[test]
fn a_keeper_that_does_not_answer_is_reported_and_used_again_when_it_does() {
    let world = World::new();
    let mut command = world.command(LONG, &[]);
    command.env("HARNESS_PATIENCE_MS", "200");
    let keeper = Keeper::start(&mut command);
    let server = world.server();
    server.store(1, "one");
    kill(keeper.pid(), Signal::STOP);
    assert_eq!(server.ask("store 2 two"), "KEEPER_UNAVAILABLE");
    assert_eq!(server.ask("remove 1"), "KEEPER_UNAVAILABLE");
    assert_eq!(server.ask("state"), "Repairing");
    kill(keeper.pid(), Signal::CONT);
    until(|| server.ask("state") == "Up");
    server.store(3, "three");
    assert_eq!(world.keeper_pid(), keeper.pid());
    server.kill();
    let server = world.server();
    let list = server.ask("list");
    assert!(list.ends_with("3=three") && !list.contains("2=two"), "{list}");
}
