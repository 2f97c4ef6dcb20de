//! Whether a replica may be given up, and if not why not. One function decides for the evictor and explains to people.

use crate::policy::{Policy, SpillTarget};
use crate::tier::Tier;

/// Why a replica stays where it is, however short the room is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keep {
    /// The payload is not committed yet, or is ending: its bytes follow the state, not the pressure.
    Unsettled,
    /// The repository has not said yet what became of the last change.
    InDoubt,
    /// Another node has it.
    Elsewhere,
    /// Leases keep it.
    Leased,
    /// Its bytes are being copied into another tier.
    Moving,
    /// Somebody who held it before a restart may still come back.
    MayReturn,
    /// Copies of it failed again and again, or were cancelled.
    SetAside,
    /// Somebody has pinned it.
    Pinned,
    /// It is to survive more soon, and the copy that this needs is not made yet.
    WriteBehind,
    /// It has not been there for as long as its policy says.
    MinResidency,
    /// It is in the slowest tier that its policy lets it sink to.
    MinTier,
    /// Its priority is `never`.
    Priority,
    /// There is no tier below it, and its policy is not to be given up.
    LowestTier,
}

/// What is known of a replica when somebody looks whether it may go.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The tier it is in.
    pub tier: Tier,
    /// How the payload is to be kept.
    pub policy: Policy,
    /// The payload is active and nobody is ending it.
    pub settled: bool,
    /// What became of the last change is not known.
    pub in_doubt: bool,
    /// It belongs to this node.
    pub here: bool,
    /// Leases keep it.
    pub leased: bool,
    /// The payload's bytes are being copied.
    pub moving: bool,
    /// A session of before the restart may keep it.
    pub may_return: bool,
    /// Copies of it are not tried for a while.
    pub set_aside: bool,
    /// It is pinned, or is about to be.
    pub pinned: bool,
    /// The copy that its policy asks for is not made yet.
    pub owing: bool,
    /// The time for which it stays at least is not over.
    pub settling: bool,
    /// There is another complete replica in a tier below.
    pub copy_below: bool,
    /// The tier that it would be copied to; none: there is none below that takes it.
    pub below: Option<Tier>,
}

/// How a replica leaves its tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// There is a copy below: it is just dropped.
    Drop,
    /// The payload ends with it.
    Discard,
    /// It is copied down first.
    Spill,
}

impl Keep {
    /// Every reason there is.
    pub const ALL: [Self; 13] = [
        Self::Unsettled,
        Self::InDoubt,
        Self::Elsewhere,
        Self::Leased,
        Self::Moving,
        Self::MayReturn,
        Self::SetAside,
        Self::Pinned,
        Self::WriteBehind,
        Self::MinResidency,
        Self::MinTier,
        Self::Priority,
        Self::LowestTier,
    ];

    fn applies(self, facts: &Facts) -> bool {
        match self {
            Self::Unsettled => !facts.settled,
            Self::InDoubt => facts.in_doubt,
            Self::Elsewhere => !facts.here,
            Self::Leased => facts.leased,
            Self::Moving => facts.moving,
            Self::MayReturn => facts.may_return,
            Self::SetAside => facts.set_aside,
            Self::Pinned => facts.pinned,
            Self::WriteBehind => facts.owing,
            Self::MinResidency => facts.settling,
            Self::MinTier => facts.policy.min_tier == Some(facts.tier),
            Self::Priority => facts.policy.rank().is_none(),
            Self::LowestTier => {
                !facts.copy_below && facts.below.is_none() && facts.policy.spill_to != SpillTarget::Void
            }
        }
    }
}

impl Facts {
    /// Everything that keeps the replica where it is.
    pub fn keeps(&self) -> impl Iterator<Item = Keep> + '_ {
        Keep::ALL.into_iter().filter(|keep| keep.applies(self))
    }

    /// Whether nothing does.
    pub fn may_go(&self) -> bool {
        self.keeps().next().is_none()
    }

    /// How it leaves when it does.
    pub fn exit(&self) -> Exit {
        match self.policy.spill_to {
            _ if self.copy_below => Exit::Drop,
            SpillTarget::Void => Exit::Discard,
            SpillTarget::Disk | SpillTarget::Object => Exit::Spill,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Priority;

    fn free() -> Facts {
        Facts {
            tier: Tier::Ram,
            policy: Policy::default(),
            settled: true,
            in_doubt: false,
            here: true,
            leased: false,
            moving: false,
            may_return: false,
            set_aside: false,
            pinned: false,
            owing: false,
            settling: false,
            copy_below: false,
            below: Some(Tier::Disk),
        }
    }

    fn never() -> Policy {
        Policy {
            priority: Priority::Never,
            ..Policy::default()
        }
    }

    #[test]
    fn each_fact_alone_keeps_a_replica_and_names_itself() {
        assert!(free().may_go());
        let table = [
            (
                Keep::Unsettled,
                Facts {
                    settled: false,
                    ..free()
                },
            ),
            (
                Keep::InDoubt,
                Facts {
                    in_doubt: true,
                    ..free()
                },
            ),
            (Keep::Elsewhere, Facts { here: false, ..free() }),
            (Keep::Leased, Facts { leased: true, ..free() }),
            (Keep::Moving, Facts { moving: true, ..free() }),
            (
                Keep::MayReturn,
                Facts {
                    may_return: true,
                    ..free()
                },
            ),
            (
                Keep::SetAside,
                Facts {
                    set_aside: true,
                    ..free()
                },
            ),
            (Keep::Pinned, Facts { pinned: true, ..free() }),
            (Keep::WriteBehind, Facts { owing: true, ..free() }),
            (
                Keep::MinResidency,
                Facts {
                    settling: true,
                    ..free()
                },
            ),
            (
                Keep::MinTier,
                Facts {
                    policy: Policy {
                        min_tier: Some(Tier::Ram),
                        ..Policy::default()
                    },
                    ..free()
                },
            ),
            (
                Keep::Priority,
                Facts {
                    policy: never(),
                    ..free()
                },
            ),
            (
                Keep::LowestTier,
                Facts {
                    tier: Tier::Disk,
                    below: None,
                    ..free()
                },
            ),
        ];
        assert_eq!(table.map(|(keep, _)| keep), Keep::ALL);
        for (keep, facts) in table {
            assert_eq!(facts.keeps().collect::<Vec<_>>(), [keep]);
            assert!(!facts.may_go());
        }
    }

    #[test]
    fn a_copy_below_makes_leaving_cheap_whatever_the_policy_says() {
        let void = Policy {
            spill_to: SpillTarget::Void,
            ..Policy::default()
        };
        let exit = |policy, copy_below| {
            Facts {
                policy,
                copy_below,
                ..free()
            }
            .exit()
        };
        assert_eq!(exit(Policy::default(), false), Exit::Spill);
        assert_eq!(exit(Policy::default(), true), Exit::Drop);
        assert_eq!(exit(void, false), Exit::Discard);
        assert_eq!(exit(void, true), Exit::Drop);
    }
}
