//! Placement: where a new payload goes, whether its producer waits for room there, or why it is refused.
//!
//! One pure function decides: [`place`] takes what is asked for and what is known of the world, and answers with a
//! [`Verdict`]. The engine carries the verdict out; when that finds less room than there seemed to be, it says so in the
//! [`TierState`] and asks again. Each answer rules something out, so there is always a last one.
//!
//! | step | what is decided |
//! |---|---|
//! | 1 | What is left open is filled in: RAM, and as durable as that tier is by itself |
//! | 2 | What contradicts itself, or can never be, is refused before anybody waits |
//! | 3 | What the quota does not allow is refused: nobody waits for room that he may not have |
//! | 4 | The preferred tier is taken if it has room and nobody stands in line for it |
//! | 5 | Else the producer waits there, if room is made there and the line is not full |
//! | 6 | Else the next tier down is looked at in the same way, if the producer lets the payload fall back |
//! | 7 | Else it is refused, with the time after which to come again if that could help |
//!
//! *Who falls back.* A producer that names a tier has a reason (it is about to read the bytes from there, or pays for
//! them), so it gets that tier or a refusal, unless it says otherwise. One that names none wants its payload kept, and a
//! slower tier is better than a failed write. Falling back takes the place of a refusal, never of a wait: RAM that is
//! just being freed is still the better place. What would rather end than go to disk, and what is to stay in RAM for ever,
//! does not fall back unless it is asked to. Nothing falls as far as the bucket: who writes there has to know how. What may
//! not sink below a tier does not go below it in this way either.
//!
//! *What does not change on the way.* The durability is that of the preferred tier, or what was asked for: a volatile
//! payload that fell back to disk promises no more there than it would have in RAM, like one that was spilled.

mod request;
#[cfg(test)]
mod tests;

use std::fmt;

pub use request::{Fallback, Request};

use crate::error::{Error, Reason};
use crate::limits;
use crate::name::Namespace;
use crate::namespace::Quota;
use crate::policy::Policy;
use crate::quota::NamespaceUse;
use crate::tier::{Durability, Tier};
use crate::time::Span;

/// When somebody who found no room may come again: deletions and expiry free some all the time.
pub const NO_ROOM_RETRY: Span = Span::from_secs(1);

/// What is known of one tier at the moment of the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierState {
    /// Which.
    pub tier: Tier,
    /// How much it may hold.
    pub capacity: u64,
    /// How much of that is free, or makes way by itself.
    pub free: u64,
    /// Whether somebody can wait for room in it.
    pub line: Line,
    /// What came of it for this request so far.
    pub tried: Tried,
}

/// The line of those who wait for room in a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// There is none: nothing is given up in this tier to make room.
    None,
    /// Nobody waits, so whoever comes may take what is there.
    Empty,
    /// Others came first.
    Open,
    /// As many wait as may.
    Full,
}

/// What a request has tried in a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// Nothing yet.
    Nothing,
    /// There was less room than it seemed.
    NoRoom,
    /// It stood in line, and its time ran out.
    Waited,
}

/// What a namespace may have, and has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget<'a> {
    /// Whose.
    pub namespace: &'a Namespace,
    /// How much it may have.
    pub quota: Quota,
    /// How much it has.
    pub used: NamespaceUse,
}

/// What is known besides the tiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct World<'a> {
    /// Absent if there is no quota.
    pub budget: Option<Budget<'a>>,
    /// The strongest class that the catalog can promise.
    pub strongest: Durability,
    /// How long somebody may wait for room.
    pub patience: Span,
}

/// Where a payload goes, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The tier.
    pub tier: Tier,
    /// What its commit promises.
    pub durability: Durability,
    /// How it is kept.
    pub policy: Policy,
    /// The tiers that would have been better, and why it is not one of them.
    pub passed: Vec<(Tier, Passed)>,
}

/// Why a tier did not get a payload that it was meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// It is smaller than the payload.
    TooSmall,
    /// It is full, and nobody waits for room in it.
    NoRoom,
    /// Too many wait already.
    LineFull,
    /// There was none in time.
    WaitedInVain,
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Verdict {
    /// Put it there now.
    Place(Place),
    /// Put it there as soon as there is room.
    Wait {
        /// Where.
        place: Place,
        /// How much room is missing as it looks now; zero if only others are first.
        missing: u64,
        /// How long.
        at_most: Span,
    },
    /// Send it away.
    Refuse(Error),
}

/// Decides about one request. The tiers come from fast to slow; one is only looked at if those before it were passed.
pub fn place(request: &Request, world: &World<'_>, tiers: impl IntoIterator<Item = TierState>) -> Verdict {
    match decide(request, world, tiers) {
        Ok(verdict) => verdict,
        Err(refusal) => Verdict::Refuse(refusal),
    }
}

fn decide(request: &Request, world: &World<'_>, tiers: impl IntoIterator<Item = TierState>) -> Result<Verdict, Error> {
    let terms = request.terms(world.strongest)?;
    if let Some(budget) = world.budget {
        budget.quota.check(budget.namespace, budget.used, request.growth())?;
    }
    let mut passed: Vec<(Tier, Passed)> = Vec::new();
    let mut capacity_max = None;
    for state in tiers.into_iter().filter(|state| state.tier >= terms.tier) {
        let is_eligible = match passed.is_empty() {
            true => state.tier == terms.tier,
            false => state.tier.is_local(),
        };
        if !is_eligible {
            break;
        }
        capacity_max = capacity_max.max(Some(state.capacity));
        let place = |passed| Place {
            tier: state.tier,
            durability: request.policy.reached_in(state.tier, terms.durability),
            policy: request.policy,
            passed,
        };
        match look(request.size, &state, world.patience) {
            Look::Take => return Ok(Verdict::Place(place(passed))),
            Look::Wait { missing } => {
                return Ok(Verdict::Wait {
                    place: place(passed),
                    missing,
                    at_most: world.patience,
                });
            }
            Look::Pass(why) => passed.push((state.tier, why)),
        }
        if terms.fallback == Fallback::Refuse || request.policy.min_tier == Some(state.tier) {
            break;
        }
    }
    let capacity_max = capacity_max.ok_or_else(|| not_configured(terms.tier))?;
    Err(refusal(request.size, capacity_max, &passed))
}

/// What one tier has to offer.
enum Look {
    Take,
    Wait { missing: u64 },
    Pass(Passed),
}

fn look(size: u64, state: &TierState, patience: Span) -> Look {
    if size > state.capacity {
        // However long anybody waits, there will never be so much room.
        return Look::Pass(Passed::TooSmall);
    }
    let missing = size.saturating_sub(state.free);
    let at_once = missing == 0 && matches!(state.line, Line::None | Line::Empty);
    match (state.tried, state.line) {
        (Tried::Waited, _) => Look::Pass(Passed::WaitedInVain),
        // What takes nothing up needs nobody's turn.
        (Tried::Nothing, _) if at_once || size == 0 => Look::Take,
        (_, Line::None) => Look::Pass(Passed::NoRoom),
        _ if patience.is_zero() => Look::Pass(Passed::NoRoom),
        (_, Line::Full) => Look::Pass(Passed::LineFull),
        (_, Line::Empty | Line::Open) => Look::Wait { missing },
    }
}

/// The tier below in which a commit must add a replica, because it promises more than its tier gives by itself.
pub fn writes_through(tier: Tier, durability: Durability) -> Option<Tier> {
    (durability > tier.durability()).then(|| durability.tier())
}

fn refusal(size: u64, capacity_max: u64, passed: &[(Tier, Passed)]) -> Error {
    if passed.iter().all(|(_, why)| *why == Passed::TooSmall) {
        let message = format!("the tiers that it may go into hold at most {capacity_max} bytes, not {size}");
        return Error::invalid(Reason::BadSize, message).field("size");
    }
    let message = format!("no room for {size} bytes: {}", Words(passed));
    Error::new(Reason::TierFull, message).retry_after(NO_ROOM_RETRY)
}

fn not_configured(tier: Tier) -> Error {
    Error::invalid(Reason::TierNotConfigured, format!("this server has no tier {tier}")).field("tier")
}

fn too_large(size: u64) -> Error {
    let message = format!("a payload has at most {} bytes, not {size}", limits::PAYLOAD_SIZE_MAX);
    Error::invalid(Reason::BadSize, message).field("size")
}

impl Place {
    /// The tier below in which the commit must add a replica, if it must.
    pub fn writes_through(&self) -> Option<Tier> {
        writes_through(self.tier, self.durability)
    }

    /// Why it is not in the tier that was preferred, in words; none if it is.
    pub fn why_not_preferred(&self) -> Option<String> {
        (!self.passed.is_empty()).then(|| format!("fell back: {}", Words(&self.passed)))
    }
}

struct Words<'a>(&'a [(Tier, Passed)]);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (tier, why)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}tier {tier} {why}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooSmall => "is smaller than the payload",
            Self::NoRoom => "is full",
            Self::LineFull => "is full, and too many wait for room in it",
            Self::WaitedInVain => "had no room in time",
        })
    }
}
