//! `events`: what happened, page after page.

use payload_client::{Catalog, EventFilter, WatchFrom};
use payload_core::limits;

use super::Server;
use crate::args::EventsArgs;
use crate::failure::Failure;
use crate::human;
use crate::json::{Event, Events};
use crate::output::Output;

pub(super) async fn run(server: &Server, args: EventsArgs, output: &Output) -> Result<(), Failure> {
    let filter = EventFilter {
        payload: args.payload,
        kinds: args.kinds,
    };
    if args.follow {
        return follow(&server.catalog(), &filter, args.after, output).await;
    }
    let document = pages(&server.catalog(), &filter, &args.after).await?;
    output.print(&document, |output| {
        let header = ["TIME", "PAYLOAD", "VERSION", "EVENT", "STATE", "ACTOR", "REASON"];
        output.table(header, document.events.iter().map(row))
    })
}

/// One document or a few lines for each message that has events.
async fn follow(catalog: &Catalog, filter: &EventFilter, after: String, output: &Output) -> Result<(), Failure> {
    let failed = |error| Failure::new("follow events", &error);
    let from = match after.is_empty() {
        true => WatchFrom::Beginning,
        false => WatchFrom::Cursor(after),
    };
    let mut watch = catalog.watch(filter, from).await.map_err(failed)?;
    loop {
        let message = watch.next().await.map_err(failed)?;
        if message.events.is_empty() {
            continue;
        }
        let document = Events {
            events: message.events.into_iter().map(Event::from).collect(),
            cursor: message.cursor,
        };
        output.print(&document, |_| {
            let lines = document
                .events
                .iter()
                .map(|event| row(event).join("  ").trim_end().to_owned());
            lines.collect::<Vec<_>>().join("\n")
        })?;
    }
}

/// All that fits, from `cursor` to where the log ends now.
pub(super) async fn pages(catalog: &Catalog, filter: &EventFilter, cursor: &str) -> Result<Events, Failure> {
    let mut all = Events {
        events: Vec::new(),
        cursor: cursor.to_owned(),
    };
    loop {
        let page = catalog.events(filter, limits::PAGE_SIZE_MAX, &all.cursor).await;
        let page = page.map_err(|error| Failure::new("list events", &error))?;
        all.events.extend(page.events.into_iter().map(Event::from));
        all.cursor = page.cursor;
        if !page.more {
            return Ok(all);
        }
    }
}

fn row(event: &Event) -> [String; 7] {
    [
        human::time(event.at_us),
        event.payload_id.clone(),
        event.version.to_string(),
        event.kind.clone(),
        event.to.to_lowercase(),
        event.actor.clone(),
        event.reason.clone(),
    ]
}
