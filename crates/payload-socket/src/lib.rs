//! One `SOCK_SEQPACKET` message together with its file descriptors: whole or not at all, and never a descriptor lost.
//!
//! This crate knows nothing of what messages say. It guards what is easy to get wrong with `sendmsg` and `recvmsg`:
//! every descriptor is close-on-exec from the first moment, a message that was cut short is an error and its
//! descriptors are closed, a signal does not interrupt, and a peer that went away is not a signal either.
//!
//! Empty messages are refused, because a reader cannot tell one from the end of the connection.

mod address;
mod bell;
mod deadline;
mod listener;
mod outq;
mod peer;
mod seqpacket;

pub use bell::Bell;
pub use listener::{Listener, out_of_descriptors};
pub use peer::Peer;
pub use seqpacket::Seqpacket;

/// The largest number of file descriptors that one message carries.
pub const MESSAGE_FDS_MAX: usize = 64;
