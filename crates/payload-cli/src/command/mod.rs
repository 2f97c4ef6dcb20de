//! The commands, one file each.

mod events;
mod explain;
mod get;
mod holders;
mod leases;
mod lineage;
mod list;
mod metadata;
mod moves;
mod names;
mod namespaces;
mod pins;
mod put;
mod quota;
mod remove;
mod show;
mod stats;
mod streams;
mod tail;
mod tiers;
mod transfers;
mod update;
mod verify;

use std::time::Duration;

use clap::CommandFactory;
use payload_client::{Admin, Catalog, Client, ClientOptions, Endpoint, Namespace, Streams};

use crate::args::{Args, Command, TransfersCommand};
use crate::failure::Failure;
use crate::output::Output;

/// How long a server that was killed is given to be started again.
const COMEBACK: Duration = Duration::from_secs(3);

/// How the server is reached, for those commands that need it.
struct Server {
    endpoint: Endpoint,
    options: ClientOptions,
}

impl Server {
    fn namespace(&self) -> &Namespace {
        &self.options.namespace
    }

    fn find(endpoint: Option<&str>, options: ClientOptions) -> Result<Self, Failure> {
        let endpoint = Endpoint::discover(endpoint).map_err(|error| Failure::new("find the server", &error))?;
        // Somebody waits in front of a terminal: a server that is not there is reported at once, but one that was killed
        // is back in a moment.
        let reconnect_max = if endpoint.is_published() {
            COMEBACK
        } else {
            Duration::ZERO
        };
        Ok(Self {
            endpoint,
            options: ClientOptions {
                reconnect_max,
                ..options
            },
        })
    }

    async fn client(&self) -> Result<Client, Failure> {
        let client = Client::connect_with(self.endpoint.clone(), self.options.clone()).await;
        client.map_err(|error| Failure::new("connect", &error))
    }

    fn catalog(&self) -> Catalog {
        Catalog::new(self.endpoint.clone(), &self.options)
    }

    fn streams(&self) -> Streams {
        Streams::new(self.endpoint.clone(), &self.options)
    }

    fn admin(&self) -> Admin {
        Admin::new(self.endpoint.clone(), &self.options)
    }
}

/// Runs what the command line says.
pub(crate) async fn run(args: Args, output: &Output) -> Result<(), Failure> {
    if let Command::Completions { shell } = args.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Args::command(), "payloadctl", &mut script);
        return output.write(&script);
    }
    let options = ClientOptions {
        name: "payloadctl".to_owned(),
        namespace: args.namespace,
        ..ClientOptions::default()
    };
    let server = Server::find(args.endpoint.as_deref(), options)?;
    match args.command {
        Command::Put(args) => put::run(&server, args, output).await,
        Command::Get(args) => get::get(&server, args, output).await,
        Command::Cat { id } => get::cat(&server, id).await,
        Command::Ls(args) => list::run(&server, args, output).await,
        Command::Show { id, events } => show::run(&server, id, events, output).await,
        Command::Promote(args) => moves::promote(&server, &args, output).await,
        Command::Prefetch(args) => moves::prefetch(&server, &args, output).await,
        Command::Spill { ids, to } => moves::spill(&server, &ids, to, output).await,
        Command::Pin { id, term, tier } => pins::pin(&server, id, tier, term, output).await,
        Command::Unpin { id, tier } => pins::unpin(&server, id, tier, output).await,
        Command::Rm(args) => remove::run(&server, args, output).await,
        Command::Lineage(command) => lineage::run(&server, command, output).await,
        Command::Explain { id } => explain::run(&server, id, output).await,
        Command::Tiers => tiers::run(&server, output).await,
        Command::Transfers { command: None } => transfers::run(&server, output).await,
        Command::Transfers {
            command: Some(TransfersCommand::Cancel { id }),
        } => transfers::cancel(&server, &id, output).await,
        Command::Holders => holders::run(&server, output).await,
        Command::Leases { payload } => leases::list(&server, payload, output).await,
        Command::Revoke { serial, reason } => leases::revoke(&server, serial, &reason, output).await,
        Command::Label(args) => update::label(&server, args, output).await,
        Command::Expire(args) => update::expire(&server, args, output).await,
        Command::Name(command) => names::run(&server, command, output).await,
        Command::Quota(args) => quota::run(&server, args, output).await,
        Command::Namespace(command) => namespaces::run(&server, command, output).await,
        Command::Meta(command) => metadata::run(&server, command, output).await,
        Command::Event(command) => metadata::append(&server, command, output).await,
        Command::Events(args) => events::run(&server, args, output).await,
        Command::Verify(args) => verify::run(&server, &args, output).await,
        Command::Stream(command) => streams::run(&server, command, output).await,
        Command::Stats => stats::run(&server, output).await,
        Command::Completions { .. } => Ok(()),
    }
}
