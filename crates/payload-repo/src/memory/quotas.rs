//! Quotas in memory: looked at before a set is true, counted when it is.

use payload_core::quota::{self, QuotaExceeded};
use payload_core::{Change, ChangeSet, Namespace, NamespaceUse, OverQuota};

use super::Tables;

impl Tables {
    pub(super) fn check_quotas(&self, set: &ChangeSet) -> Result<(), QuotaExceeded> {
        if set.over_quota == OverQuota::Allow {
            return Ok(());
        }
        for (namespace, growth) in quota::growth(&set.changes) {
            if let Some(row) = self.namespaces.get(namespace) {
                row.quota.check(namespace, self.namespace_use(namespace), growth)?;
            }
        }
        Ok(())
    }

    pub(super) fn charge(&mut self, changes: &[Change]) {
        for (namespace, growth) in quota::growth(changes) {
            let used = self.uses.entry(namespace.clone()).or_default();
            *used = used.after(growth);
        }
    }

    pub(super) fn namespace_use(&self, namespace: &Namespace) -> NamespaceUse {
        self.uses.get(namespace).copied().unwrap_or_default()
    }
}
