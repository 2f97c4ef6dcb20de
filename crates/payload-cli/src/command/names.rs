//! `name`: where names point, where they have pointed, and pointing them elsewhere.

use payload_client::{Catalog, Naming, PayloadName, PayloadRef};
use payload_core::limits;

use super::Server;
use crate::args::NameCommand;
use crate::failure::Failure;
use crate::human;
use crate::json::{Name, NameHistory, NameMove, Named, Names, OneName, RemovedName};
use crate::output::Output;

pub(super) async fn run(server: &Server, command: NameCommand, output: &Output) -> Result<(), Failure> {
    let catalog = server.catalog();
    match command {
        NameCommand::Set {
            name,
            id,
            guard,
            reason,
        } => {
            let naming = Naming {
                name,
                guard: guard.guard(),
            };
            set(&catalog, id, naming, &reason, output).await
        }
        NameCommand::Ls { prefix } => list(&catalog, &prefix, output).await,
        NameCommand::Show { name } => show(&catalog, &name, output).await,
        NameCommand::History { name } => history(&catalog, &name, output).await,
        NameCommand::Rm { name, from, reason } => {
            let removed = catalog.remove_name(&name, from, &reason).await;
            removed.map_err(|error| Failure::new(format!("remove name {name}"), &error))?;
            let document = RemovedName { name: name.to_string() };
            output.print(&document, |_| format!("{name}  removed"))
        }
    }
}

async fn set(catalog: &Catalog, id: PayloadRef, naming: Naming, reason: &str, output: &Output) -> Result<(), Failure> {
    let named = catalog.set_name(id, &naming, reason).await;
    let document = Named {
        name: naming.name.to_string(),
        payload_id: named.map_err(|error| Failure::new(format!("set name {}", naming.name), &error))?,
    };
    output.print(&document, |_| format!("{}  {}", document.name, document.payload_id))
}

async fn list(catalog: &Catalog, prefix: &str, output: &Output) -> Result<(), Failure> {
    let mut names = Vec::new();
    let mut token = String::new();
    loop {
        let page = catalog.names(prefix, limits::PAGE_SIZE_MAX, &token).await;
        let page = page.map_err(|error| Failure::new("list names", &error))?;
        names.extend(page.names.into_iter().map(Name::from));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let document = Names { names };
    output.print(&document, |output| {
        output.table(["NAME", "PAYLOAD", "SINCE", "BY"], document.names.iter().map(row))
    })
}

fn row(name: &Name) -> [String; 4] {
    [
        name.name.clone(),
        name.payload_id.clone(),
        human::time(name.at_us),
        name.actor.clone(),
    ]
}

async fn show(catalog: &Catalog, name: &PayloadName, output: &Output) -> Result<(), Failure> {
    let found = catalog.name(name).await;
    let document = OneName {
        name: found
            .map_err(|error| Failure::new(format!("show name {name}"), &error))?
            .into(),
    };
    output.print(&document, |_| {
        let name = &document.name;
        let fields = [
            ("name", name.name.clone()),
            ("payload", name.payload_id.clone()),
            ("version", name.version.to_string()),
            ("since", human::time(name.at_us)),
            ("by", name.actor.clone()),
        ];
        fields.map(|(name, value)| format!("{name:<12}{value}")).join("\n")
    })
}

async fn history(catalog: &Catalog, name: &PayloadName, output: &Output) -> Result<(), Failure> {
    let mut moves = Vec::new();
    let mut token = String::new();
    loop {
        let page = catalog.name_history(name, limits::PAGE_SIZE_MAX, &token).await;
        let page = page.map_err(|error| Failure::new(format!("show history of name {name}"), &error))?;
        moves.extend(page.moves.into_iter().map(NameMove::from));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let document = NameHistory { moves };
    output.print(&document, |output| {
        output.table(
            ["VERSION", "TIME", "FROM", "TO", "ACTOR", "REASON"],
            document.moves.iter().map(moved),
        )
    })
}

fn moved(moved: &NameMove) -> [String; 6] {
    let end = |id: &String| if id.is_empty() { "-".to_owned() } else { id.clone() };
    [
        moved.version.to_string(),
        human::time(moved.at_us),
        end(&moved.from_payload_id),
        end(&moved.to_payload_id),
        moved.actor.clone(),
        moved.reason.clone(),
    ]
}
