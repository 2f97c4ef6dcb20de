//! Which payloads a listing shows, and in what order: one definition for every repository.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Reason};
use crate::id::PayloadId;
use crate::lifecycle::StateKind;
use crate::limits;
use crate::name::{Label, Namespace};
use crate::page::bad_token;
use crate::payload::{Payload, ReplicaState};
use crate::tier::Tier;
use crate::time::Timestamp;

/// Which payloads to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// Of which tenant.
    pub namespace: Namespace,
    /// What else must be true of them.
    pub filter: Filter,
    /// Which of them comes first.
    pub order: Order,
    /// Only those that come after this one.
    pub after: Option<Position>,
    /// At most so many.
    pub limit: u32,
}

/// What must be true of a payload to be shown, all of it. What is open is true of every payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In which state it is.
    pub state: Option<StateKind>,
    /// In which tier it has a replica that can be read.
    pub tier: Option<Tier>,
    /// Labels that it has, in order of their keys.
    pub labels: Vec<Label>,
    /// Between how many bytes.
    pub size: Between<u64>,
    /// Allocated when.
    pub created: Between<Timestamp>,
    /// Committed when. What was never committed does not fit as soon as there is a bound.
    pub committed: Between<Timestamp>,
}

/// A range with its ends, either of which may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Between<T> {
    /// This or more.
    pub min: Option<T>,
    /// This or less.
    pub max: Option<T>,
}

/// What comes first. Payloads of one size come in order of creation, or against it, as the sizes do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// In order of creation.
    #[default]
    OldestFirst,
    /// Against it.
    NewestFirst,
    /// In order of size; active payloads only.
    SmallestFirst,
    /// Against it.
    LargestFirst,
}

/// Where a payload stands in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// How many bytes it has; zero where that does not matter.
    pub size: u64,
    /// Which payload.
    pub id: PayloadId,
}

/// A part of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPage {
    /// In the order that was asked for.
    pub rows: Vec<Payload>,
    /// Where the next page begins; absent on the last. There may be one although the rows are fewer than were asked for.
    pub next: Option<Position>,
}

/// How many payloads fit a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// So many were found.
    pub payloads: u64,
    /// Whether these are all; else there are at least so many.
    pub exact: bool,
}

impl ListQuery {
    /// All payloads of a namespace in order of creation, the first `limit` of them.
    pub fn all(namespace: Namespace, limit: u32) -> Self {
        Self {
            namespace,
            filter: Filter::default(),
            order: Order::default(),
            after: None,
            limit,
        }
    }

    /// Whether a payload is shown, and comes after what was shown already.
    pub fn shows(&self, row: &Payload) -> bool {
        let is_next = |after| self.order.precedes(after, self.order.position(row));
        row.namespace == self.namespace && self.filter.fits(row) && self.after.is_none_or(is_next)
    }
}

impl Filter {
    /// Refuses what no index can serve.
    pub fn check(&self, order: Order) -> Result<(), Error> {
        if order.is_by_size() && self.state != Some(StateKind::Active) {
            let message = "only active payloads are kept in order of size; ask for state ACTIVE";
            return Err(Error::invalid(Reason::BadRequest, message).field("order"));
        }
        if self.labels.len() > limits::LIST_LABELS_MAX {
            let message = format!("a listing asks for at most {} labels", limits::LIST_LABELS_MAX);
            return Err(Error::invalid(Reason::BadRequest, message).field("labels"));
        }
        Ok(())
    }

    /// Whether it is all true of a payload.
    pub fn fits(&self, row: &Payload) -> bool {
        let is_ready = |tier| {
            let mut replicas = row.replicas.iter();
            replicas.any(|replica| replica.tier() == tier && replica.state == ReplicaState::Ready)
        };
        self.state.is_none_or(|state| row.state.kind() == state)
            && self.tier.is_none_or(is_ready)
            && self.labels.iter().all(|label| row.labels.contains(label))
            && self.size.contains(row.size)
            && self.created.contains(row.created_at)
            && (self.committed.is_open() || row.committed_at.is_some_and(|at| self.committed.contains(at)))
    }
}

impl<T> Default for Between<T> {
    fn default() -> Self {
        Self { min: None, max: None }
    }
}

impl<T: PartialOrd + Copy> Between<T> {
    /// Refuses ends between which there is nothing.
    pub fn new(min: Option<T>, max: Option<T>, field: &'static str) -> Result<Self, Error> {
        if min.zip(max).is_some_and(|(min, max)| max < min) {
            let message = format!("{field} leaves nothing between the ends of its range");
            return Err(Error::invalid(Reason::BadRequest, message).field(field));
        }
        Ok(Self { min, max })
    }

    /// Whether every value is in it.
    pub const fn is_open(&self) -> bool {
        self.min.is_none() && self.max.is_none()
    }

    /// Whether a value is in it.
    pub fn contains(&self, value: T) -> bool {
        self.min.is_none_or(|min| min <= value) && self.max.is_none_or(|max| value <= max)
    }
}

impl Order {
    /// Every order there is.
    pub const ALL: [Self; 4] = [
        Self::OldestFirst,
        Self::NewestFirst,
        Self::SmallestFirst,
        Self::LargestFirst,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OldestFirst => "oldest_first",
            Self::NewestFirst => "newest_first",
            Self::SmallestFirst => "smallest_first",
            Self::LargestFirst => "largest_first",
        }
    }

    /// Whether sizes are compared before ids.
    pub const fn is_by_size(self) -> bool {
        matches!(self, Self::SmallestFirst | Self::LargestFirst)
    }

    /// Whether what is less comes first.
    pub const fn is_ascending(self) -> bool {
        matches!(self, Self::OldestFirst | Self::SmallestFirst)
    }

    /// Where a payload stands.
    pub fn position(self, row: &Payload) -> Position {
        self.position_of(row.size, row.id)
    }

    /// Where a payload of that size stands.
    pub const fn position_of(self, size: u64, id: PayloadId) -> Position {
        let size = if self.is_by_size() { size } else { 0 };
        Position { size, id }
    }

    /// Whether one position comes before another.
    pub fn precedes(self, one: Position, other: Position) -> bool {
        if self.is_ascending() { one < other } else { other < one }
    }

    /// Puts things in this order by their positions.
    pub fn sort<T>(self, items: &mut [T], position: impl Fn(&T) -> Position) {
        items.sort_by(|one, other| {
            let ascending = position(one).cmp(&position(other));
            if self.is_ascending() {
                ascending
            } else {
                ascending.reverse()
            }
        });
    }
}

impl Position {
    /// Where a payload stands in order of creation.
    pub const fn by_creation(id: PayloadId) -> Self {
        Self { size: 0, id }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.size, self.id)
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (size, id) = text.split_once('.').ok_or_else(bad_token)?;
        Ok(Self {
            size: size.parse().map_err(|_| bad_token())?,
            id: id.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_their_ends_and_are_never_empty() {
        let range = Between::new(Some(3), Some(5), "size").unwrap();
        let inside: Vec<u64> = (0..9).filter(|size| range.contains(*size)).collect();
        assert_eq!(inside, [3, 4, 5]);
        assert!(Between::new(Some(3), Some(3), "size").unwrap().contains(3));
        assert!(Between::new(None, Some(3), "size").unwrap().contains(0));
        assert!(Between::<u64>::default().is_open() && !range.is_open());
        let refused = Between::new(Some(5), Some(4), "size").unwrap_err();
        assert_eq!(refused.reason(), Reason::BadRequest);
    }

    #[test]
    fn each_order_and_its_reverse_are_opposites() {
        let place = |size, id| Position {
            size,
            id: PayloadId::from_parts(id, [0; 10]),
        };
        let places = [place(0, 1), place(0, 2), place(7, 1)];
        for order in Order::ALL {
            let mut sorted = places;
            order.sort(&mut sorted, |place| *place);
            assert!(sorted.windows(2).all(|pair| order.precedes(pair[0], pair[1])));
            if !order.is_ascending() {
                sorted.reverse();
            }
            assert_eq!(sorted, places, "{order:?}");
            assert!(!order.precedes(places[0], places[0]));
        }
    }

    #[test]
    fn positions_round_trip_as_text() {
        let place = Position {
            size: u64::MAX,
            id: PayloadId::from_parts(1, [1; 10]),
        };
        assert_eq!(place.to_string().parse::<Position>().unwrap(), place);
        for bad in ["", ".", "1", "-1.x", &format!("1.{}x", place.id), &place.id.to_string()] {
            assert!(bad.parse::<Position>().is_err(), "{bad}");
        }
    }

    #[test]
    fn size_orders_active_payloads_only() {
        for order in Order::ALL {
            for state in StateKind::ALL.map(Some).into_iter().chain([None]) {
                let filter = Filter {
                    state,
                    ..Filter::default()
                };
                let good = !order.is_by_size() || state == Some(StateKind::Active);
                assert_eq!(filter.check(order).is_ok(), good, "{order:?} {state:?}");
            }
        }
    }
}
