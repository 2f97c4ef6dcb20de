//! Objects are stored once, whole, and never replaced.

use std::os::fd::AsFd;
use std::thread;

use payload_core::port::{Content, Source};
use payload_core::{Digest, Reason};

use super::{Make, SIZES, World, bytes, key, read};
use crate::clock::Rng;
use crate::tier::fds;

/// By bytes in hand.
pub fn bytes_come_back_with_their_digest(make: Make<'_>) {
    let store = make();
    for (n, size) in (0..).zip(SIZES) {
        let bytes = bytes(size as u64, size);
        let put = store.put(&key(n), Content::Bytes(&bytes)).unwrap();
        assert_eq!(put.digest, Digest::of(&bytes), "{size} bytes");
        assert!(read(&*store, &key(n), 0..size as u64).unwrap() == bytes, "{size} bytes");
        let stat = store.stat(&key(n)).unwrap().unwrap();
        assert_eq!(stat.size, size as u64);
        assert_eq!(stat.etag, put.etag);
    }
}

/// By descriptor.
pub fn bytes_of_another_tier_are_stored_from_where_they_begin(make: Make<'_>) {
    let store = make();
    for (n, size) in (0..).zip(SIZES) {
        let all = bytes(7, size + 4_196);
        let fd = fds::sealed(&all);
        let source = Source {
            fd: fd.as_fd(),
            offset: 4_096,
            size: size as u64,
        };
        let put = store.put(&key(n), Content::Source(source)).unwrap();
        let expected = &all[4_096..4_096 + size];
        assert_eq!(put.digest, Digest::of(expected), "{size} bytes");
        assert!(
            read(&*store, &key(n), 0..size as u64).unwrap() == expected,
            "{size} bytes"
        );
    }
}

/// A file that lost its end is an error, and never a shorter or a padded object.
pub fn a_source_that_is_too_short_leaves_nothing(make: Make<'_>) {
    let store = make();
    for (n, len, size) in [(0, 100, 1_000), (1, 6 << 20, 17 << 20)] {
        let fd = fds::sealed(&bytes(1, len));
        let source = Source {
            fd: fd.as_fd(),
            offset: 0,
            size,
        };
        let error = store.put(&key(n), Content::Source(source)).unwrap_err();
        assert_eq!(error.reason(), Reason::BytesMissing);
        assert_eq!(store.stat(&key(n)).unwrap(), None);
    }
    assert_eq!(store.uploads(None, 10).unwrap(), []);
}

/// Somebody who did not hear the answer asks again.
pub fn fault_36_the_same_bytes_again_are_as_good_as_stored(make: Make<'_>) {
    let store = make();
    for (n, size) in (0..).zip(SIZES) {
        let bytes = bytes(3, size);
        let first = store.put(&key(n), Content::Bytes(&bytes)).unwrap();
        let second = store.put(&key(n), Content::Bytes(&bytes)).unwrap();
        assert_eq!(first.digest, second.digest, "{size} bytes");
        assert!(read(&*store, &key(n), 0..size as u64).unwrap() == bytes, "{size} bytes");
    }
}

/// A stale writer harms nobody, with fewer bytes, with as many and with more.
pub fn fault_36_other_bytes_are_refused_and_change_nothing(make: Make<'_>) {
    let store = make();
    for (n, size) in (0..).zip([1_000, 6 << 20]) {
        let first = bytes(1, size);
        store.put(&key(n), Content::Bytes(&first)).unwrap();
        for other in [0, 1_000, 6 << 20, 7 << 20] {
            let other = bytes(2, other);
            let error = store.put(&key(n), Content::Bytes(&other)).unwrap_err();
            assert_eq!(
                error.reason(),
                Reason::ObjectExists,
                "{} bytes over {size}",
                other.len()
            );
            assert!(read(&*store, &key(n), 0..size as u64).unwrap() == first);
        }
    }
}

/// Whoever wins, its bytes are there whole, and everybody else hears it.
pub fn of_many_puts_under_one_key_one_wins(make: Make<'_>) {
    let World { store, keep: _keep } = make();
    for round in 0..4 {
        let key = key(round);
        let won: Vec<usize> = thread::scope(|scope| {
            let put = |n: usize| {
                let (store, key) = (&store, &key);
                move || match store.put(key, Content::Bytes(&bytes(n as u64, 1_000 + n))) {
                    Ok(_) => Some(n),
                    Err(error) => {
                        assert_eq!(error.reason(), Reason::ObjectExists, "{error:?}");
                        None
                    }
                }
            };
            let writers: Vec<_> = (0..8).map(|n| scope.spawn(put(n))).collect();
            writers
                .into_iter()
                .filter_map(|writer| writer.join().unwrap())
                .collect()
        });
        let [n] = won[..] else { panic!("{won:?} won") };
        let size = 1_000 + n;
        assert!(read(&*store, &key, 0..size as u64).unwrap() == bytes(n as u64, size));
    }
}

/// Everybody's bytes stay right.
pub fn many_threads_put_read_and_remove(make: Make<'_>) {
    let World { store, keep: _keep } = make();
    thread::scope(|scope| {
        for n in 0..16 {
            let store = &store;
            scope.spawn(move || {
                let mut rng = Rng::new(n);
                for round in 0..6 {
                    let size = usize::try_from(rng.below(200_000)).unwrap();
                    let (bytes, mut id) = (bytes(rng.bits(), size), [0; 16]);
                    (id[0], id[15]) = (u8::try_from(n).unwrap(), round);
                    let key = payload_core::port::ObjectKey::of(&id);
                    store.put(&key, Content::Bytes(&bytes)).unwrap();
                    assert!(read(&**store, &key, 0..size as u64).unwrap() == bytes);
                    if rng.one_in(2) {
                        store.remove(std::slice::from_ref(&key)).unwrap();
                        assert_eq!(store.stat(&key).unwrap(), None);
                    }
                }
            });
        }
    });
}
