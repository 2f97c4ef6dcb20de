//! Names: point them at payloads, take them away, follow them, and read where they have pointed.

use std::sync::Arc;

use payload_core::{
    ChangeSet, CommitOutcome, Error, NameChange, NameGuard, NameMove, NameRecord, Namespace, Naming, Payload,
    PayloadId, PayloadName, PayloadRef, Principal, Reason, Result, Version, naming, page,
};

use crate::engine::Engine;

/// What somebody who names a payload says.
#[derive(Clone, Debug)]
pub struct NameRequest {
    /// Of the payload and of the name.
    pub namespace: Namespace,
    /// The payload.
    pub payload: PayloadRef,
    /// The name, and what must be true of it.
    pub naming: Naming,
    /// Kept in the name's history.
    pub reason: Arc<str>,
}

/// A page of names.
#[derive(Clone, Debug)]
pub struct NamePage {
    /// In order.
    pub rows: Vec<NameRecord>,
    /// Lists on from here; absent on the last page.
    pub next_token: Option<String>,
}

/// A page of where a name has pointed.
#[derive(Clone, Debug)]
pub struct NameHistoryPage {
    /// The newest first.
    pub moves: Vec<NameMove>,
    /// Lists on from here; absent on the last page.
    pub next_token: Option<String>,
}

impl Engine {
    /// The payload that is meant. Where a name points may change the moment after.
    pub fn resolve(&self, namespace: &Namespace, payload: &PayloadRef) -> Result<PayloadId> {
        match payload {
            PayloadRef::Id(id) => Ok(*id),
            PayloadRef::Name(name) => Ok(self.name(namespace, name)?.payload),
        }
    }

    /// Points a name at a committed payload, and returns which one that is. Asking again for what is so already is fine.
    pub fn set_name(&self, principal: &Principal, request: &NameRequest) -> Result<PayloadId> {
        let payload = self.resolve(&request.namespace, &request.payload)?;
        let (naming, reason) = (request.naming.clone(), &request.reason);
        self.move_name(principal, &request.namespace, naming, Some(payload), reason)?;
        Ok(payload)
    }

    /// Takes a name away; only from `from` if the caller says so.
    pub fn remove_name(
        &self,
        principal: &Principal,
        namespace: &Namespace,
        name: PayloadName,
        from: Option<PayloadId>,
        reason: &Arc<str>,
    ) -> Result<()> {
        let guard = from.map_or(NameGuard::Any, NameGuard::PointsAt);
        self.move_name(principal, namespace, Naming { name, guard }, None, reason)
    }

    /// Names outlive the host, whatever they point at: nothing may seem to point at what it pointed at before.
    fn move_name(
        &self,
        principal: &Principal,
        namespace: &Namespace,
        naming: Naming,
        to: Option<PayloadId>,
        reason: &Arc<str>,
    ) -> Result<()> {
        let change = NameChange {
            namespace: namespace.clone(),
            naming,
            to,
            actor: principal.into(),
            reason: (!reason.is_empty()).then(|| Arc::clone(reason)),
            at: self.wall(),
        };
        let outcome = self.commit_set(ChangeSet {
            name: Some(change),
            ..ChangeSet::new(Vec::new(), self.repository().strongest())
        })?;
        match outcome {
            CommitOutcome::Applied => Ok(()),
            _ => Err(Error::new(Reason::Internal, "a name without a version was in conflict")),
        }
    }

    /// The name that a new payload is to get with its commit.
    pub(crate) fn naming_of(
        &self,
        row: &Payload,
        naming: Option<&Naming>,
        principal: &Principal,
    ) -> Option<NameChange> {
        naming.map(|naming| NameChange {
            namespace: row.namespace.clone(),
            naming: naming.clone(),
            to: Some(row.id),
            actor: principal.into(),
            reason: None,
            at: self.wall(),
        })
    }

    /// Where a name points.
    pub fn name(&self, namespace: &Namespace, name: &PayloadName) -> Result<NameRecord> {
        let found = self.repository().name(namespace, name)?;
        found.ok_or_else(|| naming::no_name(name))
    }

    /// The names that point at a payload.
    pub fn names_of(&self, payload: PayloadId) -> Result<Vec<PayloadName>> {
        self.repository().names_of(payload)
    }

    /// A page of the names that begin with `prefix`.
    pub fn names(&self, namespace: &Namespace, prefix: &str, size: u32, token: &str) -> Result<NamePage> {
        let limit = page::page_size(size)?;
        naming::check_prefix(prefix)?;
        self.check_namespace(namespace)?;
        let query = ["names", namespace.as_str(), prefix];
        let after: Option<PayloadName> = page::position(token, &query)?;
        let rows = self.repository().names(namespace, prefix, after.as_ref(), limit + 1)?;
        let (rows, more) = page::page_of(rows, limit);
        let last = rows.last().filter(|_| more);
        let next_token = last.map(|last| page::token(&last.name, &query));
        Ok(NamePage { rows, next_token })
    }

    /// A page of where a name has pointed; that of a name which was never given is unknown.
    pub fn name_history(
        &self,
        namespace: &Namespace,
        name: &PayloadName,
        size: u32,
        token: &str,
    ) -> Result<NameHistoryPage> {
        let limit = page::page_size(size)?;
        let query = ["name history", namespace.as_str(), name.as_str()];
        let before = page::position(token, &query)?.map(Version::from_u64);
        let moves = self.repository().name_history(namespace, name, before, limit + 1)?;
        if moves.is_empty() && before.is_none() {
            return Err(naming::no_name(name));
        }
        let next = before.map(|before| before.as_u64() - 1).filter(|next| *next > 0);
        let found = moves.first().map(|first| first.version.as_u64());
        if let Some(next) = next.filter(|next| found != Some(*next)) {
            let message = format!("moves up to version {next} were removed when their retention time was over");
            return Err(Error::new(Reason::HistoryRemoved, message).field("page_token"));
        }
        let (moves, more) = page::page_of(moves, limit);
        let last = moves.last().filter(|_| more);
        let next_token = last.map(|last| page::token(last.version, &query));
        Ok(NameHistoryPage { moves, next_token })
    }
}
