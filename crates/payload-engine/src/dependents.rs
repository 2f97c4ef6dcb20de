//! What depends on a payload: what its loss would touch, and deleting it together with that.

use std::sync::Arc;

use payload_core::lineage::{Descendants, Node};
use payload_core::{
    Error, LifecycleEvent, Namespace, PayloadId, Principal, Reason, Refusal, Result, StateKind, limits,
};

use crate::delete::{DeleteRequest, Guards};
use crate::engine::Engine;
use crate::transition::Cause;

/// What a deletion does about live descendants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnDependents {
    /// Leaves them: they have their own bytes.
    #[default]
    Ignore,
    /// Does not delete while there are any.
    Refuse,
    /// Deletes them first.
    Cascade,
}

/// What a payload's loss would touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impact {
    /// How many live descendants.
    pub live: u64,
    /// Their bytes.
    pub live_bytes: u64,
    /// How many descendants that have ended.
    pub ended: u64,
    /// The nearest live ones.
    pub nearest: Vec<Node>,
    /// Whether that is all: more than one query may lead over was not looked at.
    pub complete: bool,
}

/// How far the deletion of a payload's descendants has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependents {
    /// How many were deleted by this call.
    pub deleted: u64,
    /// How many live ones are left for further calls.
    pub left: u64,
    /// Of those that are left, the next to be deleted; only of a deletion that is merely tried.
    pub next: Vec<Node>,
}

impl Engine {
    /// What a payload's loss would touch, with at most `limit` of the nearest.
    pub fn impact(&self, namespace: &Namespace, payload: PayloadId, limit: u32) -> Result<Impact> {
        let limit = payload_core::page::page_size(limit)?;
        self.get(namespace, payload)?;
        let found = self
            .repository()
            .descendants(payload, limits::LINEAGE_WALK_MAX as u32)?;
        let live: Vec<Node> = found.nodes.iter().copied().filter(is_live).collect();
        Ok(Impact {
            live: live.len() as u64,
            live_bytes: live.iter().map(|node| node.size).sum(),
            ended: (found.nodes.len() - live.len()) as u64,
            nearest: live.into_iter().take(limit as usize).collect(),
            complete: found.complete,
        })
    }

    /// The live descendants of a payload, each before what it was made from.
    pub(crate) fn live_descendants(&self, payload: PayloadId) -> Result<Vec<Node>> {
        let found = self
            .repository()
            .descendants(payload, limits::LINEAGE_CHECK_MAX as u32)?;
        if !found.complete {
            let message = format!(
                "more than {} edges hang on {payload}; delete its descendants one by one, or ignore them",
                limits::LINEAGE_CHECK_MAX
            );
            return Err(Error::new(Reason::LineageTooLarge, message));
        }
        Ok(live_leaves_first(&found))
    }

    /// Refuses if a payload has live descendants now.
    pub(crate) fn check_dependents(&self, payload: PayloadId) -> Result<()> {
        match self.live_descendants(payload)?.first() {
            None => Ok(()),
            Some(Node { id: dependent, .. }) => Err(Refusal::Dependents {
                payload,
                dependent: *dependent,
            }
            .into()),
        }
    }

    /// Deletes descendants of a payload, as many as one call may. Whatever ends it, each that is gone is gone with all that
    /// descends from it, and the next call goes on from there.
    pub(crate) fn delete_descendants(
        &self,
        principal: &Principal,
        request: &DeleteRequest,
        root: PayloadId,
    ) -> Result<Dependents> {
        let live = self.live_descendants(root)?;
        let cause = Cause::principal(principal).because(cascade_reason(root));
        let mut deleted = 0;
        for node in live.iter().take(limits::CASCADE_MAX) {
            deleted += u64::from(self.delete_descendant(principal, request, node.id, &cause)?);
        }
        Ok(Dependents {
            deleted,
            left: live.len().saturating_sub(limits::CASCADE_MAX) as u64,
            next: Vec::new(),
        })
    }

    /// False if somebody else was first.
    fn delete_descendant(
        &self,
        principal: &Principal,
        request: &DeleteRequest,
        id: PayloadId,
        cause: &Cause,
    ) -> Result<bool> {
        let entry = self.entry(&request.namespace, id)?;
        let gate = entry.gate();
        if entry.row().state.kind() != StateKind::Active {
            return Ok(false);
        }
        self.check_force(request, &entry)?;
        if request.force {
            self.close_by_force(&entry);
        }
        // What descends from it is gone already.
        let guards = Guards {
            dependents: OnDependents::Ignore,
            ..request.guards()
        };
        self.end(&gate, LifecycleEvent::Delete, guards, cause, principal, None)?;
        Ok(true)
    }
}

fn is_live(node: &Node) -> bool {
    node.state == Some(StateKind::Active)
}

fn live_leaves_first(found: &Descendants) -> Vec<Node> {
    let live: std::collections::HashMap<_, _> = found
        .nodes
        .iter()
        .filter(|node| is_live(node))
        .map(|node| (node.id, *node))
        .collect();
    let order = found.leaves_first().into_iter();
    order.filter_map(|id| live.get(&id).copied()).collect()
}

fn cascade_reason(root: PayloadId) -> Arc<str> {
    format!("descends from {root}, which is deleted").into()
}
