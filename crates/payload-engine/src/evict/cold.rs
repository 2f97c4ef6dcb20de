//! Candidates that are in no memory: most of what is on disk was read long ago or by an earlier server, and only the catalog
//! knows of it. It is looked through in order of creation, a page at a time and only while room is short, so what is oldest
//! goes first of what nobody has used.

use payload_core::listing::{Filter, ListQuery, Position};
use payload_core::{Instant, Namespace, Result, Span, StateKind, Tier};

use super::PAUSE_MAX;
use crate::engine::Engine;

/// How many payloads are read at a time.
const PAGE: u32 = 256;

/// How far the catalog has been looked through.
#[derive(Clone, Debug, Default)]
pub(super) struct Cold {
    /// The namespace, and the last payload in it.
    at: Option<(Namespace, Option<Position>)>,
    /// Whether a candidate was found since the pass began.
    found: bool,
    /// When the last pass ended in which none was found.
    fruitless: Option<Instant>,
}

/// What came of looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// There may be candidates now.
    Found,
    /// There are none in this tier.
    Nothing,
    /// There are none, and looking again makes no sense before so long.
    NotBefore(Span),
}

impl Engine {
    /// Reads on in the catalog until there is a candidate for eviction from a tier. RAM has none that is not in memory.
    pub(super) fn find_candidates(&self, tier: Tier) -> Result<Search> {
        if tier == Tier::Ram || self.below(tier, payload_core::Policy::default()).is_none() {
            return Ok(Search::Nothing);
        }
        let mut cold = self.evictor(tier).cold.lock();
        if let Some(left) = cold.fruitless.and_then(|at| rest(self.now(), at)) {
            return Ok(Search::NotBefore(left));
        }
        loop {
            let (namespace, after) = match cold.at.take() {
                Some(at) => at,
                None => {
                    cold.found = false;
                    let Some(first) = self.next_cold(None)? else {
                        return Ok(Search::Nothing);
                    };
                    first
                }
            };
            let page = self.repository().list(&ListQuery {
                filter: Filter {
                    state: Some(StateKind::Active),
                    tier: Some(tier),
                    ..Filter::default()
                },
                after,
                ..ListQuery::all(namespace.clone(), PAGE)
            })?;
            for row in page.rows {
                if let Some(entry) = self.table.get_or_load(row.id, self.repository())? {
                    self.consider(&entry);
                }
            }
            cold.at = match page.next {
                Some(next) => Some((namespace, Some(next))),
                None => self.next_cold(Some(&namespace))?,
            };
            if self.evictor(tier).candidates().0 > 0 {
                cold.found = true;
                return Ok(Search::Found);
            }
            if cold.at.is_none() && !cold.found {
                cold.fruitless = Some(self.now());
                return Ok(Search::NotBefore(PAUSE_MAX));
            }
        }
    }

    fn next_cold(&self, after: Option<&Namespace>) -> Result<Option<(Namespace, Option<Position>)>> {
        let next = self.repository().namespaces(after, 1)?.into_iter().next();
        Ok(next.map(|row| (row.name, None)))
    }
}

/// How long to wait after a pass that found nothing.
fn rest(now: Instant, ended: Instant) -> Option<Span> {
    let until = ended.after(PAUSE_MAX);
    (now < until).then(|| until.since(now))
}
