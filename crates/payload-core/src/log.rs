//! The event log of a namespace: what can be asked of it, and the opaque cursor that goes on from a place in it.

use crate::change::{EventKind, EventRecord};
use crate::delta::{Delta, Edit};
use crate::error::{Error, Reason, Result};
use crate::id::PayloadId;
use crate::limits;
use crate::name::Namespace;
use crate::page;
use crate::payload::Version;

/// Where an event stands in the log of its namespace. Later events stand higher, and nothing ever appears below a place
/// that was read already. A repository with one writer numbers events and has no use for the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// Compared first.
    pub transaction: u64,
    /// Compared among events of one transaction.
    pub number: u64,
}

impl LogPosition {
    /// Below every event.
    pub const START: Self = Self::numbered(0);

    /// In a log whose events are just numbered.
    pub const fn numbered(number: u64) -> Self {
        Self { transaction: 0, number }
    }
}

/// An event with its place in the history of its payload and of its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent {
    /// In its namespace's log.
    pub position: LogPosition,
    /// What it happened to.
    pub payload: PayloadId,
    /// The version that it made.
    pub version: Version,
    /// What happened.
    pub record: EventRecord,
    /// What it changed.
    pub delta: Delta,
}

impl LoggedEvent {
    /// About how many bytes it takes in a page.
    pub fn weight(&self) -> usize {
        let note = self.record.note.as_ref().map_or(0, |note| note.document.body.len());
        let edits = self.delta.0.iter().map(|edit| match edit {
            Edit::Label(label) => label.key.len() + label.value.len(),
            _ => 0,
        });
        let texts = note + edits.sum::<usize>();
        256 + 64 * self.delta.0.len() + texts
    }
}

/// Which events are asked for; every part that is named must fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter {
    /// Of which tenant.
    pub namespace: Namespace,
    /// Of one payload.
    pub payload: Option<PayloadId>,
    /// Of these kinds; of any, if empty.
    pub kinds: Vec<EventKind>,
}

impl LogFilter {
    /// Every event of one payload.
    pub const fn payload(namespace: Namespace, payload: PayloadId) -> Self {
        Self {
            namespace,
            payload: Some(payload),
            kinds: Vec::new(),
        }
    }

    /// Whether an event of the namespace and the payload is of a kind that is asked for.
    pub fn wants(&self, kind: EventKind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }
}

/// A page of a log, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogQuery {
    /// Which events.
    pub filter: LogFilter,
    /// Only those that come after; from the earliest that is kept, if open.
    pub after: Option<LogPosition>,
    /// At most so many.
    pub limit: u32,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// Oldest first.
    pub events: Vec<LoggedEvent>,
    /// All up to here was looked at; the next page comes after it.
    pub through: LogPosition,
    /// Whether there was more to look at. A page can be empty all the same, if few events fit the filter.
    pub more: bool,
}

/// The cursor that goes on after `position`; it only fits the same filter.
pub fn encode_cursor(filter: &LogFilter, position: LogPosition) -> String {
    format!(
        "{:x}.{:x}.{}",
        position.transaction,
        position.number,
        fingerprint(filter)
    )
}

/// Reads a cursor back; refuses one that is damaged or belongs to another filter.
pub fn decode_cursor(filter: &LogFilter, cursor: &str) -> Result<LogPosition> {
    let mut parts = cursor.split('.');
    let position = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(transaction), Some(number), Some(check), None)
            if cursor.len() <= limits::PAGE_TOKEN_LEN_MAX && check == fingerprint(filter) =>
        {
            hex(transaction).zip(hex(number))
        }
        _ => None,
    };
    let (transaction, number) = position.ok_or_else(foreign_cursor)?;
    Ok(LogPosition { transaction, number })
}

/// The refusal of a cursor that was not given out for this filter of this log.
pub fn foreign_cursor() -> Error {
    Error::invalid(Reason::BadPageToken, "cursor does not belong to this query").field("cursor")
}

/// The refusal of a cursor behind which events are missing by now.
pub fn trimmed(filter: &LogFilter, earliest: LogPosition) -> Error {
    Error::new(
        Reason::HistoryRemoved,
        format!(
            "events after the cursor were removed when their retention time was over; the earliest cursor is {}",
            encode_cursor(filter, earliest)
        ),
    )
    .field("cursor")
}

/// Only the digits that [`encode_cursor`] writes: no sign, no capitals.
fn hex(text: &str) -> Option<u64> {
    let digits = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    if !text.bytes().all(digits) {
        return None;
    }
    u64::from_str_radix(text, 16).ok()
}

fn fingerprint(filter: &LogFilter) -> String {
    let mut kinds: Vec<&str> = filter.kinds.iter().map(|kind| kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let payload = filter.payload.map(|id| id.to_string()).unwrap_or_default();
    page::check(&["events", filter.namespace.as_str(), &payload, &kinds.join(",")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_fit_only_their_filter() {
        let filter = LogFilter {
            namespace: Namespace::default(),
            payload: None,
            kinds: vec![EventKind::Committed, EventKind::Deleted],
        };
        let position = LogPosition {
            transaction: u64::MAX,
            number: 17,
        };
        let cursor = encode_cursor(&filter, position);
        assert_eq!(decode_cursor(&filter, &cursor).unwrap(), position);
        let reordered = LogFilter {
            kinds: vec![EventKind::Deleted, EventKind::Committed, EventKind::Deleted],
            ..filter.clone()
        };
        assert_eq!(decode_cursor(&reordered, &cursor).unwrap(), position);
        let others = [
            LogFilter {
                kinds: Vec::new(),
                ..filter.clone()
            },
            LogFilter {
                namespace: "other".parse().unwrap(),
                ..filter.clone()
            },
            LogFilter {
                payload: Some(PayloadId::from_parts(1, [1; 10])),
                ..filter.clone()
            },
        ];
        for other in &others {
            assert_eq!(
                decode_cursor(other, &cursor).unwrap_err().reason(),
                Reason::BadPageToken
            );
        }
        let check = cursor.rsplit('.').next().unwrap();
        for bad in [
            "",
            ".",
            "..",
            "1.2",
            "1.2.x",
            &format!("+1.2.{check}"),
            &format!("1.-2.{check}"),
            &format!("1.2.{check}."),
            &format!("10000000000000000.2.{check}"),
            &format!("{}1.2.{check}", "0".repeat(limits::PAGE_TOKEN_LEN_MAX)),
        ] {
            assert_eq!(
                decode_cursor(&filter, bad).unwrap_err().reason(),
                Reason::BadPageToken,
                "{bad}"
            );
        }
    }
}
