//! Events on the wire, and what can be asked of a log.

use payload_core::{Edit, Error, EventKind, LoggedEvent, Note, Pin, Reason, Replica, Result, State, Timestamp};

use super::metadata;
use super::{container_id, digest, millis};
use crate::v1;

/// Kinds of events; none means all.
pub fn kinds(words: &[String]) -> Result<Vec<EventKind>> {
    if words.len() > EventKind::ALL.len() {
        return Err(Error::invalid(Reason::BadRequest, "there are not that many kinds of events").field("kinds"));
    }
    words.iter().map(|word| kind(word)).collect()
}

fn kind(word: &str) -> Result<EventKind> {
    let kind = EventKind::ALL.into_iter().find(|kind| kind.as_str() == word);
    kind.ok_or_else(|| {
        let kinds = EventKind::ALL.map(EventKind::as_str).join(", ");
        Error::invalid(Reason::BadRequest, format!("kinds of events are {kinds}")).field("kinds")
    })
}

/// What an application has to note.
pub fn note(note: Option<v1::EventNote>) -> Result<Note> {
    let v1::EventNote { event_type, document } =
        note.ok_or_else(|| Error::invalid(Reason::BadRequest, "an event must say what is to be noted").field("note"))?;
    Ok(Note {
        event_type: event_type.parse()?,
        document: metadata::document(document.unwrap_or_default())?,
    })
}

/// An event with what it changed.
pub fn message(event: &LoggedEvent) -> v1::Event {
    let record = &event.record;
    v1::Event {
        version: event.version.as_u64(),
        kind: record.kind.as_str().to_owned(),
        actor: record.actor.as_str().to_owned(),
        reason: record.reason.as_deref().unwrap_or_default().to_owned(),
        at_us: record.at.as_micros(),
        from: record.from.map_or(v1::State::Unspecified, v1::State::from).into(),
        to: v1::State::from(record.to).into(),
        payload_id: event.payload.to_string(),
        edits: event.delta.0.iter().flat_map(edits).collect(),
        note: record.note.as_deref().map(|note| v1::EventNote {
            event_type: note.event_type.to_string(),
            document: Some(v1::Document {
                content_type: note.document.content_type.to_string(),
                body: note.document.body.clone(),
            }),
        }),
    }
}

/// An edit, field by field.
fn edits(edit: &Edit) -> Vec<v1::EventEdit> {
    match edit {
        Edit::Created(origin) => [
            vec![
                field("namespace", origin.namespace.to_string()),
                field("owner", origin.owner.to_string()),
                field("created_at_us", origin.created_at.as_micros().to_string()),
                field("size", origin.size.to_string()),
                field("tier", v1::Tier::from(origin.tier).as_str_name()),
                field("durability", v1::Durability::from(origin.durability).as_str_name()),
            ],
            state(&origin.state),
        ]
        .concat(),
        Edit::State(after) => state(after),
        Edit::Size(size) => vec![field("size", size.to_string())],
        Edit::Digest(after) => vec![maybe("digest", after.map(|_| digest(*after)))],
        Edit::Tier(tier) => vec![field("tier", v1::Tier::from(*tier).as_str_name())],
        Edit::Durability(class) => vec![field("durability", v1::Durability::from(*class).as_str_name())],
        Edit::Policy(policy) => vec![
            field("policy/priority", policy.priority.as_str()),
            field("policy/spill_to", policy.spill_to.as_str()),
            field("policy/rederivable", policy.rederivable.to_string()),
            maybe(
                "policy/min_tier",
                policy
                    .min_tier
                    .map(|tier| v1::Tier::from(tier).as_str_name().to_owned()),
            ),
            maybe(
                "policy/min_residency_ms",
                policy.min_residency.map(|span| millis(span).to_string()),
            ),
            maybe(
                "policy/write_behind",
                policy
                    .write_behind
                    .map(|soon| v1::Durability::from(soon).as_str_name().to_owned()),
            ),
        ],
        Edit::CommittedAt(at) => vec![maybe("committed_at_us", at.map(micros))],
        Edit::Ttl(ttl) => vec![maybe("ttl_ms", ttl.map(|ttl| millis(ttl).to_string()))],
        Edit::Metadata(revision) => vec![maybe("metadata_revision", revision.map(|number| number.to_string()))],
        Edit::Label(label) => vec![field(&edit.field(), &*label.value)],
        Edit::Replica(after) => vec![field(&edit.field(), replica(after))],
        Edit::Unlabelled(_) | Edit::ReplicaGone(_) => vec![maybe(&edit.field(), None)],
    }
}

fn state(state: &State) -> Vec<v1::EventEdit> {
    vec![
        field("state", state.kind().as_str()),
        maybe("deadline_at_us", state.deadline().map(micros)),
    ]
}

/// For people; programs read the replicas of the payload.
fn replica(replica: &Replica) -> String {
    let Replica { state, location, .. } = replica;
    let pinned = match replica.pin {
        Some(Pin::Until(at)) => format!(", pinned until {}", micros(at)),
        Some(Pin::Unlimited) => ", pinned".to_owned(),
        None => String::new(),
    };
    format!(
        "{} in {}, {} bytes at {} of {}{pinned}",
        state.as_str(),
        location.tier(),
        replica.charged,
        location.offset(),
        container_id(&location.container())
    )
}

fn micros(at: Timestamp) -> String {
    at.as_micros().to_string()
}

fn field(field: &str, value: impl Into<String>) -> v1::EventEdit {
    maybe(field, Some(value.into()))
}

fn maybe(field: &str, value: Option<String>) -> v1::EventEdit {
    v1::EventEdit {
        field: field.to_owned(),
        value,
    }
}
