//! The client next to a keeper that the test plays itself, where only the client's side matters.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::File;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use payload_core::port::FdStore;
use payload_core::{Reason, SegmentId};
use payload_keeper::{ClientOptions, KeeperClient, Link, NoKeeper, socket_path};
use payload_socket::{Listener, Seqpacket};

fn options(directory: &tempfile::TempDir) -> ClientOptions {
    ClientOptions {
        directory: directory.path().to_owned(),
        respawn: vec!["/nonexistent".into()],
        patience: Duration::from_millis(200),
    }
}

/// Says done to the first request.
fn greet(listener: &Listener) -> Seqpacket {
    let socket = listener.accept().unwrap().unwrap();
    assert_eq!(socket.recv(&mut [0; 64], &mut Vec::new()).unwrap(), Some(2));
    socket.send(&[129], &[]).unwrap();
    socket
}

fn segment() -> SegmentId {
    SegmentId::from_bytes([7; 16]).unwrap()
}

#[test]
fn without_a_keeper_there_is_no_client() {
    let directory = tempfile::tempdir().unwrap();
    let error = KeeperClient::connect(options(&directory)).unwrap_err();
    assert_eq!(error.reason(), Reason::KeeperUnavailable);
}

#[test]
fn a_client_that_is_dropped_closes_its_connection_and_ends_its_thread() {
    let directory = tempfile::tempdir().unwrap();
    let listener = Listener::bind(&socket_path(directory.path()), 0o600).unwrap();
    let keeper = thread::spawn(move || greet(&listener));
    let client = KeeperClient::connect(options(&directory)).unwrap();
    assert_eq!(client.state(), Link::Up);
    drop(client);
    let socket = keeper.join().unwrap();
    assert_eq!(socket.recv(&mut [0; 64], &mut Vec::new()).unwrap(), None);
}

#[test]
fn a_client_whose_keeper_cannot_be_replaced_says_so_and_can_be_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let listener = Listener::bind(&socket_path(directory.path()), 0o600).unwrap();
    let keeper = thread::spawn(move || drop((greet(&listener), listener)));
    let client = KeeperClient::connect(options(&directory)).unwrap();
    keeper.join().unwrap();
    let file = File::open("/dev/null").unwrap();
    for source in [false, true] {
        if source {
            client.set_source(|_| None);
        }
        let error = client.store(segment(), file.as_fd()).unwrap_err();
        assert_eq!(error.reason(), Reason::KeeperUnavailable);
        assert_eq!(client.state(), Link::Repairing);
    }
}

#[test]
fn a_reply_that_makes_no_sense_is_no_acknowledgement() {
    let directory = tempfile::tempdir().unwrap();
    let listener = Listener::bind(&socket_path(directory.path()), 0o600).unwrap();
    let keeper = thread::spawn(move || {
        let socket = greet(&listener);
        socket.recv(&mut [0; 64], &mut Vec::new()).unwrap();
        // One status too many.
        socket.send(&[130, 2, 0, 0], &[]).unwrap();
        drop(listener);
        // The client hangs up.
        assert_eq!(socket.recv(&mut [0; 64], &mut Vec::new()).unwrap(), None);
    });
    let client = KeeperClient::connect(options(&directory)).unwrap();
    let file = File::open("/dev/null").unwrap();
    assert!(client.store(segment(), file.as_fd()).is_err());
    keeper.join().unwrap();
}

#[test]
fn no_keeper_keeps_nothing() {
    let file = File::open("/dev/null").unwrap();
    NoKeeper.store(segment(), file.as_fd()).unwrap();
    assert!(NoKeeper.list().unwrap().is_empty());
    NoKeeper.remove(segment()).unwrap();
}
