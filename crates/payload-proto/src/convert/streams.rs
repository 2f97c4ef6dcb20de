//! Streams on the wire: what clients say of them, checked, and what they are told.

use payload_core::stream::{
    EntryDraft, EntryRead, Group, Hold, Offset, ProducerBatch, Retention, Start, Stream, StreamRef, Tag, tags,
};
use payload_core::{Error, Reason, Result, Span, Timestamp, limits};

use super::{id, millis, namespace, optional};
use crate::v1;

/// The stream that is meant.
pub fn stream_ref(stream: Option<&v1::StreamRef>) -> Result<StreamRef> {
    let missing = || Error::invalid(Reason::BadRequest, "stream must be named").field("stream");
    let stream = stream.ok_or_else(missing)?;
    Ok(StreamRef {
        namespace: namespace(&stream.namespace)?,
        name: stream.stream.parse()?,
        incarnation: optional(&stream.incarnation)?,
    })
}

/// What entries do for their payloads, if that is said.
pub fn hold(value: i32) -> Result<Option<Hold>> {
    match v1::Hold::try_from(value) {
        Ok(v1::Hold::Unspecified) => Ok(None),
        Ok(v1::Hold::Nothing) => Ok(Some(Hold::Nothing)),
        Ok(v1::Hold::Payload) => Ok(Some(Hold::Payload)),
        Err(_) => Err(Error::invalid(Reason::BadRequest, format!("there is no hold number {value}")).field("hold")),
    }
}

/// How long entries stay.
pub fn retention(retention: &v1::Retention) -> Retention {
    Retention {
        entries: retention.entries,
        age: retention.age_ms.map(Span::from_millis),
        bytes: retention.bytes,
    }
}

/// A number that must not be zero, if it is said.
pub fn above_zero(value: u32) -> Option<u32> {
    (value > 0).then_some(value)
}

/// What to append.
pub fn entries(entries: &[v1::EntryDraft]) -> Result<Vec<EntryDraft>> {
    let max = limits::APPEND_ENTRIES_MAX as usize;
    if entries.is_empty() || entries.len() > max {
        return Err(Error::invalid(Reason::BadRequest, format!("an append has 1 to {max} entries")).field("entries"));
    }
    let draft = |entry: &v1::EntryDraft| {
        Ok(EntryDraft {
            payload: id(&entry.payload_id)?,
            tags: tags(entry.tags.iter().map(String::as_str))?,
        })
    };
    entries.iter().map(draft).collect()
}

/// Which batch of which producer it is.
pub fn producer(producer: Option<&v1::ProducerBatch>) -> Result<Option<ProducerBatch>> {
    let batch = |producer: &v1::ProducerBatch| {
        Ok(ProducerBatch {
            name: producer.producer.parse()?,
            epoch: producer.epoch,
            sequence: producer.sequence,
        })
    };
    producer.map(batch).transpose()
}

/// Where to begin; `otherwise` if nothing is said.
pub fn start(start: Option<&v1::ReadStart>, otherwise: Start) -> Result<Start> {
    use v1::read_start::Start as Wire;
    match start.and_then(|start| start.start.as_ref()) {
        None => Ok(otherwise),
        Some(Wire::Offset(offset)) => Ok(Start::Offset(Offset::from_u64(*offset))),
        Some(Wire::AtUs(at)) => Ok(Start::Time(Timestamp::from_micros(*at))),
        Some(Wire::Edge(edge)) => match v1::Edge::try_from(*edge) {
            Ok(v1::Edge::Earliest) => Ok(Start::Earliest),
            Ok(v1::Edge::Latest) => Ok(Start::Latest),
            Err(_) => Err(Error::invalid(Reason::BadRequest, format!("there is no edge number {edge}")).field("start")),
        },
    }
}

impl From<Hold> for v1::Hold {
    fn from(hold: Hold) -> Self {
        match hold {
            Hold::Nothing => Self::Nothing,
            Hold::Payload => Self::Payload,
        }
    }
}

impl From<&Stream> for v1::Stream {
    fn from(row: &Stream) -> Self {
        Self {
            namespace: row.namespace.to_string(),
            stream: row.name.to_string(),
            incarnation: row.id.to_string(),
            version: row.version.as_u64(),
            hold: v1::Hold::from(row.settings.hold).into(),
            retention: Some(v1::Retention {
                entries: row.settings.retention.entries,
                age_ms: row.settings.retention.age.map(millis),
                bytes: row.settings.retention.bytes,
            }),
            batch_max: row.settings.batch_max,
            created_at_us: row.created_at.as_micros(),
            earliest_offset: row.earliest.as_u64(),
            head_offset: row.head.as_u64(),
            bytes: row.bytes - row.bytes_trimmed,
            last_at_us: row.last_at.as_micros(),
            groups: row.groups,
        }
    }
}

impl From<&EntryRead> for v1::Entry {
    fn from(read: &EntryRead) -> Self {
        Self {
            offset: read.entry.offset.as_u64(),
            payload_id: read.entry.payload.to_string(),
            size: read.entry.size,
            at_us: read.entry.at.as_micros(),
            tags: read.entry.tags.iter().map(Tag::to_string).collect(),
            state: read.state.map_or(v1::State::Unspecified, v1::State::from).into(),
        }
    }
}

impl From<&Group> for v1::Group {
    /// Without its lag.
    fn from(group: &Group) -> Self {
        Self {
            group: group.name.to_string(),
            offset: group.offset.as_u64(),
            generation: group.generation,
            at_us: group.at.as_micros(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hold_has_its_number_and_back() {
        for one in Hold::ALL {
            assert_eq!(hold(v1::Hold::from(one).into()).unwrap(), Some(one));
        }
        assert_eq!(hold(0).unwrap(), None);
        assert_eq!(hold(9).unwrap_err().reason(), Reason::BadRequest);
    }

    #[test]
    fn appends_are_bounded_on_both_sides() {
        let draft = v1::EntryDraft {
            payload_id: "01890000-0000-7000-8000-000000000001".to_owned(),
            tags: Vec::new(),
        };
        let many = vec![draft; limits::APPEND_ENTRIES_MAX as usize + 1];
        assert_eq!(entries(&[]).unwrap_err().reason(), Reason::BadRequest);
        assert_eq!(entries(&many).unwrap_err().reason(), Reason::BadRequest);
        assert!(entries(&many[1..]).is_ok());
    }
}
