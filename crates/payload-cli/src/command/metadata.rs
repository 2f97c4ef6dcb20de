//! `meta` and `event`: what is said about a payload, and what an application notes in its history.

use std::io::{self, Read};
use std::path::Path;

use payload_client::{MetadataChange, MetadataOptions, PayloadRef, v1};
use payload_core::limits;

use super::Server;
use crate::args::{ChangeArgs, EventCommand, MetaCommand, MetadataArgs};
use crate::failure::Failure;
use crate::human;
use crate::json::{Appended, Metadata, MetadataHistory, NewRevision, Revision};
use crate::output::Output;

/// How much of it a page about something else shows.
const PREVIEW_LINES: usize = 8;
const PREVIEW_WIDTH: usize = 100;
const NOT_TEXT: &str = "(not text: use `meta get --raw`)";

pub(super) async fn run(server: &Server, command: MetaCommand, output: &Output) -> Result<(), Failure> {
    match command {
        MetaCommand::Get { id, raw, revision } => get(server, id, raw, revision, output).await,
        MetaCommand::Set { change, content_type } => set(server, change, content_type, output).await,
        MetaCommand::Patch { change } => patch(server, change, output).await,
        MetaCommand::History { id } => history(server, id, output).await,
    }
}

async fn get(
    server: &Server,
    id: PayloadRef,
    raw: bool,
    revision: Option<u64>,
    output: &Output,
) -> Result<(), Failure> {
    let found = server.catalog().metadata(id.clone(), revision).await;
    let found = found.map_err(|error| Failure::new(format!("read the metadata of {id}"), &error))?;
    if raw {
        return output.write(&found.body);
    }
    let document = Metadata::from(found);
    output.print(&document, |_| page(&document))
}

/// For people: what it is, then what it says, as far as that is text.
fn page(metadata: &Metadata) -> String {
    let text = metadata.text.as_deref().map(str::trim_end);
    format!("{}\n\n{}", about(metadata), text.unwrap_or(NOT_TEXT))
}

/// The same in few lines, as a part of a larger page.
pub(super) fn section(metadata: &Metadata) -> String {
    let text = metadata.text.as_deref().unwrap_or(NOT_TEXT);
    let mut lines = text.trim_end().lines();
    let shown: Vec<String> = (lines.by_ref().take(PREVIEW_LINES))
        .map(|line| format!("  {}", human::cut(line, PREVIEW_WIDTH)))
        .collect();
    let rest = if lines.next().is_some() { "\n  …" } else { "" };
    format!("METADATA\n{}\n{}{rest}", about(metadata), shown.join("\n"))
}

fn about(metadata: &Metadata) -> String {
    let info = &metadata.info;
    format!(
        "revision    {} by {} at {}\ntype        {}\nsize        {}",
        info.revision,
        info.actor,
        human::time(info.at_us),
        info.content_type,
        human::size(info.size),
    )
}

async fn set(server: &Server, args: ChangeArgs, content_type: String, output: &Output) -> Result<(), Failure> {
    let document = v1::Document {
        content_type,
        body: read(&args.file)?.into(),
    };
    change(server, args, MetadataChange::Document(document), output).await
}

async fn patch(server: &Server, args: ChangeArgs, output: &Output) -> Result<(), Failure> {
    let patch = read(&args.file)?.into();
    change(server, args, MetadataChange::MergePatch(patch), output).await
}

async fn change(server: &Server, args: ChangeArgs, change: MetadataChange, output: &Output) -> Result<(), Failure> {
    let options = MetadataOptions {
        if_revision: args.if_revision,
        reason: args.reason,
    };
    let new = server.catalog().put_metadata(args.id.clone(), change, options).await;
    let new = new.map_err(|error| Failure::new(format!("change the metadata of {}", args.id), &error))?;
    let document = NewRevision {
        payload_id: new.payload_id,
        revision: new.revision,
        version: new.version,
    };
    output.print(&document, |_| {
        format!("{}  revision {}", document.payload_id, new.revision)
    })
}

async fn history(server: &Server, id: PayloadRef, output: &Output) -> Result<(), Failure> {
    let catalog = server.catalog();
    let mut revisions = Vec::new();
    let mut token = String::new();
    loop {
        let page = catalog
            .metadata_history(id.clone(), limits::PAGE_SIZE_MAX, &token)
            .await;
        let page = page.map_err(|error| Failure::new(format!("list the metadata of {id}"), &error))?;
        revisions.extend(page.revisions.into_iter().map(Revision::from));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let document = MetadataHistory { revisions };
    output.print(&document, |output| {
        let header = ["REVISION", "VERSION", "TIME", "TYPE", "SIZE", "ACTOR", "REASON"];
        output.table(header, document.revisions.iter().map(row))
    })
}

fn row(revision: &Revision) -> [String; 7] {
    [
        revision.revision.to_string(),
        revision.version.to_string(),
        human::time(revision.at_us),
        revision.content_type.clone(),
        human::size(revision.size),
        revision.actor.clone(),
        revision.reason.clone(),
    ]
}

/// `event append`.
pub(super) async fn append(server: &Server, command: EventCommand, output: &Output) -> Result<(), Failure> {
    let EventCommand::Append {
        id,
        event_type,
        file,
        content_type,
        reason,
    } = command;
    let body = file.map_or_else(|| Ok(Vec::new()), |file| read(&file))?;
    let note = v1::EventNote {
        event_type,
        document: Some(v1::Document {
            content_type,
            body: body.into(),
        }),
    };
    let appended = server.catalog().append_event(id.clone(), note, reason).await;
    let appended = appended.map_err(|error| Failure::new(format!("append an event to {id}"), &error))?;
    let document = Appended {
        payload_id: appended.payload_id,
        version: appended.version,
    };
    output.print(&document, |_| {
        format!("{}  version {}", document.payload_id, document.version)
    })
}

/// What comes with a put.
pub(super) fn document(args: &MetadataArgs) -> Result<Option<v1::Document>, Failure> {
    let Some(file) = &args.metadata else { return Ok(None) };
    Ok(Some(v1::Document {
        content_type: args.metadata_type.clone(),
        body: read(file)?.into(),
    }))
}

/// One byte more than the server takes is enough to be refused by it.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: &io::Error| Failure::io(format!("read {}", file.display()), error);
    let mut bytes = Vec::new();
    let input: Box<dyn Read> = match file.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(std::fs::File::open(file).map_err(|error| failed(&error))?),
    };
    let most = limits::DOCUMENT_SIZE_MAX as u64 + 1;
    input
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(&error))?;
    Ok(bytes)
}
