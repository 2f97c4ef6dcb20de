//! `events`: what happened, page after page.

use payload_client::{Catalog, EventFilter};
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
    let document = pages(&server.catalog(), &filter, &args.after).await?;
    output.print(&document, |output| {
        let header = ["TIME", "PAYLOAD", "VERSION", "EVENT", "STATE", "ACTOR", "REASON"];
        output.table(header, document.events.iter().map(row))
    })
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
