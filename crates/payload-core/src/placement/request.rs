//! What a producer asks for when it wants room, and what follows from that alone.

use super::{too_large, writes_through};
use crate::error::{Error, Reason};
use crate::limits;
use crate::policy::{Policy, Priority, SpillTarget};
use crate::quota::Growth;
use crate::tier::{Durability, Tier};

/// What a producer says about where its payload shall be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Bytes.
    pub size: u64,
    /// RAM if open.
    pub tier: Option<Tier>,
    /// What happens if that tier has no room; see the module for what is usual.
    pub fallback: Option<Fallback>,
    /// What the tier gives by itself if open.
    pub durability: Option<Durability>,
    /// How it is kept when room is short.
    pub policy: Policy,
}

/// What happens to a payload for which the preferred tier has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fallback {
    /// It is refused.
    Refuse,
    /// It goes into the next tier that has some.
    NextTier,
}

/// What was asked for, with nothing left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) tier: Tier,
    pub(super) fallback: Fallback,
    pub(super) durability: Durability,
}

impl Request {
    /// Fills in what was left open, and refuses what contradicts itself or what the catalog cannot promise.
    pub(super) fn terms(&self, strongest: Durability) -> Result<Terms, Error> {
        if self.size > limits::PAYLOAD_SIZE_MAX {
            return Err(too_large(self.size));
        }
        let tier = self.tier.unwrap_or(Tier::Ram);
        let durability = self.durability.unwrap_or(tier.durability());
        if durability < tier.durability() {
            let own = tier.durability();
            let message = format!("tier {tier} gives durability {own} already; {durability} is less");
            return Err(contradiction(message).field("durability"));
        }
        self.policy.check(durability)?;
        if let Some(slowest) = self.policy.min_tier.filter(|slowest| *slowest < tier) {
            let message = format!("tier {tier} is slower than {slowest}, below which the payload may not sink");
            return Err(contradiction(message).field("policy.min_tier"));
        }
        let most = self.policy.write_behind.map_or(durability, |soon| soon.max(durability));
        if most.min(Durability::Host) > strongest {
            let message = format!(
                "this server's repository keeps nothing over a restart, so it cannot promise durability {most}"
            );
            return Err(contradiction(message).field("durability"));
        }
        Ok(Terms {
            tier,
            fallback: self.fallback()?,
            durability,
        })
    }

    fn fallback(&self) -> Result<Fallback, Error> {
        let stays = self.policy.spill_to == SpillTarget::Void || self.policy.priority == Priority::Never;
        match self.fallback {
            Some(Fallback::NextTier) if self.is_in_its_slowest_tier() => {
                Err(contradiction("what may not sink below a tier does not fall back from it").field("fallback"))
            }
            Some(Fallback::NextTier) if self.policy.spill_to == SpillTarget::Void => Err(contradiction(
                "what ends rather than leave RAM does not fall back to a slower tier",
            )
            .field("fallback")),
            Some(fallback) => Ok(fallback),
            None if self.tier.is_some() || stays => Ok(Fallback::Refuse),
            None => Ok(Fallback::NextTier),
        }
    }

    fn is_in_its_slowest_tier(&self) -> bool {
        self.policy.min_tier == Some(self.tier.unwrap_or(Tier::Ram))
    }

    /// By how much the payload lets its namespace grow: by a second copy too, if its commit promises one or is followed by one.
    pub fn growth(&self) -> Growth {
        let has_second = self.writes_through().is_some() || self.policy.write_behind.is_some();
        let copies = 1 + i64::from(has_second);
        Growth {
            payloads: 1,
            bytes: self.size.cast_signed() * copies,
        }
    }

    /// The tier below the preferred one that the commit will need, if it will.
    pub fn writes_through(&self) -> Option<Tier> {
        let tier = self.tier.unwrap_or(Tier::Ram);
        self.durability.and_then(|durability| writes_through(tier, durability))
    }
}

impl Fallback {
    /// Every word there is.
    pub const ALL: [Self; 2] = [Self::Refuse, Self::NextTier];

    /// The word for it, everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::NextTier => "next-tier",
        }
    }
}

impl std::str::FromStr for Fallback {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|fallback| fallback.as_str() == text);
        found.ok_or_else(|| {
            let message = format!("there is no fallback {text:?}; there are refuse and next-tier");
            Error::invalid(Reason::BadRequest, message).field("fallback")
        })
    }
}

fn contradiction(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::invalid(Reason::PolicyContradiction, message)
}
