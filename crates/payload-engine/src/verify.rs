//! Verify: whether what happened to payloads, event by event, adds up to what the catalog says of them (I6).

use std::fmt;

use payload_core::delta::{self, FoldError};
use payload_core::listing::{ListQuery, Position};
use payload_core::log::LogQuery;
use payload_core::{Delta, LogFilter, Namespace, Payload, PayloadId, Result, Version};

use crate::engine::{Engine, not_found};

/// How many events are read at a time.
const EVENTS_PAGE: u32 = 1_000;
/// How many payloads are verified at a time.
const PAYLOADS_PAGE: u32 = 100;

/// What was found about some payloads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// How many were looked at.
    pub payloads: u64,
    /// Of how many the first events have been removed, so that nothing can be said.
    pub incomplete: u64,
    /// Those whose events say something else than their row.
    pub faults: Vec<(PayloadId, Fault)>,
    /// The last of them; absent when there are no more.
    pub last: Option<PayloadId>,
}

/// What is wrong with the events of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They do not follow each other.
    Broken(FoldError),
    /// They stop before the row does.
    Behind(Version),
    /// They add up to another row; which fields differ.
    Differs(Vec<String>),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(error) => error.fmt(f),
            Self::Behind(version) => write!(f, "the events stop at version {version}, before the row does"),
            Self::Differs(fields) => write!(f, "the events add up to another row; different: {}", fields.join(", ")),
        }
    }
}

enum Found {
    Good,
    Incomplete,
    Bad(Fault),
}

impl Engine {
    /// Verifies one payload.
    pub fn verify_events_of(&self, namespace: &Namespace, id: PayloadId) -> Result<Verified> {
        let row = self.repository().get(id)?;
        let row = row.filter(|row| row.namespace == *namespace).ok_or_else(not_found)?;
        let mut verified = Verified::default();
        self.verify_row(&row, &mut verified)?;
        Ok(verified)
    }

    /// Verifies the next few payloads of a namespace, in order of creation.
    pub fn verify_events(&self, namespace: &Namespace, after: Option<PayloadId>) -> Result<Verified> {
        self.check_namespace(namespace)?;
        let page = self.repository().list(&ListQuery {
            after: after.map(Position::by_creation),
            ..ListQuery::all(namespace.clone(), PAYLOADS_PAGE)
        })?;
        let mut verified = Verified::default();
        for row in &page.rows {
            self.verify_row(row, &mut verified)?;
        }
        verified.last = page.next.map(|next| next.id);
        Ok(verified)
    }

    fn verify_row(&self, row: &Payload, verified: &mut Verified) -> Result<()> {
        verified.payloads += 1;
        match self.fold(row)? {
            Found::Good => {}
            Found::Incomplete => verified.incomplete += 1,
            Found::Bad(fault) => verified.faults.push((row.id, fault)),
        }
        Ok(())
    }

    /// Folds a payload's events up to the version of its row; later ones are of changes that came since it was read.
    fn fold(&self, row: &Payload) -> Result<Found> {
        let mut folded = None;
        let mut query = LogQuery {
            filter: LogFilter::payload(row.namespace.clone(), row.id),
            after: None,
            limit: EVENTS_PAGE,
        };
        loop {
            let page = self.repository().log(&query)?;
            let events = page.events.iter().filter(|event| event.version <= row.version);
            for event in events {
                if folded.is_none() && event.version != Version::FIRST {
                    return Ok(Found::Incomplete);
                }
                if let Err(error) = delta::apply(&mut folded, row.id, event.version, &event.delta) {
                    return Ok(Found::Bad(Fault::Broken(error)));
                }
            }
            if !page.more {
                break;
            }
            query.after = Some(page.through);
        }
        Ok(match folded {
            // All of its events are gone.
            None => Found::Incomplete,
            Some(folded) if folded.version < row.version => Found::Bad(Fault::Behind(folded.version)),
            Some(folded) if folded == *row => Found::Good,
            Some(folded) => Found::Bad(Fault::Differs(differences(&folded, row))),
        })
    }
}

fn differences(folded: &Payload, row: &Payload) -> Vec<String> {
    let Delta(edits) = delta::delta(Some(folded), row);
    edits.iter().map(delta::Edit::field).collect()
}
