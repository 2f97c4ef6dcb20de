//! Descriptors running out: alone in its file, because the limit is one of the whole process.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};

use payload_socket::{Listener, Seqpacket, out_of_descriptors};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn fault_56_accept_says_that_descriptors_ran_out_and_works_again_afterwards() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = Listener::bind(&path, 0o600).unwrap();
    let _client = Seqpacket::connect(&path).unwrap();
    let before = getrlimit(Resource::Nofile);
    let (_keep, next) = Seqpacket::pair().unwrap();
    let next = u64::try_from(next.as_fd().as_raw_fd()).unwrap() + 1;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(next),
            ..before
        },
    )
    .unwrap();
    let held: Vec<_> = std::iter::from_fn(|| listener.as_fd().try_clone_to_owned().ok()).collect();
    let error = listener.accept().unwrap_err();
    drop(held);
    setrlimit(Resource::Nofile, before).unwrap();
    assert!(out_of_descriptors(&error), "{error}");
    assert!(listener.accept().unwrap().is_some());
    assert!(!out_of_descriptors(&ErrorKind::NotFound.into()));
}
