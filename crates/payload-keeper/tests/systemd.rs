//! systemd's store from the server's side, with the other end played by hand: what is acknowledged, and when.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::File;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::thread;

use payload_core::port::FdStore;
use payload_core::{Outcome, Reason, SegmentId};
use payload_keeper::systemd::{Systemd, SystemdStore};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

fn segment(number: u8) -> SegmentId {
    SegmentId::from_bytes([number; 16]).unwrap()
}

fn manager(max: usize) -> (tempfile::TempDir, UnixDatagram, SystemdStore) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let env = [("NOTIFY_SOCKET".to_owned(), path.to_str().unwrap().to_owned())];
    let notifier = Systemd::from_env(&env).unwrap().notifier.unwrap();
    (directory, socket, SystemdStore::new(notifier, max, Vec::new()))
}

fn receive(socket: &UnixDatagram) -> (String, Vec<OwnedFd>) {
    let mut bytes = [0; 1_024];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let fds = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => rights.collect(),
        _ => Vec::new(),
    });
    let fds = fds.collect();
    (String::from_utf8(bytes[..received.bytes].to_vec()).unwrap(), fds)
}

#[test]
fn a_segment_is_kept_when_the_barrier_is_answered_and_not_before() {
    let (_directory, socket, store) = manager(8);
    let name = "07".repeat(16);
    thread::scope(|scope| {
        let storing = scope.spawn(|| store.store(segment(7), File::open("/dev/null").unwrap().as_fd()));
        let (text, fds) = receive(&socket);
        assert_eq!((text, fds.len()), (format!("FDSTORE=1\nFDNAME={name}"), 1));
        let (text, barrier) = receive(&socket);
        assert_eq!((&*text, barrier.len()), ("BARRIER=1", 1));
        assert!(!storing.is_finished());
        drop(barrier);
        storing.join().unwrap().unwrap();
    });
    assert_eq!(store.list().unwrap()[0].0, segment(7));

    store.remove(segment(7)).unwrap();
    assert_eq!(receive(&socket).0, format!("FDSTOREREMOVE=1\nFDNAME={name}"));
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn a_segment_that_is_stored_again_replaces_the_first() {
    let (_directory, socket, store) = manager(1);
    let file = File::open("/dev/null").unwrap();
    let told = thread::scope(|scope| {
        let told = scope.spawn(|| (0..5).map(|_| receive(&socket).0).collect::<Vec<_>>());
        store.store(segment(1), file.as_fd()).unwrap();
        store.store(segment(1), file.as_fd()).unwrap();
        told.join().unwrap()
    });
    let kinds: Vec<&str> = told.iter().map(|text| text.split('=').next().unwrap()).collect();
    assert_eq!(kinds, ["FDSTORE", "BARRIER", "FDSTOREREMOVE", "FDSTORE", "BARRIER"]);
}

#[test]
fn without_a_manager_nothing_is_kept_and_that_is_said() {
    let (_directory, socket, store) = manager(8);
    drop(socket);
    let file = File::open("/dev/null").unwrap();
    let error = store.store(segment(1), file.as_fd()).unwrap_err();
    assert_eq!(
        (error.reason(), error.outcome()),
        (Reason::KeeperUnavailable, Outcome::Unknown)
    );
    assert!(store.list().unwrap().is_empty());
}
