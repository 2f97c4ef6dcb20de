//! Names of payloads: what they may be, whom they point at, and when they may be pointed elsewhere.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, Reason};
use crate::id::PayloadId;
use crate::lifecycle::StateKind;
use crate::limits;
use crate::name::{Actor, Namespace};
use crate::payload::Version;
use crate::time::Timestamp;

/// A name in a namespace: 1 to 255 of `A-Z a-z 0-9 . _ - /`, in parts between slashes that each start with a letter or
/// digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadName(Arc<str>);

impl PayloadName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PayloadName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let part_good = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part
                    .bytes()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'))
        };
        if text.len() > limits::PAYLOAD_NAME_LEN_MAX || !text.split('/').all(part_good) {
            return Err(Error::invalid(
                Reason::BadName,
                "name must be 1 to 255 of A-Z, a-z, 0-9, '.', '_', '-' and '/', each part starting with a letter or digit",
            )
            .field("name"));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for PayloadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PayloadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Which payload is meant: by its id, or as `name:NAME` by what a name points at when the call is made. No id begins so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PayloadRef {
    /// This one.
    Id(PayloadId),
    /// The one that the name points at.
    Name(PayloadName),
}

impl From<PayloadId> for PayloadRef {
    fn from(id: PayloadId) -> Self {
        Self::Id(id)
    }
}

impl FromStr for PayloadRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.strip_prefix("name:") {
            Some(name) => name.parse().map(Self::Name),
            None => text.parse().map(Self::Id),
        }
    }
}

impl fmt::Display for PayloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => write!(f, "name:{name}"),
        }
    }
}

/// Where a name points now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRecord {
    /// The name.
    pub name: PayloadName,
    /// What it points at; it may have ended.
    pub payload: PayloadId,
    /// Counts the name's moves, from 1.
    pub version: Version,
    /// Who pointed it there.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
}

/// One immutable record of a name that was pointed elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameMove {
    /// The version of the name that the move made.
    pub version: Version,
    /// What it pointed at before, if at anything.
    pub from: Option<PayloadId>,
    /// What it pointed at from then on; absent if it was taken away.
    pub to: Option<PayloadId>,
    /// Who moved it.
    pub actor: Actor,
    /// Why, in the words of whoever moved it.
    pub reason: Option<Arc<str>>,
    /// When, by the wall clock.
    pub at: Timestamp,
}

/// What must be true of a name for it to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameGuard {
    /// It points at nothing, or at a payload that has ended.
    Free,
    /// It points at this payload.
    PointsAt(PayloadId),
    /// Nothing.
    Any,
}

/// A name that is to be pointed at a payload, with the guard that the caller wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// The name.
    pub name: PayloadName,
    /// What must be true of it.
    pub guard: NameGuard,
}

/// A decision to move a name, decided upon by [`decide`] in the transaction that makes it true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameChange {
    /// Whose name.
    pub namespace: Namespace,
    /// Which, and what must be true of it.
    pub naming: Naming,
    /// What it shall point at; absent to take it away.
    pub to: Option<PayloadId>,
    /// Who moves it.
    pub actor: Actor,
    /// Why.
    pub reason: Option<Arc<str>>,
    /// When.
    pub at: Timestamp,
}

/// What is to be done about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameStep {
    /// It is as it shall be.
    Stay,
    /// Move it from what it points at.
    Move {
        /// Absent if it points at nothing.
        from: Option<PayloadId>,
    },
}

/// Why a name was not moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameRefusal {
    /// It points at a payload that has not ended, and the caller did not ask to move it away from there.
    Taken(PayloadName, PayloadId),
    /// It points at another payload than the caller saw, or at nothing.
    Moved(PayloadName, Option<PayloadId>),
    /// It points at nothing that could be taken away.
    NotThere(PayloadName),
    /// There is no such payload in the namespace.
    NoPayload,
    /// The payload is in a state in which it gets no names.
    NotActive(StateKind),
}

/// Decides about a name from what it points at, with the state of that, and the state of what it shall point at, if that
/// is in the namespace.
pub fn decide(
    change: &NameChange,
    current: Option<(PayloadId, StateKind)>,
    target: Option<StateKind>,
) -> Result<NameStep, NameRefusal> {
    let name = || change.naming.name.clone();
    let from = current.map(|(payload, _)| payload);
    match (change.to, target) {
        (None, _) if from.is_none() => return Err(NameRefusal::NotThere(name())),
        (Some(_), None) => return Err(NameRefusal::NoPayload),
        (Some(_), Some(state)) if state != StateKind::Active => return Err(NameRefusal::NotActive(state)),
        // A retry whose first answer got lost, or somebody who wanted the same.
        (Some(to), Some(_)) if from == Some(to) => return Ok(NameStep::Stay),
        _ => {}
    }
    match (change.naming.guard, current) {
        (NameGuard::Free, Some((payload, StateKind::Allocated | StateKind::Active))) => {
            Err(NameRefusal::Taken(name(), payload))
        }
        (NameGuard::PointsAt(wanted), _) if from != Some(wanted) => Err(NameRefusal::Moved(name(), from)),
        _ => Ok(NameStep::Move { from }),
    }
}

impl From<NameRefusal> for Error {
    fn from(refusal: NameRefusal) -> Self {
        match refusal {
            NameRefusal::Taken(name, payload) => {
                Self::new(Reason::NameTaken, format!("name {name} points at {payload}")).field("name")
            }
            NameRefusal::Moved(name, Some(payload)) => {
                Self::new(Reason::Conflict, format!("name {name} points at {payload} now")).field("name")
            }
            NameRefusal::Moved(name, None) => {
                Self::new(Reason::Conflict, format!("name {name} points at nothing now")).field("name")
            }
            NameRefusal::NotThere(name) => no_name(&name),
            NameRefusal::NoPayload => Self::new(Reason::PayloadNotFound, "no such payload in this namespace"),
            NameRefusal::NotActive(state) => state.refusal(),
        }
    }
}

/// Checks what names are asked to begin with.
pub fn check_prefix(text: &str) -> Result<(), Error> {
    let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-' | b'/');
    if text.len() > limits::PAYLOAD_NAME_LEN_MAX || !text.bytes().all(good) {
        return Err(Error::invalid(
            Reason::BadName,
            "prefix must be at most 255 of A-Z, a-z, 0-9, '.', '_', '-' and '/'",
        )
        .field("prefix"));
    }
    Ok(())
}

/// The refusal of whatever needs a name that points at nothing.
pub fn no_name(name: &PayloadName) -> Error {
    Error::new(
        Reason::NameNotFound,
        format!("there is no name {name} in this namespace"),
    )
    .field("name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_49_names_cannot_deceive_or_become_paths() {
        for good in [
            "a",
            "0",
            "Camera/left-2.raw",
            "models/v1.2/weights_q4",
            &"n".repeat(255),
        ] {
            assert_eq!(good.parse::<PayloadName>().unwrap().as_str(), good);
        }
        let long = "n".repeat(256);
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "..",
            "../x",
            "a/../b",
            ".a",
            "-a",
            "a b",
            "a\0",
            "a\nb",
            "ä",
            "a\u{202e}b",
            "name:a",
            "a:b",
            "a%2fb",
            "a\\b",
            "*",
            &long,
        ] {
            assert_eq!(
                bad.parse::<PayloadName>().unwrap_err().reason(),
                Reason::BadName,
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_reference_is_an_id_or_says_that_it_is_a_name() {
        let id = PayloadId::from_parts(1, [1; 10]);
        for reference in [PayloadRef::Id(id), PayloadRef::Name("a/b".parse().unwrap())] {
            assert_eq!(reference.to_string().parse::<PayloadRef>().unwrap(), reference);
        }
        for (bad, reason) in [
            ("a/b", Reason::BadId),
            ("", Reason::BadId),
            ("name:", Reason::BadName),
            ("name:name:a", Reason::BadName),
            ("NAME:a", Reason::BadId),
        ] {
            assert_eq!(bad.parse::<PayloadRef>().unwrap_err().reason(), reason, "{bad:?}");
        }
        // A name may look like an id: the prefix keeps them apart.
        assert_eq!(
            format!("name:{id}").parse::<PayloadRef>().unwrap(),
            PayloadRef::Name(id.to_string().parse().unwrap())
        );
    }

    #[test]
    fn every_guard_is_decided_for_whatever_the_name_points_at() {
        use NameGuard::{Any, Free, PointsAt};
        let [a, b, c] = [1, 2, 3].map(|n| PayloadId::from_parts(n, [1; 10]));
        let name: PayloadName = "n".parse().unwrap();
        let change = |guard, to| NameChange {
            namespace: Namespace::default(),
            naming: Naming {
                name: name.clone(),
                guard,
            },
            to,
            actor: Actor::server("test"),
            reason: None,
            at: Timestamp::from_micros(0),
        };
        let live = Some((a, StateKind::Active));
        let gone = Some((a, StateKind::Deleted));
        let moved = |from| Ok(NameStep::Move { from });
        let taken = Err(NameRefusal::Taken(name.clone(), a));
        let table = [
            (None, Free, Some(b), moved(None)),
            (None, Any, Some(b), moved(None)),
            (None, PointsAt(a), Some(b), Err(NameRefusal::Moved(name.clone(), None))),
            (None, Any, None, Err(NameRefusal::NotThere(name.clone()))),
            (live, Free, Some(b), taken),
            (live, Any, Some(b), moved(Some(a))),
            (live, PointsAt(a), Some(b), moved(Some(a))),
            (
                live,
                PointsAt(c),
                Some(b),
                Err(NameRefusal::Moved(name.clone(), Some(a))),
            ),
            (live, PointsAt(c), Some(a), Ok(NameStep::Stay)),
            (live, Free, Some(a), Ok(NameStep::Stay)),
            (live, Any, None, moved(Some(a))),
            (live, PointsAt(c), None, Err(NameRefusal::Moved(name.clone(), Some(a)))),
            (gone, Free, Some(b), moved(Some(a))),
            (gone, PointsAt(a), Some(b), moved(Some(a))),
            (gone, PointsAt(a), None, moved(Some(a))),
        ];
        for (current, guard, to, expected) in table {
            let got = decide(&change(guard, to), current, to.map(|_| StateKind::Active));
            assert_eq!(got, expected, "{current:?} {guard:?} {to:?}");
        }
        for state in StateKind::ALL.into_iter().filter(|state| *state != StateKind::Active) {
            let got = decide(&change(Any, Some(b)), live, Some(state));
            assert_eq!(got, Err(NameRefusal::NotActive(state)));
        }
        assert_eq!(decide(&change(Any, Some(b)), live, None), Err(NameRefusal::NoPayload));
    }
}
