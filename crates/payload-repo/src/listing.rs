//! How listings are read from indexes: which of them, from where to where, and how far.
//!
//! An index gives *candidates* in the order of its keys and says of each whether it fits the filter. The best one narrows
//! most and has the order that is asked for. If few candidates are in an index that narrows well but has another order,
//! they are all read and sorted. Else pages are filled from the index that has the order, and end after so many candidates:
//! nobody waits for a page that is full at the cost of all others.

use payload_core::limits::{LIST_COUNT_MAX, LIST_SCAN_MAX};
use payload_core::listing::{Between, Count, Filter, ListPage, ListQuery, Order, Position};
use payload_core::{Label, Payload, PayloadId, StateKind, Tier, Timestamp};

/// How many candidates are asked for at first. Each time it is more, up to the largest number.
const CHUNK_MIN: usize = 64;
const CHUNK_MAX: usize = 2_048;

/// More candidates than a page looks at.
pub(crate) const MANY: u64 = LIST_SCAN_MAX as u64 + 1;

/// An id has 48 bits for the millisecond.
const MILLIS_MAX: u64 = (1 << 48) - 1;

/// What the indexes of one namespace can be asked, in one snapshot.
pub(crate) trait Index {
    type Error;

    /// The first candidates of a source within a window.
    fn candidates(&self, source: Source<'_>, window: &Window, limit: usize) -> Result<Vec<Candidate>, Self::Error>;

    /// How many payloads have a label, counted up to [`MANY`].
    fn count_label(&self, label: &Label, lives: Lives) -> Result<u64, Self::Error>;

    /// How many active payloads have a size within a window, counted up to [`MANY`].
    fn count_sizes(&self, window: &Window) -> Result<u64, Self::Error>;

    /// Payloads by their ids, in any order.
    fn payloads(&self, ids: &[PayloadId]) -> Result<Vec<Payload>, Self::Error>;
}

/// An index, and which part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source<'a> {
    /// Payloads of one state or of all, in order of ids.
    States(Option<StateKind>),
    /// Payloads with a label, in order of ids.
    Label(&'a Label, Lives),
    /// Active payloads, in order of sizes.
    Sizes,
}

/// The index of labels tells payloads that live from those that have ended, so that tombstones bury nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lives {
    Live,
    Ended,
    Both,
}

/// What an index knows of a payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) id: PayloadId,
    pub(crate) size: u64,
    /// Whether it fits the filter.
    pub(crate) fits: bool,
}

/// One end of a window: a size, where the index has sizes, and an id.
pub(crate) type Place = (u64, [u8; 16]);

/// The part of an index to look at, without its ends. No id has only zeros or only ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) low: Place,
    pub(crate) high: Place,
    pub(crate) order: Order,
}

/// Which index serves a query, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan<'a> {
    /// It has the order that is asked for.
    Walk(Source<'a>),
    /// It has another, and few candidates.
    Sort(Source<'a>),
}

/// See the port.
pub(crate) fn page<I: Index>(index: &I, query: &ListQuery) -> Result<ListPage, I::Error> {
    let (chosen, next) = match plan(index, query)? {
        _ if query.limit == 0 => (Vec::new(), None),
        Plan::Walk(source) => walk(index, source, query)?,
        Plan::Sort(source) => sort(index, source, query)?,
    };
    let ids: Vec<PayloadId> = chosen.iter().map(|place| place.id).collect();
    let mut rows = index.payloads(&ids)?;
    query.order.sort(&mut rows, |row| query.order.position(row));
    Ok(ListPage { rows, next })
}

/// See the port.
pub(crate) fn count<I: Index>(index: &I, filter: &Filter) -> Result<Count, I::Error> {
    let source = match rarest(index, filter)? {
        Some(label) => Source::Label(label, Lives::of(filter)),
        None => Source::States(filter.state),
    };
    let mut window = Window::new(filter, source.order());
    let (mut looked_at, mut payloads) = (0, 0);
    while looked_at < LIST_COUNT_MAX {
        let limit = LIST_SCAN_MAX.min(LIST_COUNT_MAX - looked_at);
        let found = index.candidates(source, &window, limit)?;
        payloads += found.iter().filter(|candidate| candidate.fits).count() as u64;
        looked_at += found.len();
        match found.last() {
            Some(last) if found.len() == limit => window.begin_after(Position::by_creation(last.id)),
            _ => return Ok(Count { payloads, exact: true }),
        }
    }
    Ok(Count { payloads, exact: false })
}

fn plan<'a, I: Index>(index: &I, query: &'a ListQuery) -> Result<Plan<'a>, I::Error> {
    let (filter, lives) = (&query.filter, Lives::of(&query.filter));
    let by_size = query.order.is_by_size();
    if let Some(label) = rarest(index, filter)? {
        let source = Source::Label(label, lives);
        if !by_size {
            return Ok(Plan::Walk(source));
        }
        if index.count_label(label, lives)? < MANY {
            return Ok(Plan::Sort(source));
        }
    }
    if by_size {
        return Ok(Plan::Walk(Source::Sizes));
    }
    let has_sizes = filter.state == Some(StateKind::Active) && !filter.size.is_open();
    let sizes = Window::new(filter, Order::SmallestFirst);
    if has_sizes && index.count_sizes(&sizes)? < MANY {
        return Ok(Plan::Sort(Source::Sizes));
    }
    Ok(Plan::Walk(Source::States(filter.state)))
}

/// Of the labels that are asked for, the one that fewest payloads have, as far as it pays to know.
fn rarest<'a, I: Index>(index: &I, filter: &'a Filter) -> Result<Option<&'a Label>, I::Error> {
    if let [] | [_] = filter.labels[..] {
        return Ok(filter.labels.first());
    }
    let mut rarest = None;
    for label in &filter.labels {
        let count = index.count_label(label, Lives::of(filter))?;
        if rarest.is_none_or(|(least, _)| count < least) {
            rarest = Some((count, label));
        }
    }
    Ok(rarest.map(|(_, label)| label))
}

/// Where the payloads of a page stand, and where the next page begins.
type Chosen = (Vec<Position>, Option<Position>);

fn walk<I: Index>(index: &I, source: Source<'_>, query: &ListQuery) -> Result<Chosen, I::Error> {
    let limit = query.limit as usize;
    let mut window = Window::new(&query.filter, query.order);
    if let Some(after) = query.after {
        window.begin_after(after);
    }
    let (mut chosen, mut looked_at) = (Vec::new(), 0);
    let mut chunk = (limit + 1).clamp(CHUNK_MIN, CHUNK_MAX);
    loop {
        let asked = chunk.min(LIST_SCAN_MAX - looked_at);
        let found = index.candidates(source, &window, asked)?;
        looked_at += found.len();
        let places = |candidate: &Candidate| query.order.position_of(candidate.size, candidate.id);
        for place in found.iter().filter(|candidate| candidate.fits).map(places) {
            if chosen.len() == limit {
                let next = chosen.last().copied();
                return Ok((chosen, next));
            }
            chosen.push(place);
        }
        let Some(last) = found.last().map(places).filter(|_| found.len() == asked) else {
            return Ok((chosen, None));
        };
        if looked_at == LIST_SCAN_MAX {
            return Ok((chosen, Some(last)));
        }
        window.begin_after(last);
        chunk = (chunk * 2).min(CHUNK_MAX);
    }
}

fn sort<I: Index>(index: &I, source: Source<'_>, query: &ListQuery) -> Result<Chosen, I::Error> {
    let window = Window::new(&query.filter, source.order());
    let found = index.candidates(source, &window, LIST_SCAN_MAX)?;
    let fitting = found.iter().filter(|candidate| candidate.fits);
    let mut chosen: Vec<Position> = fitting
        .map(|candidate| query.order.position_of(candidate.size, candidate.id))
        .filter(|place| query.after.is_none_or(|after| query.order.precedes(after, *place)))
        .collect();
    query.order.sort(&mut chosen, |place| *place);
    let more = chosen.len() > query.limit as usize;
    chosen.truncate(query.limit as usize);
    let next = chosen.last().copied().filter(|_| more);
    Ok((chosen, next))
}

/// A filter as parameters of a statement; labels aside.
pub(crate) struct Columns {
    pub(crate) state: Option<&'static str>,
    pub(crate) tier: Option<&'static str>,
    pub(crate) size: (i64, i64),
    pub(crate) created: (i64, i64),
    /// None if it does not matter.
    pub(crate) committed: (Option<i64>, Option<i64>),
}

impl Columns {
    pub(crate) fn new(filter: &Filter) -> Self {
        let bytes = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
        let times = |range: Between<Timestamp>| {
            let (min, max) = (range.min.map(Timestamp::as_micros), range.max.map(Timestamp::as_micros));
            (min.unwrap_or(i64::MIN), max.unwrap_or(i64::MAX))
        };
        let committed = (!filter.committed.is_open()).then(|| times(filter.committed));
        Self {
            state: filter.state.map(StateKind::as_str),
            tier: filter.tier.map(Tier::as_str),
            size: (
                filter.size.min.map_or(0, bytes),
                filter.size.max.map_or(i64::MAX, bytes),
            ),
            created: times(filter.created),
            committed: committed.unzip(),
        }
    }
}

impl Source<'_> {
    /// Whether it holds only payloads with that label.
    pub(crate) fn is_of(&self, label: &Label) -> bool {
        matches!(self, Self::Label(own, _) if *own == label)
    }

    /// The order in which it is read when it does not matter.
    const fn order(&self) -> Order {
        match self {
            Self::States(_) | Self::Label(..) => Order::OldestFirst,
            Self::Sizes => Order::SmallestFirst,
        }
    }
}

impl Lives {
    /// Whether the first of them has ended, and the last.
    pub(crate) const fn range(self) -> (bool, bool) {
        match self {
            Self::Live => (false, false),
            Self::Ended => (true, true),
            Self::Both => (false, true),
        }
    }

    fn of(filter: &Filter) -> Self {
        match filter.state.map(StateKind::has_ended) {
            None => Self::Both,
            Some(true) => Self::Ended,
            Some(false) => Self::Live,
        }
    }
}

impl Window {
    /// All of an index that can fit, to be read in that order.
    fn new(filter: &Filter, order: Order) -> Self {
        let (first, last) = ([0; 16], [0xff; 16]);
        let (low, high) = if order.is_by_size() {
            let (min, max) = (filter.size.min.unwrap_or(0), filter.size.max.unwrap_or(u64::MAX));
            ((min, first), (max, last))
        } else {
            let min = filter.created.min.map_or(first, |at| in_millisecond(at, 0));
            let max = filter.created.max.map_or(last, |at| in_millisecond(at, 0xff));
            ((0, min), (0, max))
        };
        Self { low, high, order }
    }

    fn begin_after(&mut self, place: Position) {
        let place = (place.size, *place.id.as_bytes());
        if self.order.is_ascending() {
            self.low = self.low.max(place);
        } else {
            self.high = self.high.min(place);
        }
    }
}

/// Comes before or after all ids of a moment, which begin with its millisecond.
fn in_millisecond(at: Timestamp, rest: u8) -> [u8; 16] {
    let millis = u64::try_from(at.as_micros() / 1_000).unwrap_or(0).min(MILLIS_MAX);
    let mut place = [rest; 16];
    place[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    place
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use payload_core::Namespace;

    use super::*;

    /// An index with so many payloads for each label, which its value says, and for any range of sizes.
    struct Counts(u64);

    impl Index for Counts {
        type Error = Infallible;

        fn candidates(&self, _: Source<'_>, _: &Window, _: usize) -> Result<Vec<Candidate>, Infallible> {
            Ok(Vec::new())
        }

        fn count_label(&self, label: &Label, _: Lives) -> Result<u64, Infallible> {
            Ok(label.value.parse::<u64>().unwrap().min(MANY))
        }

        fn count_sizes(&self, _: &Window) -> Result<u64, Infallible> {
            Ok(self.0.min(MANY))
        }

        fn payloads(&self, _: &[PayloadId]) -> Result<Vec<Payload>, Infallible> {
            Ok(Vec::new())
        }
    }

    fn label(count: &str) -> Label {
        Label::new(&format!("has-{count}"), count).unwrap()
    }

    /// Every class of combinations: labels (none, rare, common, both), sizes (any, few, many), state and order.
    #[test]
    fn each_query_has_its_index() {
        let (rare, common, live) = (label("7"), label("20000"), Lives::Live);
        let (no_labels, both) = (vec![], vec![common.clone(), rare.clone()]);
        let active = Some(StateKind::Active);
        let (walk_states, walk_sizes) = (Plan::Walk(Source::States(active)), Plan::Walk(Source::Sizes));
        let sort_sizes = Plan::Sort(Source::Sizes);
        let (walk_rare, sort_rare) = (
            Plan::Walk(Source::Label(&rare, live)),
            Plan::Sort(Source::Label(&rare, live)),
        );
        let walk_common = Plan::Walk(Source::Label(&common, live));
        for (labels, sizes, by_creation, by_size) in [
            (&no_labels, None, walk_states, walk_sizes),
            (&no_labels, Some(7), sort_sizes, walk_sizes),
            (&no_labels, Some(20_000), walk_states, walk_sizes),
            (&vec![rare.clone()], None, walk_rare, sort_rare),
            (&vec![rare.clone()], Some(7), walk_rare, sort_rare),
            (&vec![common.clone()], None, walk_common, walk_sizes),
            (&vec![common.clone()], Some(7), walk_common, walk_sizes),
            (&both, None, walk_rare, sort_rare),
            (&both, Some(20_000), walk_rare, sort_rare),
        ] {
            for order in Order::ALL {
                let filter = Filter {
                    state: active,
                    labels: labels.clone(),
                    size: Between::new(sizes, None, "size").unwrap(),
                    ..Filter::default()
                };
                let query = ListQuery {
                    filter,
                    order,
                    ..ListQuery::all(Namespace::default(), 50)
                };
                let Ok(plan) = plan(&Counts(sizes.unwrap_or_default()), &query);
                let expected = if order.is_by_size() { by_size } else { by_creation };
                assert_eq!(plan, expected, "{labels:?} {sizes:?} {order:?}");
            }
        }
    }

    #[test]
    fn states_choose_among_those_that_live_and_tombstones() {
        for state in StateKind::ALL.map(Some).into_iter().chain([None]) {
            let filter = Filter {
                state,
                ..Filter::default()
            };
            let lives = match state {
                None => Lives::Both,
                Some(StateKind::Allocated | StateKind::Active | StateKind::Deleting) => Lives::Live,
                Some(StateKind::Deleted | StateKind::Aborted | StateKind::Lost) => Lives::Ended,
            };
            assert_eq!(Lives::of(&filter), lives, "{state:?}");
        }
    }

    /// All ids of a millisecond are between the places before and after it, and none of another.
    #[test]
    fn a_window_holds_the_ids_of_its_milliseconds() {
        let at = |millis: i64| Timestamp::from_micros(millis * 1_000 + 999);
        let filter = Filter {
            created: Between::new(Some(at(5)), Some(at(6)), "created").unwrap(),
            ..Filter::default()
        };
        let window = Window::new(&filter, Order::OldestFirst);
        for millis in 4..=7 {
            for random in [[0; 10], [0xff; 10]] {
                let place = (0, *PayloadId::from_parts(millis, random).as_bytes());
                let inside = window.low < place && place < window.high;
                assert_eq!(inside, (5..=6).contains(&millis), "{millis}");
            }
        }
        for far in [i64::MIN, -1, i64::MAX] {
            let _no_panic = in_millisecond(Timestamp::from_micros(far), 0);
        }
    }
}
