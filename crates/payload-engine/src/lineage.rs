//! Lineage: saying what a payload was made from, and reading the graph that comes of it.

use payload_core::lineage::{self, Derivation, LineagePage, LineageQuery, Scope};
use payload_core::{
    ChangeSet, CommitOutcome, Edge, Error, Namespace, Operation, PayloadId, Principal, Reason, RequestId, Result,
    limits,
};

use crate::engine::Engine;
use crate::transition::Request;

/// What somebody says who knows what a payload was made from.
#[derive(Clone, Debug)]
pub struct AddLineageRequest {
    /// Of the payload and of its parents.
    pub namespace: Namespace,
    /// Makes a retry safe.
    pub request_id: Option<RequestId>,
    /// Which payload was made.
    pub payload: PayloadId,
    /// From what, and how.
    pub derivation: Derivation,
}

/// Which part of the graph somebody wants to see.
#[derive(Clone, Debug)]
pub struct LineageRequest {
    /// Of the payload.
    pub namespace: Namespace,
    /// Where to start.
    pub payload: PayloadId,
    /// In which direction.
    pub scope: Scope,
    /// How many steps; the default if zero.
    pub depth: u32,
    /// How many edges on a page at most; the default if zero.
    pub page_size: u32,
    /// From an earlier page, or empty.
    pub page_token: String,
}

/// A page of the graph.
#[derive(Clone, Debug)]
pub struct Lineage {
    /// Edges and their ends.
    pub page: LineagePage,
    /// Reads on from here; absent on the last page.
    pub next_token: Option<String>,
}

impl Engine {
    /// Adds edges from a payload to its parents. They are as durable as the repository can make them.
    pub fn add_lineage(&self, principal: &Principal, request: &AddLineageRequest) -> Result<()> {
        let identity = request.identity();
        match self.add_lineage_once(principal, request, identity.as_ref()) {
            Ok(()) => Ok(()),
            Err(error) => match self.answered(principal, identity.as_ref())? {
                Some(_) => Ok(()),
                None => Err(error),
            },
        }
    }

    fn add_lineage_once(
        &self,
        principal: &Principal,
        request: &AddLineageRequest,
        identity: Option<&Request>,
    ) -> Result<()> {
        let row = self.get(&request.namespace, request.payload)?;
        let set = ChangeSet {
            edges: self.edges(row.id, Some(&request.derivation), principal)?,
            request: identity.map(|identity| self.record(principal, identity, &row)),
            ..ChangeSet::new(Vec::new(), self.repository().strongest())
        };
        match self.commit_set(set)? {
            CommitOutcome::Applied | CommitOutcome::Appended(_) => Ok(()),
            CommitOutcome::StreamRefused(refusal) => Err(refusal.into()),
            CommitOutcome::Duplicate(record) => {
                let request = identity.expect("only a request with an id can be a duplicate");
                self.first_answer(request, &record).map(|_| ())
            }
            CommitOutcome::Refused(refusal) => Err(refusal.into()),
            CommitOutcome::Conflict => Err(Error::new(Reason::Internal, "edges change no row and cannot conflict")),
        }
    }

    /// The edges that a commit, a put or a later call adds.
    pub(crate) fn edges(
        &self,
        child: PayloadId,
        derivation: Option<&Derivation>,
        principal: &Principal,
    ) -> Result<Vec<Edge>> {
        derivation.map_or(Ok(Vec::new()), |derivation| {
            derivation.edges(child, &principal.into(), self.wall())
        })
    }

    /// A page of the graph around a payload.
    pub fn lineage(&self, request: &LineageRequest) -> Result<Lineage> {
        let mut query = request.query()?;
        self.get(&request.namespace, request.payload)?;
        if !request.page_token.is_empty() {
            query.after = Some(lineage::decode_token(&request.namespace, &query, &request.page_token)?);
        }
        let page = self.repository().lineage(&query)?;
        let next_token = page
            .next
            .map(|position| lineage::encode_token(&request.namespace, &query, position));
        Ok(Lineage { page, next_token })
    }
}

/// What a derivation adds to the fingerprint of the request that it came with.
pub(crate) fn fingerprint(derivation: Option<&Derivation>) -> Vec<u8> {
    derivation.map(Derivation::fingerprint).unwrap_or_default()
}

impl AddLineageRequest {
    fn identity(&self) -> Option<Request> {
        let id = self.request_id.clone()?;
        let parts: [&[u8]; 2] = [self.payload.as_bytes(), &self.derivation.fingerprint()];
        Some(Request::new(id, Operation::AddLineage, &parts))
    }
}

impl LineageRequest {
    fn query(&self) -> Result<LineageQuery> {
        Ok(LineageQuery {
            root: self.payload,
            scope: self.scope,
            depth: bounded(
                self.depth,
                limits::LINEAGE_DEPTH_DEFAULT,
                limits::LINEAGE_DEPTH_MAX,
                "depth",
            )?,
            limit: bounded(
                self.page_size,
                limits::LINEAGE_PAGE_SIZE_DEFAULT,
                limits::LINEAGE_PAGE_SIZE_MAX,
                "page_size",
            )?,
            after: None,
        })
    }
}

/// A number from the wire, where zero means "you choose".
fn bounded(asked: u32, default: u32, max: u32, field: &'static str) -> Result<u32> {
    match asked {
        0 => Ok(default),
        asked if asked <= max => Ok(asked),
        _ => Err(Error::invalid(
            Reason::BadSize,
            format!("{} must be at most {max}", field.replace('_', " ")),
        )
        .field(field)),
    }
}
