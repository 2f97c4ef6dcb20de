//! Quotas: what a payload counts for, what a namespace takes up, and whether it may take up more.
//!
//! A quota counts what rows say: payloads that have not ended, and the bytes of capacity that all their replicas are charged for,
//! on every node and in every tier, from the allocation on. An allocation whose commit will add a durable copy counts for that
//! copy too. So what was promised once is never refused later: only what makes a payload, or a copy that somebody asks for, is
//! looked at. Copies by which the server itself frees memory go through, whatever the quota says; they end with less than there
//! was.

use std::collections::BTreeMap;
use std::fmt;

use crate::change::Change;
use crate::error::{Error, Reason};
use crate::lifecycle::StateKind;
use crate::name::Namespace;
use crate::namespace::Quota;
use crate::payload::Payload;

/// What a namespace takes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamespaceUse {
    /// Payloads that have not ended.
    pub payloads: u64,
    /// Bytes of capacity that they are charged for, and promised.
    pub bytes: u64,
}

/// By how much that changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Growth {
    /// Payloads.
    pub payloads: i64,
    /// Bytes.
    pub bytes: i64,
}

/// Whether a change set may bring a namespace above its quota, or further above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverQuota {
    /// The set is refused with `QUOTA_EXCEEDED`.
    Refuse,
    /// It was promised before, or frees more than it takes.
    Allow,
}

/// A quota that is not enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// Whose.
    pub namespace: Namespace,
    /// What of.
    pub what: Counted,
    /// How much there may be.
    pub quota: u64,
    /// How much there is.
    pub used: u64,
    /// How much more was asked for.
    pub more: u64,
}

/// What a quota bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Bytes of capacity.
    Bytes,
    /// Payloads.
    Payloads,
}

impl Quota {
    /// Refuses growth beyond the quota. What does not grow is fine, however much there is.
    pub fn check(&self, namespace: &Namespace, used: NamespaceUse, growth: Growth) -> Result<(), QuotaExceeded> {
        let bounds = [
            (Counted::Bytes, self.bytes, used.bytes, growth.bytes),
            (Counted::Payloads, self.payloads, used.payloads, growth.payloads),
        ];
        for (what, quota, used, growth) in bounds {
            let (Some(quota), Ok(more @ 1..)) = (quota, u64::try_from(growth)) else {
                continue;
            };
            if used.saturating_add(more) > quota {
                return Err(QuotaExceeded {
                    namespace: namespace.clone(),
                    what,
                    quota,
                    used,
                    more,
                });
            }
        }
        Ok(())
    }
}

impl NamespaceUse {
    /// After it has grown, or shrunk.
    pub fn after(self, growth: Growth) -> Self {
        Self {
            payloads: self.payloads.saturating_add_signed(growth.payloads),
            bytes: self.bytes.saturating_add_signed(growth.bytes),
        }
    }
}

/// What one payload counts for.
pub fn share(row: &Payload) -> NamespaceUse {
    if row.state.kind().has_ended() {
        return NamespaceUse::default();
    }
    let charged: u64 = row.replicas.iter().map(|replica| replica.charged).sum();
    let promised = match row.state.kind() {
        StateKind::Allocated if row.durability > row.tier.durability() => row.size,
        _ => 0,
    };
    NamespaceUse {
        payloads: 1,
        bytes: charged + promised,
    }
}

/// By how much changes let their namespaces grow, those left out that stay as they are.
pub fn growth<'a>(changes: impl IntoIterator<Item = &'a Change>) -> BTreeMap<&'a Namespace, Growth> {
    let mut sums: BTreeMap<&Namespace, Growth> = BTreeMap::new();
    for change in changes {
        let before = change.before.as_deref().map(share).unwrap_or_default();
        let after = share(&change.after);
        let sum = sums.entry(&change.after.namespace).or_default();
        sum.payloads += difference(before.payloads, after.payloads);
        sum.bytes += difference(before.bytes, after.bytes);
    }
    sums.retain(|_, growth| *growth != Growth::default());
    sums
}

fn difference(before: u64, after: u64) -> i64 {
    // Sizes are at most 2^40, so this never cuts anything off.
    after.cast_signed().wrapping_sub(before.cast_signed())
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Payloads => "payloads",
        })
    }
}

impl From<QuotaExceeded> for Error {
    fn from(exceeded: QuotaExceeded) -> Self {
        let QuotaExceeded {
            namespace,
            what,
            quota,
            used,
            more,
        } = exceeded;
        Self::new(
            Reason::QuotaExceeded,
            format!("namespace {namespace} may have {quota} {what}; it has {used}, and this needs {more} more"),
        )
        .field("namespace")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn used(payloads: u64, bytes: u64) -> NamespaceUse {
        NamespaceUse { payloads, bytes }
    }

    const fn by(payloads: i64, bytes: i64) -> Growth {
        Growth { payloads, bytes }
    }

    #[test]
    fn only_what_grows_beyond_a_bound_is_refused() {
        let quota = Quota {
            bytes: Some(100),
            payloads: Some(3),
        };
        let table = [
            (used(0, 0), by(1, 100), None),
            (used(0, 0), by(1, 101), Some(Counted::Bytes)),
            (used(1, 60), by(1, 40), None),
            (used(1, 61), by(1, 40), Some(Counted::Bytes)),
            (used(3, 0), by(1, 0), Some(Counted::Payloads)),
            (used(3, 0), by(0, 1), None),
            // A quota that was made smaller takes nothing away, and what shrinks is fine.
            (used(9, 900), by(-1, -10), None),
            (used(9, 900), by(0, 0), None),
            (used(9, 900), by(0, 1), Some(Counted::Bytes)),
            (used(u64::MAX, u64::MAX), by(i64::MAX, i64::MAX), Some(Counted::Bytes)),
        ];
        for (used, growth, refused) in table {
            let found = quota.check(&Namespace::default(), used, growth);
            assert_eq!(
                found.err().map(|exceeded| exceeded.what),
                refused,
                "{used:?} {growth:?}"
            );
        }
        let none = Quota::default();
        assert!(none.check(&Namespace::default(), used(9, u64::MAX), by(9, 9)).is_ok());
    }

    #[test]
    fn the_refusal_has_the_numbers() {
        let quota = Quota {
            bytes: Some(100),
            payloads: None,
        };
        let exceeded = quota.check(&Namespace::default(), used(1, 90), by(1, 20)).unwrap_err();
        let error = Error::from(exceeded);
        assert_eq!(error.reason(), Reason::QuotaExceeded);
        assert_eq!(
            error.message(),
            "namespace default may have 100 bytes; it has 90, and this needs 20 more"
        );
    }
}
