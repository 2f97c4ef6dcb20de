//! The numbers that stand for words in kept bytes. They are for ever.

use payload_core::{
    Durability, FileId, Location, ObjectId, Priority, ReplicaState, SegmentId, SpillTarget, StateKind, Tier,
};

use super::reader::Reader;

/// A word of the core with a number of its own.
pub(super) trait Word: Copy + 'static {
    /// Every word there is.
    const WORDS: &'static [Self];

    /// Its number.
    fn code(self) -> u8;

    /// The word with the number that comes next.
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let code = reader.byte()?;
        Self::WORDS.iter().copied().find(|word| word.code() == code)
    }
}

impl Word for StateKind {
    const WORDS: &'static [Self] = &Self::ALL;

    fn code(self) -> u8 {
        match self {
            Self::Allocated => 1,
            Self::Active => 2,
            Self::Deleting => 3,
            Self::Deleted => 4,
            Self::Aborted => 5,
            Self::Lost => 6,
        }
    }
}

impl Word for Tier {
    const WORDS: &'static [Self] = &Self::ALL;

    fn code(self) -> u8 {
        match self {
            Self::Ram => 1,
            Self::Disk => 2,
            Self::Object => 3,
        }
    }
}

impl Word for Durability {
    const WORDS: &'static [Self] = &Self::ALL;

    fn code(self) -> u8 {
        match self {
            Self::Volatile => 1,
            Self::Host => 2,
            Self::Object => 3,
        }
    }
}

impl Word for ReplicaState {
    const WORDS: &'static [Self] = &Self::ALL;

    fn code(self) -> u8 {
        match self {
            Self::Copying => 1,
            Self::Ready => 2,
            Self::Draining => 3,
        }
    }
}

impl Word for Priority {
    const WORDS: &'static [Self] = &Self::ALL;

    fn code(self) -> u8 {
        match self {
            Self::Low => 1,
            Self::Normal => 2,
            Self::High => 3,
            Self::Never => 4,
        }
    }
}

impl Word for SpillTarget {
    const WORDS: &'static [Self] = &Self::ALL;

    fn code(self) -> u8 {
        match self {
            Self::Disk => 1,
            Self::Void => 2,
            Self::Object => 3,
        }
    }
}

/// The number of a kind of place.
pub(super) const fn place(location: &Location) -> u8 {
    match location {
        Location::Segment(_) => 1,
        Location::Slab { .. } => 2,
        Location::Stage { .. } => 3,
        Location::File(_) => 4,
        Location::Pack { .. } => 5,
        Location::Object(_) => 6,
        Location::ObjectPack { .. } => 7,
    }
}

/// The place that a number and its container stand for.
pub(super) fn location(place: u8, container: [u8; 16], offset: u64) -> Option<Location> {
    let (segment, file) = (SegmentId::from_bytes(container)?, FileId::from_bytes(container)?);
    let object = ObjectId::from_bytes(container)?;
    Some(match place {
        1 => Location::Segment(segment),
        2 => Location::Slab { slab: segment, offset },
        3 => Location::Stage { stage: segment, offset },
        4 => Location::File(file),
        5 => Location::Pack { pack: file, offset },
        6 => Location::Object(object),
        7 => Location::ObjectPack { pack: object, offset },
        _ => return None,
    })
}
