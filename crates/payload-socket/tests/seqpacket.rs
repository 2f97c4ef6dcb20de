//! Messages and their descriptors over real sockets: whole or not at all, and never a descriptor lost.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use payload_socket::{MESSAGE_FDS_MAX, Seqpacket};
use rustix::fs::{MemfdFlags, memfd_create};

fn memfd(bytes: &[u8]) -> OwnedFd {
    let mut file = File::from(memfd_create("payload-socket-test", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file.into()
}

fn contents(fd: OwnedFd) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut file = File::from(fd);
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// How many descriptors of this process refer to the same file as `fd`.
fn references(fd: &impl AsFd) -> usize {
    let own = rustix::fs::fstat(fd).unwrap();
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| rustix::fs::stat(entry.ok()?.path()).ok())
        .filter(|stat| (stat.st_dev, stat.st_ino) == (own.st_dev, own.st_ino))
        .count()
}

fn cloexec(fd: &impl AsFd) -> bool {
    rustix::io::fcntl_getfd(fd)
        .unwrap()
        .contains(rustix::io::FdFlags::CLOEXEC)
}

/// Sends until the peer's queue is full; returns how many messages fit.
fn fill(socket: &Seqpacket) -> usize {
    let mut count = 0;
    loop {
        match socket.try_send(&[7; 4096], &[]) {
            Ok(()) => count += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return count;
            }
        }
    }
}

#[test]
fn a_message_arrives_whole_with_its_descriptors_in_order() {
    let (one, other) = Seqpacket::pair().unwrap();
    let files: Vec<OwnedFd> = (0..MESSAGE_FDS_MAX).map(|index| memfd(&[index as u8; 3])).collect();
    let borrowed: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
    one.send(b"first", &borrowed).unwrap();
    one.send(b"second", &[]).unwrap();

    let (mut buffer, mut fds) = ([0; 64], Vec::new());
    assert_eq!(other.recv(&mut buffer, &mut fds).unwrap(), Some(5));
    assert_eq!(&buffer[..5], b"first");
    assert_eq!(fds.len(), MESSAGE_FDS_MAX);
    assert!(fds.iter().all(cloexec));
    for (index, fd) in fds.drain(..).enumerate() {
        assert_eq!(contents(fd), [index as u8; 3]);
    }
    assert_eq!(other.try_recv(&mut buffer, &mut fds).unwrap(), Some(6));
    assert!(fds.is_empty());
    assert_eq!(
        other.try_recv(&mut buffer, &mut fds).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    assert!(cloexec(&one) && cloexec(&other));
}

#[test]
fn what_cannot_be_sent_whole_is_refused() {
    let (one, other) = Seqpacket::pair().unwrap();
    assert_eq!(one.send(&[], &[]).unwrap_err().kind(), ErrorKind::InvalidInput);
    let file = memfd(b"x");
    let many = vec![file.as_fd(); MESSAGE_FDS_MAX + 1];
    assert_eq!(one.send(b"x", &many).unwrap_err().kind(), ErrorKind::InvalidInput);
    one.send(&vec![1; 16 << 20], &[]).unwrap_err();
    assert_eq!(
        other.try_recv(&mut [0; 1], &mut Vec::new()).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

#[test]
fn a_message_larger_than_the_buffer_is_an_error_and_its_descriptors_are_closed() {
    let (one, other) = Seqpacket::pair().unwrap();
    let file = memfd(b"x");
    one.send(&[1; 100], &[file.as_fd(), file.as_fd()]).unwrap();
    one.send(b"next", &[]).unwrap();
    let (mut buffer, mut fds) = ([0; 99], Vec::new());
    assert_eq!(
        other.recv(&mut buffer, &mut fds).unwrap_err().kind(),
        ErrorKind::InvalidData
    );
    assert!(fds.is_empty());
    assert_eq!(references(&file), 1);
    assert_eq!(other.recv(&mut buffer, &mut fds).unwrap(), Some(4));
}

#[test]
fn who_wants_no_descriptors_gets_the_bytes_and_keeps_nothing_open() {
    let (one, other) = Seqpacket::pair().unwrap();
    let file = memfd(b"x");
    let mut buffer = [0; 99];
    one.send(b"first", &[file.as_fd(), file.as_fd()]).unwrap();
    assert_eq!(other.recv_bytes(&mut buffer).unwrap(), Some(5));
    assert_eq!((&buffer[..5], references(&file)), (&b"first"[..], 1));
    one.send(&[1; 100], &[file.as_fd()]).unwrap();
    one.send(b"next", &[]).unwrap();
    assert_eq!(
        other.recv_bytes(&mut buffer).unwrap_err().kind(),
        ErrorKind::InvalidData
    );
    assert_eq!(other.recv_bytes(&mut buffer).unwrap(), Some(4));
    drop(one);
    assert_eq!(other.recv_bytes(&mut buffer).unwrap(), None);
}

#[test]
fn a_receiver_waits_no_longer_than_was_set() {
    let (one, other) = Seqpacket::pair().unwrap();
    other.set_recv_timeout(Some(Duration::from_millis(1))).unwrap();
    let (mut buffer, mut fds) = ([0; 8], Vec::new());
    assert_eq!(
        other.recv(&mut buffer, &mut fds).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    one.send(b"here", &[]).unwrap();
    assert_eq!(other.recv(&mut buffer, &mut fds).unwrap(), Some(4));
}

#[test]
fn more_descriptors_than_a_message_may_carry_are_an_error_and_closed() {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let (one, other) = Seqpacket::pair().unwrap();
    let file = memfd(b"x");
    for excess in [1, 2, 8] {
        let many = vec![file.as_fd(); MESSAGE_FDS_MAX + excess];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(128))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
        sendmsg(&one, &[std::io::IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
        let mut fds = Vec::new();
        assert_eq!(
            other.recv(&mut [0; 8], &mut fds).unwrap_err().kind(),
            ErrorKind::InvalidData
        );
        assert!(fds.is_empty());
        assert_eq!(references(&file), 1);
    }
}

#[test]
fn what_was_sent_before_the_end_is_received_and_then_the_end() {
    let (one, other) = Seqpacket::pair().unwrap();
    // What stays unread on the closed side must not hide what it had sent.
    other.send(b"never read", &[]).unwrap();
    one.send(b"last words", &[]).unwrap();
    drop(one);
    let (mut buffer, mut fds) = ([0; 64], Vec::new());
    assert_eq!(other.recv(&mut buffer, &mut fds).unwrap(), Some(10));
    assert_eq!(other.recv(&mut buffer, &mut fds).unwrap(), None);
    assert_eq!(other.try_recv(&mut buffer, &mut fds).unwrap(), None);
    assert_eq!(other.send(b"x", &[]).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_full_queue_pushes_back_and_its_draining_can_be_watched() {
    let (one, other) = Seqpacket::pair().unwrap();
    assert_eq!(one.unread().unwrap(), 0);
    let count = fill(&one);
    assert!(count > 0);
    assert!(one.unread().unwrap() >= count * 4096);
    assert!(!one.wait_writable(Some(Duration::ZERO)).unwrap());
    assert!(other.wait_readable(None).unwrap());

    let mut buffer = [0; 4096];
    for _ in 0..count {
        assert_eq!(other.recv(&mut buffer, &mut Vec::new()).unwrap(), Some(4096));
    }
    assert_eq!(one.unread().unwrap(), 0);
    assert!(one.wait_writable(Some(Duration::MAX)).unwrap());
    assert!(!other.wait_readable(Some(Duration::from_nanos(1))).unwrap());
}

#[test]
fn a_blocked_sender_goes_on_when_the_peer_reads() {
    let (one, other) = Seqpacket::pair().unwrap();
    let count = fill(&one);
    let sender = thread::spawn(move || one.send(b"end", &[]).unwrap());
    let mut buffer = [0; 4096];
    let mut received = 0;
    while other.recv(&mut buffer, &mut Vec::new()).unwrap() != Some(3) {
        received += 1;
    }
    assert_eq!(received, count);
    sender.join().unwrap();
}

/// Waits until the thread with this id sleeps in the kernel.
fn wait_asleep(tid: rustix::thread::Pid) {
    let path = format!("/proc/self/task/{}/stat", tid.as_raw_nonzero());
    loop {
        let stat = std::fs::read_to_string(&path).unwrap();
        if stat.rsplit(") ").next().unwrap().starts_with('S') {
            return;
        }
        thread::yield_now();
    }
}

/// Runs `call` in a thread, waits until it blocks, and returns what it says after `wake`.
fn woken<R: Send + 'static>(call: impl FnOnce() -> R + Send + 'static, wake: impl FnOnce()) -> R {
    let (send_tid, recv_tid) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        send_tid.send(rustix::thread::gettid()).unwrap();
        call()
    });
    wait_asleep(recv_tid.recv().unwrap());
    wake();
    thread.join().unwrap()
}

#[test]
fn shutdown_wakes_whoever_receives_on_either_side() {
    for own_side in [true, false] {
        let (one, other) = Seqpacket::pair().unwrap();
        let one = Arc::new(one);
        let receiver = Arc::clone(&one);
        let got = woken(
            move || receiver.recv(&mut [0; 8], &mut Vec::new()).unwrap(),
            || if own_side { one.shutdown() } else { other.shutdown() }.unwrap(),
        );
        assert_eq!(got, None);
        one.shutdown().unwrap();
    }
}

#[test]
fn the_end_of_the_connection_can_be_awaited_without_receiving() {
    let (one, other) = Seqpacket::pair().unwrap();
    other.send(b"x", &[]).unwrap();
    assert!(!one.wait_closed(Some(Duration::ZERO)).unwrap());
    let one = Arc::new(one);
    let waiting = Arc::clone(&one);
    assert!(woken(move || waiting.wait_closed(None).unwrap(), || drop(other)));
    assert_eq!(one.recv(&mut [0; 8], &mut Vec::new()).unwrap(), Some(1));
}

#[test]
fn shutdown_wakes_a_blocked_sender() {
    let (one, _other) = Seqpacket::pair().unwrap();
    fill(&one);
    let one = Arc::new(one);
    let sender = Arc::clone(&one);
    let error = woken(move || sender.send(b"x", &[]).unwrap_err(), || one.shutdown().unwrap());
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn the_peer_is_named_by_the_kernel() {
    let (one, _other) = Seqpacket::pair().unwrap();
    let peer = one.peer().unwrap();
    assert_eq!(peer.pid, std::process::id() as i32);
    assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
    assert_eq!(peer.gid, rustix::process::getegid().as_raw());
}

#[test]
fn a_nonblocking_end_never_waits() {
    let (one, other) = Seqpacket::pair().unwrap();
    other.set_nonblocking(true).unwrap();
    let error = other.recv(&mut [0; 8], &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let other = Seqpacket::from(OwnedFd::from(other));
    one.send(b"x", &[]).unwrap();
    assert_eq!(other.recv(&mut [0; 8], &mut Vec::new()).unwrap(), Some(1));
}
