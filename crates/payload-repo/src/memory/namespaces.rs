//! Namespaces in memory: made, changed and removed under the versions that the caller saw.

use payload_core::{Actor, Namespace, NamespaceRecord, Quota, Result, Timestamp, Version};

use super::Tables;
use crate::check;

impl Tables {
    pub(super) fn make_default_namespace(&mut self, at: Timestamp) {
        let default = self.namespaces.entry(Namespace::default());
        default.or_insert_with_key(|name| NamespaceRecord {
            name: name.clone(),
            version: Version::FIRST,
            quota: Quota::default(),
            created_at: at,
            created_by: Actor::server("catalog"),
        });
    }

    pub(super) fn create_namespace(&mut self, record: &NamespaceRecord) -> Result<()> {
        if self.namespaces.contains_key(&record.name) {
            return Err(check::namespace_exists(&record.name));
        }
        self.namespaces.insert(record.name.clone(), record.clone());
        Ok(())
    }

    pub(super) fn update_namespace(&mut self, record: &NamespaceRecord) -> Result<()> {
        let row = self.namespace(&record.name)?;
        if row.version.next() != record.version {
            return Err(check::namespace_changed(&record.name));
        }
        (row.version, row.quota) = (record.version, record.quota);
        Ok(())
    }

    pub(super) fn remove_namespace(&mut self, name: &Namespace, version: Version) -> Result<()> {
        if self.namespace(name)?.version != version {
            return Err(check::namespace_changed(name));
        }
        let mut rows = self.payloads.values().filter(|row| row.namespace == *name);
        if rows.any(|row| !row.state.kind().has_ended()) || self.streams.count(name) > 0 {
            return Err(check::namespace_in_use(name));
        }
        self.namespaces.remove(name);
        Ok(())
    }

    fn namespace(&mut self, name: &Namespace) -> Result<&mut NamespaceRecord> {
        self.namespaces.get_mut(name).ok_or_else(|| check::no_namespace(name))
    }
}
