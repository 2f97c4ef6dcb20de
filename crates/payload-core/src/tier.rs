//! Where bytes can be, how fast to how durable, and how a place is named.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Reason};
use crate::id::{FileId, ObjectId, SegmentId};

/// A kind of storage, ordered from fast to durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Shared memory of this host.
    Ram,
    /// Files of this host.
    Disk,
    /// Objects in a bucket, which every server of the catalog can reach.
    Object,
}

impl Tier {
    /// Every tier there is, fast to durable.
    pub const ALL: [Self; 3] = [Self::Ram, Self::Disk, Self::Object];

    /// The word for it, everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ram => "ram",
            Self::Disk => "disk",
            Self::Object => "object",
        }
    }

    /// Whether its bytes are reached through file descriptors of this host.
    pub const fn is_local(self) -> bool {
        match self {
            Self::Ram | Self::Disk => true,
            Self::Object => false,
        }
    }

    /// The durability that bytes in this tier have by being there.
    pub const fn durability(self) -> Durability {
        match self {
            Self::Ram => Durability::Volatile,
            Self::Disk => Durability::Host,
            Self::Object => Durability::Object,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Tier {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|tier| tier.as_str() == text).ok_or_else(|| {
            Error::invalid(
                Reason::TierNotConfigured,
                format!("there is no tier {text:?}; there are ram, disk and object"),
            )
            .field("tier")
        })
    }
}

/// What an acknowledged commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// A crash of the server, not of the host.
    Volatile,
    /// A crash of the host: file and directory are fsynced.
    Host,
    /// The loss of the host: the bucket has confirmed the bytes.
    Object,
}

impl Durability {
    /// Every class there is, weak to strong.
    pub const ALL: [Self; 3] = [Self::Volatile, Self::Host, Self::Object];

    /// The word for it, everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Volatile => "volatile",
            Self::Host => "host",
            Self::Object => "object",
        }
    }

    /// The tier in which a copy has to be for it.
    pub const fn tier(self) -> Tier {
        match self {
            Self::Volatile => Tier::Ram,
            Self::Host => Tier::Disk,
            Self::Object => Tier::Object,
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Durability {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str() == text)
            .ok_or_else(|| {
                Error::invalid(
                    Reason::PolicyContradiction,
                    format!("there is no durability {text:?}; there are volatile, host and object"),
                )
                .field("durability")
            })
    }
}

/// Where a replica's bytes are. A location that was ever granted never holds other bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// A whole memfd of its own.
    Segment(SegmentId),
    /// A range of a slab: a memfd that packs many small payloads and that only the server writes.
    Slab {
        /// The slab.
        slab: SegmentId,
        /// Where the bytes begin.
        offset: u64,
    },
    /// A range of a stage: a memfd that one producer writes, and from which bytes move into a slab at the commit. Nobody
    /// is ever granted a lease here.
    Stage {
        /// The stage.
        stage: SegmentId,
        /// Where the bytes begin.
        offset: u64,
    },
    /// A whole file of its own.
    File(FileId),
    /// A range of a pack: an append-only file that holds many small payloads.
    Pack {
        /// The pack.
        pack: FileId,
        /// Where the bytes begin.
        offset: u64,
    },
    /// A whole object of its own.
    Object(ObjectId),
    /// A range of an object that holds many small payloads, and that was written once, with all of them.
    ObjectPack {
        /// The object.
        pack: ObjectId,
        /// Where the bytes begin.
        offset: u64,
    },
}

impl Location {
    /// The tier that such a place belongs to.
    pub const fn tier(&self) -> Tier {
        match self {
            Self::Segment(_) | Self::Slab { .. } | Self::Stage { .. } => Tier::Ram,
            Self::File(_) | Self::Pack { .. } => Tier::Disk,
            Self::Object(_) | Self::ObjectPack { .. } => Tier::Object,
        }
    }

    /// The memfd, file or object that the bytes are in.
    pub const fn container(&self) -> Container {
        match self {
            Self::Segment(segment) | Self::Slab { slab: segment, .. } | Self::Stage { stage: segment, .. } => {
                Container::Segment(*segment)
            }
            Self::File(file) | Self::Pack { pack: file, .. } => Container::File(*file),
            Self::Object(object) | Self::ObjectPack { pack: object, .. } => Container::Object(*object),
        }
    }

    /// Where in its segment, file or object the bytes begin.
    pub const fn offset(&self) -> u64 {
        match self {
            Self::Segment(_) | Self::File(_) | Self::Object(_) => 0,
            Self::Slab { offset, .. }
            | Self::Stage { offset, .. }
            | Self::Pack { offset, .. }
            | Self::ObjectPack { offset, .. } => *offset,
        }
    }

    /// Whether the container can hold other payloads too.
    pub const fn is_shared(&self) -> bool {
        match self {
            Self::Segment(_) | Self::File(_) | Self::Object(_) => false,
            Self::Slab { .. } | Self::Stage { .. } | Self::Pack { .. } | Self::ObjectPack { .. } => true,
        }
    }
}

/// What is allocated and freed as a whole: a memfd, a file or an object, with one payload in it or many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Container {
    /// A memfd.
    Segment(SegmentId),
    /// A file.
    File(FileId),
    /// An object.
    Object(ObjectId),
}

impl Container {
    /// The 16 bytes of its id.
    pub fn as_bytes(&self) -> &[u8; 16] {
        match self {
            Self::Segment(segment) => segment.as_bytes(),
            Self::File(file) => file.as_bytes(),
            Self::Object(object) => object.as_bytes(),
        }
    }

    /// The tier that it belongs to.
    pub const fn tier(&self) -> Tier {
        match self {
            Self::Segment(_) => Tier::Ram,
            Self::File(_) => Tier::Disk,
            Self::Object(_) => Tier::Object,
        }
    }
}
