//! Descriptors running out: alone in its file, because the limit is one of the whole process.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};

use payload_socket::{Listener, Seqpacket, out_of_descriptors};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Runs `call` while this process can open no further descriptor.
fn without_descriptors<R>(call: impl FnOnce() -> R) -> R {
    let before = getrlimit(Resource::Nofile);
    let (one, other) = Seqpacket::pair().unwrap();
    let highest = one.as_fd().as_raw_fd().max(other.as_fd().as_raw_fd());
    let current = Some(u64::try_from(highest).unwrap() + 1);
    setrlimit(Resource::Nofile, Rlimit { current, ..before }).unwrap();
    let held: Vec<_> = std::iter::from_fn(|| one.as_fd().try_clone_to_owned().ok()).collect();
    let result = call();
    drop(held);
    setrlimit(Resource::Nofile, before).unwrap();
    result
}

#[test]
fn fault_56_running_out_of_descriptors_loses_no_connection_and_hides_no_lost_descriptor() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = Listener::bind(&path, 0o600).unwrap();
    let client = Seqpacket::connect(&path).unwrap();
    let error = without_descriptors(|| listener.accept().unwrap_err());
    assert!(out_of_descriptors(&error), "{error}");
    let server = listener.accept().unwrap().unwrap();
    assert!(!out_of_descriptors(&ErrorKind::NotFound.into()));

    client.send(b"with", &[listener.as_fd()]).unwrap();
    client.send(b"without", &[]).unwrap();
    let (mut buffer, mut fds) = ([0; 8], Vec::new());
    let error = without_descriptors(|| server.recv(&mut buffer, &mut fds).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert_eq!(server.recv(&mut buffer, &mut fds).unwrap(), Some(7));
    assert!(fds.is_empty());
}
