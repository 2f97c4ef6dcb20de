//! The contract of an object store: every case listed once, for every adapter to fulfil.
//!
//! `object_contract!(|| world)` in a test module makes a test of each. The argument gives a closure that makes an empty
//! store.

#![allow(
    clippy::unwrap_used,
    reason = "a case of the contract is a test, though not in a test module"
)]

pub mod leftovers;
pub mod puts;
pub mod reads;
pub mod seaweed;
pub mod server;
pub mod weather;

use std::any::Any;
use std::ops::{Deref, Range};
use std::sync::Arc;

use payload_core::port::{ObjectKey, ObjectStore};
use payload_core::{Reason, Result};

pub use self::seaweed::SeaweedFs;
pub use self::server::S3Server;
pub use crate::tier::sample::bytes;

/// A store, and what must stay alive while it is used.
pub struct World {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// For example its directory.
    pub keep: Box<dyn Any>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl Deref for World {
    type Target = dyn ObjectStore;

    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

/// Makes an empty store.
pub type Make<'a> = &'a dyn Fn() -> World;

/// Sizes on both sides of every bound: nothing, one byte, one part of 5 MiB, the smallest that S3 takes, and several.
pub const SIZES: [usize; 6] = [0, 1, 65_537, 5 << 20, (5 << 20) + 1, (17 << 20) + 123];

/// The key of number `n`.
pub fn key(n: u8) -> ObjectKey {
    ObjectKey::of(&[n; 16])
}

/// The bytes of a range, whatever order they come in; each byte once.
pub fn read(store: &dyn ObjectStore, key: &ObjectKey, range: Range<u64>) -> Result<Vec<u8>> {
    let len = usize::try_from(range.end - range.start).unwrap();
    let (mut bytes, mut seen) = (vec![0; len], vec![false; len]);
    store.read(key, range, &mut |at, piece| {
        let at = usize::try_from(at).unwrap();
        bytes[at..at + piece.len()].copy_from_slice(piece);
        for byte in &mut seen[at..at + piece.len()] {
            assert!(!std::mem::replace(byte, true), "a byte comes twice");
        }
        Ok(())
    })?;
    assert!(seen.iter().all(|seen| *seen), "bytes are missing");
    Ok(bytes)
}

/// Why reading a range is refused.
pub fn refusal(store: &dyn ObjectStore, key: &ObjectKey, range: Range<u64>) -> Reason {
    read(store, key, range).unwrap_err().reason()
}

macro_rules! contract {
    ($dollar:tt $($module:ident::$case:ident,)*) => {
        /// Turns every case of the contract into a test with its own name.
        #[macro_export]
        macro_rules! object_contract {
            ($dollar make:expr) => {
                $(
                    #[test]
                    fn $case() {
                        let make = $dollar make;
                        $crate::object::$module::$case(&make);
                    }
                )*
            };
        }

        /// Every case with its name, for stores whose server takes long to start: they run all cases on one.
        pub const CASES: &[(&str, fn(Make<'_>))] = &[$((stringify!($case), $module::$case),)*];
    };
}

contract! { $
    puts::bytes_come_back_with_their_digest,
    puts::bytes_of_another_tier_are_stored_from_where_they_begin,
    puts::a_source_that_is_too_short_leaves_nothing,
    puts::fault_36_the_same_bytes_again_are_as_good_as_stored,
    puts::fault_36_other_bytes_are_refused_and_change_nothing,
    puts::of_many_puts_under_one_key_one_wins,
    puts::many_threads_put_read_and_remove,
    reads::any_range_can_be_read,
    reads::fault_39_what_is_not_there_is_missing,
    reads::what_a_sink_refuses_ends_the_read,
    reads::a_stat_tells_the_size_and_changes_with_the_bytes,
    leftovers::removing_what_is_not_there_is_fine,
    leftovers::a_listing_goes_through_all_objects_in_order,
    leftovers::finished_uploads_leave_nothing_to_abort,
    leftovers::a_store_that_works_says_so,
}
