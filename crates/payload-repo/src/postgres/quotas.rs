//! Quotas in PostgreSQL: what a batch must know of its namespaces' quotas, and how it moves what they take up.
//!
//! The rows of namespaces that have a quota are locked before their use is summed up, so of two servers the second sees what the
//! first has added. Namespaces without one are not, and nobody waits for anybody.

use std::collections::{HashMap, HashSet};

use payload_core::quota::{self, Growth};
use payload_core::{ChangeSet, Namespace, NamespaceUse, NodeId, OverQuota, Quota};
use tokio_postgres::Row;

use super::apply::{Write, write};
use super::connect::Session;
use super::decide::Effects;
use super::fault::Fault;
use super::row::{self, uuid};
use super::sql;
use crate::check::Refusal;

/// What the batch meets: the namespaces that have a quota, with what they take up so far.
#[derive(Debug, Default)]
pub(super) struct Quotas(HashMap<Namespace, (Quota, NamespaceUse)>);

impl Quotas {
    /// Locks and reads what the sets will be measured by.
    pub(super) async fn find(session: &Session, sets: &[ChangeSet]) -> Result<Self, Fault> {
        let bounded = sets.iter().filter(|set| set.over_quota == OverQuota::Refuse);
        let names: HashSet<&str> = bounded
            .flat_map(|set| &set.changes)
            .map(|change| change.after.namespace.as_str())
            .collect();
        if names.is_empty() {
            return Ok(Self::default());
        }
        let names: Vec<&str> = names.into_iter().collect();
        let (quotas, uses) = futures_util::future::try_join(
            session.all(sql::LOCK_QUOTAS, &[&names], row::namespace_quota),
            session.all(sql::FIND_NAMESPACE_USES, &[&names], named_use),
        )
        .await?;
        let uses: HashMap<Namespace, NamespaceUse> = uses.into_iter().collect();
        let with_use = |(name, quota): (Namespace, Quota)| {
            let used = uses.get(&name).copied().unwrap_or_default();
            (name, (quota, used))
        };
        Ok(Self(quotas.into_iter().map(with_use).collect()))
    }

    /// Refuses a set for a quota that is not enough.
    pub(super) fn check(&self, set: &ChangeSet) -> Result<(), Fault> {
        if set.over_quota == OverQuota::Allow {
            return Ok(());
        }
        for (namespace, growth) in quota::growth(&set.changes) {
            if let Some((quota, used)) = self.0.get(namespace) {
                let checked = quota.check(namespace, *used, growth);
                checked.map_err(|exceeded| Fault::refused(Refusal::Quota(exceeded)))?;
            }
        }
        Ok(())
    }

    /// Counts a set that is applied, for those that come after it.
    pub(super) fn charge(&mut self, set: &ChangeSet) {
        for (namespace, growth) in quota::growth(&set.changes) {
            if let Some((_, used)) = self.0.get_mut(namespace) {
                *used = used.after(growth);
            }
        }
    }
}

/// Moves the node's sums by what a batch adds up to.
pub(super) fn add<'a>(node: NodeId, effects: &Effects<'a>) -> Write<'a> {
    let growth = quota::growth(effects.changes.iter().copied());
    let rows: Vec<(&'a Namespace, NodeId, Growth)> = growth.into_iter().map(|(name, by)| (name, node, by)).collect();
    write!(
        sql::ADD_NAMESPACE_USES,
        rows,
        |row| row.0.as_str(),
        uuid(row.1.as_bytes()),
        row.2.payloads,
        row.2.bytes,
    )
}

/// See the port.
pub(super) async fn get(session: &Session, name: &Namespace) -> Result<NamespaceUse, Fault> {
    let found = session.one(sql::NAMESPACE_USE, &[&name.as_str()], named_use).await?;
    Ok(found.map(|(_, used)| used).unwrap_or_default())
}

fn named_use(row: &Row) -> Result<(Namespace, NamespaceUse), Fault> {
    let used = NamespaceUse {
        payloads: row::uint(row, "payloads")?,
        bytes: row::uint(row, "bytes")?,
    };
    Ok((row::namespace_name(row)?, used))
}
