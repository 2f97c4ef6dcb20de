//! The life of a payload: [`step`] is the only place where a state changes.

use crate::error::{Error, Reason};
use crate::time::Timestamp;

/// Where a payload is in its life. A state owns the deadline that ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Room is reserved; the producer may be writing.
    Allocated {
        /// When the allocation times out.
        until: Timestamp,
    },
    /// Committed, visible, leasable.
    Active {
        /// When it expires, if it does.
        expires_at: Option<Timestamp>,
    },
    /// No new leases; the bytes go when the last lease ends.
    Deleting,
    /// A tombstone: the bytes are gone, the history stays.
    Deleted,
    /// A tombstone of an allocation that was never committed.
    Aborted,
    /// A tombstone of a payload whose last replica was lost.
    Lost,
}

/// The name of a [`State`], without what it owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateKind {
    /// See [`State::Allocated`].
    Allocated,
    /// See [`State::Active`].
    Active,
    /// See [`State::Deleting`].
    Deleting,
    /// See [`State::Deleted`].
    Deleted,
    /// See [`State::Aborted`].
    Aborted,
    /// See [`State::Lost`].
    Lost,
}

impl StateKind {
    /// Every state there is.
    pub const ALL: [Self; 6] = [
        Self::Allocated,
        Self::Active,
        Self::Deleting,
        Self::Deleted,
        Self::Aborted,
        Self::Lost,
    ];

    /// The word for it, everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allocated => "ALLOCATED",
            Self::Active => "ACTIVE",
            Self::Deleting => "DELETING",
            Self::Deleted => "DELETED",
            Self::Aborted => "ABORTED",
            Self::Lost => "LOST",
        }
    }

    /// The refusal of what needs a payload in another state.
    pub fn refusal(self) -> Error {
        match self {
            Self::Allocated => Error::new(
                Reason::PayloadNotCommitted,
                "payload is allocated but not committed yet",
            ),
            Self::Active => Error::new(Reason::PayloadCommitted, "payload is committed already"),
            Self::Deleting => Error::new(Reason::PayloadDeleted, "payload is being deleted"),
            Self::Deleted => Error::new(Reason::PayloadDeleted, "payload is deleted"),
            Self::Aborted => Error::new(Reason::PayloadAborted, "the allocation was aborted"),
            Self::Lost => Error::new(Reason::PayloadLost, "the payload's last replica was lost"),
        }
    }

    /// Whether it is a tombstone's.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Deleted | Self::Aborted | Self::Lost)
    }
}

impl State {
    /// From its name and what [`deadline`](Self::deadline) says; `None` if that is no state.
    pub const fn from_parts(kind: StateKind, deadline: Option<Timestamp>) -> Option<Self> {
        Some(match (kind, deadline) {
            (StateKind::Allocated, Some(until)) => Self::Allocated { until },
            (StateKind::Active, expires_at) => Self::Active { expires_at },
            (StateKind::Deleting, None) => Self::Deleting,
            (StateKind::Deleted, None) => Self::Deleted,
            (StateKind::Aborted, None) => Self::Aborted,
            (StateKind::Lost, None) => Self::Lost,
            _ => return None,
        })
    }

    /// Its name.
    pub const fn kind(&self) -> StateKind {
        match self {
            Self::Allocated { .. } => StateKind::Allocated,
            Self::Active { .. } => StateKind::Active,
            Self::Deleting => StateKind::Deleting,
            Self::Deleted => StateKind::Deleted,
            Self::Aborted => StateKind::Aborted,
            Self::Lost => StateKind::Lost,
        }
    }

    /// The moment at which the server acts on its own: a timed-out allocation is aborted, a payload expires.
    pub const fn deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Allocated { until } => Some(*until),
            Self::Active { expires_at } => *expires_at,
            Self::Deleting | Self::Deleted | Self::Aborted | Self::Lost => None,
        }
    }

    /// Whether a lease may be granted now. Expiry counts from its moment, not from when a sweep notices.
    pub fn check_leasable(&self, now: Timestamp) -> Result<(), Error> {
        match self {
            Self::Active { expires_at: Some(at) } if *at <= now => {
                Err(Error::new(Reason::PayloadExpired, "payload has expired"))
            }
            Self::Active { .. } => Ok(()),
            Self::Allocated { .. } => Err(Error::new(
                Reason::PayloadNotCommitted,
                "payload is allocated but not committed yet",
            )),
            ended => Err(ended.refusal()),
        }
    }

    fn refusal(&self) -> Error {
        self.kind().refusal()
    }
}

/// What can happen to a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LifecycleEvent {
    /// The producer is done; from now on the bytes are immutable.
    Commit {
        /// When the payload will expire, if it does.
        expires_at: Option<Timestamp>,
    },
    /// The producer gives up.
    Abort,
    /// The session that allocated closed before it committed.
    WriterDied,
    /// The allocation's time is over.
    AllocationTimedOut,
    /// Somebody asks for its deletion.
    Delete,
    /// Its time to live is over.
    Expire,
    /// Somebody sets another time for its expiry.
    Reschedule {
        /// When it will expire, if it does.
        expires_at: Option<Timestamp>,
    },
    /// Room is short, and its policy is to be given up then.
    Discard,
    /// The last lease on a payload that is being deleted has ended.
    Drained,
    /// The last replica is gone or damaged.
    LastReplicaLost,
}

impl LifecycleEvent {
    /// The word for it in the event log.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Commit { .. } => "committed",
            Self::Abort => "aborted",
            Self::WriterDied => "writer_died",
            Self::AllocationTimedOut => "allocation_timed_out",
            Self::Delete => "delete_requested",
            Self::Expire => "expired",
            Self::Reschedule { .. } => "updated",
            Self::Discard => "discarded",
            Self::Drained => "deleted",
            Self::LastReplicaLost => "lost",
        }
    }
}

/// Moves a payload from one state to the next, or says why it cannot.
pub fn step(state: State, event: LifecycleEvent, now: Timestamp) -> Result<State, Error> {
    use LifecycleEvent as E;
    use State as S;
    let not_due = || Error::new(Reason::NotDue, "its time has not come yet");
    match (state, event) {
        (S::Allocated { .. }, E::Commit { expires_at }) => Ok(S::Active { expires_at }),
        (S::Allocated { .. }, E::Abort | E::WriterDied) => Ok(S::Aborted),
        (S::Allocated { until }, E::AllocationTimedOut) if until <= now => Ok(S::Aborted),
        (S::Allocated { .. }, E::AllocationTimedOut) => Err(not_due()),
        (S::Allocated { .. }, E::LastReplicaLost) => Ok(S::Aborted),

        (S::Active { .. }, E::Delete | E::Discard) => Ok(S::Deleting),
        (S::Active { expires_at: Some(at) }, E::Expire) if at <= now => Ok(S::Deleting),
        (S::Active { .. }, E::Expire) => Err(not_due()),
        (S::Active { .. }, E::LastReplicaLost) => Ok(S::Lost),
        (S::Active { .. }, E::Reschedule { expires_at }) => {
            // What has expired for its readers does not come back.
            state.check_leasable(now)?;
            Ok(S::Active { expires_at })
        }

        (S::Deleting, E::Drained) => Ok(S::Deleted),
        (S::Lost, E::Delete) => Ok(S::Deleted),

        (state, E::Commit { .. } | E::Abort | E::WriterDied | E::AllocationTimedOut) => Err(state.refusal()),
        (state, E::Delete | E::Expire | E::Discard | E::Reschedule { .. } | E::LastReplicaLost) => Err(state.refusal()),
        (state, E::Drained) => Err(state.refusal()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000);
    const PAST: Timestamp = Timestamp::from_micros(999);
    const FUTURE: Timestamp = Timestamp::from_micros(1_001);

    /// Every (state, event) pair with what must come of it: the table is the specification.
    #[test]
    fn every_pair_of_state_and_event_is_decided() {
        use LifecycleEvent as E;
        use Reason as R;
        use State as S;
        let events = [
            E::Commit {
                expires_at: Some(FUTURE),
            },
            E::Abort,
            E::WriterDied,
            E::AllocationTimedOut,
            E::Delete,
            E::Expire,
            E::Discard,
            E::Drained,
            E::LastReplicaLost,
            E::Reschedule { expires_at: None },
        ];
        let active = S::Active {
            expires_at: Some(FUTURE),
        };
        let for_ever = S::Active { expires_at: None };
        let ok = Ok::<State, Reason>;
        let table: [(State, [Result<State, Reason>; 10]); 10] = [
            (
                S::Allocated { until: FUTURE },
                [
                    ok(active),
                    ok(S::Aborted),
                    ok(S::Aborted),
                    Err(R::NotDue),
                    Err(R::PayloadNotCommitted),
                    Err(R::PayloadNotCommitted),
                    Err(R::PayloadNotCommitted),
                    Err(R::PayloadNotCommitted),
                    ok(S::Aborted),
                    Err(R::PayloadNotCommitted),
                ],
            ),
            (
                S::Allocated { until: NOW },
                [
                    ok(active),
                    ok(S::Aborted),
                    ok(S::Aborted),
                    ok(S::Aborted),
                    Err(R::PayloadNotCommitted),
                    Err(R::PayloadNotCommitted),
                    Err(R::PayloadNotCommitted),
                    Err(R::PayloadNotCommitted),
                    ok(S::Aborted),
                    Err(R::PayloadNotCommitted),
                ],
            ),
            (
                S::Active { expires_at: None },
                committed(ok(S::Deleting), Err(R::NotDue), ok(S::Lost), ok(for_ever)),
            ),
            (
                S::Active {
                    expires_at: Some(FUTURE),
                },
                committed(ok(S::Deleting), Err(R::NotDue), ok(S::Lost), ok(for_ever)),
            ),
            (
                S::Active { expires_at: Some(NOW) },
                committed(ok(S::Deleting), ok(S::Deleting), ok(S::Lost), Err(R::PayloadExpired)),
            ),
            (
                S::Active { expires_at: Some(PAST) },
                committed(ok(S::Deleting), ok(S::Deleting), ok(S::Lost), Err(R::PayloadExpired)),
            ),
            (
                S::Deleting,
                [
                    Err(R::PayloadDeleted),
                    Err(R::PayloadDeleted),
                    Err(R::PayloadDeleted),
                    Err(R::PayloadDeleted),
                    Err(R::PayloadDeleted),
                    Err(R::PayloadDeleted),
                    Err(R::PayloadDeleted),
                    ok(S::Deleted),
                    Err(R::PayloadDeleted),
                    Err(R::PayloadDeleted),
                ],
            ),
            (S::Deleted, [Err(R::PayloadDeleted); 10]),
            (S::Aborted, [Err(R::PayloadAborted); 10]),
            (
                S::Lost,
                [
                    Err(R::PayloadLost),
                    Err(R::PayloadLost),
                    Err(R::PayloadLost),
                    Err(R::PayloadLost),
                    ok(S::Deleted),
                    Err(R::PayloadLost),
                    Err(R::PayloadLost),
                    Err(R::PayloadLost),
                    Err(R::PayloadLost),
                    Err(R::PayloadLost),
                ],
            ),
        ];
        for (state, expected) in table {
            for (event, expected) in events.into_iter().zip(expected) {
                let got = step(state, event, NOW).map_err(|error| error.reason());
                assert_eq!(got, expected, "{state:?} + {event:?}");
            }
        }
    }

    fn committed(
        delete: Result<State, Reason>,
        expire: Result<State, Reason>,
        lost: Result<State, Reason>,
        rescheduled: Result<State, Reason>,
    ) -> [Result<State, Reason>; 10] {
        let twice = Err(Reason::PayloadCommitted);
        let discarded = Ok(State::Deleting);
        [
            twice,
            twice,
            twice,
            twice,
            delete,
            expire,
            discarded,
            twice,
            lost,
            rescheduled,
        ]
    }

    #[test]
    fn expiry_stops_leases_at_its_moment_without_any_sweep() {
        let reason = |state: State| state.check_leasable(NOW).map_err(|error| error.reason());
        assert_eq!(reason(State::Active { expires_at: None }), Ok(()));
        assert_eq!(
            reason(State::Active {
                expires_at: Some(FUTURE)
            }),
            Ok(())
        );
        assert_eq!(
            reason(State::Active { expires_at: Some(NOW) }),
            Err(Reason::PayloadExpired)
        );
        assert_eq!(
            reason(State::Allocated { until: FUTURE }),
            Err(Reason::PayloadNotCommitted)
        );
        assert_eq!(reason(State::Deleting), Err(Reason::PayloadDeleted));
        assert_eq!(reason(State::Lost), Err(Reason::PayloadLost));
    }
}
