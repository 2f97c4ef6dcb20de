//! Listings in random histories.

use payload_core::listing::{Between, Filter, ListPage, ListQuery, Order};
use payload_core::port::Repository;
use payload_core::{Label, StateKind, Tier, Timestamp};

use super::History;
use crate::repository::sample::{at, labels};

impl History<'_> {
    /// A page with random questions, and how many fit.
    pub(super) fn read_list(&mut self, limit: u32) {
        let order = *self.maker.rng.pick(&Order::ALL);
        let filter = self.filter(order);
        let size = *self.maker.rng.pick(&[0, 1 << 39, u64::MAX]);
        let query = ListQuery {
            namespace: self.namespace(),
            filter,
            order,
            after: self.position().map(|id| order.position_of(size, id)),
            limit,
        };
        self.same("list", |repo| full_page(repo, &query));
        self.same("count", |repo| repo.count(&query.namespace, &query.filter));
    }

    /// Each part of it in one of three, or what the order needs.
    fn filter(&mut self, order: Order) -> Filter {
        let rng = &mut self.maker.rng;
        let state = rng.one_in(2).then(|| *rng.pick(&StateKind::ALL));
        let tier = rng.one_in(3).then(|| *rng.pick(&Tier::ALL));
        let mut wanted = labels(&[("a", "1"), ("b", "2"), ("b/c", "3"), ("d", "4")]);
        wanted.retain(|_: &Label| rng.one_in(5));
        let size = rng.below(1 << 40);
        let sizes = match rng.below(6) {
            0 => (Some(size), None),
            1 => (None, Some(size)),
            2 => (Some(size), Some(size.saturating_add(1 << 36))),
            _ => (None, None),
        };
        let mut times = || {
            let from = i64::try_from(rng.below(5_000)).expect("is small");
            match rng.below(6) {
                0 => between(Some(at(from)), None),
                1 => between(None, Some(at(from))),
                2 => between(Some(at(from)), Some(at(from + 1_500))),
                _ => Between::default(),
            }
        };
        Filter {
            created: times(),
            committed: times(),
            state: if order.is_by_size() {
                Some(StateKind::Active)
            } else {
                state
            },
            tier,
            labels: wanted,
            size: Between {
                min: sizes.0,
                max: sizes.1,
            },
        }
    }
}

fn between(min: Option<Timestamp>, max: Option<Timestamp>) -> Between<Timestamp> {
    Between { min, max }
}

/// How far one call looks is each repository's own affair: goes on until the page is full.
fn full_page(repo: &dyn Repository, query: &ListQuery) -> payload_core::Result<ListPage> {
    let mut page = repo.list(query)?;
    while page.next.is_some() && page.rows.len() < query.limit as usize {
        let left = u32::try_from(query.limit as usize - page.rows.len()).expect("is less than the limit");
        let rest = repo.list(&ListQuery {
            after: page.next,
            limit: left,
            ..query.clone()
        })?;
        page.rows.extend(rest.rows);
        page.next = rest.next;
    }
    Ok(page)
}
