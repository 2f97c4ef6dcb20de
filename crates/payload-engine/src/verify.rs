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
    /// Of how many the first events were removed: what those added up to is where the rest begins.
    pub trimmed: u64,
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
    /// They stop before the row does, or there are none.
    Behind(Option<Version>),
    /// They add up to another row; which fields differ.
    Differs(Vec<String>),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(error) => error.fmt(f),
            Self::Behind(Some(version)) => write!(f, "the events stop at version {version}, before the row does"),
            Self::Behind(None) => f.write_str("there are no events"),
            Self::Differs(fields) => write!(f, "the events add up to another row; different: {}", fields.join(", ")),
        }
    }
}

enum Found {
    Good,
    Bad(Fault),
    /// Events were removed while they were read.
    Moved,
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
        loop {
            let base = self.repository().event_base(row.id)?;
            let trimmed = base.is_some();
            let fault = match self.fold(row, base)? {
                Found::Moved => continue,
                Found::Good => None,
                Found::Bad(fault) => Some(fault),
            };
            verified.payloads += 1;
            verified.trimmed += u64::from(trimmed);
            verified.faults.extend(fault.map(|fault| (row.id, fault)));
            return Ok(());
        }
    }

    /// Folds a payload's events up to the version of its row; later ones are of changes that came since it was read. What
    /// was removed before is in `base`.
    fn fold(&self, row: &Payload, base: Option<Payload>) -> Result<Found> {
        let begin = base.as_ref().map(|base| base.version);
        let mut folded = base;
        let mut query = LogQuery {
            filter: LogFilter::payload(row.namespace.clone(), row.id),
            after: None,
            limit: EVENTS_PAGE,
        };
        loop {
            let page = self.repository().log(&query)?;
            let events = page.events.iter().filter(|event| event.version <= row.version);
            for event in events {
                if let Err(error) = delta::apply(&mut folded, row.id, event.version, &event.delta) {
                    return self.unless_moved(row, begin, Fault::Broken(error));
                }
            }
            if !page.more {
                break;
            }
            query.after = Some(page.through);
        }
        match folded {
            Some(folded) if folded == *row => Ok(Found::Good),
            Some(folded) if folded.version == row.version => Ok(Found::Bad(Fault::Differs(differences(&folded, row)))),
            folded => self.unless_moved(row, begin, Fault::Behind(folded.map(|folded| folded.version))),
        }
    }

    /// A gap is no fault if what fills it was removed after the base was read; and neither is a base beyond the row.
    fn unless_moved(&self, row: &Payload, begin: Option<Version>, fault: Fault) -> Result<Found> {
        let now = self.repository().event_base(row.id)?.map(|base| base.version);
        match now {
            now if now.is_some_and(|now| now > row.version) => Ok(Found::Good),
            now if now != begin => Ok(Found::Moved),
            _ => Ok(Found::Bad(fault)),
        }
    }
}

fn differences(folded: &Payload, row: &Payload) -> Vec<String> {
    let Delta(edits) = delta::delta(Some(folded), row);
    edits.iter().map(delta::Edit::field).collect()
}
