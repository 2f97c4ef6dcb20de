//! Rows as SQLite holds them, and the only way to and from the words of the core.

use std::str::FromStr;
use std::sync::Arc;

use payload_core::lineage::{End, Link, Node};
use payload_core::stream::{Appended, Offset};
use payload_core::{
    Actor, ContentType, Digest, Edge, EventKind, EventRecord, FileId, Label, Location, LogPosition, LoggedEvent,
    Namespace, NodeId, ObjectId, Operation, Payload, PayloadId, Pin, Policy, Principal, Replica, ReplicaId,
    ReplicaState, RequestId, RequestRecord, Revision, RevisionInfo, SegmentId, Span, State, StateKind, StreamId, Tier,
    Timestamp, Version,
};
use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::fault::Fault;
use crate::body::{self, Body};

/// Sizes and counts are at most 2^40 and times are far from the ends, so this never cuts anything off in practice.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count or size that was written with [`int`].
pub(super) fn uint(row: &Row<'_>, index: usize, column: &'static str) -> Result<u64, Fault> {
    u64::try_from(row.get::<_, i64>(index)?).map_err(|_| Fault::bad_row(column))
}

/// The same, where there may be none.
pub(super) fn uint_maybe(row: &Row<'_>, index: usize, column: &'static str) -> Result<Option<u64>, Fault> {
    let value = row.get::<_, Option<i64>>(index)?.map(u64::try_from).transpose();
    value.map_err(|_| Fault::bad_row(column))
}

/// A moment.
pub(super) fn time(row: &Row<'_>, index: usize) -> Result<Timestamp, Fault> {
    Ok(Timestamp::from_micros(row.get(index)?))
}

/// A moment that need not be there.
pub(super) fn time_maybe(row: &Row<'_>, index: usize) -> Result<Option<Timestamp>, Fault> {
    Ok(row.get::<_, Option<i64>>(index)?.map(Timestamp::from_micros))
}

/// An id of 16 bytes.
pub(super) fn id<T>(
    row: &Row<'_>,
    index: usize,
    column: &'static str,
    make: impl FnOnce([u8; 16]) -> Option<T>,
) -> Result<T, Fault> {
    make(row.get(index)?).ok_or_else(|| Fault::bad_row(column))
}

/// A text that stands for something.
pub(super) fn word<T>(
    row: &Row<'_>,
    index: usize,
    column: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, Fault> {
    let text = row.get_ref(index)?.as_str().map_err(|_| Fault::bad_row(column))?;
    parse(text).ok_or_else(|| Fault::bad_row(column))
}

/// The same, where there may be none.
fn word_maybe<T>(
    row: &Row<'_>,
    index: usize,
    column: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Fault> {
    match row.get_ref(index)? {
        ValueRef::Null => Ok(None),
        _ => word(row, index, column, parse).map(Some),
    }
}

/// One of the words of the API.
pub(super) fn one_of<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> impl FnOnce(&str) -> Option<T> {
    move |text| all.iter().copied().find(|item| name(*item) == text)
}

/// The name of a state.
pub(super) fn state_kind(text: &str) -> Option<StateKind> {
    one_of(&StateKind::ALL, StateKind::as_str)(text)
}

/// Reads an id that may be absent.
pub(super) fn payload_id_maybe(row: &Row<'_>, index: usize, column: &'static str) -> Result<Option<PayloadId>, Fault> {
    let bytes = row.get::<_, Option<[u8; 16]>>(index)?;
    bytes
        .map(|bytes| PayloadId::from_bytes(bytes).ok_or_else(|| Fault::bad_row(column)))
        .transpose()
}

/// Reads an id in the first column.
pub(super) fn payload_id(row: &Row<'_>) -> Result<PayloadId, Fault> {
    id(row, 0, "payload", PayloadId::from_bytes)
}

/// A state from its name and its deadline.
pub(super) fn state(kind: StateKind, deadline: Option<Timestamp>) -> Result<State, Fault> {
    State::from_parts(kind, deadline).ok_or_else(|| Fault::bad_row("deadline"))
}

/// Reads what `sql::PAYLOAD` selects; labels and replicas are in tables of their own.
pub(super) fn payload(payload: PayloadId, row: &Row<'_>) -> Result<Payload, Fault> {
    Ok(Payload {
        id: payload,
        namespace: word(row, 0, "namespace", |text| Namespace::from_str(text).ok())?,
        state: state(word(row, 1, "state", state_kind)?, time_maybe(row, 2)?)?,
        version: Version::from_u64(uint(row, 3, "version")?),
        size: uint(row, 4, "size")?,
        digest: row.get::<_, Option<[u8; 16]>>(5)?.map(Digest::from_bytes),
        tier: word(row, 6, "tier", |text| text.parse().ok())?,
        durability: word(row, 7, "durability", |text| text.parse().ok())?,
        policy: Policy {
            priority: word(row, 12, "priority", |text| text.parse().ok())?,
            spill_to: word(row, 13, "spill_to", |text| text.parse().ok())?,
            rederivable: row.get(14)?,
            min_tier: word_maybe(row, 16, "min_tier", |text| text.parse().ok())?,
            min_residency: uint_maybe(row, 17, "min_residency_ns")?.map(Span::from_nanos),
            write_behind: word_maybe(row, 18, "write_behind", |text| text.parse().ok())?,
        },
        labels: Vec::new(),
        owner: word(row, 8, "owner", |text| Some(Principal::from_stored(text)))?,
        created_at: time(row, 9)?,
        committed_at: time_maybe(row, 10)?,
        ttl: uint_maybe(row, 11, "ttl_ns")?.map(Span::from_nanos),
        metadata: uint_maybe(row, 15, "metadata")?.and_then(Revision::from_u64),
        replicas: Vec::new(),
    })
}

/// A revision of metadata as `sql::METADATA` and its like select it, without its body.
pub(super) fn revision(row: &Row<'_>) -> Result<RevisionInfo, Fault> {
    let revision = Revision::from_u64(uint(row, 0, "revision")?);
    Ok(RevisionInfo {
        revision: revision.ok_or_else(|| Fault::bad_row("revision"))?,
        version: Version::from_u64(uint(row, 1, "version")?),
        content_type: word(row, 2, "content_type", |text| Some(ContentType::from_stored(text)))?,
        size: uint(row, 3, "body")?,
        actor: word(row, 4, "actor", |text| Some(Actor::from_stored(text)))?,
        reason: row.get(5)?,
        at: time(row, 6)?,
    })
}

/// A length of time as a column.
pub(super) fn span_ns(span: Option<Span>) -> Option<i64> {
    span.map(|span| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
}

/// Reads what `sql::LABELS` selects. The rules for labels were checked when they came in.
pub(super) fn label(row: &Row<'_>) -> Result<Label, Fault> {
    Ok(Label {
        key: row.get(0)?,
        value: row.get(1)?,
    })
}

/// A location as the columns `kind`, `container` and `start`.
pub(super) fn place(location: &Location) -> (&'static str, [u8; 16], i64) {
    let kind = match location {
        Location::Segment(_) => "segment",
        Location::Slab { .. } => "slab",
        Location::Stage { .. } => "stage",
        Location::File(_) => "file",
        Location::Pack { .. } => "pack",
        Location::Object(_) => "object",
        Location::ObjectPack { .. } => "object_pack",
    };
    (kind, *location.container().as_bytes(), int(location.offset()))
}

/// Reads what `sql::REPLICAS` selects.
pub(super) fn replica(row: &Row<'_>) -> Result<Replica, Fault> {
    let segment = || id(row, 4, "container", SegmentId::from_bytes);
    let file = || id(row, 4, "container", FileId::from_bytes);
    let object = || id(row, 4, "container", ObjectId::from_bytes);
    let offset = uint(row, 5, "start")?;
    let location = match word(row, 3, "kind", |text| Some(text.to_owned()))?.as_str() {
        "segment" => Location::Segment(segment()?),
        "slab" => Location::Slab {
            slab: segment()?,
            offset,
        },
        "stage" => Location::Stage {
            stage: segment()?,
            offset,
        },
        "file" => Location::File(file()?),
        "pack" => Location::Pack { pack: file()?, offset },
        "object" => Location::Object(object()?),
        "object_pack" => Location::ObjectPack {
            pack: object()?,
            offset,
        },
        _ => return Err(Fault::bad_row("kind")),
    };
    Ok(Replica {
        id: id(row, 0, "id", ReplicaId::from_bytes)?,
        node: id(row, 1, "node", NodeId::from_bytes)?,
        state: word(row, 2, "state", one_of(&ReplicaState::ALL, ReplicaState::as_str))?,
        location,
        charged: uint(row, 6, "charged")?,
        pin: row.get::<_, Option<i64>>(7)?.map(Pin::from_micros),
    })
}

/// Where an event stands, as `sql::LOG` and its like select it.
pub(super) fn position(row: &Row<'_>) -> Result<LogPosition, Fault> {
    Ok(LogPosition::numbered(uint(row, 0, "position")?))
}

/// What an event is about.
pub(super) fn event_kind(row: &Row<'_>) -> Result<EventKind, Fault> {
    word(row, 3, "kind", one_of(&EventKind::ALL, EventKind::as_str))
}

/// All of an event.
pub(super) fn event(row: &Row<'_>) -> Result<LoggedEvent, Fault> {
    let bytes = row.get_ref(9)?.as_blob().map_err(|_| Fault::bad_row("body"))?;
    let Body { delta, note } = body::decode(bytes).ok_or_else(|| Fault::bad_row("body"))?;
    let record = EventRecord {
        kind: event_kind(row)?,
        actor: word(row, 4, "actor", |text| Some(Actor::from_stored(text)))?,
        reason: row.get(5)?,
        at: time(row, 6)?,
        from: match row
            .get_ref(7)?
            .as_str_or_null()
            .map_err(|_| Fault::bad_row("from_state"))?
        {
            None => None,
            Some(text) => Some(state_kind(text).ok_or_else(|| Fault::bad_row("from_state"))?),
        },
        to: word(row, 8, "to_state", state_kind)?,
        note,
    };
    Ok(LoggedEvent {
        position: position(row)?,
        payload: id(row, 1, "payload", PayloadId::from_bytes)?,
        version: Version::from_u64(uint(row, 2, "version")?),
        record,
        delta,
    })
}

/// Reads what `sql::EDGE` selects. The rules for words were checked when they came in. What `last` says too is shared
/// with it.
pub(super) fn edge(row: &Row<'_>, last: Option<&Edge>) -> Result<Edge, Fault> {
    let again = |index: usize, of: fn(&Edge) -> &[u8]| -> Result<Option<&Edge>, Fault> {
        let bytes = row.get_ref(index)?.as_bytes().map_err(|_| Fault::bad_row("edges"))?;
        Ok(last.filter(|last| of(last) == bytes))
    };
    Ok(Edge {
        child: id(row, 0, "child", PayloadId::from_bytes)?,
        parent: id(row, 1, "parent", PayloadId::from_bytes)?,
        operation: match again(2, |edge| edge.operation.as_str().as_bytes())? {
            Some(last) => last.operation.clone(),
            None => word(row, 2, "operation", |text| text.parse().ok())?,
        },
        role: match again(3, |edge| edge.role.as_str().as_bytes())? {
            Some(last) => last.role.clone(),
            None => word(row, 3, "role", |text| text.parse().ok())?,
        },
        parameters: match again(4, |edge| &edge.parameters)? {
            Some(last) => Arc::clone(&last.parameters),
            None => row
                .get_ref(4)?
                .as_blob()
                .map_err(|_| Fault::bad_row("parameters"))?
                .into(),
        },
        actor: match again(5, |edge| edge.actor.as_str().as_bytes())? {
            Some(last) => last.actor.clone(),
            None => word(row, 5, "actor", |text| Some(Actor::from_stored(text)))?,
        },
        at: time(row, 6)?,
    })
}

/// Reads what `sql::LINKS_UP` or `sql::LINKS_DOWN` selects for `near`.
pub(super) fn link(near: PayloadId, row: &Row<'_>) -> Result<Link, Fault> {
    Ok(Link {
        near,
        far: payload_id(row)?,
        number: row.get(1)?,
    })
}

/// Reads what `sql::EDGE_END` selects.
pub(super) fn end(row: &Row<'_>) -> Result<End, Fault> {
    Ok(End {
        namespace: word(row, 0, "namespace", |text| Namespace::from_str(text).ok())?,
        state: word(row, 1, "state", state_kind)?,
    })
}

/// Reads what `sql::NODE` selects.
pub(super) fn node(id: PayloadId, row: &Row<'_>) -> Result<Node, Fault> {
    Ok(Node {
        id,
        state: Some(word(row, 0, "state", state_kind)?),
        size: uint(row, 1, "size")?,
    })
}

/// Reads what `sql::REQUEST` selects.
pub(super) fn request(principal: &Principal, request_id: &RequestId, row: &Row<'_>) -> Result<RequestRecord, Fault> {
    Ok(RequestRecord {
        principal: principal.clone(),
        request_id: request_id.clone(),
        fingerprint: Digest::from_bytes(row.get(0)?),
        operation: word(row, 1, "operation", one_of(&Operation::ALL, Operation::as_str))?,
        payload: id(row, 2, "payload", PayloadId::from_bytes)?,
        version: Version::from_u64(uint(row, 3, "version")?),
        appended: appended(row)?,
        at: time(row, 4)?,
    })
}

fn appended(row: &Row<'_>) -> Result<Option<Appended>, Fault> {
    let Some(first) = uint_maybe(row, 6, "first_position")? else {
        return Ok(None);
    };
    Ok(Some(Appended {
        stream: id(row, 5, "stream", StreamId::from_bytes)?,
        first: Offset::from_u64(first),
    }))
}

/// Reads what `sql::USAGE` selects.
pub(super) fn usage(row: &Row<'_>) -> Result<payload_core::port::Usage, Fault> {
    Ok(payload_core::port::Usage {
        tier: word(row, 0, "tier", |text| Tier::from_str(text).ok())?,
        namespace: word(row, 1, "namespace", |text| Namespace::from_str(text).ok())?,
        replicas: uint(row, 2, "replicas")?,
        charged: uint(row, 3, "charged")?,
    })
}
