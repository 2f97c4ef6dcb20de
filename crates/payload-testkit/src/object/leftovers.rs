//! What is listed, removed and given up.

use payload_core::port::{Content, ObjectKey};

use super::{Make, bytes, key};

/// Once, twice, and among others that are there.
pub fn removing_what_is_not_there_is_fine(make: Make<'_>) {
    let store = make();
    store.remove(&[]).unwrap();
    store.remove(&[key(1)]).unwrap();
    store.put(&key(1), Content::Bytes(b"one")).unwrap();
    store.put(&key(2), Content::Bytes(b"two")).unwrap();
    store.remove(&[key(1), key(3), key(2)]).unwrap();
    store.remove(&[key(1), key(3), key(2)]).unwrap();
    assert_eq!(store.list(None, 10).unwrap(), []);
}

/// In pages, each object once, with its size.
pub fn a_listing_goes_through_all_objects_in_order(make: Make<'_>) {
    let store = make();
    let mut keys: Vec<ObjectKey> = (0..25).map(|n| key(n * 10)).collect();
    keys.push("probe/one".parse().unwrap());
    for (n, key) in keys.iter().enumerate() {
        store.put(key, Content::Bytes(&bytes(1, n))).unwrap();
    }
    let mut listed = Vec::new();
    loop {
        let after = listed
            .last()
            .map(|last: &payload_core::port::ListedObject| last.key.clone());
        let page = store.list(after.as_ref(), 10).unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 10);
        listed.extend(page);
    }
    let found: Vec<_> = listed.iter().map(|object| object.key.clone()).collect();
    assert_eq!(found, keys);
    let sizes: Vec<u64> = listed.iter().map(|object| object.size).collect();
    assert_eq!(sizes, (0..26).collect::<Vec<u64>>());
    assert!(listed.iter().all(|object| object.modified_at.as_micros() > 0));
}

/// Parts become an object or go.
pub fn finished_uploads_leave_nothing_to_abort(make: Make<'_>) {
    let store = make();
    store.put(&key(1), Content::Bytes(&bytes(1, 12 << 20))).unwrap();
    store.put(&key(1), Content::Bytes(&bytes(2, 12 << 20))).unwrap_err();
    assert_eq!(store.uploads(None, 10).unwrap(), []);
}

/// And it leaves nothing behind.
pub fn a_store_that_works_says_so(make: Make<'_>) {
    let store = make();
    store.check().unwrap();
    assert_eq!(store.list(None, 10).unwrap(), []);
}
