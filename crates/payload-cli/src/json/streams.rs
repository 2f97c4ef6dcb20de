//! The documents of `stream`.

use payload_client::v1;
use serde::Serialize;

/// `stream ls`.
#[derive(Debug, Serialize)]
pub(crate) struct Streams {
    pub(crate) streams: Vec<Stream>,
}

/// `stream create`, `show` and `set`.
#[derive(Debug, Serialize)]
pub(crate) struct OneStream {
    pub(crate) stream: Stream,
}

#[derive(Debug, Serialize)]
pub(crate) struct Stream {
    pub(crate) namespace: String,
    pub(crate) stream: String,
    pub(crate) incarnation: String,
    pub(crate) version: u64,
    pub(crate) hold: &'static str,
    pub(crate) retention: Retention,
    pub(crate) batch_max: u32,
    pub(crate) created_at_us: i64,
    pub(crate) earliest_offset: u64,
    pub(crate) head_offset: u64,
    pub(crate) bytes: u64,
    pub(crate) last_at_us: i64,
    pub(crate) groups: u32,
}

#[derive(Debug, Serialize)]
pub(crate) struct Retention {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) entries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) age_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
}

/// `stream rm`.
#[derive(Debug, Serialize)]
pub(crate) struct RemovedStream {
    pub(crate) stream: String,
}

/// `stream append`.
#[derive(Debug, Serialize)]
pub(crate) struct Appended {
    pub(crate) incarnation: String,
    pub(crate) first_offset: u64,
    pub(crate) count: u32,
}

/// `stream read`.
#[derive(Debug, Serialize)]
pub(crate) struct Entries {
    pub(crate) incarnation: String,
    pub(crate) entries: Vec<Entry>,
    pub(crate) next_offset: u64,
    pub(crate) earliest_offset: u64,
    pub(crate) head_offset: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) payload_id: String,
    pub(crate) size: u64,
    pub(crate) at_us: i64,
    pub(crate) tags: Vec<String>,
    pub(crate) state: &'static str,
}

/// `stream groups`.
#[derive(Debug, Serialize)]
pub(crate) struct Groups {
    pub(crate) groups: Vec<Group>,
}

/// `stream commit` and `reset`.
#[derive(Debug, Serialize)]
pub(crate) struct OneGroup {
    pub(crate) group: Group,
}

#[derive(Debug, Serialize)]
pub(crate) struct Group {
    pub(crate) group: String,
    pub(crate) offset: u64,
    pub(crate) generation: u64,
    pub(crate) at_us: i64,
    pub(crate) lag_entries: u64,
    pub(crate) lag_bytes: u64,
    pub(crate) lag_age_ms: u64,
}

impl From<v1::Stream> for Stream {
    fn from(stream: v1::Stream) -> Self {
        let hold = stream.hold().as_str_name();
        let v1::Retention { entries, age_ms, bytes } = stream.retention.unwrap_or_default();
        Self {
            hold,
            retention: Retention { entries, age_ms, bytes },
            namespace: stream.namespace,
            stream: stream.stream,
            incarnation: stream.incarnation,
            version: stream.version,
            batch_max: stream.batch_max,
            created_at_us: stream.created_at_us,
            earliest_offset: stream.earliest_offset,
            head_offset: stream.head_offset,
            bytes: stream.bytes,
            last_at_us: stream.last_at_us,
            groups: stream.groups,
        }
    }
}

impl From<v1::Entry> for Entry {
    fn from(entry: v1::Entry) -> Self {
        Self {
            state: entry.state().as_str_name(),
            offset: entry.offset,
            payload_id: entry.payload_id,
            size: entry.size,
            at_us: entry.at_us,
            tags: entry.tags,
        }
    }
}

impl From<v1::Group> for Group {
    fn from(group: v1::Group) -> Self {
        Self {
            group: group.group,
            offset: group.offset,
            generation: group.generation,
            at_us: group.at_us,
            lag_entries: group.lag_entries,
            lag_bytes: group.lag_bytes,
            lag_age_ms: group.lag_age_ms,
        }
    }
}

impl From<v1::AppendResponse> for Appended {
    fn from(response: v1::AppendResponse) -> Self {
        Self {
            incarnation: response.incarnation,
            first_offset: response.first_offset,
            count: response.count,
        }
    }
}
