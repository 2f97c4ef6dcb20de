//! The contract of a repository: every case listed once, for every adapter to fulfil.
//!
//! `repository_contract!(memory())` in a test module makes a test of each. The argument gives a closure that opens one
//! more handle on one and the same store, empty at first.

#![allow(
    clippy::unwrap_used,
    reason = "a case of the contract is a test, though not in a test module"
)]

pub mod concurrency;
pub mod guards;
pub mod history;
pub mod lineage;
pub mod listing;
pub mod log;
pub mod metadata;
pub mod names;
pub mod namespaces;
pub mod queries;
pub mod quotas;
pub mod retention;
pub mod rows;
pub mod sample;
pub mod stream_groups;
mod stream_history;
pub mod stream_sample;
pub mod streams;

use payload_core::port::Repository;

/// Opens one more handle on the store of a test.
pub type Open<'a> = &'a dyn Fn() -> Box<dyn Repository>;

macro_rules! contract {
    ($dollar:tt $($module:ident::$case:ident,)*) => {
        /// Turns every case of the contract into a test with its own name.
        #[macro_export]
        macro_rules! repository_contract {
            ($dollar open:expr) => {
                $(
                    #[test]
                    fn $case() {
                        let open = $dollar open;
                        $crate::repository::$module::$case(&open);
                    }
                )*
            };
        }
    };
}

contract! { $
    rows::a_row_comes_back_with_every_field,
    rows::every_word_comes_back,
    rows::an_update_replaces_the_row,
    rows::labels_change_one_by_one,
    rows::replicas_change_one_by_one,
    rows::events_are_kept_in_order_for_ever,
    rows::what_was_committed_is_there_for_other_handles,
    guards::a_new_payload_must_be_new,
    guards::a_change_must_start_from_the_current_version,
    guards::a_change_must_lead_to_the_next_version,
    guards::a_request_id_works_once,
    guards::a_set_is_applied_as_a_whole_or_not_at_all,
    guards::a_set_may_change_one_payload_twice,
    guards::nothing_is_written_before_a_claim,
    guards::a_class_that_cannot_be_promised_is_refused,
    guards::fault_57_an_earlier_claimant_is_fenced_at_every_write,
    guards::claims_of_other_nodes_do_not_fence,
    listing::pages_hold_everything_once_in_every_order,
    listing::a_listing_shows_one_namespace_and_one_state,
    listing::what_a_listing_shows_is_what_fits,
    listing::labels_are_found_as_they_are_now,
    listing::a_page_looks_at_a_bounded_part_of_a_listing,
    listing::a_listing_goes_on_from_anywhere,
    queries::what_is_due_comes_earliest_first,
    queries::the_next_deadline_is_the_earliest_of_live_payloads,
    queries::a_starting_node_finds_what_it_must_know,
    queries::containers_are_in_use_while_a_replica_is_in_them,
    queries::payloads_in_a_container_come_in_pages,
    queries::usage_is_the_sum_over_replicas,
    queries::old_requests_are_forgotten_a_few_at_a_time,
    queries::a_working_repository_says_so,
    names::a_name_points_where_it_was_moved_last,
    names::a_name_is_moved_only_as_its_guard_allows,
    names::a_name_of_a_payload_that_has_ended_is_free,
    names::names_are_listed_by_prefix_and_by_payload,
    names::one_of_many_moves_of_a_name_wins,
    names::a_payload_that_ends_at_that_moment_gets_no_name,
    namespaces::the_default_namespace_is_always_there,
    namespaces::a_namespace_comes_back_until_it_is_removed,
    namespaces::a_payload_is_made_in_a_namespace_that_is_there,
    namespaces::a_namespace_is_removed_when_all_in_it_has_ended,
    namespaces::a_namespace_is_not_removed_under_a_new_payload,
    namespaces::one_of_many_changes_of_a_namespace_wins,
    namespaces::fault_57_an_earlier_claimant_changes_no_namespace,
    quotas::a_namespace_uses_what_its_rows_say,
    quotas::growth_beyond_a_quota_is_refused,
    quotas::many_at_once_never_exceed_a_quota,
    lineage::an_edge_comes_back_with_every_field,
    lineage::an_edge_is_added_once,
    lineage::the_ends_of_an_edge_must_have_been_committed,
    lineage::a_refused_edge_leaves_no_trace,
    lineage::fault_50_a_circle_is_never_closed,
    lineage::fault_50_a_chain_grows_at_its_ends_however_deep,
    lineage::fault_50_a_wide_fan_is_read_in_pages,
    lineage::a_graph_is_read_nearest_first,
    lineage::a_reader_hears_of_edges_behind_it,
    lineage::live_descendants_guard_a_payload,
    metadata::every_revision_comes_back_byte_for_byte,
    metadata::the_history_is_read_in_pages,
    metadata::a_revision_follows_the_last,
    metadata::a_refused_set_leaves_no_revision,
    metadata::one_of_many_new_revisions_wins,
    retention::a_log_loses_its_oldest_events_and_remembers_their_sum,
    retention::logs_are_listed_by_their_namespaces,
    retention::revisions_go_when_later_ones_are_old,
    retention::moves_of_names_go_when_later_ones_are_old,
    retention::a_tombstone_goes_with_all_that_hangs_on_it,
    retention::a_tombstone_stays_while_something_descends_from_it,
    retention::a_refused_end_leaves_no_tombstone,
    log::pages_of_the_log_hold_every_event_once,
    log::a_filter_of_the_log_shows_what_fits,
    log::a_page_looks_at_a_bounded_part_of_the_log,
    log::the_fold_of_the_events_is_the_row,
    log::a_refused_set_is_not_in_the_log,
    log::a_place_beyond_the_end_is_refused,
    log::new_events_are_announced,
    log::a_commit_that_appends_is_announced,
    log::a_reader_among_writers_skips_nothing,
    concurrency::every_caller_gets_its_own_outcome,
    concurrency::one_of_many_changes_from_one_version_wins,
    concurrency::one_of_many_uses_of_a_request_id_wins,
    concurrency::fault_50_edges_that_close_a_circle_together_are_not_all_added,
    concurrency::a_payload_is_not_deleted_past_a_child_that_was_published,
    streams::a_stream_comes_back_with_every_field,
    streams::streams_are_listed_by_name_and_only_while_they_are_there,
    streams::settings_change_from_the_version_that_was_seen,
    streams::entries_are_dense_and_come_back_as_they_were_written,
    streams::an_append_is_all_or_nothing_with_the_changes_of_its_set,
    streams::only_live_payloads_of_the_namespace_are_appended,
    streams::an_expected_offset_is_a_condition,
    streams::a_request_id_remembers_where_its_entries_are,
    streams::times_never_go_back_along_a_stream,
    streams::a_stream_made_again_is_another_one,
    streams::fault_40_a_repeated_batch_is_not_appended_twice,
    streams::fault_40_an_old_life_of_a_producer_is_shut_out,
    streams::the_idlest_producer_gives_way,
    streams::fault_32_many_producers_leave_no_hole_that_a_reader_could_see,
    streams::held_payloads_are_not_due_and_not_given_up,
    streams::trimming_moves_the_beginning_and_lets_payloads_go,
    streams::a_namespace_stays_while_it_has_streams,
    streams::the_last_of_a_deleted_stream_is_dropped_when_it_is_empty,
    stream_groups::a_group_moves_forward_up_to_the_head,
    stream_groups::compare_and_set_knows_its_own_repetition,
    stream_groups::fault_41_a_generation_that_is_over_commits_nothing,
    stream_groups::a_reset_moves_anywhere_and_fences,
    stream_groups::consuming_and_producing_is_one_transaction,
    stream_groups::what_was_consumed_and_produced_is_not_produced_again,
    stream_groups::one_of_many_members_takes_a_group_over,
}
