//! Bytes in a container of their own, from the reservation to the last reader.

use std::fs::File;
use std::os::unix::fs::FileExt;

use payload_core::{FileId, Location, Namespace, ObjectId, Reason, SegmentId, Tier};

use super::fds::{Mapping, attack};
use super::sample::{assert_bytes, bytes, put_whole, reserve, seal, sweep};
use super::{Make, PLENTY, fds};

const MIB: u64 = 1 << 20;

/// The way of a big payload.
pub fn reserved_bytes_are_filled_sealed_and_read(make: Make<'_>) {
    let store = make(PLENTY);
    let expected = bytes(1, 3_000_001);
    let reserved = reserve(&*store, 3_000_001);
    let location = reserved.placed.location;
    assert_eq!((location.tier(), location.offset()), (store.tier(), 0));
    assert!(reserved.placed.charged >= 3_000_001);
    let mapping = Mapping::writable(&reserved.writer, 3_000_001).unwrap();
    mapping.fill(&expected);
    drop((mapping, reserved.writer));
    assert_eq!(seal(&*store, &location, 3_000_001).unwrap(), reserved.placed.charged);
    assert_bytes(&*store, &location, &expected);
}

/// The tail goes back, and the head stays.
pub fn a_commit_may_shrink(make: Make<'_>) {
    let store = make(PLENTY);
    let expected = bytes(2, 100_000);
    let reserved = reserve(&*store, MIB);
    fds::write(&reserved.writer, 0, &bytes(3, 1 << 20));
    fds::write(&reserved.writer, 0, &expected);
    drop(reserved.writer);
    let location = reserved.placed.location;
    let charged = seal(&*store, &location, 100_000).unwrap();
    assert!((100_000..200_000).contains(&charged), "charged {charged}");
    assert_eq!(store.usage().used, charged);
    assert_bytes(&*store, &location, &expected);
    store.remove(&location, charged).unwrap();
    assert_eq!(store.usage().used, 0);
}

/// Nothing at all was written.
pub fn a_commit_may_be_empty(make: Make<'_>) {
    let store = make(PLENTY);
    let reserved = reserve(&*store, MIB);
    drop(reserved.writer);
    let location = reserved.placed.location;
    let charged = seal(&*store, &location, 0).unwrap();
    assert_eq!(store.usage().used, charged);
    assert_bytes(&*store, &location, b"");
    store.remove(&location, charged).unwrap();
    assert_eq!(store.usage().used, 0);
}

/// More than was reserved was never there.
pub fn a_commit_cannot_grow(make: Make<'_>) {
    let store = make(PLENTY);
    let reserved = reserve(&*store, 100_000);
    drop(reserved.writer);
    let location = reserved.placed.location;
    let error = seal(&*store, &location, MIB).unwrap_err();
    assert_eq!(error.reason(), Reason::BadSize);
    seal(&*store, &location, 100_000).unwrap();
}

/// A retry after an answer that got lost.
pub fn sealing_again_is_fine(make: Make<'_>) {
    let store = make(PLENTY);
    let expected = bytes(4, 500_000);
    let placed = put_whole(&*store, &expected);
    let before = store.usage();
    assert_eq!(seal(&*store, &placed.location, 500_000).unwrap(), placed.charged);
    assert_eq!(store.usage(), before);
    assert_bytes(&*store, &placed.location, &expected);
}

/// Whoever could read them could see them change.
pub fn unsealed_bytes_are_not_given_to_readers(make: Make<'_>) {
    let store = make(PLENTY);
    let reserved = reserve(&*store, 100_000);
    let location = reserved.placed.location;
    assert!(store.open(&location).is_err());
    assert!(store.digest(&location, 100_000).is_err());
    assert!(store.read(&location, 100_000, &mut Vec::new()).is_err());
    assert_eq!(
        store.check(&location, 100_000).unwrap_err().reason(),
        Reason::BytesMissing
    );
}

/// With a new descriptor, until the seal.
pub fn a_producer_can_come_back(make: Make<'_>) {
    let store = make(PLENTY);
    let expected = bytes(5, 200_000);
    let reserved = reserve(&*store, 200_000);
    let location = reserved.placed.location;
    fds::write(&reserved.writer, 0, &expected[..100_000]);
    drop(reserved.writer);
    let writer = store.writer(&location).unwrap();
    fds::write(&writer, 100_000, &expected[100_000..]);
    drop(writer);
    seal(&*store, &location, 200_000).unwrap();
    assert_bytes(&*store, &location, &expected);
    let error = store.writer(&location).unwrap_err();
    assert_eq!(error.reason(), Reason::PayloadCommitted);
}

/// The mapping counts even when its descriptor is closed, and the refusal costs nothing: not even the tail that the
/// commit wanted to give back.
pub fn fault_23_a_mapped_writer_stops_the_seal_and_loses_nothing(make: Make<'_>) {
    let store = make(PLENTY);
    let reserved = reserve(&*store, 400_000);
    let location = reserved.placed.location;
    let mapping = Mapping::writable(&reserved.writer, 400_000).unwrap();
    drop(reserved.writer);
    let before = store.usage();
    let error = seal(&*store, &location, 8_192).unwrap_err();
    assert_eq!(error.reason(), Reason::WriterMapped);
    assert_eq!(store.usage(), before);
    assert!(store.open(&location).is_err());

    let expected = bytes(6, 400_000);
    mapping.fill(&expected);
    drop(mapping);
    seal(&*store, &location, 400_000).unwrap();
    assert_bytes(&*store, &location, &expected);
}

/// Shared memory can shut an open descriptor out; a file cannot, and refuses.
pub fn fault_23_an_open_writer_stops_the_seal_or_is_stopped_by_it(make: Make<'_>) {
    let store = make(PLENTY);
    let reserved = reserve(&*store, 100_000);
    let location = reserved.placed.location;
    let expected = bytes(7, 100_000);
    fds::write(&reserved.writer, 0, &expected);
    match seal(&*store, &location, 100_000) {
        Ok(_) => assert!(File::from(reserved.writer).write_at(b"late", 0).is_err()),
        Err(error) => {
            assert_eq!(error.reason(), Reason::WriterMapped);
            drop(reserved.writer);
            seal(&*store, &location, 100_000).unwrap();
        }
    }
    assert_bytes(&*store, &location, &expected);
}

/// Through the descriptor that readers get.
pub fn fault_24_sealed_bytes_never_change(make: Make<'_>) {
    let store = make(PLENTY);
    let expected = bytes(8, 300_000);
    let placed = put_whole(&*store, &expected);
    attack(&store.open(&placed.location).unwrap(), 0);
    assert_bytes(&*store, &placed.location, &expected);
}

/// The same for what the server wrote itself, in a container that takes more, and in one of its own.
pub fn fault_24_stored_bytes_never_change(make: Make<'_>) {
    let store = make(PLENTY);
    for size in [1_000, 5_000_000] {
        let expected = bytes(9, size);
        let placed = store.store(&Namespace::default(), &expected).unwrap();
        attack(&store.open(&placed.location).unwrap(), placed.location.offset());
        assert_bytes(&*store, &placed.location, &expected);
    }
}

/// A descriptor and a mapping outlive the bytes' place.
pub fn fault_19_readers_keep_their_bytes_when_the_store_drops_them(make: Make<'_>) {
    let store = make(PLENTY);
    let (big, small) = (bytes(10, 200_000), bytes(11, 4_096));
    let whole = put_whole(&*store, &big);
    let shared = store.store(&Namespace::default(), &small).unwrap();
    let (whole_fd, shared_fd) = (
        store.open(&whole.location).unwrap(),
        store.open(&shared.location).unwrap(),
    );
    let mapping = Mapping::readable(&whole_fd, big.len()).unwrap();

    for placed in [whole, shared] {
        store.remove(&placed.location, placed.charged).unwrap();
    }
    sweep(&*store);
    // Where the store can tell who has it, memory stays charged until nobody has.
    assert_eq!(store.usage().used, store.usage().zombie);
    let others = bytes(12, 200_000);
    for _ in 0..8 {
        put_whole(&*store, &others);
        store.store(&Namespace::default(), &others[..4_096]).unwrap();
    }
    assert!(mapping.bytes() == big && fds::read(&whole_fd, 0, big.len()) == big);
    assert!(fds::read(&shared_fd, 0, 4_096) == small);
}

/// Every way to look says so, and removing it is fine.
pub fn what_is_not_there_is_missing(make: Make<'_>) {
    let store = make(PLENTY);
    let mut placed = put_whole(&*store, &bytes(13, 100_000));
    drop(std::mem::take(&mut placed.claim));
    store.remove(&placed.location, placed.charged).unwrap();
    for location in [placed.location, unknown(store.tier()), unknown_shared(store.tier())] {
        let errors = [
            store.check(&location, 100_000).unwrap_err(),
            store.read(&location, 100_000, &mut Vec::new()).unwrap_err(),
            store.digest(&location, 100_000).unwrap_err(),
            store.open(&location).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.reason(), Reason::BytesMissing, "{location:?}");
        }
        store.remove(&location, 100_000).unwrap();
        store.drop_container(location.container()).unwrap();
    }
    assert_eq!(store.usage().used, 0);
}

/// A fault of the caller, not of a client.
pub fn locations_of_other_tiers_are_refused(make: Make<'_>) {
    let store = make(PLENTY);
    let other = match store.tier() {
        Tier::Ram => Tier::Disk,
        Tier::Disk | Tier::Object => Tier::Ram,
    };
    for location in [unknown(other), unknown_shared(other)] {
        assert_eq!(store.check(&location, 1).unwrap_err().reason(), Reason::Internal);
        assert_eq!(store.remove(&location, 1).unwrap_err().reason(), Reason::Internal);
        let dropped = store.drop_container(location.container());
        assert_eq!(dropped.unwrap_err().reason(), Reason::Internal);
    }
}

fn unknown(tier: Tier) -> Location {
    match tier {
        Tier::Ram => Location::Segment(SegmentId::from_parts(1, [9; 10])),
        Tier::Disk => Location::File(FileId::from_parts(1, [9; 10])),
        Tier::Object => Location::Object(ObjectId::from_parts(1, [9; 10])),
    }
}

fn unknown_shared(tier: Tier) -> Location {
    let offset = 64;
    match tier {
        Tier::Ram => Location::Slab {
            slab: SegmentId::from_parts(1, [8; 10]),
            offset,
        },
        Tier::Disk => Location::Pack {
            pack: FileId::from_parts(1, [8; 10]),
            offset,
        },
        Tier::Object => Location::ObjectPack {
            pack: ObjectId::from_parts(1, [8; 10]),
            offset,
        },
    }
}
