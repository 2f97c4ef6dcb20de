//! Lineage in random histories.

use payload_core::lineage::{LineageQuery, Scope};
use payload_core::{Change, Edge};

use super::History;
use crate::repository::lineage::{edge, read_all};
use crate::repository::sample::at;

impl History<'_> {
    /// Mostly none; else between payloads that there are, that come with the set, or that nobody has.
    pub(super) fn edges(&mut self, changes: &[Change]) -> Vec<Edge> {
        let count = self.maker.rng.below(4) * self.maker.rng.below(2);
        (0..count).map(|_| self.edge(changes)).collect()
    }

    fn edge(&mut self, changes: &[Change]) -> Edge {
        let mut end = || {
            let coming = &*self.maker.rng.pick(changes).after;
            match self.maker.rng.below(20) {
                0 => self.maker.allocated(),
                1..=5 => coming.clone(),
                _ if self.versions.is_empty() => coming.clone(),
                _ => self.maker.rng.pick(&self.versions).clone(),
            }
        };
        let (child, parent) = (end(), end());
        let rng = &mut self.maker.rng;
        Edge {
            operation: rng.pick(&["derive", "Ä", "derive2"]).parse().expect("is a word"),
            role: rng.pick(&["", "a"]).parse().expect("is a word"),
            parameters: rng.bits().to_le_bytes()[..].into(),
            at: at(self.now),
            ..edge(&child, &parent)
        }
    }

    /// Pages are compared by what they show: where a page goes on is told in each repository's own terms.
    pub(super) fn read_lineage(&mut self, limit: u32) {
        let Some(root) = self.position() else { return };
        let scope = *self.maker.rng.pick(&[Scope::Up, Scope::Down, Scope::Both]);
        let first = LineageQuery {
            root,
            scope,
            depth: *self.maker.rng.pick(&[1, 2, 100]),
            limit: limit.max(1),
            after: None,
        };
        self.same("lineage", |repo| {
            let page = repo.lineage(&first)?;
            Ok((
                page.edges,
                page.nodes,
                page.next.is_some(),
                page.deeper,
                read_all(repo, first.clone()),
            ))
        });
        self.same("descendants", |repo| repo.descendants(root, limit));
    }
}
