//! Namespaces: make, look at, change and remove them, and refuse early what is meant for one that is not there.

use std::collections::HashMap;

use parking_lot::RwLock;
use payload_core::placement::Request;
use payload_core::{Error, Namespace, NamespaceRecord, NamespaceUse, Principal, Quota, Reason, Result, Version, page};

use crate::engine::Engine;

/// A page of namespaces.
#[derive(Clone, Debug)]
pub struct NamespacePage {
    /// In order of their names.
    pub rows: Vec<NamespaceRecord>,
    /// Lists on from here; absent on the last page.
    pub next_token: Option<String>,
}

impl Engine {
    /// Makes a namespace, and answers when it outlives the host.
    pub fn create_namespace(&self, principal: &Principal, name: Namespace, quota: Quota) -> Result<NamespaceRecord> {
        let record = NamespaceRecord {
            name,
            version: Version::FIRST,
            quota,
            created_at: self.wall(),
            created_by: principal.into(),
        };
        self.stop_if_fenced(self.repository().create_namespace(&record))?;
        tracing::info!(namespace = %record.name, %principal, "namespace created");
        Ok(record)
    }

    /// Replaces a namespace's quota; only at `if_version` if the caller names one.
    pub fn update_namespace(
        &self,
        name: &Namespace,
        quota: Quota,
        if_version: Option<Version>,
    ) -> Result<NamespaceRecord> {
        let row = self.namespace_at(name, if_version)?;
        let record = NamespaceRecord {
            version: row.version.next(),
            quota,
            ..row
        };
        self.stop_if_fenced(self.repository().update_namespace(&record))?;
        self.known_namespaces.forget(name);
        Ok(record)
    }

    /// Removes a namespace in which every payload has ended; only at `if_version` if the caller names one.
    pub fn remove_namespace(&self, principal: &Principal, name: &Namespace, if_version: Option<Version>) -> Result<()> {
        let version = self.namespace_at(name, if_version)?.version;
        self.stop_if_fenced(self.repository().remove_namespace(name, version))?;
        self.known_namespaces.forget(name);
        tracing::info!(namespace = %name, %principal, "namespace removed");
        Ok(())
    }

    /// One namespace.
    pub fn namespace(&self, name: &Namespace) -> Result<NamespaceRecord> {
        self.repository().namespace(name)?.ok_or_else(|| no_namespace(name))
    }

    /// The row that a change starts from.
    fn namespace_at(&self, name: &Namespace, if_version: Option<Version>) -> Result<NamespaceRecord> {
        let row = self.namespace(name)?;
        match if_version {
            Some(wanted) if wanted != row.version => Err(Error::new(
                Reason::Conflict,
                format!("namespace {name} is at version {}, not {wanted}", row.version),
            )
            .field("if_version")),
            _ => Ok(row),
        }
    }

    /// A page of namespaces.
    pub fn namespaces(&self, size: u32, token: &str) -> Result<NamespacePage> {
        let limit = page::page_size(size)?;
        let after: Option<Namespace> = match token {
            "" => None,
            token => Some(token.parse().map_err(|_| page::bad_token())?),
        };
        let rows = self.repository().namespaces(after.as_ref(), limit + 1)?;
        let (rows, more) = page::page_of(rows, limit);
        let next_token = rows.last().filter(|_| more).map(|last| last.name.to_string());
        Ok(NamespacePage { rows, next_token })
    }

    /// Refuses what is meant for a namespace that is not there, before anything is reserved for it. One that is removed at
    /// this moment may get through; the transaction that makes the payload refuses it then.
    pub(crate) fn check_namespace(&self, name: &Namespace) -> Result<()> {
        self.known_quota(name).map(drop)
    }

    /// The quota and the use of a namespace that has one: nobody waits for room, or has others make some, that he may not
    /// have. The transaction looks again, and is exact.
    pub(crate) fn budget(&self, name: &Namespace, request: &Request) -> Result<Option<(Quota, NamespaceUse)>> {
        let known = self.known_quota(name)?;
        if known == Quota::default() {
            return Ok(None);
        }
        let used = self.namespace_use(name)?;
        let quota = match known.check(name, used, request.growth()) {
            Ok(()) => known,
            // Another server may have changed it.
            Err(_) => self.namespace(name)?.quota,
        };
        Ok(Some((quota, used)))
    }

    /// What a namespace takes up, on all nodes.
    pub fn namespace_use(&self, name: &Namespace) -> Result<NamespaceUse> {
        self.repository().namespace_use(name)
    }

    fn known_quota(&self, name: &Namespace) -> Result<Quota> {
        if let Some(quota) = self.known_namespaces.get(name) {
            return Ok(quota);
        }
        let quota = self.namespace(name)?.quota;
        self.known_namespaces.insert(name, quota);
        Ok(quota)
    }
}

fn no_namespace(name: &Namespace) -> Error {
    Error::new(Reason::NamespaceNotFound, format!("there is no namespace {name}")).field("namespace")
}

/// Names that need not be looked up again, with their quotas. It may remember one that another server has removed, or an old
/// quota, never one that was not.
#[derive(Debug, Default)]
pub(crate) struct KnownNamespaces(RwLock<HashMap<Namespace, Quota>>);

impl KnownNamespaces {
    /// So many; who has more looks some of them up again.
    const MAX: usize = 1_024;

    fn get(&self, name: &Namespace) -> Option<Quota> {
        self.0.read().get(name).copied()
    }

    fn insert(&self, name: &Namespace, quota: Quota) {
        let mut names = self.0.write();
        if names.len() >= Self::MAX {
            names.clear();
        }
        names.insert(name.clone(), quota);
    }

    pub(crate) fn forget(&self, name: &Namespace) {
        self.0.write().remove(name);
    }
}
