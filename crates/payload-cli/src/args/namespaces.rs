//! What can be said about namespaces.

use clap::{ArgGroup, Args, Subcommand};
use payload_client::Namespace;

use crate::human::parse_size;

#[derive(Debug, Subcommand)]
pub(crate) enum NamespaceCommand {
    /// Make a namespace
    Create {
        /// Its name: 1 to 63 of a-z, 0-9, '-' and '_'
        name: Namespace,
        /// Bytes that its replicas may take up, such as 500MiB or 2TiB
        #[arg(long, value_parser = parse_size, value_name = "SIZE")]
        quota_bytes: Option<u64>,
        /// Payloads that it may have
        #[arg(long, value_name = "COUNT")]
        quota_payloads: Option<u64>,
    },
    /// List namespaces
    Ls,
    /// Show all about a namespace
    Show {
        /// Namespace
        name: Namespace,
    },
    /// Remove a namespace in which every payload has ended
    Rm {
        /// Namespace
        name: Namespace,
        /// Only if the namespace is at this version
        #[arg(long, value_name = "VERSION")]
        if_version: Option<u64>,
    },
}

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("change").args(["bytes", "payloads"]).multiple(true)))]
pub(crate) struct QuotaArgs {
    /// Namespace
    pub(crate) name: Namespace,
    /// Bytes that its replicas may take up, such as 500MiB or 2TiB, or `none`
    #[arg(long, value_parser = bound(parse_size), value_name = "SIZE")]
    pub(crate) bytes: Option<Bound>,
    /// Payloads that it may have, or `none`
    #[arg(long, value_parser = bound(count), value_name = "COUNT")]
    pub(crate) payloads: Option<Bound>,
    /// Only if the namespace is at this version
    #[arg(long, value_name = "VERSION", requires = "change")]
    pub(crate) if_version: Option<u64>,
}

/// One side of a quota, or that it is to be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound(pub(crate) Option<u64>);

fn bound(
    parse: impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync,
) -> impl Fn(&str) -> Result<Bound, String> + Clone + Send + Sync {
    move |text| match text {
        "none" => Ok(Bound(None)),
        text => parse(text).map(|value| Bound(Some(value))),
    }
}

fn count(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is neither a number nor `none`"))
}
