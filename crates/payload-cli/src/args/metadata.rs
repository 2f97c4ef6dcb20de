//! What can be said about metadata and applications' events.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use payload_client::PayloadRef;

/// Bytes of which nothing is known.
const OCTETS: &str = "application/octet-stream";

#[derive(Debug, Subcommand)]
pub(crate) enum MetaCommand {
    /// Show the metadata of a payload
    Get {
        /// Payload: its id, or name:NAME
        id: PayloadRef,
        /// Write the bytes to standard output, and nothing else
        #[arg(long)]
        raw: bool,
        /// As of this revision [default: the latest]
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
        revision: Option<u64>,
    },
    /// Replace the metadata by what a file holds
    Set {
        #[command(flatten)]
        change: ChangeArgs,
        /// What the bytes are
        #[arg(long, default_value = OCTETS, value_name = "TYPE")]
        content_type: String,
    },
    /// Change parts of the metadata by a JSON merge patch (RFC 7396)
    Patch {
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// List the revisions of the metadata
    History {
        /// Payload: its id, or name:NAME
        id: PayloadRef,
    },
}

/// Metadata that comes with a put, if there is any.
#[derive(ClapArgs, Debug)]
pub(crate) struct MetadataArgs {
    /// A file with the metadata, 64 KiB at most
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata: Option<PathBuf>,
    /// What its bytes are
    #[arg(long, default_value = OCTETS, value_name = "TYPE", requires = "metadata")]
    pub(crate) metadata_type: String,
}

/// What all changes need.
#[derive(ClapArgs, Debug)]
pub(crate) struct ChangeArgs {
    /// Payload: its id, or name:NAME
    pub(crate) id: PayloadRef,
    /// File; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Only if this is the latest revision; 0: only if there is none
    #[arg(long, value_name = "NUMBER")]
    pub(crate) if_revision: Option<u64>,
    /// Kept in the history
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
    /// Append an event of a kind of your own
    Append {
        /// Payload: its id, or name:NAME
        id: PayloadRef,
        /// What you call it, such as quality/checked
        #[arg(long = "type", value_name = "TYPE")]
        event_type: String,
        /// File with what you have to say about it; `-` is standard input [default: nothing]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// What the bytes are
        #[arg(long, default_value = OCTETS, value_name = "TYPE")]
        content_type: String,
        /// Kept in the event
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
}
