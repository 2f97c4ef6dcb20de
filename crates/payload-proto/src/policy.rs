//! Policies from and to the wire.

use payload_core::placement::Fallback;
use payload_core::{Error, Policy, Priority, Reason, Result, Span, SpillTarget};

use crate::convert::{durability, millis, tier};
use crate::v1;

/// A policy; what it leaves open is as usual.
pub fn policy(wire: Option<&v1::Policy>) -> Result<Policy> {
    let Some(wire) = wire else { return Ok(Policy::default()) };
    Ok(Policy {
        priority: priority(wire.priority)?,
        spill_to: spill_target(wire.spill_to)?,
        rederivable: wire.rederivable,
        min_tier: tier(wire.min_tier).map_err(|error| error.field("policy.min_tier"))?,
        min_residency: wire.min_residency_ms.map(Span::from_millis),
        write_behind: durability(wire.write_behind).map_err(|error| error.field("policy.write_behind"))?,
    })
}

fn priority(value: i32) -> Result<Priority> {
    match v1::Priority::try_from(value) {
        Ok(v1::Priority::Unspecified | v1::Priority::Normal) => Ok(Priority::Normal),
        Ok(v1::Priority::Low) => Ok(Priority::Low),
        Ok(v1::Priority::High) => Ok(Priority::High),
        Ok(v1::Priority::Never) => Ok(Priority::Never),
        Err(_) => Err(unknown("priority", value, "policy.priority")),
    }
}

fn spill_target(value: i32) -> Result<SpillTarget> {
    match v1::SpillTarget::try_from(value) {
        Ok(v1::SpillTarget::Unspecified | v1::SpillTarget::SpillToDisk) => Ok(SpillTarget::Disk),
        Ok(v1::SpillTarget::SpillToVoid) => Ok(SpillTarget::Void),
        Ok(v1::SpillTarget::SpillToObject) => Ok(SpillTarget::Object),
        Err(_) => Err(unknown("spill target", value, "policy.spill_to")),
    }
}

/// What happens for want of room, if the request says it.
pub fn fallback(value: i32) -> Result<Option<Fallback>> {
    match v1::Fallback::try_from(value) {
        Ok(v1::Fallback::Unspecified) => Ok(None),
        Ok(v1::Fallback::NoFallback) => Ok(Some(Fallback::Refuse)),
        Ok(v1::Fallback::NextTier) => Ok(Some(Fallback::NextTier)),
        Err(_) => Err(unknown("fallback", value, "fallback")),
    }
}

impl From<Fallback> for v1::Fallback {
    fn from(fallback: Fallback) -> Self {
        match fallback {
            Fallback::Refuse => Self::NoFallback,
            Fallback::NextTier => Self::NextTier,
        }
    }
}

fn unknown(what: &str, value: i32, field: &'static str) -> Error {
    Error::invalid(Reason::BadRequest, format!("there is no {what} number {value}")).field(field)
}

impl From<Policy> for v1::Policy {
    fn from(policy: Policy) -> Self {
        Self {
            priority: v1::Priority::from(policy.priority).into(),
            spill_to: v1::SpillTarget::from(policy.spill_to).into(),
            rederivable: policy.rederivable,
            min_tier: policy.min_tier.map_or(v1::Tier::Unspecified, v1::Tier::from).into(),
            min_residency_ms: policy.min_residency.map(millis),
            write_behind: policy
                .write_behind
                .map_or(v1::Durability::Unspecified, v1::Durability::from)
                .into(),
        }
    }
}

impl From<Priority> for v1::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Low => Self::Low,
            Priority::Normal => Self::Normal,
            Priority::High => Self::High,
            Priority::Never => Self::Never,
        }
    }
}

impl From<SpillTarget> for v1::SpillTarget {
    fn from(target: SpillTarget) -> Self {
        match target {
            SpillTarget::Disk => Self::SpillToDisk,
            SpillTarget::Void => Self::SpillToVoid,
            SpillTarget::Object => Self::SpillToObject,
        }
    }
}

#[cfg(test)]
mod tests {
    use payload_core::{Durability, Tier};

    use super::*;

    #[test]
    fn fallbacks_travel_and_numbers_without_a_meaning_do_not() {
        for there in Fallback::ALL {
            assert_eq!(fallback(v1::Fallback::from(there).into()).unwrap(), Some(there));
        }
        assert_eq!(fallback(0).unwrap(), None);
        assert_eq!(fallback(9).unwrap_err().reason(), Reason::BadRequest);
    }

    #[test]
    fn policies_travel_and_numbers_without_a_meaning_do_not() {
        for priority in Priority::ALL {
            for spill_to in SpillTarget::ALL {
                let there = Policy {
                    priority,
                    spill_to,
                    rederivable: true,
                    min_tier: Some(Tier::Ram),
                    min_residency: Some(Span::from_millis(1_500)),
                    write_behind: Some(Durability::Host),
                };
                assert_eq!(policy(Some(&there.into())).unwrap(), there);
            }
        }
        assert_eq!(policy(None).unwrap(), Policy::default());
        assert_eq!(policy(Some(&v1::Policy::default())).unwrap(), Policy::default());
        for bad in [
            v1::Policy {
                priority: 9,
                ..v1::Policy::default()
            },
            v1::Policy {
                spill_to: -1,
                ..v1::Policy::default()
            },
            v1::Policy {
                write_behind: 9,
                ..v1::Policy::default()
            },
        ] {
            assert_eq!(policy(Some(&bad)).unwrap_err().reason(), Reason::BadRequest);
        }
    }
}
