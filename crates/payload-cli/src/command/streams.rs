//! `stream`: ordered logs of payload references, and how far their groups have come.

use payload_client::{GroupName, PayloadId, StreamName, Streams, v1};
use payload_core::limits;

use super::Server;
use crate::args::{Hold, Position, StreamCommand, StreamSettings};
use crate::failure::Failure;
use crate::human;
use crate::json::streams as json;
use crate::output::Output;

pub(super) async fn run(server: &Server, command: StreamCommand, output: &Output) -> Result<(), Failure> {
    let streams = server.streams();
    match command {
        StreamCommand::Create { name, settings } => {
            let made = streams.create(&name, new(&settings)).await;
            show(made.map_err(failed("create stream", &name))?, output)
        }
        StreamCommand::Ls => list(&streams, output).await,
        StreamCommand::Show { name } => show(streams.get(&name).await.map_err(failed("show stream", &name))?, output),
        StreamCommand::Set { name, settings } => {
            let changed = set(&streams, &name, &settings).await;
            show(changed.map_err(failed("set stream", &name))?, output)
        }
        StreamCommand::Rm { name } => {
            streams.delete(&name).await.map_err(failed("remove stream", &name))?;
            let document = json::RemovedStream {
                stream: name.to_string(),
            };
            output.print(&document, |_| format!("{name}  removed"))
        }
        StreamCommand::Append { name, ids, tags } => {
            let appended = append(&streams, &name, &ids, &tags).await;
            let document = json::Appended::from(appended.map_err(failed("append to", &name))?);
            output.print(&document, |_| range(&document))
        }
        StreamCommand::Read {
            name,
            from,
            limit,
            tags,
        } => read(&streams, &name, from, limit, tags, output).await,
        // It has a file of its own.
        StreamCommand::Tail(args) => super::tail::run(server, args, output).await,
        StreamCommand::Commit { name, group, offset } => {
            let committed = streams.commit_offset(&name, &group, offset).await;
            one_group(committed.map_err(failed("commit in", &name))?, output)
        }
        StreamCommand::Groups { name } => {
            let found = streams.groups(&name).await.map_err(failed("list groups of", &name))?;
            let document = json::Groups {
                groups: found.into_iter().map(json::Group::from).collect(),
            };
            output.print(&document, |output| groups(&document.groups, output))
        }
        StreamCommand::Reset { name, group, to } => reset(&streams, &name, &group, to, output).await,
    }
}

pub(super) fn failed(what: &'static str, name: &StreamName) -> impl FnOnce(payload_client::Error) -> Failure {
    let what = format!("{what} {name}");
    move |error| Failure::new(what, &error)
}

fn new(settings: &StreamSettings) -> v1::CreateStreamRequest {
    v1::CreateStreamRequest {
        hold: hold(settings.hold),
        retention: Some(retention(settings, v1::Retention::default())),
        batch_max: settings.batch_max.unwrap_or(0),
        ..v1::CreateStreamRequest::default()
    }
}

/// Changes what was named: of the retention too, which the server replaces as a whole.
async fn set(streams: &Streams, name: &StreamName, settings: &StreamSettings) -> payload_client::Result<v1::Stream> {
    let now = streams.get(name).await?;
    let request = v1::UpdateStreamRequest {
        hold: hold(settings.hold),
        retention: Some(retention(settings, now.retention.unwrap_or_default())),
        batch_max: settings.batch_max.unwrap_or(0),
        ..v1::UpdateStreamRequest::default()
    };
    streams.update(name, request).await
}

fn hold(hold: Option<Hold>) -> i32 {
    let hold = match hold {
        None => v1::Hold::Unspecified,
        Some(Hold::Nothing) => v1::Hold::Nothing,
        Some(Hold::Payload) => v1::Hold::Payload,
    };
    hold.into()
}

fn retention(settings: &StreamSettings, now: v1::Retention) -> v1::Retention {
    let age = settings.keep_for;
    v1::Retention {
        entries: settings.keep_entries.or(now.entries),
        age_ms: age
            .map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
            .or(now.age_ms),
        bytes: settings.keep_bytes.or(now.bytes),
    }
}

async fn append(
    streams: &Streams,
    name: &StreamName,
    ids: &[PayloadId],
    tags: &[String],
) -> payload_client::Result<v1::AppendResponse> {
    let draft = |id: &PayloadId| v1::EntryDraft {
        payload_id: id.to_string(),
        tags: tags.to_vec(),
    };
    let request = v1::AppendRequest {
        entries: ids.iter().map(draft).collect(),
        ..v1::AppendRequest::default()
    };
    streams.append_with(name, request).await
}

async fn list(streams: &Streams, output: &Output) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let mut token = String::new();
    loop {
        let page = streams.list(limits::PAGE_SIZE_MAX, &token).await;
        let page = page.map_err(|error| Failure::new("list streams", &error))?;
        rows.extend(page.streams.into_iter().map(json::Stream::from));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let document = json::Streams { streams: rows };
    output.print(&document, |output| {
        let header = ["STREAM", "EARLIEST", "HEAD", "SIZE", "GROUPS", "LAST"];
        output.table(header, document.streams.iter().map(row))
    })
}

fn row(stream: &json::Stream) -> [String; 6] {
    [
        stream.stream.clone(),
        stream.earliest_offset.to_string(),
        stream.head_offset.to_string(),
        human::size(stream.bytes),
        stream.groups.to_string(),
        human::time(stream.last_at_us),
    ]
}

async fn read(
    streams: &Streams,
    name: &StreamName,
    from: Position,
    limit: usize,
    tags: Vec<String>,
    output: &Output,
) -> Result<(), Failure> {
    let mut document: Option<json::Entries> = None;
    let mut start = start(from);
    loop {
        let had = document.as_ref().map_or(0, |document| document.entries.len());
        let wanted = (limit - had).min(limits::PAGE_SIZE_MAX as usize) as u32;
        if wanted == 0 && document.is_some() {
            break;
        }
        let request = v1::ReadStreamRequest {
            start: Some(start),
            limit: wanted.max(1),
            tags: tags.clone(),
            ..v1::ReadStreamRequest::default()
        };
        let page = streams.read(name, request).await.map_err(failed("read", name))?;
        let more = page.next_offset < page.head_offset;
        start = self::start(Position::Offset(page.next_offset));
        let found = page.entries.into_iter().take(wanted as usize).map(json::Entry::from);
        let mut entries = document.map_or_else(Vec::new, |document| document.entries);
        entries.extend(found);
        document = Some(json::Entries {
            incarnation: page.incarnation,
            entries,
            next_offset: page.next_offset,
            earliest_offset: page.earliest_offset,
            head_offset: page.head_offset,
        });
        if !more {
            break;
        }
    }
    let document = document.expect("at least one page was read");
    output.print(&document, |output| {
        let header = ["OFFSET", "PAYLOAD", "SIZE", "STATE", "APPENDED", "TAGS"];
        output.table(header, document.entries.iter().map(entry))
    })
}

pub(super) fn entry(entry: &json::Entry) -> [String; 6] {
    [
        entry.offset.to_string(),
        entry.payload_id.clone(),
        human::size(entry.size),
        entry.state.to_lowercase(),
        human::time(entry.at_us),
        entry.tags.join(" "),
    ]
}

pub(super) fn start(position: Position) -> v1::ReadStart {
    use v1::read_start::Start;
    v1::ReadStart {
        start: Some(match position {
            Position::Earliest => Start::Edge(v1::Edge::Earliest.into()),
            Position::Latest => Start::Edge(v1::Edge::Latest.into()),
            Position::Offset(offset) => Start::Offset(offset),
        }),
    }
}

async fn reset(
    streams: &Streams,
    name: &StreamName,
    group: &GroupName,
    to: Position,
    output: &Output,
) -> Result<(), Failure> {
    let reset = streams.reset_offset(name, group, start(to)).await;
    one_group(reset.map_err(failed("reset a group of", name))?, output)
}

fn one_group(group: v1::Group, output: &Output) -> Result<(), Failure> {
    let document = json::OneGroup { group: group.into() };
    output.print(&document, |output| {
        groups(std::slice::from_ref(&document.group), output)
    })
}

fn groups(groups: &[json::Group], output: &Output) -> String {
    let header = ["GROUP", "OFFSET", "LAG", "LAG SIZE", "LAG AGE", "GENERATION"];
    output.table(header, groups.iter().map(group))
}

fn group(group: &json::Group) -> [String; 6] {
    [
        group.group.clone(),
        group.offset.to_string(),
        group.lag_entries.to_string(),
        human::size(group.lag_bytes),
        human::span(group.lag_age_ms),
        group.generation.to_string(),
    ]
}

fn range(appended: &json::Appended) -> String {
    match appended.count {
        1 => format!("offset {}", appended.first_offset),
        count => {
            let last = appended.first_offset + u64::from(count) - 1;
            format!("offsets {} to {last}", appended.first_offset)
        }
    }
}

fn show(stream: v1::Stream, output: &Output) -> Result<(), Failure> {
    let document = json::OneStream { stream: stream.into() };
    output.print(&document, |_| fields(&document.stream))
}

fn fields(stream: &json::Stream) -> String {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let retention = &stream.retention;
    let fields = [
        ("stream", stream.stream.clone()),
        ("namespace", stream.namespace.clone()),
        ("incarnation", stream.incarnation.clone()),
        ("version", stream.version.to_string()),
        ("hold", stream.hold.to_lowercase()),
        (
            "keep entries",
            or_dash(retention.entries.map(|count| count.to_string())),
        ),
        ("keep for", or_dash(retention.age_ms.map(human::span))),
        ("keep bytes", or_dash(retention.bytes.map(human::size))),
        ("batch max", stream.batch_max.to_string()),
        ("earliest", stream.earliest_offset.to_string()),
        ("head", stream.head_offset.to_string()),
        (
            "size",
            format!("{} ({} bytes)", human::size(stream.bytes), stream.bytes),
        ),
        ("groups", stream.groups.to_string()),
        ("created", human::time(stream.created_at_us)),
        ("last append", human::time(stream.last_at_us)),
    ];
    fields.map(|(name, value)| format!("{name:<14}{value}")).join("\n")
}
