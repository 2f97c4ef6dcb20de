//! Bytes without rows are found, and bytes whose rows are on their way are not touched.

use payload_core::{Namespace, Reason};

use super::sample::{assert_bytes, bytes, put_whole, sweep};
use super::{Make, PLENTY};

/// The row's removal may be done again after a crash.
pub fn removing_twice_counts_once(make: Make<'_>) {
    let store = make(PLENTY);
    let whole = put_whole(&*store, &bytes(1, 100_000));
    let small = store.store(&Namespace::default(), &bytes(2, 1_000)).unwrap();
    let stays = store.store(&Namespace::default(), &bytes(3, 1_000)).unwrap();
    for _ in 0..3 {
        store.remove(&whole.location, whole.charged).unwrap();
        store.remove(&small.location, small.charged).unwrap();
    }
    sweep(&*store);
    assert_bytes(&*store, &stays.location, &bytes(3, 1_000));
    store.remove(&stays.location, stays.charged).unwrap();
    drop((whole, small, stays));
    sweep(&*store);
    assert_eq!((store.usage().used, store.usage().containers), (0, 0));
}

/// A restarted server asks the rows about all of them once.
pub fn the_first_sweep_names_everything_unclaimed(make: Make<'_>) {
    let store = make(PLENTY);
    let mut whole = put_whole(&*store, &bytes(1, 100_000));
    drop(std::mem::take(&mut whole.claim));
    let claimed = put_whole(&*store, &bytes(2, 100_000));
    assert_eq!(store.sweepable().unwrap(), [whole.location.container()]);
    drop(claimed);
    assert_eq!(store.sweepable().unwrap(), []);
}

/// Whatever the rows say meanwhile, they are not asked, and a drop is refused.
pub fn a_claim_protects_until_it_is_dropped(make: Make<'_>) {
    let store = make(PLENTY);
    let expected = bytes(1, 100_000);
    let whole = put_whole(&*store, &expected);
    let small = store.store(&Namespace::default(), &expected[..5]).unwrap();
    let also = store.store(&Namespace::default(), &expected[..6]).unwrap();
    store.remove(&also.location, also.charged).unwrap();
    drop(also.claim);
    assert_eq!(store.sweepable().unwrap(), []);
    for placed in [&whole, &small] {
        let error = store.drop_container(placed.location.container()).unwrap_err();
        assert_eq!(error.reason(), Reason::Conflict);
    }
    assert_bytes(&*store, &whole.location, &expected);
    assert_bytes(&*store, &small.location, &expected[..5]);

    drop(whole.claim);
    store.drop_container(whole.location.container()).unwrap();
    assert!(store.open(&whole.location).is_err());
}

/// Full containers are closed, and their rows may still be on their way.
pub fn claims_protect_full_containers_too(make: Make<'_>) {
    let store = make(PLENTY);
    let expected = bytes(1, 60_000);
    let all: Vec<_> = (0..40)
        .map(|_| store.store(&Namespace::default(), &expected).unwrap())
        .collect();
    assert_ne!(all[0].location.container(), all[39].location.container());
    assert_eq!(store.sweepable().unwrap(), []);
    let error = store.drop_container(all[0].location.container()).unwrap_err();
    assert_eq!(error.reason(), Reason::Conflict);
    assert_bytes(&*store, &all[0].location, &expected);
}

/// The next payload could go into it between the question and the drop.
pub fn a_container_that_still_takes_more_is_not_named(make: Make<'_>) {
    let store = make(PLENTY);
    let mut one = store.store(&Namespace::default(), b"one").unwrap();
    let mut two = store.store(&Namespace::default(), b"two").unwrap();
    drop((std::mem::take(&mut one.claim), std::mem::take(&mut two.claim)));
    store.remove(&one.location, one.charged).unwrap();
    assert_eq!(store.sweepable().unwrap(), []);
    let error = store.drop_container(two.location.container()).unwrap_err();
    assert_eq!(error.reason(), Reason::Conflict);
    let three = store.store(&Namespace::default(), b"three").unwrap();
    assert_eq!(three.location.container(), two.location.container());
    assert_bytes(&*store, &two.location, b"two");
}

/// Full ones and half-filled ones, each when its last payload is gone.
pub fn what_was_emptied_is_named_and_freed(make: Make<'_>) {
    let store = make(PLENTY);
    assert_eq!(sweep(&*store), 0);
    let expected = bytes(1, 60_000);
    let mut all: Vec<_> = (0..100)
        .map(|_| store.store(&Namespace::default(), &expected).unwrap())
        .collect();
    all.iter_mut()
        .for_each(|placed| drop(std::mem::take(&mut placed.claim)));
    let last = all.split_off(99);
    for placed in all {
        store.remove(&placed.location, placed.charged).unwrap();
    }
    let before = store.usage();
    assert!(sweep(&*store) > 0, "all but one container are empty");
    assert!(store.usage().used < before.used);
    assert_bytes(&*store, &last[0].location, &expected);

    store.remove(&last[0].location, last[0].charged).unwrap();
    assert_eq!(sweep(&*store), 1);
    assert_eq!((store.usage().used, store.usage().containers), (0, 0));
}
