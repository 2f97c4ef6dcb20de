//! What can be said about lineage.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use payload_client::{PayloadId, v1};

#[derive(Debug, Subcommand)]
pub(crate) enum LineageCommand {
    /// Say what a payload was made from
    #[command(mut_arg("parents", |arg| arg.required(true)))]
    Add {
        /// The payload that was made
        child: PayloadId,
        #[command(flatten)]
        derivation: DerivationArgs,
    },
    /// Show what a payload was made from and what was made from it
    Show {
        /// Payload
        id: PayloadId,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Print the same graph for other programs
    Export {
        /// Payload
        id: PayloadId,
        #[command(flatten)]
        scope: ScopeArgs,
        /// For a lineage store, for Graphviz, or as `show -o json` prints it
        #[arg(long, value_enum)]
        format: GraphFormat,
    },
    /// Show what a payload's loss would touch
    Impact {
        /// Payload
        id: PayloadId,
    },
}

/// How a payload was made, if that is said at all.
#[derive(Args, Debug)]
pub(crate) struct DerivationArgs {
    /// A payload that it was made from; may be given many times
    #[arg(long = "parent", value_name = "ID", requires = "operation")]
    pub(crate) parents: Vec<PayloadId>,
    /// What was done, such as resize or train
    #[arg(long, value_name = "NAME", requires = "parents")]
    pub(crate) operation: Option<String>,
    /// As what the parents went in
    #[arg(long, value_name = "NAME", requires = "parents")]
    pub(crate) role: Option<String>,
    /// A file with the operation's parameters, 4 KiB at most
    #[arg(long, value_name = "FILE", requires = "parents")]
    pub(crate) parameters: Option<PathBuf>,
}

/// Which part of the graph around a payload is meant.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ScopeArgs {
    /// Only what it was made from
    #[arg(long, conflicts_with_all = ["down", "both"])]
    up: bool,
    /// Only what was made from it
    #[arg(long, conflicts_with = "both")]
    down: bool,
    /// What it was made from, and what was made from it; the default
    #[arg(long)]
    both: bool,
    /// How many steps to go, 1,000 at most [default: 100]
    #[arg(long, value_name = "STEPS", default_value = "0", hide_default_value = true)]
    pub(crate) depth: u32,
}

impl ScopeArgs {
    pub(crate) fn scope(&self) -> v1::LineageScope {
        match (self.up, self.down) {
            (true, _) => v1::LineageScope::Up,
            (_, true) => v1::LineageScope::Down,
            _ => v1::LineageScope::Both,
        }
    }
}

/// Who is to read the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// One OpenLineage event a line.
    Openlineage,
    /// Graphviz.
    Dot,
    /// One document.
    Json,
}
