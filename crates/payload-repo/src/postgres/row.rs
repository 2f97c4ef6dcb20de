//! Rows as PostgreSQL holds them, and the only way to and from the words of the core.

use std::sync::Arc;

use bytes::Bytes;
use payload_core::lineage::{End, Link, Node};
use payload_core::stream::{Appended, Offset};
use payload_core::{
    Actor, Container, ContentType, Digest, Edge, EventKind, EventRecord, FileId, Label, Location, LogPosition,
    LoggedEvent, MetadataRevision, NameMove, NameRecord, Namespace, NamespaceRecord, NodeId, Note, ObjectId, Operation,
    Payload, PayloadId, PayloadName, Pin, Policy, Principal, Quota, Replica, ReplicaId, ReplicaState, RequestId,
    RequestRecord, Revision, RevisionInfo, SegmentId, Span, State, StateKind, StreamId, Timestamp, Version,
};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use super::fault::Fault;
use super::names::{Key, Pointer};
use super::overlay::EdgeKey;
use crate::body::{self, Body};
use crate::listing::Candidate;

/// Sizes and counts are at most 2^40 and times are far from the ends, so this never cuts anything off in practice.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// An id as a column.
pub(super) fn uuid(bytes: &[u8; 16]) -> Uuid {
    Uuid::from_bytes(*bytes)
}

/// A container as the column `container`.
pub(super) fn container(container: &Container) -> Uuid {
    uuid(container.as_bytes())
}

/// The word for a kind of location.
pub(super) fn kind(location: &Location) -> &'static str {
    match location {
        Location::Segment(_) => "segment",
        Location::Slab { .. } => "slab",
        Location::Stage { .. } => "stage",
        Location::File(_) => "file",
        Location::Pack { .. } => "pack",
        Location::Object(_) => "object",
        Location::ObjectPack { .. } => "object_pack",
    }
}

/// A length of time as a column.
pub(super) fn span_ns(span: Option<Span>) -> Option<i64> {
    span.map(|span| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
}

/// A column of any type that it can have.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: &'static str) -> Result<T, Fault> {
    row.try_get(column).map_err(|_| Fault::bad_row(column))
}

/// A count or size that was written with [`int`].
pub(super) fn uint(row: &Row, column: &'static str) -> Result<u64, Fault> {
    unsigned(get(row, column)?, column)
}

/// The same, where there may be none.
pub(super) fn uint_maybe(row: &Row, column: &'static str) -> Result<Option<u64>, Fault> {
    let value = get::<Option<i64>>(row, column)?;
    value.map(|value| unsigned(value, column)).transpose()
}

fn unsigned(value: i64, column: &'static str) -> Result<u64, Fault> {
    u64::try_from(value).map_err(|_| Fault::bad_row(column))
}

/// A moment.
pub(super) fn time(row: &Row, column: &'static str) -> Result<Timestamp, Fault> {
    Ok(Timestamp::from_micros(get(row, column)?))
}

/// An id of 16 bytes.
pub(super) fn id<T>(value: Uuid, column: &'static str, make: impl FnOnce([u8; 16]) -> Option<T>) -> Result<T, Fault> {
    make(value.into_bytes()).ok_or_else(|| Fault::bad_row(column))
}

/// A text that stands for something.
pub(super) fn word<T>(row: &Row, column: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Fault> {
    parse(get(row, column)?).ok_or_else(|| Fault::bad_row(column))
}

/// The same, where there may be none.
fn word_maybe<T>(row: &Row, column: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Fault> {
    let text = get::<Option<&str>>(row, column)?;
    text.map(|text| parse(text).ok_or_else(|| Fault::bad_row(column)))
        .transpose()
}

/// One of the words of the API.
pub(super) fn one_of<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> impl FnOnce(&str) -> Option<T> {
    move |text| all.iter().copied().find(|item| name(*item) == text)
}

/// The name of a state.
pub(super) fn state_kind(text: &str) -> Option<StateKind> {
    one_of(&StateKind::ALL, StateKind::as_str)(text)
}

fn digest(bytes: &[u8], column: &'static str) -> Result<Digest, Fault> {
    let bytes = bytes.try_into().map_err(|_| Fault::bad_row(column))?;
    Ok(Digest::from_bytes(bytes))
}

fn utf8<'a>(bytes: &'a [u8], column: &'static str) -> Result<&'a str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::bad_row(column))
}

/// Reads the column `id`.
pub(super) fn payload_id(row: &Row) -> Result<PayloadId, Fault> {
    id(get(row, "id")?, "id", PayloadId::from_bytes)
}

/// Reads what the listings look at.
pub(super) fn candidate(row: &Row) -> Result<Candidate, Fault> {
    Ok(Candidate {
        id: payload_id(row)?,
        size: uint(row, "size")?,
        fits: row.try_get(2).map_err(|_| Fault::bad_row("fits"))?,
    })
}

/// Reads what `sql::LOCK_PAYLOADS` selects.
pub(super) fn version(row: &Row) -> Result<(PayloadId, Version), Fault> {
    Ok((payload_id(row)?, Version::from_u64(uint(row, "version")?)))
}

/// A state from its name and its deadline.
pub(super) fn state(row: &Row) -> Result<State, Fault> {
    let deadline = get::<Option<i64>>(row, "deadline")?.map(Timestamp::from_micros);
    State::from_parts(word(row, "state", state_kind)?, deadline).ok_or_else(|| Fault::bad_row("deadline"))
}

/// Reads what `sql::PAYLOAD` and the listings select.
pub(super) fn payload(row: &Row) -> Result<Payload, Fault> {
    let digest = get::<Option<&[u8]>>(row, "digest")?.map(|bytes| digest(bytes, "digest"));
    Ok(Payload {
        id: payload_id(row)?,
        namespace: word(row, "namespace", |text| text.parse().ok())?,
        state: state(row)?,
        version: Version::from_u64(uint(row, "version")?),
        size: uint(row, "size")?,
        digest: digest.transpose()?,
        tier: word(row, "tier", |text| text.parse().ok())?,
        durability: word(row, "durability", |text| text.parse().ok())?,
        policy: Policy {
            priority: word(row, "priority", |text| text.parse().ok())?,
            spill_to: word(row, "spill_to", |text| text.parse().ok())?,
            rederivable: get(row, "rederivable")?,
            min_tier: word_maybe(row, "min_tier", |text| text.parse().ok())?,
            min_residency: span(row, "min_residency_ns")?,
            write_behind: word_maybe(row, "write_behind", |text| text.parse().ok())?,
        },
        labels: labels(row)?,
        owner: word(row, "owner", |text| Some(Principal::from_stored(text)))?,
        created_at: time(row, "created_at")?,
        committed_at: get::<Option<i64>>(row, "committed_at")?.map(Timestamp::from_micros),
        ttl: span(row, "ttl_ns")?,
        metadata: latest_revision(row)?,
        replicas: replicas(row)?,
    })
}

fn span(row: &Row, column: &'static str) -> Result<Option<Span>, Fault> {
    Ok(uint_maybe(row, column)?.map(Span::from_nanos))
}

fn latest_revision(row: &Row) -> Result<Option<Revision>, Fault> {
    let number = get::<Option<i64>>(row, "metadata")?.map(|number| unsigned(number, "metadata"));
    Ok(number.transpose()?.and_then(Revision::from_u64))
}

/// Reads what `sql::METADATA_HISTORY` and its like select.
pub(super) fn revision(row: &Row) -> Result<RevisionInfo, Fault> {
    let revision = Revision::from_u64(uint(row, "revision")?);
    Ok(RevisionInfo {
        revision: revision.ok_or_else(|| Fault::bad_row("revision"))?,
        version: Version::from_u64(uint(row, "version")?),
        content_type: word(row, "content_type", |text| Some(ContentType::from_stored(text)))?,
        size: uint(row, "size")?,
        actor: word(row, "actor", |text| Some(Actor::from_stored(text)))?,
        reason: reason(row)?,
        at: time(row, "at")?,
    })
}

/// Reads what `sql::METADATA` selects.
pub(super) fn metadata(row: &Row) -> Result<MetadataRevision, Fault> {
    Ok(MetadataRevision {
        about: revision(row)?,
        body: Bytes::copy_from_slice(get(row, "body")?),
    })
}

/// Free text, so it is kept as bytes.
fn reason(row: &Row) -> Result<Option<Arc<str>>, Fault> {
    let reason = get::<Option<&[u8]>>(row, "reason")?.map(|bytes| utf8(bytes, "reason"));
    Ok(reason.transpose()?.map(Into::into))
}

/// An aggregate over nothing is null.
fn array<'a, T: FromSql<'a>>(row: &'a Row, column: &'static str) -> Result<Vec<T>, Fault> {
    Ok(get::<Option<Vec<T>>>(row, column)?.unwrap_or_default())
}

/// The rules for labels were checked when they came in.
fn labels(row: &Row) -> Result<Vec<Label>, Fault> {
    let (keys, values) = (array::<&str>(row, "keys")?, array::<&[u8]>(row, "values")?);
    let label = |(key, value): (&str, &[u8])| {
        Ok(Label {
            key: key.into(),
            value: utf8(value, "value")?.into(),
        })
    };
    keys.into_iter().zip(values).map(label).collect()
}

fn replicas(row: &Row) -> Result<Vec<Replica>, Fault> {
    let (ids, nodes) = (array::<Uuid>(row, "ids")?, array::<Uuid>(row, "nodes")?);
    let (states, kinds) = (array::<&str>(row, "states")?, array::<&str>(row, "kinds")?);
    let (containers, starts) = (array::<Uuid>(row, "containers")?, array::<i64>(row, "starts")?);
    let (charged, pins) = (array::<i64>(row, "charged")?, array::<Option<i64>>(row, "pins")?);
    let replica = |place: usize| {
        let state = one_of(&ReplicaState::ALL, ReplicaState::as_str)(states[place]);
        let start = unsigned(starts[place], "start")?;
        Ok(Replica {
            id: id(ids[place], "id", ReplicaId::from_bytes)?,
            node: id(nodes[place], "node", NodeId::from_bytes)?,
            state: state.ok_or_else(|| Fault::bad_row("state"))?,
            location: location(kinds[place], containers[place], start)?,
            charged: unsigned(charged[place], "charged")?,
            pin: pins[place].map(Pin::from_micros),
        })
    };
    (0..ids.len()).map(replica).collect()
}

fn location(kind: &str, container: Uuid, offset: u64) -> Result<Location, Fault> {
    let segment = || id(container, "container", SegmentId::from_bytes);
    let file = || id(container, "container", FileId::from_bytes);
    let object = || id(container, "container", ObjectId::from_bytes);
    Ok(match kind {
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
    })
}

/// Reads what `sql::EDGES` selects. The rules for words were checked when they came in.
pub(super) fn edge(row: &Row) -> Result<Edge, Fault> {
    Ok(Edge {
        child: id(get(row, "child")?, "child", PayloadId::from_bytes)?,
        parent: id(get(row, "parent")?, "parent", PayloadId::from_bytes)?,
        operation: word(row, "operation", |text| text.parse().ok())?,
        role: word(row, "role", |text| text.parse().ok())?,
        parameters: get::<&[u8]>(row, "parameters")?.into(),
        actor: word(row, "actor", |text| Some(Actor::from_stored(text)))?,
        at: time(row, "at")?,
    })
}

/// Reads what `sql::FIND_EDGES` selects.
pub(super) fn edge_key(row: &Row) -> Result<EdgeKey, Fault> {
    Ok(EdgeKey {
        child: id(get(row, "child")?, "child", PayloadId::from_bytes)?,
        parent: id(get(row, "parent")?, "parent", PayloadId::from_bytes)?,
        operation: word(row, "operation", |text| text.parse().ok())?,
        role: word(row, "role", |text| text.parse().ok())?,
    })
}

/// Reads what `sql::LINKS_UP` and `sql::LINKS_DOWN` select.
pub(super) fn link(row: &Row) -> Result<Link, Fault> {
    Ok(Link {
        near: id(get(row, "near")?, "near", PayloadId::from_bytes)?,
        far: id(get(row, "far")?, "far", PayloadId::from_bytes)?,
        number: get(row, "number")?,
    })
}

/// Reads what `sql::FIND_ENDS` selects.
pub(super) fn end(row: &Row) -> Result<(PayloadId, End), Fault> {
    let end = End {
        namespace: word(row, "namespace", |text| text.parse().ok())?,
        state: word(row, "state", state_kind)?,
    };
    Ok((payload_id(row)?, end))
}

/// Reads what `sql::NODES` selects. A payload that is not there has neither state nor size.
pub(super) fn node(row: &Row) -> Result<Node, Fault> {
    let state = get::<Option<&str>>(row, "state")?;
    let state = state.map(|text| state_kind(text).ok_or_else(|| Fault::bad_row("state")));
    Ok(Node {
        id: payload_id(row)?,
        state: state.transpose()?,
        size: unsigned(get::<Option<i64>>(row, "size")?.unwrap_or_default(), "size")?,
    })
}

/// Reads what `sql::FIND_NAMESPACES` selects.
pub(super) fn namespace_name(row: &Row) -> Result<Namespace, Fault> {
    word(row, "name", |text| text.parse().ok())
}

/// Reads the column `name`.
pub(super) fn name_text(row: &Row) -> Result<PayloadName, Fault> {
    word(row, "name", |text| text.parse().ok())
}

/// Reads what `sql::FIND_NAMES` selects.
pub(super) fn pointer(row: &Row) -> Result<(Key, Pointer), Fault> {
    let key = (word(row, "namespace", |text| text.parse().ok())?, name_text(row)?);
    let current = match get::<Option<Uuid>>(row, "id")? {
        Some(payload) => Some((
            id(payload, "id", PayloadId::from_bytes)?,
            word(row, "state", state_kind)?,
        )),
        None => None,
    };
    let last = get::<Option<i64>>(row, "version")?.map(|version| unsigned(version, "version"));
    let last = last.transpose()?.map(Version::from_u64);
    Ok((key, Pointer { current, last }))
}

/// Reads what `sql::NAME` and `sql::NAMES` select.
pub(super) fn name(row: &Row) -> Result<NameRecord, Fault> {
    Ok(NameRecord {
        name: name_text(row)?,
        payload: payload_id(row)?,
        version: Version::from_u64(uint(row, "version")?),
        actor: word(row, "actor", |text| Some(Actor::from_stored(text)))?,
        at: time(row, "at")?,
    })
}

/// Reads what `sql::NAME_HISTORY` selects.
pub(super) fn name_move(row: &Row) -> Result<NameMove, Fault> {
    let end = |column| {
        let payload = get::<Option<Uuid>>(row, column)?;
        payload
            .map(|payload| id(payload, column, PayloadId::from_bytes))
            .transpose()
    };
    Ok(NameMove {
        version: Version::from_u64(uint(row, "version")?),
        from: end("from_payload")?,
        to: end("to_payload")?,
        actor: word(row, "actor", |text| Some(Actor::from_stored(text)))?,
        reason: reason(row)?,
        at: time(row, "at")?,
    })
}

/// Reads what `sql::NAMESPACE` and `sql::NAMESPACES` select.
pub(super) fn namespace(row: &Row) -> Result<NamespaceRecord, Fault> {
    let (name, quota) = namespace_quota(row)?;
    Ok(NamespaceRecord {
        name,
        version: Version::from_u64(uint(row, "version")?),
        quota,
        created_at: time(row, "created_at")?,
        created_by: word(row, "created_by", |text| Some(Actor::from_stored(text)))?,
    })
}

/// Reads the columns `name`, `quota_bytes` and `quota_payloads`.
pub(super) fn namespace_quota(row: &Row) -> Result<(Namespace, Quota), Fault> {
    let bound = |column| {
        let value = get::<Option<i64>>(row, column)?;
        value.map(|value| unsigned(value, column)).transpose()
    };
    let quota = Quota {
        bytes: bound("quota_bytes")?,
        payloads: bound("quota_payloads")?,
    };
    Ok((namespace_name(row)?, quota))
}

/// Where an event stands, or where a log begins.
pub(super) fn position(row: &Row) -> Result<LogPosition, Fault> {
    Ok(LogPosition {
        transaction: uint(row, "transaction")?,
        number: uint(row, "number")?,
    })
}

/// Reads what `sql::LOG` and its like select: an event, if it is of a kind that was asked for.
pub(super) fn logged(row: &Row) -> Result<(LogPosition, Option<LoggedEvent>), Fault> {
    let position = position(row)?;
    let Some(bytes) = get::<Option<&[u8]>>(row, "body")? else {
        return Ok((position, None));
    };
    let Body { delta, note } = body::decode(bytes).ok_or_else(|| Fault::bad_row("body"))?;
    let event = LoggedEvent {
        position,
        payload: id(get(row, "payload")?, "payload", PayloadId::from_bytes)?,
        version: Version::from_u64(uint(row, "version")?),
        record: event(row, note)?,
        delta,
    };
    Ok((position, Some(event)))
}

fn event(row: &Row, note: Option<Arc<Note>>) -> Result<EventRecord, Fault> {
    let from = get::<Option<&str>>(row, "from_state")?;
    let from = from.map(|text| state_kind(text).ok_or_else(|| Fault::bad_row("from_state")));
    Ok(EventRecord {
        kind: word(row, "kind", one_of(&EventKind::ALL, EventKind::as_str))?,
        actor: word(row, "actor", |text| Some(Actor::from_stored(text)))?,
        reason: reason(row)?,
        at: time(row, "at")?,
        from: from.transpose()?,
        to: word(row, "to_state", state_kind)?,
        note,
    })
}

/// Reads what `sql::REQUEST` and `sql::FIND_REQUESTS` select.
pub(super) fn request(row: &Row) -> Result<RequestRecord, Fault> {
    Ok(RequestRecord {
        principal: word(row, "principal", |text| Some(Principal::from_stored(text)))?,
        request_id: word(row, "request_id", |text| text.parse::<RequestId>().ok())?,
        fingerprint: digest(get(row, "fingerprint")?, "fingerprint")?,
        operation: word(row, "operation", one_of(&Operation::ALL, Operation::as_str))?,
        payload: id(get(row, "payload")?, "payload", PayloadId::from_bytes)?,
        version: Version::from_u64(uint(row, "version")?),
        appended: appended(row)?,
        at: time(row, "at")?,
    })
}

fn appended(row: &Row) -> Result<Option<Appended>, Fault> {
    let Some(first) = uint_maybe(row, "first_position")? else {
        return Ok(None);
    };
    Ok(Some(Appended {
        stream: id(get(row, "stream")?, "stream", StreamId::from_bytes)?,
        first: Offset::from_u64(first),
    }))
}

/// Reads what `sql::USAGE` selects.
pub(super) fn usage(row: &Row) -> Result<payload_core::port::Usage, Fault> {
    Ok(payload_core::port::Usage {
        tier: word(row, "tier", |text| text.parse().ok())?,
        namespace: word(row, "namespace", |text| text.parse::<Namespace>().ok())?,
        replicas: uint(row, "replicas")?,
        charged: uint(row, "charged")?,
    })
}
