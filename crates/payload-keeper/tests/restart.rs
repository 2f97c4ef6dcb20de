//! Deaths of the server: it is started again and gets back what it had.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Keeper, LONG, World, alive, open_files, until};

#[test]
fn fault_56_a_killed_server_is_started_again_and_gets_its_segments_back() {
    let world = World::new();
    let keeper = world.keeper(LONG, &[]);
    let server = world.server();
    assert_eq!(server.ask("list"), "nothing");
    server.store(1, "one");
    server.store(2, "two");
    server.store(2, "second");
    server.store(3, "three");
    assert_eq!(server.ask("remove 3"), "ok");
    assert_eq!(server.ask("remove 4"), "ok");
    server.ready();
    let first = server.pid;
    server.kill();

    let server = world.server();
    assert_ne!(server.pid, first);
    assert_eq!(server.ask("list"), "1=one,2=second");
    assert!(alive(keeper.pid()));
    assert!(
        !std::path::Path::new(&format!("/proc/{first}")).exists(),
        "a zombie is left"
    );
}

#[test]
fn fault_08_a_server_killed_again_and_again_before_it_is_ready_keeps_its_segments() {
    let world = World::new();
    let _keeper = world.keeper(LONG, &[]);
    let server = world.server();
    server.store(1, "one");
    server.kill();
    for _ in 0..12 {
        let server = world.server();
        assert_eq!(server.ask("list"), "1=one");
        server.kill();
    }
    assert_eq!(world.server().ask("list"), "1=one");
}

#[test]
fn a_server_that_fails_before_it_was_ever_ready_ends_the_keeper_with_its_exit_code() {
    let world = World::new();
    let keeper = world.keeper(LONG, &["exit", "3"]);
    assert_eq!(keeper.wait().code(), Some(3));
    assert!(!world.socket().exists());

    let keeper = world.keeper(LONG, &[]);
    world.server().tell("exit 4");
    assert_eq!(keeper.wait().code(), Some(4));
}

#[test]
fn a_command_that_cannot_be_started_ends_the_keeper() {
    let world = World::new();
    let keeper = world.keeper(LONG, &["/nonexistent"]);
    assert_eq!(keeper.wait().code(), Some(1));
}

#[test]
fn a_server_that_was_ready_is_started_again_whatever_it_dies_of() {
    let world = World::new();
    let _keeper = world.keeper(LONG, &[]);
    let server = world.server();
    server.store(1, "one");
    server.ready();
    server.tell("exit 101");
    for _ in 0..3 {
        let server = world.server();
        assert_eq!(server.ask("list"), "1=one");
        server.tell("exit 101");
    }
    world.server();
}

#[test]
fn fault_26_the_keeper_holds_no_more_than_fit_and_says_so() {
    let world = World::new();
    let mut command = world.command(LONG, &[]);
    command.env("HARNESS_OPEN_FILES", "200");
    let _keeper = Keeper::start(&mut command);
    let server = world.server();
    let stored: usize = server.ask("storm 50").parse().unwrap();
    assert_eq!(stored, 40);
    assert_eq!(server.ask("store 1000 x"), "SEGMENTS_EXHAUSTED");
    assert_eq!(server.ask("list").matches("storm").count(), 40);
    // Room comes back.
    let held = server.ask("list");
    let number = held.split('=').next().unwrap();
    assert_eq!(server.ask(&format!("remove {number}")), "ok");
    server.store(1000, "x");
    server.kill();
    assert_eq!(world.server().ask("list").matches("=").count(), 40);
}

#[test]
fn stores_from_many_threads_are_all_kept() {
    let world = World::new();
    let _keeper = world.keeper(LONG, &[]);
    let server = world.server();
    assert_eq!(server.ask("storm 400"), "400");
    server.kill();
    assert_eq!(world.server().ask("list").matches("=storm").count(), 400);
}

#[test]
fn nothing_leaks_descriptors() {
    let world = World::new();
    let keeper = world.keeper(LONG, &[]);
    let server = world.server();
    server.store(1, "one");
    let before = (open_files(keeper.pid()), open_files(server.pid));
    for _ in 0..50 {
        server.store(1, "again");
        server.store(2, "two");
        assert_eq!(server.ask("list"), "1=again,2=two");
        assert_eq!(server.ask("remove 2"), "ok");
    }
    assert_eq!((open_files(keeper.pid()), open_files(server.pid)), before);
    server.kill();
    for _ in 0..5 {
        world.server().kill();
    }
    assert_eq!(world.server().ask("list"), "1=again");
    until(|| open_files(keeper.pid()) == before.0);
}
