//! What can be said on the command line.

mod lineage;
mod listing;
mod metadata;
mod names;
mod namespaces;
mod streams;
mod updates;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args as ClapArgs, Parser, Subcommand, ValueEnum};
use payload_client::{
    Durability, Fallback, Namespace, PayloadId, PayloadName, PayloadRef, Policy, Priority, SpillTarget, StreamName,
    Tier, v1,
};

pub(crate) use self::lineage::{DerivationArgs, GraphFormat, LineageCommand, ScopeArgs};
pub(crate) use self::listing::ListArgs;
pub(crate) use self::metadata::{ChangeArgs, EventCommand, MetaCommand, MetadataArgs};
pub(crate) use self::names::{Guard, NameCommand};
pub(crate) use self::namespaces::{NamespaceCommand, QuotaArgs};
pub(crate) use self::streams::{Hold, Position, StreamCommand, StreamSettings, TailArgs};
pub(crate) use self::updates::{ExpireArgs, LabelArgs};
use crate::human::parse_duration;

/// Put, get, list and remove payloads, and see who holds what.
#[derive(Debug, Parser)]
#[command(name = "payloadctl", version, propagate_version = true)]
pub(crate) struct Args {
    /// Server: an http:// address, or the path of the endpoint.json in its data directory
    #[arg(long, global = true, env = "PAYLOAD_ENDPOINT", value_name = "ADDRESS|FILE")]
    pub(crate) endpoint: Option<String>,
    /// Tenant whose payloads are meant
    #[arg(long, global = true, default_value = "default", value_name = "NAME")]
    pub(crate) namespace: Namespace,
    /// Form of the output
    #[arg(long, short, global = true, default_value = "table", value_enum)]
    pub(crate) output: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Who is to read the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// People.
    Table,
    /// Programs.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make payloads of files
    Put(PutArgs),
    /// Write a payload's bytes to a file
    Get(GetArgs),
    /// Write a payload's bytes to standard output
    Cat {
        /// Payload: its id, or name:NAME
        id: PayloadRef,
    },
    /// List and search payloads
    Ls(ListArgs),
    /// Show all about a payload
    Show {
        /// Payload: its id, or name:NAME
        id: PayloadRef,
        /// Also what happened to it
        #[arg(long)]
        events: bool,
    },
    /// Delete payloads; their bytes go when their leases end
    Rm(RemoveArgs),
    /// Bring payloads into a faster tier, and wait until they are there
    Promote(PromoteArgs),
    /// Have payloads brought into a faster tier when there is time
    Prefetch(PromoteArgs),
    /// Copy payloads to a slower tier, and give up the faster replica when no lease holds it
    Spill {
        /// Payloads
        #[arg(required = true)]
        ids: Vec<PayloadId>,
        /// Slower tier
        #[arg(long, default_value = "disk", value_parser = words(&["disk", "object"]).try_map(|word| word.parse::<Tier>()))]
        to: Tier,
    },
    /// Keep a payload in a tier however short the room there is
    Pin {
        /// Payload: its id, or name:NAME
        id: PayloadRef,
        /// How long, such as 10m [default: until it is unpinned]
        #[arg(long = "for", value_parser = parse_duration, value_name = "DURATION")]
        term: Option<Duration>,
        /// Where
        #[arg(long, default_value = "ram", value_parser = words(&["ram", "disk"]).try_map(|word| word.parse::<Tier>()))]
        tier: Tier,
    },
    /// End a payload's pins
    Unpin {
        /// Payload: its id, or name:NAME
        id: PayloadRef,
        /// Only the one in this tier
        #[arg(long, value_parser = words(&["ram", "disk"]).try_map(|word| word.parse::<Tier>()))]
        tier: Option<Tier>,
    },
    /// Explain why a payload is where it is, what keeps it there, and what happens next
    Explain {
        /// Payload: its id, or name:NAME
        id: PayloadRef,
    },
    /// Show how full each tier is, of what, and what goes next
    Tiers,
    /// List what is on its way from tier to tier, or cancel it
    Transfers {
        #[command(subcommand)]
        command: Option<TransfersCommand>,
    },
    /// List who holds how much, those first who hold most
    Holders,
    /// List leases: who holds what
    Leases {
        /// Only the leases on this payload
        #[arg(long, value_name = "ID")]
        payload: Option<PayloadId>,
    },
    /// End somebody's lease
    Revoke {
        /// The lease's serial number, as `leases` shows it
        serial: u64,
        /// Told to the holder
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Set and remove labels of a payload
    Label(LabelArgs),
    /// Change when a payload expires
    Expire(ExpireArgs),
    /// Say and show what payloads were made from
    #[command(subcommand)]
    Lineage(LineageCommand),
    /// Name payloads, and see where names point and have pointed
    #[command(subcommand)]
    Name(NameCommand),
    /// Make, list, show and remove namespaces
    #[command(subcommand)]
    Namespace(NamespaceCommand),
    /// Show what a namespace has of its quota, or change the quota; what is not named stays
    Quota(QuotaArgs),
    /// Read and change what is said about a payload
    #[command(subcommand)]
    Meta(MetaCommand),
    /// Note something in a payload's history
    #[command(subcommand)]
    Event(EventCommand),
    /// Show what happened in the namespace, or to one payload, oldest first
    Events(EventsArgs),
    /// Check that what the server keeps is whole
    Verify(VerifyArgs),
    /// Make, list, show and remove streams, append to them and read them
    #[command(subcommand)]
    Stream(StreamCommand),
    /// Show how full and how busy the server is
    Stats,
    /// Print a completion script for a shell
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
}

#[derive(ClapArgs, Debug)]
pub(crate) struct PutArgs {
    /// Files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Where the bytes are to be
    #[arg(long, value_parser = words(&["ram", "disk", "object"]).try_map(|word| word.parse::<Tier>()))]
    pub(crate) tier: Option<Tier>,
    /// What happens if there is no room there [default: refuse with --tier, next-tier without]
    #[arg(long, value_parser = words(&["refuse", "next-tier"]).try_map(|word| word.parse::<Fallback>()))]
    pub(crate) fallback: Option<Fallback>,
    /// What an acknowledged put must survive: the server's crash, or the host's
    #[arg(long, value_parser = words(&["volatile", "host", "object"]).try_map(|word| word.parse::<Durability>()))]
    pub(crate) durability: Option<Durability>,
    /// What goes first when RAM is short
    #[arg(long, default_value = "normal",
          value_parser = words(&["low", "normal", "high", "never"]).try_map(|word| word.parse::<Priority>()))]
    pub(crate) priority: Priority,
    /// Where it goes then: to disk, to object storage, or nowhere
    #[arg(long, default_value = "disk",
          value_parser = words(&["disk", "object", "void"]).try_map(|word| word.parse::<SpillTarget>()))]
    pub(crate) spill_to: SpillTarget,
    /// It can be made again, so it goes before others of its priority
    #[arg(long)]
    pub(crate) rederivable: bool,
    /// The slowest tier that it may sink to by itself [default: any]
    #[arg(long, value_parser = words(&["ram", "disk"]).try_map(|word| word.parse::<Tier>()))]
    pub(crate) min_tier: Option<Tier>,
    /// How long it stays in RAM at least, such as 30s [default: not at all]
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    pub(crate) min_residency: Option<Duration>,
    /// What it is to survive soon after the put, which does not wait for that [default: no more than the put promises]
    #[arg(long, value_parser = words(&["host", "object"]).try_map(|word| word.parse::<Durability>()))]
    pub(crate) write_behind: Option<Durability>,
    /// How long the payload lives, such as 90s, 10m, 12h or 7d [default: for ever]
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    pub(crate) ttl: Option<Duration>,
    /// A label; may be given many times
    #[arg(long = "label", value_parser = parse_label, value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<(String, String)>,
    /// A name to point at the payload
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<PayloadName>,
    #[command(flatten)]
    pub(crate) guard: Guard,
    #[command(flatten)]
    pub(crate) derivation: DerivationArgs,
    /// Append each payload to this stream in the moment in which it becomes visible
    #[arg(long, value_name = "STREAM")]
    pub(crate) publish: Option<StreamName>,
    /// A tag for its entry; may be given many times
    #[arg(long = "tag", value_name = "TAG", requires = "publish")]
    pub(crate) tags: Vec<String>,
    #[command(flatten)]
    pub(crate) metadata: MetadataArgs,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct RemoveArgs {
    /// Payloads: ids, or name:NAME
    #[arg(required = true)]
    pub(crate) ids: Vec<PayloadRef>,
    /// Revoke their leases instead of waiting for them
    #[arg(long)]
    pub(crate) force: bool,
    /// Kept in their history
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    /// What to do about live payloads that descend from them
    #[arg(long, default_value = "ignore", value_parser = words(&["ignore", "refuse", "cascade"]).map(|word| on_dependents(&word)))]
    pub(crate) dependents: v1::OnDependents,
    /// Delete nothing; show what would be deleted
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl PutArgs {
    pub(crate) fn publication(&self) -> Option<v1::Publish> {
        self.publish.as_ref().map(|stream| v1::Publish {
            stream: stream.to_string(),
            tags: self.tags.clone(),
            ..v1::Publish::default()
        })
    }

    pub(crate) fn policy(&self) -> Policy {
        Policy {
            priority: self.priority,
            spill_to: self.spill_to,
            rederivable: self.rederivable,
            min_tier: self.min_tier,
            min_residency: self.min_residency,
            write_behind: self.write_behind,
        }
    }
}

#[derive(ClapArgs, Debug)]
pub(crate) struct PromoteArgs {
    /// Payloads
    #[arg(required = true)]
    pub(crate) ids: Vec<PayloadId>,
    /// Faster tier
    #[arg(long, default_value = "ram", value_parser = words(&["ram", "disk"]).try_map(|word| word.parse::<Tier>()))]
    pub(crate) to: Tier,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct GetArgs {
    /// Payload: its id, or name:NAME
    pub(crate) id: PayloadRef,
    /// File to write [default: the id]
    #[arg(long = "file", short = 'O', value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Overwrite the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
    /// Read a payload that is in the bucket alone from there, instead of having the server fetch it first
    #[arg(long)]
    pub(crate) from_bucket: bool,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct EventsArgs {
    /// Only what happened to this payload
    #[arg(long, value_name = "ID")]
    pub(crate) payload: Option<PayloadRef>,
    /// Only this kind of event, such as committed; may be given many times
    #[arg(long = "kind", value_name = "KIND")]
    pub(crate) kinds: Vec<String>,
    /// Only what comes after this cursor, which an earlier call has printed
    #[arg(long, default_value = "", hide_default_value = true, value_name = "CURSOR")]
    pub(crate) after: String,
    /// Go on with what happens from now on, until interrupted
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(ClapArgs, Debug)]
#[command(group(ArgGroup::new("which").args(["id", "all"])))]
#[command(group(ArgGroup::new("what").args(["events", "bytes"]).required(true)))]
pub(crate) struct VerifyArgs {
    /// Payload [default with --events: all of the namespace]
    pub(crate) id: Option<PayloadId>,
    /// All payloads of the namespace
    #[arg(long, conflicts_with = "id")]
    all: bool,
    /// Whether the events of each payload add up to what the catalog says of it
    #[arg(long)]
    events: bool,
    /// Whether the replicas have the bytes that were committed; those that have not are made again from one that has
    #[arg(long, requires = "which")]
    pub(crate) bytes: bool,
}

fn words(words: &[&'static str]) -> PossibleValuesParser {
    PossibleValuesParser::new(words.iter().copied())
}

fn on_dependents(word: &str) -> v1::OnDependents {
    v1::OnDependents::from_str_name(&word.to_uppercase()).unwrap_or_default()
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a label is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// What is done about moves.
#[derive(Debug, Subcommand)]
pub(crate) enum TransfersCommand {
    /// Have a payload's move given up; it stays where it is, and is left alone for a while
    Cancel {
        /// Payload: its id, or name:NAME
        id: PayloadRef,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
