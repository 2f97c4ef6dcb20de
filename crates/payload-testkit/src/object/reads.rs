//! Objects are read whole or in part, and what is wrong is never taken for right.

use payload_core::port::Content;
use payload_core::{Error, Reason};

use super::{Make, bytes, key, read, refusal};

/// Also across parts, and none at all.
pub fn any_range_can_be_read(make: Make<'_>) {
    let store = make();
    let size: u64 = (12 << 20) + 7;
    let bytes = bytes(1, usize::try_from(size).unwrap());
    store.put(&key(1), Content::Bytes(&bytes)).unwrap();
    let edge = 5 << 20;
    for range in [
        0..0,
        0..1,
        size - 1..size,
        size..size,
        100..100,
        edge - 1..edge + 1,
        3..size - 3,
        0..size,
    ] {
        let expected = &bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        assert!(read(&*store, &key(1), range.clone()).unwrap() == expected, "{range:?}");
    }
}

/// No object, or one that is too short: both mean that what the row says is not there.
pub fn fault_39_what_is_not_there_is_missing(make: Make<'_>) {
    let store = make();
    assert_eq!(store.stat(&key(1)).unwrap(), None);
    assert_eq!(refusal(&*store, &key(1), 0..10), Reason::BytesMissing);
    store.put(&key(1), Content::Bytes(&bytes(1, 1_000))).unwrap();
    for range in [0..1_001, 999..1_001, 1_000..1_001, 2_000..3_000, 0..(64 << 20)] {
        assert_eq!(
            refusal(&*store, &key(1), range.clone()),
            Reason::BytesMissing,
            "{range:?}"
        );
    }
    store.remove(&[key(1)]).unwrap();
    assert_eq!(store.stat(&key(1)).unwrap(), None);
    assert_eq!(refusal(&*store, &key(1), 0..1_000), Reason::BytesMissing);
}

/// The tier above may be full, or its caller gone.
pub fn what_a_sink_refuses_ends_the_read(make: Make<'_>) {
    let store = make();
    store.put(&key(1), Content::Bytes(&bytes(1, 12 << 20))).unwrap();
    let mut calls = 0;
    let error = store
        .read(&key(1), 0..12 << 20, &mut |_, _| {
            calls += 1;
            Err(Error::new(Reason::TierFull, "no room"))
        })
        .unwrap_err();
    assert_eq!((error.reason(), calls), (Reason::TierFull, 1));
}

/// Other bytes under a key whose object was removed look different.
pub fn a_stat_tells_the_size_and_changes_with_the_bytes(make: Make<'_>) {
    let store = make();
    store.put(&key(1), Content::Bytes(&bytes(1, 100))).unwrap();
    let first = store.stat(&key(1)).unwrap().unwrap();
    assert_eq!(store.stat(&key(1)).unwrap().as_ref(), Some(&first));
    store.remove(&[key(1)]).unwrap();
    store.put(&key(1), Content::Bytes(&bytes(2, 100))).unwrap();
    let second = store.stat(&key(1)).unwrap().unwrap();
    assert_eq!((first.size, second.size), (100, 100));
    assert_ne!(first.etag, second.etag);
}
