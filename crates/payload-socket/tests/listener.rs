//! Listeners on real paths: long ones, dead ones, living ones, and descriptors running out.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::thread;

use payload_socket::{Listener, Seqpacket};

fn exchange(listener: &Listener, path: &Path) {
    let client = Seqpacket::connect(path).unwrap();
    let server = listener.accept().unwrap().unwrap();
    client.send(b"hello", &[]).unwrap();
    let mut buffer = [0; 8];
    assert_eq!(server.recv(&mut buffer, &mut Vec::new()).unwrap(), Some(5));
    let flags = rustix::io::fcntl_getfd(server.as_fd()).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn paths_of_any_length_work() {
    let directory = tempfile::tempdir().unwrap();
    for depth in [0, 1, 3] {
        let mut path = PathBuf::from(directory.path());
        path.extend(std::iter::repeat_n("d".repeat(60), depth));
        std::fs::create_dir_all(&path).unwrap();
        path.push("payload.sock");
        let listener = Listener::bind(&path, 0o600).unwrap();
        exchange(&listener, &path);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        listener.remove().unwrap();
        assert!(!path.exists());
    }
}

#[test]
fn a_name_that_is_too_long_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("n".repeat(200));
    assert!(Listener::bind(&path, 0o600).is_err());
    assert_eq!(
        Seqpacket::connect(&path).unwrap_err().kind(),
        ErrorKind::InvalidFilename
    );
    assert!(Listener::bind(Path::new("/"), 0o600).is_err());
}

#[test]
fn the_given_mode_holds_whatever_the_umask() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("open.sock");
    let _listener = Listener::bind(&path, 0o666).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
}

#[test]
fn a_living_listener_is_never_displaced_and_a_dead_one_always() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let first = Listener::bind(&path, 0o600).unwrap();
    assert_eq!(Listener::bind(&path, 0o600).unwrap_err().kind(), ErrorKind::AddrInUse);
    // The probe left a connection that is over.
    let probe = first.accept().unwrap().unwrap();
    assert_eq!(probe.recv(&mut [0; 1], &mut Vec::new()).unwrap(), None);
    exchange(&first, &path);

    drop(first);
    assert!(path.exists());
    let second = Listener::bind(&path, 0o600).unwrap();
    exchange(&second, &path);
}

#[test]
fn of_many_who_replace_a_dead_listener_one_wins() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    for _ in 0..200 {
        drop(Listener::bind(&path, 0o600).unwrap());
        let start = Arc::new(Barrier::new(4));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (path, start) = (path.clone(), Arc::clone(&start));
                thread::spawn(move || {
                    start.wait();
                    Listener::bind(&path, 0o600).ok()
                })
            })
            .collect();
        // All handles are kept until every thread has tried.
        let winners: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(winners.iter().flatten().count(), 1);
        assert!(Seqpacket::connect(&path).is_ok());
    }
}

#[test]
fn what_is_not_a_socket_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    std::fs::write(&path, b"precious").unwrap();
    assert_eq!(Listener::bind(&path, 0o600).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn only_the_own_file_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let first = Listener::bind(&path, 0o600).unwrap();
    first.shutdown().unwrap();
    let second = Listener::bind(&path, 0o600).unwrap();
    first.remove().unwrap();
    exchange(&second, &path);
    second.remove().unwrap();
    second.remove().unwrap();
    assert_eq!(Seqpacket::connect(&path).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_listener_that_was_handed_over_loses_no_client() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let first = Listener::bind(&path, 0o600).unwrap();
    let client = Seqpacket::connect(&path).unwrap();
    let handed_over = first.as_fd().try_clone_to_owned().unwrap();
    drop(first);
    let second = Listener::inherit(handed_over, &path).unwrap();
    second.accept().unwrap().unwrap().send(b"x", &[]).unwrap();
    assert_eq!(client.recv(&mut [0; 8], &mut Vec::new()).unwrap(), Some(1));
    exchange(&second, &path);
    let no_listener = client.as_fd().try_clone_to_owned().unwrap();
    assert!(Listener::inherit(no_listener, &path).is_err());
    second.remove().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_listener_that_was_lent_goes_on_without_whom_it_was_lent_to() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let owner = Listener::bind(&path, 0o600).unwrap();
    for _ in 0..2 {
        // Who comes while nobody accepts waits.
        let client = Seqpacket::connect(&path).unwrap();
        let lent = Listener::lent(owner.as_fd().try_clone_to_owned().unwrap()).unwrap();
        lent.accept().unwrap().unwrap().send(b"x", &[]).unwrap();
        assert_eq!(client.recv(&mut [0; 8], &mut Vec::new()).unwrap(), Some(1));
        lent.shutdown().unwrap();
        lent.remove().unwrap();
        let _waits = Seqpacket::connect(&path).unwrap();
        assert!(lent.accept().unwrap().is_none(), "it is not this one's any more");
        drop(owner.accept().unwrap().unwrap());
    }
    let no_listener = Seqpacket::pair().unwrap().0.as_fd().try_clone_to_owned().unwrap();
    assert!(Listener::lent(no_listener).is_err());
}

#[test]
fn shutdown_wakes_accept() {
    let directory = tempfile::tempdir().unwrap();
    let bind = |name: &str| Listener::bind(&directory.path().join(name), 0o600).unwrap();
    let (own, owner) = (bind("own"), bind("lent"));
    let lent = Listener::lent(owner.as_fd().try_clone_to_owned().unwrap()).unwrap();
    for listener in [own, lent] {
        let listener = Arc::new(listener);
        let accepting = Arc::clone(&listener);
        let (send_tid, recv_tid) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            send_tid.send(rustix::thread::gettid()).unwrap();
            accepting.accept().unwrap().is_none()
        });
        let stat = format!("/proc/self/task/{}/stat", recv_tid.recv().unwrap().as_raw_nonzero());
        while !std::fs::read_to_string(&stat).unwrap().contains(") S") {
            thread::yield_now();
        }
        listener.shutdown().unwrap();
        assert!(thread.join().unwrap());
        listener.shutdown().unwrap();
    }
}
