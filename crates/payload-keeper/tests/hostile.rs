//! Those who talk to the keeper and are not its server.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use common::{LONG, World, open_files, until};
use payload_socket::Seqpacket;

const DONE: u8 = 129;
const REFUSED: u8 = 132;
const BAD_MESSAGE: u8 = 1;
const UNREADABLE: u8 = 2;
const NOT_ALLOWED: u8 = 3;
const IN_USE: u8 = 4;
const VERSION: u8 = 5;

fn ask(socket: &Seqpacket, request: &[u8]) -> Vec<u8> {
    socket.send(request, &[]).unwrap();
    let mut buffer = [0; 2048];
    let len = socket.recv(&mut buffer, &mut Vec::new()).unwrap().unwrap();
    buffer[..len].to_vec()
}

fn why(reply: &[u8]) -> u8 {
    assert_eq!(reply[0], REFUSED);
    reply[1]
}

#[test]
fn what_cannot_be_understood_is_refused_and_the_keeper_goes_on() {
    let world = World::new();
    let keeper = world.keeper(LONG, &[]);
    let server = world.server();
    server.store(1, "one");
    let before = open_files(keeper.pid());
    let socket = Seqpacket::connect(&world.socket()).unwrap();
    for nonsense in [&[0][..], &[255; 100], &[2, 200], &[2, 1, 9], &[3, 1], &[5, 7]] {
        assert_eq!(why(&ask(&socket, nonsense)), BAD_MESSAGE);
    }
    assert_eq!(why(&ask(&socket, &[1; 5000])), UNREADABLE);
    assert_eq!(why(&ask(&socket, &[1, 99])), VERSION);
    // Descriptors that nobody asked for are closed.
    let file = std::fs::File::open("/dev/null").unwrap();
    socket.send(&[4], &[file.as_fd(); 64]).unwrap();
    socket.recv(&mut [0; 64], &mut Vec::new()).unwrap();
    drop(socket);
    until(|| open_files(keeper.pid()) == before);
    server.kill();
    assert_eq!(world.server().ask("list"), "1=one");
}

#[test]
fn only_the_supervised_process_is_the_server() {
    let world = World::new();
    let _keeper = world.keeper(LONG, &[]);
    let server = world.server();
    server.store(1, "one");
    let stranger = Seqpacket::connect(&world.socket()).unwrap();
    let list = [&[3][..], &[0; 16]].concat();
    let remove = [&[2, 1, 2][..], &[0; 15], &[1]].concat();
    for request in [&[1, 1][..], &[4], &[5, 2], &[7], &list, &remove] {
        assert_eq!(why(&ask(&stranger, request)), NOT_ALLOWED, "{request:?}");
    }
    assert_eq!(why(&ask(&stranger, &[6, 1])), IN_USE);
    assert_eq!(server.ask("list"), "1=one");
}

#[test]
fn idle_strangers_do_not_lock_the_server_out() {
    let world = World::new();
    let keeper = world.keeper(LONG, &[]);
    let server = world.server();
    let before = open_files(keeper.pid());
    let strangers: Vec<_> = (0..100).map(|_| Seqpacket::connect(&world.socket()).unwrap()).collect();
    let last = strangers.last().unwrap();
    assert_eq!(why(&ask(last, &[0])), BAD_MESSAGE);
    assert!(open_files(keeper.pid()) < before + 16);
    server.store(1, "one");
    server.kill();
    assert_eq!(world.server().ask("list"), "1=one");
}

#[test]
fn an_heir_that_dies_half_way_takes_nothing_away() {
    let world = World::new();
    let keeper = world.keeper(LONG, &[]);
    world.server().store(1, "one");
    common::kill(keeper.pid(), rustix::process::Signal::TERM);
    keeper.wait();
    let heir = Seqpacket::connect(&world.socket()).unwrap();
    assert_eq!(ask(&heir, &[6, 1]), [DONE]);
    let list = [&[3][..], &[0; 16]].concat();
    assert_eq!(ask(&heir, &list)[..2], [131, 1]);
    // While it is at it, nobody else is an heir.
    let other = Seqpacket::connect(&world.socket()).unwrap();
    assert_eq!(why(&ask(&other, &[6, 1])), IN_USE);
    drop((heir, other));
    let _keeper = world.keeper(LONG, &[]);
    assert_eq!(world.server().ask("list"), "1=one");
}

/// Only root can become somebody else; for others the mode of the socket is the wall, and this test says nothing.
#[test]
fn fault_51_other_users_are_sent_away() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new();
    let _keeper = world.keeper(LONG, &[]);
    let _server = world.server();
    std::fs::set_permissions(world.path(), PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(world.socket().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(world.socket(), PermissionsExt::from_mode(0o666)).unwrap();
    let mut stranger = Command::new(common::harness());
    stranger.arg("stranger").arg(world.socket());
    assert_eq!(stranger.status().unwrap().code(), Some(1), "the control: an answer");
    assert_eq!(stranger.uid(65_534).gid(65_534).status().unwrap().code(), Some(0));
}
