//! What a producer may say about how a payload is kept when room is short.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Reason};
use crate::limits;
use crate::tier::{Durability, Tier};
use crate::time::Span;

/// How a payload is kept. It is said once, when room is allocated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Whose turn it is when room is needed.
    pub priority: Priority,
    /// What becomes of it when it has to leave RAM.
    pub spill_to: SpillTarget,
    /// Whether it can be made again: then it goes before others of its priority.
    pub rederivable: bool,
    /// The slowest tier that it may sink to by itself; absent: any.
    pub min_tier: Option<Tier>,
    /// How long it stays in RAM at least, from its commit and from each time it is fetched; absent: not at all.
    pub min_residency: Option<Span>,
    /// What it is to survive soon after its commit, which does not wait for that; absent: no more than the commit promises.
    pub write_behind: Option<Durability>,
}

/// Lower ones are evicted before higher ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Goes before everything else.
    Low,
    /// Like most.
    #[default]
    Normal,
    /// Goes when nothing else is left.
    High,
    /// Stays where it is.
    Never,
}

/// What becomes of a payload that has to leave RAM and has no copy below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SpillTarget {
    /// It is copied to disk.
    #[default]
    Disk,
    /// It is copied to object storage, past the disk.
    Object,
    /// It is given up altogether.
    Void,
}

/// How many ranks there are.
pub const RANKS: usize = 6;

impl Policy {
    /// Where it stands in the order of eviction, the first to go at 0; none: it does not go.
    pub fn rank(self) -> Option<usize> {
        let rank = match self.priority {
            Priority::Low => 0,
            Priority::Normal => 2,
            Priority::High => 4,
            Priority::Never => return None,
        };
        Some(rank + usize::from(!self.rederivable))
    }

    /// Refuses what contradicts itself, or what the commit promises.
    pub fn check(self, durability: Durability) -> Result<(), Error> {
        let refuse = |message| Err(Error::invalid(Reason::PolicyContradiction, message).field("policy"));
        match (self.spill_to, self.priority) {
            (SpillTarget::Void, _) if durability > Durability::Volatile => {
                refuse("what must survive the host cannot be given up when memory is short")
            }
            (SpillTarget::Void, Priority::Never) => refuse("what is never evicted has no spill target"),
            (SpillTarget::Void, _) if self.min_tier.is_some() => {
                refuse("what ends rather than sink to a slower tier has no slowest tier")
            }
            (SpillTarget::Void, _) if self.write_behind.is_some() => {
                refuse("what ends when memory is short is not to survive more")
            }
            _ if self.write_behind.is_some_and(|soon| soon <= durability) => {
                refuse("what the commit promises already is not written behind")
            }
            _ => self.check_residency(),
        }
    }

    /// Whether it may be in a tier without anybody's saying so.
    pub fn may_sink_to(self, tier: Tier) -> bool {
        self.min_tier.is_none_or(|slowest| tier <= slowest)
    }

    /// What is promised when it is in a tier, to which nothing has to be added any more: `promised`, or more if that tier gives
    /// all that was to be reached.
    pub fn reached_in(self, tier: Tier, promised: Durability) -> Durability {
        let reached = self.write_behind.filter(|soon| *soon <= tier.durability());
        reached.map_or(promised, |soon| promised.max(soon))
    }

    fn check_residency(self) -> Result<(), Error> {
        match self.min_residency {
            Some(span) if span > limits::MIN_RESIDENCY_MAX => Err(Error::invalid(
                Reason::BadDuration,
                format!(
                    "a payload stays in RAM at least {} ms at most",
                    limits::MIN_RESIDENCY_MAX.as_millis()
                ),
            )
            .field("policy.min_residency_ms")),
            _ => Ok(()),
        }
    }
}

impl Priority {
    /// Every priority there is, the first to go first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Never];

    /// The word for it, everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Never => "never",
        }
    }
}

impl SpillTarget {
    /// Every target there is.
    pub const ALL: [Self; 3] = [Self::Disk, Self::Object, Self::Void];

    /// The word for it, everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Object => "object",
            Self::Void => "void",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for SpillTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Priority {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|priority| priority.as_str() == text);
        found.ok_or_else(|| {
            let message = format!("there is no priority {text:?}; there are low, normal, high and never");
            Error::invalid(Reason::BadRequest, message).field("policy.priority")
        })
    }
}

impl FromStr for SpillTarget {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|target| target.as_str() == text);
        found.ok_or_else(|| {
            let message = format!("there is no spill target {text:?}; there are disk, object and void");
            Error::invalid(Reason::BadRequest, message).field("policy.spill_to")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(priority: Priority, rederivable: bool, spill_to: SpillTarget) -> Policy {
        Policy {
            priority,
            spill_to,
            rederivable,
            ..Policy::default()
        }
    }

    #[test]
    fn ranks_order_by_priority_and_then_by_what_can_be_made_again() {
        let rank = |priority, rederivable| policy(priority, rederivable, SpillTarget::Disk).rank();
        let mut ranks = Vec::new();
        for priority in [Priority::Low, Priority::Normal, Priority::High] {
            ranks.extend([rank(priority, true), rank(priority, false)]);
        }
        assert_eq!(ranks, (0..RANKS).map(Some).collect::<Vec<_>>());
        assert_eq!(
            (rank(Priority::Never, true), rank(Priority::Never, false)),
            (None, None)
        );
    }

    #[test]
    fn contradictions_are_refused() {
        let ok = |policy: Policy, durability| policy.check(durability).map_err(|error| error.reason());
        let refused = Err(Reason::PolicyContradiction);
        for priority in Priority::ALL {
            for durability in Durability::ALL {
                let disk = policy(priority, true, SpillTarget::Disk);
                assert_eq!(ok(disk, durability), Ok(()));
                let void = policy(priority, true, SpillTarget::Void);
                let fine = priority != Priority::Never && durability == Durability::Volatile;
                assert_eq!(ok(void, durability), if fine { Ok(()) } else { refused });
            }
        }
    }

    #[test]
    fn what_ends_rather_than_sink_has_no_slowest_tier_and_nothing_stays_for_too_long() {
        let void = Policy {
            min_tier: Some(Tier::Disk),
            ..policy(Priority::Normal, false, SpillTarget::Void)
        };
        let refused = void.check(Durability::Volatile).unwrap_err();
        assert_eq!(refused.reason(), Reason::PolicyContradiction);
        let stays = |span| Policy {
            min_residency: Some(span),
            ..Policy::default()
        };
        assert!(stays(limits::MIN_RESIDENCY_MAX).check(Durability::Volatile).is_ok());
        let long = stays(limits::MIN_RESIDENCY_MAX * 2).check(Durability::Volatile);
        assert_eq!(long.unwrap_err().reason(), Reason::BadDuration);
    }

    #[test]
    fn what_comes_behind_is_more_than_the_commit_promises_and_nothing_for_what_may_end() {
        let behind = |soon| Policy {
            write_behind: Some(soon),
            ..Policy::default()
        };
        for soon in Durability::ALL {
            for durability in Durability::ALL {
                let checked = behind(soon).check(durability).map_err(|error| error.reason());
                let expected = if soon > durability {
                    Ok(())
                } else {
                    Err(Reason::PolicyContradiction)
                };
                assert_eq!(checked, expected, "{soon} behind {durability}");
            }
        }
        let void = Policy {
            spill_to: SpillTarget::Void,
            ..behind(Durability::Host)
        };
        let refused = void.check(Durability::Volatile).unwrap_err();
        assert_eq!(refused.reason(), Reason::PolicyContradiction);
    }

    #[test]
    fn a_tier_that_gives_all_that_was_to_come_makes_it_a_promise() {
        let behind = Policy {
            write_behind: Some(Durability::Host),
            ..Policy::default()
        };
        let reached = |policy: Policy, tier| policy.reached_in(tier, Durability::Volatile);
        assert_eq!(reached(behind, Tier::Ram), Durability::Volatile);
        assert_eq!(reached(behind, Tier::Disk), Durability::Host);
        assert_eq!(reached(behind, Tier::Object), Durability::Host);
        assert_eq!(reached(Policy::default(), Tier::Disk), Durability::Volatile);
    }

    #[test]
    fn words_parse_back() {
        for priority in Priority::ALL {
            assert_eq!(priority.to_string().parse::<Priority>().unwrap(), priority);
        }
        for target in SpillTarget::ALL {
            assert_eq!(target.to_string().parse::<SpillTarget>().unwrap(), target);
        }
        assert_eq!("".parse::<Priority>().unwrap_err().reason(), Reason::BadRequest);
        assert_eq!("ram".parse::<SpillTarget>().unwrap_err().reason(), Reason::BadRequest);
    }
}
