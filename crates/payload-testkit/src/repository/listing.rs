//! Listings: every filter alone and with others, in every order, in pages of every size.

use payload_core::listing::{Between, Count, Filter, ListQuery, Order};
use payload_core::port::Repository;
use payload_core::{Label, Location, Namespace, Payload, PayloadId, ReplicaState, State, StateKind, Tier, limits};

use super::Open;
use super::rows::{apply, claimed};
use super::sample::{Maker, at, changed, created, edited, labels, name, set};

/// All pages of a query, one after the other.
pub(super) fn read_all(repo: &dyn Repository, query: &ListQuery) -> payload_core::Result<Vec<Payload>> {
    let (mut page, mut rows) = (query.clone(), Vec::new());
    loop {
        let found = repo.list(&page)?;
        assert!(found.rows.len() <= query.limit as usize, "{query:?}");
        rows.extend(found.rows);
        let Some(next) = found.next else { return Ok(rows) };
        assert!(
            page.after.is_none_or(|after| query.order.precedes(after, next)),
            "{page:?}"
        );
        page.after = Some(next);
    }
}

fn ids<'a>(payloads: impl IntoIterator<Item = &'a Payload>) -> Vec<PayloadId> {
    payloads.into_iter().map(|payload| payload.id).collect()
}

fn all(namespace: &Namespace) -> ListQuery {
    ListQuery::all(namespace.clone(), 1_000)
}

fn between<T: PartialOrd + Copy>(min: T, max: T) -> Between<T> {
    Between::new(Some(min), Some(max), "range").unwrap()
}

const STATES: [State; 6] = [
    State::Allocated { until: at(10) },
    State::Active { expires_at: None },
    State::Deleting,
    State::Deleted,
    State::Aborted,
    State::Lost,
];

/// Payloads that differ in everything that can be asked for, a few of each state.
fn various(maker: &mut Maker) -> Vec<Payload> {
    let pairs: [&[(&str, &str)]; 4] = [
        &[],
        &[("kind", "frame")],
        &[("kind", "frame"), ("take", "")],
        &[("kind", "frames"), ("take", "ü ' % _ \\")],
    ];
    let mut rows = Vec::new();
    for state in STATES {
        for (number, pairs) in (0..).zip(pairs.into_iter().cycle().take(8)) {
            let on_disk = Location::File(maker.file());
            let replica = maker.replica(ReplicaState::ALL[number % 3], on_disk, 1);
            let mut row = Payload {
                state,
                size: [7, 0, 1 << 40, 7][number % 4],
                labels: labels(pairs),
                committed_at: (number % 2 == 0).then(|| at(number as i64)),
                ..maker.allocated()
            };
            row.replicas[0].state = ReplicaState::ALL[number / 3];
            row.replicas.extend((number > 3).then_some(replica));
            rows.push(row);
        }
    }
    rows
}

fn store(repo: &dyn Repository, rows: &mut [Payload]) {
    apply(repo, set(rows.iter().map(created).collect::<Vec<_>>()));
    for row in rows.iter_mut() {
        *row = super::sample::in_order(row);
    }
    rows.sort_by_key(|row| row.id);
}

/// Pages of every size hold everything once, in the order that is asked for.
pub fn pages_hold_everything_once_in_every_order(open: Open<'_>) {
    let mut maker = Maker::new(31);
    let repo = claimed(open, &maker);
    let mut rows = various(&mut maker);
    store(&*repo, &mut rows);
    for order in Order::ALL {
        let state = order.is_by_size().then_some(StateKind::Active);
        let mut expected: Vec<Payload> = rows.clone();
        expected.retain(|row| state.is_none_or(|state| row.state.kind() == state));
        if order.is_by_size() {
            expected.sort_by_key(|row| (row.size, row.id));
        }
        if matches!(order, Order::NewestFirst | Order::LargestFirst) {
            expected.reverse();
        }
        let count = u32::try_from(expected.len()).unwrap();
        for limit in [1, 2, 7, count - 1, count, count + 1, 1_000] {
            let query = ListQuery {
                filter: Filter {
                    state,
                    ..Filter::default()
                },
                order,
                limit,
                ..all(&rows[0].namespace)
            };
            assert_eq!(
                read_all(&*repo, &query).unwrap(),
                expected,
                "{order:?}, pages of {limit}"
            );
            let page = repo.list(&query).unwrap();
            assert_eq!(page.next.is_some(), limit < count, "{order:?}, pages of {limit}");
        }
    }
    let none = repo.list(&ListQuery::all(rows[0].namespace.clone(), 0)).unwrap();
    assert_eq!((none.rows, none.next), (Vec::new(), None));
}

/// Filters come before paging, and no filter shows another tenant's rows.
pub fn a_listing_shows_one_namespace_and_one_state(open: Open<'_>) {
    let mut maker = Maker::new(32);
    let repo = claimed(open, &maker);
    let tenants = ["a", "a-b", "b"].map(name);
    let mut rows = Vec::new();
    for namespace in &tenants {
        rows.extend(various(&mut maker).into_iter().map(|row| Payload {
            namespace: namespace.clone(),
            ..row
        }));
    }
    store(&*repo, &mut rows);
    for namespace in &tenants {
        let own: Vec<&Payload> = rows.iter().filter(|row| row.namespace == *namespace).collect();
        assert_eq!(ids(&repo.list(&all(namespace)).unwrap().rows), ids(own.iter().copied()));
        for state in StateKind::ALL {
            let mut query = all(namespace);
            query.filter.state = Some(state);
            let expected = ids(own.iter().copied().filter(|row| row.state.kind() == state));
            assert_eq!(ids(&repo.list(&query).unwrap().rows), expected, "{state:?}");
            query.filter.labels = labels(&[("kind", "frame")]);
            let expected = expected.len() / 2;
            assert_eq!(repo.list(&query).unwrap().rows.len(), expected, "{state:?}");
        }
    }
    assert_eq!(repo.list(&all(&name("nobody"))).unwrap().rows, []);
}

/// A filter, and what it means.
type Case = (Filter, fn(&Payload) -> bool);

fn cases() -> Vec<Case> {
    let filter = Filter::default;
    vec![
        (filter(), |_| true),
        (
            Filter {
                tier: Some(Tier::Ram),
                ..filter()
            },
            |row| is_ready(row, Tier::Ram),
        ),
        (
            Filter {
                tier: Some(Tier::Disk),
                ..filter()
            },
            |row| is_ready(row, Tier::Disk),
        ),
        (
            Filter {
                labels: labels(&[("kind", "frame")]),
                ..filter()
            },
            |row| has(row, "kind", "frame"),
        ),
        (
            Filter {
                labels: labels(&[("kind", "frame"), ("take", "")]),
                ..filter()
            },
            |row| has(row, "kind", "frame") && has(row, "take", ""),
        ),
        (
            Filter {
                labels: labels(&[("kind", "frame"), ("take", "ü ' % _ \\")]),
                ..filter()
            },
            |_| false,
        ),
        (
            Filter {
                size: between(1, 7),
                ..filter()
            },
            |row| row.size == 7,
        ),
        (
            Filter {
                size: Between::new(Some(8), None, "size").unwrap(),
                ..filter()
            },
            |row| row.size > 7,
        ),
        (
            Filter {
                created: between(at(1_000), at(1_999)),
                ..filter()
            },
            |row| row.id.millis() == 1_790_000_000_001,
        ),
        (
            Filter {
                created: Between::new(None, Some(at(2_000)), "created").unwrap(),
                ..filter()
            },
            |row| row.created_at <= at(2_000),
        ),
        (
            Filter {
                committed: between(at(1), at(4)),
                ..filter()
            },
            |row| row.committed_at.is_some_and(|when| when >= at(1) && when <= at(4)),
        ),
        (
            Filter {
                committed: Between::new(Some(at(5)), None, "committed").unwrap(),
                ..filter()
            },
            |row| row.committed_at.is_some_and(|when| when >= at(5)),
        ),
    ]
}

fn is_ready(row: &Payload, tier: Tier) -> bool {
    let mut replicas = row.replicas.iter();
    replicas.any(|replica| replica.tier() == tier && replica.state == ReplicaState::Ready)
}

fn has(row: &Payload, key: &str, value: &str) -> bool {
    row.labels
        .iter()
        .any(|label| &*label.key == key && &*label.value == value)
}

/// The one of the two that has a bound.
fn closed<T: PartialOrd + Copy>(one: Between<T>, other: Between<T>) -> Between<T> {
    if one.is_open() { other } else { one }
}

/// What both let through. Of two labels with one key none can be.
fn both(one: &Filter, other: &Filter) -> Option<Filter> {
    let mut labels: Vec<Label> = one.labels.iter().chain(&other.labels).cloned().collect();
    labels.sort();
    labels.dedup();
    let clash = (!one.size.is_open() && !other.size.is_open())
        || (!one.created.is_open() && !other.created.is_open())
        || (!one.committed.is_open() && !other.committed.is_open())
        || (one.tier.is_some() && other.tier.is_some());
    (!clash).then(|| Filter {
        state: None,
        tier: one.tier.or(other.tier),
        labels,
        size: closed(one.size, other.size),
        created: closed(one.created, other.created),
        committed: closed(one.committed, other.committed),
    })
}

/// Every filter alone and each pair, in every state and order: what is shown is what fits, and is counted so.
pub fn what_a_listing_shows_is_what_fits(open: Open<'_>) {
    let mut maker = Maker::new(33);
    let repo = claimed(open, &maker);
    let mut rows = various(&mut maker);
    store(&*repo, &mut rows);
    let (namespace, cases) = (&rows[0].namespace, cases());
    for (place, (one, fits_one)) in cases.iter().enumerate() {
        for (other, fits_other) in &cases[place..] {
            let Some(filter) = both(one, other) else { continue };
            for state in [None, Some(StateKind::Active), Some(StateKind::Deleted)] {
                let filter = Filter {
                    state,
                    ..filter.clone()
                };
                let fits = |row: &&Payload| {
                    state.is_none_or(|state| row.state.kind() == state) && fits_one(row) && fits_other(row)
                };
                let fitting: Vec<&Payload> = rows.iter().filter(fits).collect();
                check(&*repo, namespace, &filter, &fitting);
            }
        }
    }
}

fn check(repo: &dyn Repository, namespace: &Namespace, filter: &Filter, fitting: &[&Payload]) {
    let counted = Count {
        payloads: fitting.len() as u64,
        exact: true,
    };
    assert_eq!(repo.count(namespace, filter).unwrap(), counted, "{filter:?}");
    for order in Order::ALL.into_iter().filter(|order| filter.check(*order).is_ok()) {
        let mut expected = fitting.to_vec();
        if order.is_by_size() {
            expected.sort_by_key(|row| (row.size, row.id));
        }
        if matches!(order, Order::NewestFirst | Order::LargestFirst) {
            expected.reverse();
        }
        let query = ListQuery {
            filter: filter.clone(),
            order,
            limit: 3,
            ..all(namespace)
        };
        let shown = read_all(repo, &query).unwrap();
        assert_eq!(ids(&shown), ids(expected), "{filter:?} {order:?}");
    }
}

/// Labels are found as they are now, before and after the payload has ended.
pub fn labels_are_found_as_they_are_now(open: Open<'_>) {
    let mut maker = Maker::new(34);
    let repo = claimed(open, &maker);
    let first = Payload {
        state: State::Active { expires_at: None },
        labels: labels(&[("a", "1"), ("b", "1")]),
        ..maker.allocated()
    };
    apply(&*repo, set([created(&first)]));
    let finds = |pairs: &[(&str, &str)], state: Option<StateKind>| {
        let mut query = all(&first.namespace);
        query.filter.labels = labels(pairs);
        query.filter.state = state;
        let shown = repo.list(&query).unwrap().rows;
        let counted = repo.count(&first.namespace, &query.filter).unwrap().payloads;
        assert_eq!(shown.len() as u64, counted);
        !shown.is_empty()
    };
    assert!(finds(&[("a", "1"), ("b", "1")], Some(StateKind::Active)) && !finds(&[("a", "2")], None));
    let second = edited(&first, |after| after.labels = labels(&[("a", "2"), ("c", "1")]));
    apply(&*repo, set([changed(&first, &second)]));
    assert!(!finds(&[("a", "1")], None) && !finds(&[("b", "1")], None));
    assert!(finds(&[("a", "2"), ("c", "1")], None));
    // A change of both at once: one label goes, one stays, one changes, one comes.
    let third = edited(&second, |after| {
        after.state = State::Deleted;
        after.labels = labels(&[("a", "3"), ("c", "1"), ("d", "1")]);
    });
    apply(&*repo, set([changed(&second, &third)]));
    for state in [None, Some(StateKind::Deleted)] {
        assert!(finds(&[("a", "3"), ("c", "1"), ("d", "1")], state) && !finds(&[("a", "2")], state));
    }
    assert!(!finds(&[("c", "1")], Some(StateKind::Active)));
}

/// However few fit, a page ends; and all pages together show them, whichever index they come from.
pub fn a_page_looks_at_a_bounded_part_of_a_listing(open: Open<'_>) {
    let mut maker = Maker::new(35);
    let repo = claimed(open, &maker);
    let many = limits::LIST_SCAN_MAX + 500;
    let mut rows: Vec<Payload> = (0..many)
        .map(|number| Payload {
            state: State::Active { expires_at: None },
            size: number as u64,
            labels: labels(&[("all", ""), ("last", if number + 3 < many { "no" } else { "yes" })]),
            replicas: Vec::new(),
            ..maker.allocated()
        })
        .collect();
    for rows in rows.chunks(2_000) {
        apply(&*repo, set(rows.iter().map(created).collect::<Vec<_>>()));
    }
    rows.sort_by_key(|row| row.size);
    let last = &rows[many - 3..];
    let filters = [
        Filter {
            labels: labels(&[("last", "yes"), ("all", "")]),
            ..Filter::default()
        },
        Filter {
            size: Between::new(Some(last[0].size), None, "size").unwrap(),
            ..Filter::default()
        },
        Filter {
            labels: labels(&[("all", "")]),
            size: Between::new(Some(last[0].size), None, "size").unwrap(),
            ..Filter::default()
        },
    ];
    for filter in filters {
        for order in Order::ALL {
            let query = ListQuery {
                filter: Filter {
                    state: Some(StateKind::Active),
                    ..filter.clone()
                },
                order,
                limit: 2,
                ..all(&rows[0].namespace)
            };
            let mut expected: Vec<&Payload> = last.iter().collect();
            order.sort(&mut expected, |row| order.position(row));
            assert_eq!(ids(&read_all(&*repo, &query).unwrap()), ids(expected), "{query:?}");
        }
        let count = repo.count(&rows[0].namespace, &filter).unwrap();
        assert_eq!((count.payloads, count.exact), (3, true));
    }
}

/// A place that no page has named is one to go on from all the same.
pub fn a_listing_goes_on_from_anywhere(open: Open<'_>) {
    let mut maker = Maker::new(36);
    let repo = claimed(open, &maker);
    let mut rows = various(&mut maker);
    store(&*repo, &mut rows);
    for order in Order::ALL {
        for size in [0, 7, u64::MAX] {
            let query = ListQuery {
                filter: Filter {
                    state: Some(StateKind::Active),
                    ..Filter::default()
                },
                order,
                after: Some(order.position_of(size, maker.payload_id())),
                ..all(&rows[0].namespace)
            };
            let mut expected: Vec<&Payload> = rows.iter().filter(|row| query.shows(row)).collect();
            order.sort(&mut expected, |row| order.position(row));
            assert_eq!(ids(&repo.list(&query).unwrap().rows), ids(expected), "{query:?}");
        }
    }
}
