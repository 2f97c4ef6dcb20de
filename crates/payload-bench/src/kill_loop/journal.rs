//! What a victim tells the driver before and after each call, one JSON line at a time. A pipe keeps the lines when the
//! victim is killed, so the driver always knows what was under way.

use payload_client::v1;
use serde::{Deserialize, Serialize};

use crate::content::Content;

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) enum Line {
    /// This commit is about to be asked for.
    Trying(Attempt),
    /// The server acknowledged it.
    Committed { payload: String },
    /// The server refused it.
    Refused { why: String },
    /// This payload is about to be deleted.
    Deleting { payload: String },
    /// The server acknowledged that.
    Deleted,
    /// Bytes were read and were right.
    Verified,
    /// Something was read that must not be.
    Wrong { what: String },
}

/// Something that makes a payload visible, with everything that is needed to ask for it again.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Attempt {
    pub(super) request_id: String,
    pub(super) content: Content,
    pub(super) place: Place,
    pub(super) how: How,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) enum How {
    /// Content inside the request.
    Put,
    /// Content written into an allocation before.
    Commit { payload: String, token: String },
}

/// Where the payload goes and what its commit promises.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) enum Place {
    RamVolatile,
    RamHost,
    DiskHost,
}

impl Place {
    pub(super) fn tier(self) -> i32 {
        match self {
            Self::RamVolatile | Self::RamHost => v1::Tier::Ram,
            Self::DiskHost => v1::Tier::Disk,
        }
        .into()
    }

    pub(super) fn durability(self) -> i32 {
        match self {
            Self::RamVolatile => v1::Durability::Volatile,
            Self::RamHost | Self::DiskHost => v1::Durability::Host,
        }
        .into()
    }
}
