//! What server and keeper say to each other: small binary messages over `payload_socket`, one reply to each request.
//!
//! The first byte says what the message is, numbers are little-endian, a segment is the 16 bytes of its id. Nobody sends
//! a second request before the reply to the first, so neither side ever has to queue.
//!
//! | byte | request | body | file descriptors | reply |
//! |---|---|---|---|---|
//! | 1 | hello | version | – | done |
//! | 2 | change | count, then (1 = store or 2 = remove, segment) each | one for each store | changed |
//! | 3 | list | the last segment already seen, or zeros | – | segments |
//! | 4 | ready | – | – | done |
//! | 5 | stopping | 1 = keep or 2 = drop | – | done |
//! | 6 | takeover | version | – | done, with the listening socket |
//! | 7 | taken | – | – | done, then the old keeper exits |
//!
//! | byte | reply | body | file descriptors |
//! |---|---|---|---|
//! | 129 | done | – | – |
//! | 130 | changed | count, then 0 = done or 1 = no room each | – |
//! | 131 | segments | count, then segments in ascending order; none: that was all | one for each |
//! | 132 | refused | why, then a process id or 0 | – |
//!
//! *hello* makes the connection the server's; it must come from the process that the keeper supervises. *takeover* makes
//! it the heir's, while no server lives; the heir lists everything and says *taken*. Anything that cannot be understood is
//! refused, and the connection goes on.

use payload_core::SegmentId;

/// The version that hello and takeover name.
pub(crate) const VERSION: u8 = 1;
/// The most changes, or segments, in one message: as many as descriptors fit.
pub(crate) const BATCH_MAX: usize = payload_socket::MESSAGE_FDS_MAX;
/// No message is longer.
pub(crate) const MESSAGE_SIZE_MAX: usize = 2 + 17 * BATCH_MAX;

/// What becomes of the segments when the server has stopped gracefully.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They are held for the next server, for as long as the keeper was told to linger.
    Keep,
    /// They are dropped at once.
    Drop,
}

/// What a change does with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Hold the descriptor that comes with it, instead of what was held under this name.
    Store,
    /// Give the descriptor up.
    Remove,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Hello { version: u8 },
    Change(Vec<(Operation, SegmentId)>),
    List { after: Option<SegmentId> },
    Ready,
    Stopping(Fate),
    Takeover { version: u8 },
    Taken,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It cannot be understood.
    BadMessage,
    /// It was larger than any message, or descriptors of it were lost because the keeper can have no more.
    Unreadable,
    /// Only the server, or only the heir, may ask this.
    NotAllowed,
    /// The keeper with this process id is at work here.
    InUse,
    /// The other side has another version.
    Version,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Done,
    /// Whether there was room, for each change.
    Changed(Vec<bool>),
    Segments(Vec<SegmentId>),
    Refused {
        why: Refusal,
        pid: u32,
    },
}

impl Request {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello { version } => vec![1, *version],
            Self::Change(changes) => {
                let mut bytes = vec![2, count(changes.len())];
                for (operation, segment) in changes {
                    bytes.push(match operation {
                        Operation::Store => 1,
                        Operation::Remove => 2,
                    });
                    bytes.extend(segment.as_bytes());
                }
                bytes
            }
            Self::List { after } => {
                let mut bytes = vec![3];
                bytes.extend(after.as_ref().map_or(&[0; 16], SegmentId::as_bytes));
                bytes
            }
            Self::Ready => vec![4],
            Self::Stopping(Fate::Keep) => vec![5, 1],
            Self::Stopping(Fate::Drop) => vec![5, 2],
            Self::Takeover { version } => vec![6, *version],
            Self::Taken => vec![7],
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        Some(match bytes {
            [1, version] => Self::Hello { version: *version },
            [2, count, rest @ ..] => {
                let (entries, []) = rest.as_chunks::<17>() else {
                    return None;
                };
                if entries.len() != usize::from(*count) || entries.len() > BATCH_MAX {
                    return None;
                }
                Self::Change(entries.iter().map(change).collect::<Option<_>>()?)
            }
            [3, rest @ ..] => Self::List {
                after: SegmentId::from_bytes(rest.try_into().ok()?),
            },
            [4] => Self::Ready,
            [5, 1] => Self::Stopping(Fate::Keep),
            [5, 2] => Self::Stopping(Fate::Drop),
            [6, version] => Self::Takeover { version: *version },
            [7] => Self::Taken,
            _ => return None,
        })
    }
}

fn change(entry: &[u8; 17]) -> Option<(Operation, SegmentId)> {
    let (operation, segment) = entry.split_first()?;
    let operation = match operation {
        1 => Operation::Store,
        2 => Operation::Remove,
        _ => return None,
    };
    Some((operation, SegmentId::from_bytes(segment.try_into().ok()?)?))
}

impl Reply {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Done => vec![129],
            Self::Changed(room) => {
                let mut bytes = vec![130, count(room.len())];
                bytes.extend(room.iter().map(|room| u8::from(!room)));
                bytes
            }
            Self::Segments(segments) => {
                let mut bytes = vec![131, count(segments.len())];
                bytes.extend(segments.iter().flat_map(SegmentId::as_bytes));
                bytes
            }
            Self::Refused { why, pid } => {
                let why = match why {
                    Refusal::BadMessage => 1,
                    Refusal::Unreadable => 2,
                    Refusal::NotAllowed => 3,
                    Refusal::InUse => 4,
                    Refusal::Version => 5,
                };
                let [a, b, c, d] = pid.to_le_bytes();
                vec![132, why, a, b, c, d]
            }
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        Some(match bytes {
            [129] => Self::Done,
            [130, count, rest @ ..] if rest.len() == usize::from(*count) => {
                Self::Changed(rest.iter().map(|status| *status == 0).collect())
            }
            [131, count, rest @ ..] => {
                let (segments, []) = rest.as_chunks::<16>() else {
                    return None;
                };
                if segments.len() != usize::from(*count) {
                    return None;
                }
                let segments = segments.iter().map(|bytes| SegmentId::from_bytes(*bytes));
                Self::Segments(segments.collect::<Option<_>>()?)
            }
            [132, why, a, b, c, d] => Self::Refused {
                why: match why {
                    1 => Refusal::BadMessage,
                    2 => Refusal::Unreadable,
                    3 => Refusal::NotAllowed,
                    4 => Refusal::InUse,
                    5 => Refusal::Version,
                    _ => return None,
                },
                pid: u32::from_le_bytes([*a, *b, *c, *d]),
            },
            _ => return None,
        })
    }
}

/// A batch is never longer than [`BATCH_MAX`].
fn count(len: usize) -> u8 {
    u8::try_from(len).expect("a batch has at most 64 items")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(last: u8) -> SegmentId {
        let mut bytes = [0; 16];
        bytes[15] = last;
        SegmentId::from_bytes(bytes).unwrap()
    }

    #[test]
    fn requests_survive_the_way_and_fit() {
        let full = (0..BATCH_MAX).map(|index| (Operation::Store, segment(index as u8 + 1)));
        let requests = [
            Request::Hello { version: 7 },
            Request::Change(vec![]),
            Request::Change(vec![(Operation::Store, segment(1)), (Operation::Remove, segment(2))]),
            Request::Change(full.collect()),
            Request::List { after: None },
            Request::List {
                after: Some(segment(9)),
            },
            Request::Ready,
            Request::Stopping(Fate::Keep),
            Request::Stopping(Fate::Drop),
            Request::Takeover { version: 1 },
            Request::Taken,
        ];
        for request in requests {
            let bytes = request.encode();
            assert!(bytes.len() <= MESSAGE_SIZE_MAX);
            assert_eq!(Request::decode(&bytes), Some(request));
            assert_eq!(Request::decode(&[&bytes[..], &[0]].concat()), None);
        }
    }

    #[test]
    fn replies_survive_the_way_and_fit() {
        let refusals = [
            Refusal::BadMessage,
            Refusal::Unreadable,
            Refusal::NotAllowed,
            Refusal::InUse,
            Refusal::Version,
        ];
        let mut replies = vec![
            Reply::Done,
            Reply::Changed(vec![true, false, true]),
            Reply::Segments(vec![]),
            Reply::Segments((0..BATCH_MAX).map(|index| segment(index as u8 + 1)).collect()),
        ];
        replies.extend(refusals.map(|why| Reply::Refused { why, pid: 70_000 }));
        for reply in replies {
            let bytes = reply.encode();
            assert!(bytes.len() <= MESSAGE_SIZE_MAX);
            assert_eq!(Reply::decode(&bytes), Some(reply));
            assert_eq!(Reply::decode(&[&bytes[..], &[0]].concat()), None);
        }
    }

    #[test]
    fn nonsense_is_not_understood() {
        let nil = [&[2, 1, 1][..], &[0; 16]].concat();
        let unknown_operation = [&[2, 1, 3][..], &[1; 16]].concat();
        let too_many = [&[2, 65][..], &[1; 17 * 65]].concat();
        for bytes in [
            &[][..],
            &[0],
            &[1],
            &[8],
            &[5, 3],
            &[3, 1],
            &[2],
            &[2, 1],
            &nil,
            &unknown_operation,
            &too_many,
        ] {
            assert_eq!(Request::decode(bytes), None, "{bytes:?}");
        }
        for bytes in [&[][..], &[128], &[130, 2, 0], &[131, 1, 5], &[132, 9, 0, 0, 0, 0]] {
            assert_eq!(Reply::decode(bytes), None, "{bytes:?}");
        }
    }
}
