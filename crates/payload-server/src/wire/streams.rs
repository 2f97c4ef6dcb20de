//! Requests about streams from the wire to the engine's words, and its answers back.

use payload_core::Result;
use payload_core::stream::{Appended, Offset, Start, StreamSettings, tags};
use payload_engine::{
    AppendRequest, EntryFilter, GroupView, OffsetRequest, Placed, Publish, ReadPage, ReadRequest, StreamEdit,
};
use payload_proto::convert::streams::{above_zero, entries, hold, producer, retention, start, stream_ref};
use payload_proto::convert::{labels, millis, optional, request_id};
use payload_proto::v1;

pub(crate) fn settings(request: &v1::CreateStreamRequest) -> Result<StreamSettings> {
    let usual = StreamSettings::default();
    Ok(StreamSettings {
        hold: hold(request.hold)?.unwrap_or(usual.hold),
        retention: request.retention.as_ref().map(retention).unwrap_or_default(),
        batch_max: above_zero(request.batch_max).unwrap_or(usual.batch_max),
    })
}

pub(crate) fn edit(request: &v1::UpdateStreamRequest) -> Result<StreamEdit> {
    Ok(StreamEdit {
        hold: hold(request.hold)?,
        retention: request.retention.as_ref().map(retention),
        batch_max: above_zero(request.batch_max),
    })
}

pub(crate) fn append(request: &v1::AppendRequest) -> Result<AppendRequest> {
    Ok(AppendRequest {
        stream: stream_ref(request.stream.as_ref())?,
        request_id: request_id(&request.request_id)?,
        entries: entries(&request.entries)?,
        expected: request.expected_offset.map(Offset::from_u64),
        producer: producer(request.producer.as_ref())?,
        progress: request.progress.as_ref().map(progress).transpose()?,
    })
}

pub(crate) fn publish(publish: Option<&v1::Publish>) -> Result<Option<Publish>> {
    let checked = |publish: &v1::Publish| {
        Ok(Publish {
            stream: publish.stream.parse()?,
            incarnation: optional(&publish.incarnation)?,
            tags: tags(publish.tags.iter().map(String::as_str))?,
            expected: publish.expected_offset.map(Offset::from_u64),
            producer: producer(publish.producer.as_ref())?,
            progress: publish.progress.as_ref().map(progress).transpose()?,
        })
    };
    publish.map(checked).transpose()
}

/// Where one payload is.
pub(crate) fn appended(appended: Appended) -> v1::AppendResponse {
    placed(&Placed { appended, count: 1 })
}

pub(crate) fn read(request: &v1::ReadStreamRequest) -> Result<ReadRequest> {
    Ok(ReadRequest {
        stream: stream_ref(request.stream.as_ref())?,
        start: start(request.start.as_ref(), Start::Earliest)?,
        limit: request.limit,
        bytes_max: request.bytes_max,
        filter: EntryFilter {
            tags: tags(request.tags.iter().map(String::as_str))?,
            labels: labels(&request.labels)?,
        },
    })
}

pub(crate) fn progress(request: &v1::CommitOffsetRequest) -> Result<OffsetRequest> {
    Ok(OffsetRequest {
        stream: stream_ref(request.stream.as_ref())?,
        group: request.group.parse()?,
        offset: Offset::from_u64(request.offset),
        expected: request.expected_offset.map(Offset::from_u64),
        generation: request.generation,
    })
}

pub(crate) fn placed(placed: &Placed) -> v1::AppendResponse {
    v1::AppendResponse {
        incarnation: placed.appended.stream.to_string(),
        first_offset: placed.appended.first.as_u64(),
        count: placed.count,
    }
}

pub(crate) fn page(page: &ReadPage) -> v1::ReadStreamResponse {
    v1::ReadStreamResponse {
        incarnation: page.stream.to_string(),
        entries: page.entries.iter().map(v1::Entry::from).collect(),
        next_offset: page.next.as_u64(),
        earliest_offset: page.earliest.as_u64(),
        head_offset: page.head.as_u64(),
    }
}

pub(crate) fn group(view: &GroupView) -> v1::Group {
    v1::Group {
        lag_entries: view.lag_entries,
        lag_bytes: view.lag_bytes,
        lag_age_ms: millis(view.lag_age),
        ..v1::Group::from(&view.group)
    }
}
