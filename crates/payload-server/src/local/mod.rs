//! The local door: a `SOCK_SEQPACKET` socket on which messages carry file descriptors.
//!
//! Each session has a thread that blocks in `recvmsg`, answers by itself whatever needs no I/O, and passes the rest to
//! the pool of slow calls; so the commonest call costs two system calls and no hand-over between threads. The end of the
//! connection is the end of the session, noticed by that same `recvmsg`.

mod acquire;
mod answer;
mod batch;
mod door;
mod flusher;
mod in_flight;
mod outbox;
mod reclaim;
mod session;
mod subscribe;

pub(crate) use door::Door;
