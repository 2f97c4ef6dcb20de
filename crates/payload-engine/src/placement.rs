//! Where a new payload goes and what its commit promises.

use payload_core::{Durability, Error, Policy, Reason, Result, Span, Tier, limits};

use crate::engine::Engine;

/// What was decided about a new payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) tier: Tier,
    pub(crate) durability: Durability,
    pub(crate) policy: Policy,
}

impl Place {
    /// Whether the commit must add a replica on disk.
    pub(crate) fn writes_through(self) -> bool {
        self.durability > self.tier.durability()
    }
}

/// Fills in what the client left open and refuses what contradicts itself.
fn place(tier: Option<Tier>, durability: Option<Durability>, policy: Policy) -> Result<Place> {
    let tier = tier.unwrap_or(Tier::Ram);
    let durability = durability.unwrap_or(tier.durability());
    if durability < tier.durability() {
        return Err(Error::invalid(
            Reason::PolicyContradiction,
            format!(
                "tier {tier} gives durability {} already; {durability} is less",
                tier.durability()
            ),
        )
        .field("durability"));
    }
    policy.check(durability)?;
    Ok(Place {
        tier,
        durability,
        policy,
    })
}

impl Engine {
    pub(crate) fn place(
        &self,
        size: u64,
        tier: Option<Tier>,
        durability: Option<Durability>,
        policy: Policy,
    ) -> Result<Place> {
        if size > limits::PAYLOAD_SIZE_MAX {
            return Err(Error::invalid(
                Reason::BadSize,
                format!("a payload has at most {} bytes, not {size}", limits::PAYLOAD_SIZE_MAX),
            )
            .field("size"));
        }
        let place = place(tier, durability, policy)?;
        let capacity = self.tier(place.tier)?.usage().capacity;
        if size > capacity {
            // However long anybody waits, there will never be so much room.
            return Err(Error::invalid(
                Reason::BadSize,
                format!("tier {} holds {capacity} bytes, not {size}", place.tier),
            )
            .field("size"));
        }
        if place.durability == Durability::Host {
            self.tier(Tier::Disk)?;
            if self.repository().strongest() < Durability::Host {
                return Err(Error::invalid(
                    Reason::PolicyContradiction,
                    "this server's repository keeps nothing over a restart, so it cannot promise durability host",
                )
                .field("durability"));
            }
        }
        Ok(place)
    }
}

/// When somebody who found no room may come again: deletions and expiry free some all the time.
const NO_ROOM_RETRY: Span = Span::from_secs(1);

/// Says with a refusal for want of room when to come again.
pub(crate) fn say_when(error: Error) -> Error {
    match error.reason() {
        Reason::TierFull | Reason::MemoryShort | Reason::SegmentsExhausted => error.retry_after(NO_ROOM_RETRY),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_open_is_filled_in_and_contradictions_are_refused() {
        let host = Durability::Host;
        let table = [
            (None, None, Some((Tier::Ram, Durability::Volatile, false))),
            (None, Some(host), Some((Tier::Ram, host, true))),
            (Some(Tier::Ram), Some(host), Some((Tier::Ram, host, true))),
            (Some(Tier::Disk), None, Some((Tier::Disk, host, false))),
            (Some(Tier::Disk), Some(host), Some((Tier::Disk, host, false))),
            (Some(Tier::Disk), Some(Durability::Volatile), None),
        ];
        for (tier, durability, expected) in table {
            let got = place(tier, durability, Policy::default())
                .ok()
                .map(|p| (p.tier, p.durability, p.writes_through()));
            assert_eq!(got, expected, "{tier:?} {durability:?}");
        }
    }
}
