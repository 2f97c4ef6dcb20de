//! The contract of a tier store: every case listed once, for every adapter to fulfil.
//!
//! `tier_contract!(|capacity| world)` in a test module makes a test of each. The argument gives a closure that makes an
//! empty store of so many bytes.

#![allow(
    clippy::unwrap_used,
    reason = "a case of the contract is a test, though not in a test module"
)]

pub mod capacity;
pub mod copies;
pub mod fds;
pub mod load;
pub mod many;
pub mod sample;
pub mod shared;
pub mod sweeping;
pub mod whole;

use std::any::Any;
use std::ops::Deref;
use std::sync::Arc;

use payload_core::port::TierStore;

/// A store, and what must stay alive while it is used.
pub struct World {
    /// The store.
    pub store: Arc<dyn TierStore>,
    /// For example its directory.
    pub keep: Box<dyn Any>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl Deref for World {
    type Target = dyn TierStore;

    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

/// Makes an empty store with a capacity in bytes.
pub type Make<'a> = &'a dyn Fn(u64) -> World;

/// More than any case needs that is not about capacity.
pub const PLENTY: u64 = 256 << 20;

macro_rules! contract {
    ($dollar:tt $($module:ident::$case:ident,)*) => {
        /// Turns every case of the contract into a test with its own name.
        #[macro_export]
        macro_rules! tier_contract {
            ($dollar make:expr) => {
                $(
                    #[test]
                    fn $case() {
                        let make = $dollar make;
                        $crate::tier::$module::$case(&make);
                    }
                )*
            };
        }
    };
}

contract! { $
    whole::reserved_bytes_are_filled_sealed_and_read,
    whole::a_commit_may_shrink,
    whole::a_commit_may_be_empty,
    whole::a_commit_cannot_grow,
    whole::sealing_again_is_fine,
    whole::unsealed_bytes_are_not_given_to_readers,
    whole::a_producer_can_come_back,
    whole::fault_23_a_mapped_writer_stops_the_seal_and_loses_nothing,
    whole::fault_23_an_open_writer_stops_the_seal_or_is_stopped_by_it,
    whole::fault_24_sealed_bytes_never_change,
    whole::fault_24_stored_bytes_never_change,
    whole::fault_19_readers_keep_their_bytes_when_the_store_drops_them,
    whole::what_is_not_there_is_missing,
    whole::locations_of_other_tiers_are_refused,
    shared::stored_bytes_come_back,
    shared::small_payloads_share_few_containers,
    shared::namespaces_share_no_container,
    shared::reading_behind_the_end_is_refused,
    copies::bytes_are_copied_from_memory_with_their_digest,
    copies::bytes_are_copied_from_a_file_with_their_digest,
    copies::bytes_are_received_from_a_tier_without_descriptors,
    copies::a_sender_that_stops_leaves_nothing,
    copies::a_source_that_is_too_short_leaves_nothing,
    many::groups_of_any_size_follow_each_other,
    many::fault_13_those_that_find_no_room_are_refused_by_themselves,
    capacity::every_byte_is_charged_and_given_back,
    capacity::fault_13_fault_14_a_full_tier_refuses_and_recovers,
    capacity::a_refusal_leaves_nothing,
    sweeping::removing_twice_counts_once,
    sweeping::the_first_sweep_names_everything_unclaimed,
    sweeping::a_claim_protects_until_it_is_dropped,
    sweeping::claims_protect_full_containers_too,
    sweeping::a_container_that_still_takes_more_is_not_named,
    sweeping::what_was_emptied_is_named_and_freed,
    load::many_threads_leave_the_sums_right,
}
