//! What can be said about namespaces.

use clap::Subcommand;
use payload_client::Namespace;

use crate::human::parse_size;

#[derive(Debug, Subcommand)]
pub(crate) enum NamespaceCommand {
    /// Make a namespace
    Create {
        /// Its name: 1 to 63 of a-z, 0-9, '-' and '_'
        name: Namespace,
        /// Bytes that its replicas shall not exceed, such as 500MiB or 2TiB; stored, not enforced yet
        #[arg(long, value_parser = parse_size, value_name = "SIZE")]
        quota_bytes: Option<u64>,
        /// Payloads that it shall not exceed; stored, not enforced yet
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
    /// Change a namespace's quota; what is not named stays
    Set {
        /// Namespace
        name: Namespace,
        /// Bytes that its replicas shall not exceed, or `none`; stored, not enforced yet
        #[arg(long, value_parser = bound(parse_size), value_name = "SIZE")]
        quota_bytes: Option<Bound>,
        /// Payloads that it shall not exceed, or `none`; stored, not enforced yet
        #[arg(long, value_parser = bound(count), value_name = "COUNT")]
        quota_payloads: Option<Bound>,
        /// Only if the namespace is at this version
        #[arg(long, value_name = "VERSION")]
        if_version: Option<u64>,
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
