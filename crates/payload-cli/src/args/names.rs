//! What can be said about names.

use clap::{Args, Subcommand};
use payload_client::{NameGuard, PayloadId, PayloadName, PayloadRef};

#[derive(Debug, Subcommand)]
pub(crate) enum NameCommand {
    /// Point a name at a payload
    Set {
        /// Name: 1 to 255 of A-Z, a-z, 0-9, '.', '_', '-' and '/'
        name: PayloadName,
        /// Payload: its id, or name:NAME
        id: PayloadRef,
        #[command(flatten)]
        guard: Guard,
        /// Kept in the name's history
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// List names
    Ls {
        /// Only those that begin so
        #[arg(long, default_value = "", hide_default_value = true)]
        prefix: String,
    },
    /// Show where a name points
    Show {
        /// Name
        name: PayloadName,
    },
    /// Show where a name has pointed, the newest first
    History {
        /// Name
        name: PayloadName,
    },
    /// Take a name away; its history stays
    Rm {
        /// Name
        name: PayloadName,
        /// Only if it points at this payload now
        #[arg(long = "if", value_name = "ID")]
        from: Option<PayloadId>,
        /// Kept in the name's history
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
}

/// What must be true of a name that is given; without either it must be free.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Guard {
    /// Only if the name points at this payload now
    #[arg(long = "if", value_name = "ID", requires = "name", conflicts_with = "replace")]
    from: Option<PayloadId>,
    /// Whatever the name points at now
    #[arg(long, requires = "name")]
    replace: bool,
}

impl Guard {
    pub(crate) fn guard(self) -> NameGuard {
        match self {
            Self { from: Some(from), .. } => NameGuard::PointsAt(from),
            Self { replace: true, .. } => NameGuard::Any,
            Self { .. } => NameGuard::Free,
        }
    }
}
