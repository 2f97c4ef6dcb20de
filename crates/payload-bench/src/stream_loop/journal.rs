//! What a worker tells the driver, one JSON line at a time. A pipe keeps the lines when the worker is killed, so the
//! driver knows everything that a worker had been told.

use std::fmt;
use std::io::Write;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

/// The stream that producers append to.
pub(super) const RAW: &str = "raw";
/// The one that what is taken from `RAW` is appended to, once.
pub(super) const MADE: &str = "made";
/// The group that two workers share.
pub(super) const SHARED: &str = "shared";
/// The group that makes `MADE` from `RAW`.
pub(super) const MAKER: &str = "maker";

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Appends and publishes to `RAW`.
    Producer,
    /// Follows `RAW` as a member of `SHARED`, and commits.
    Member,
    /// Follows `RAW` without a group, from where the driver says.
    Follower,
    /// Follows `RAW` as a member of `MAKER`, and appends the same to `MADE` together with its progress.
    Maker,
}

impl Role {
    pub(super) const ALL: [Self; 4] = [Self::Producer, Self::Member, Self::Follower, Self::Maker];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Member => "member",
            Self::Follower => "follower",
            Self::Maker => "maker",
        }
    }
}

impl FromStr for Role {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let role = Self::ALL.into_iter().find(|role| role.as_str() == text);
        role.ok_or_else(|| anyhow!("no worker is a {text:?}"))
    }
}

/// Names an entry: the tag that it has. The numbers of one life of a producer go up by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub(super) struct Name {
    pub(super) slot: u64,
    pub(super) life: u64,
    pub(super) number: u64,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.slot, self.life, self.number)
    }
}

impl FromStr for Name {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers: Vec<u64> = text.split('.').map(str::parse).collect::<Result<_, _>>()?;
        match numbers[..] {
            [slot, life, number] => Ok(Self { slot, life, number }),
            _ => Err(anyhow!("{text:?} names no entry")),
        }
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) enum Line {
    /// The server acknowledged this entry, and said where it is if it was not published with its payload.
    Appended { name: Name, offset: Option<u64> },
    /// This entry came.
    Took { name: Name, offset: u64 },
    /// The server acknowledged that the group is here.
    Committed { offset: u64 },
    /// This was refused, which must not be.
    Refused { why: String },
}

/// Tells the driver, in one write: a line is in the pipe whole or not at all.
pub(super) fn tell(line: &Line) -> Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    std::io::stdout().lock().write_all(&text).context("the driver is gone")
}
