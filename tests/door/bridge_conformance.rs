//! What a program sees of the store, by any way that it reaches it. Each case is
//! written once against [`Bridge`] and runs with the store's file open in this process,
//! through the daemon that has it open, through a daemon of a newer version, whose
//! answers say more, and through one whose every answer is lost once.
//!
//! The suite of the store itself (`tests/store/conformance.rs`) sets the times of its
//! calls, reads the tables behind them, and has the calls that daemons alone make; the
//! ledger names each of its cases, with the case here or the reason why there is none.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

mod agents;
mod between;
mod conversations;
mod ledger;
mod messages;
mod rekeying;
mod site;
mod status;
mod tasks;

/// What these look at is how often something was asked for: it is asked for twice where
/// the first answer is lost.
const COUNTED: &[&str] = &[
    "batch_is_stored_whole_or_not_at_all",
    "a_call_counts_as_life_and_steals_nothing",
    "a_client_id_makes_one_message",
    "a_client_id_makes_one_task",
    "a_failure_that_is_repeated_counts_once",
    "a_task_is_done_once",
    "task_that_failed_is_tried_again_after_a_pause",
    "acknowledging_by_id",
    "the_audit_log_is_filtered",
];

#[expect(clippy::print_stdout, reason = "what is left out is said")]
fn is_left_out(way: site::Way, case: &str) -> bool {
    let is_counted = way == site::Way::LosingDoor && COUNTED.contains(&case);
    if is_counted {
        println!("left out: {case} counts what is asked for");
    }
    is_counted
}

/// Writes the list of cases down, as tests of each way and for the ledger.
macro_rules! cases {
    ($($area:ident { $($case:ident)* })*) => {
        /// Every case, by its area.
        const CASES: &[(&str, &str)] = &[$($((stringify!($area), stringify!($case)),)*)*];

        cases! { @way embedded, Embedded; $($area { $($case)* })* }
        cases! { @way door, Door; $($area { $($case)* })* }
        cases! { @way newer_door, NewerDoor; $($area { $($case)* })* }
        cases! { @way losing_door, LosingDoor; $($area { $($case)* })* }
    };
    (@way $name:ident, $way:ident; $($area:ident { $($case:ident)* })*) => {
        mod $name {
            $(mod $area {
                $(#[test]
                fn $case() {
                    let way = crate::bridge_conformance::site::Way::$way;
                    if crate::bridge_conformance::is_left_out(way, stringify!($case)) {
                        return;
                    }
                    let site = crate::bridge_conformance::site::Site::new(way);
                    site.rig.block_on(crate::bridge_conformance::$area::$case(&site));
                })*
            })*
        }
    };
}

cases! {
    conversations {
        all_conversations_are_made_or_none
        label_is_taken_until_its_conversation_is_closed
        listing_and_showing
        renewing_never_shortens
        renewing_reopens_what_expired
        closing_is_for_good_and_for_everyone
        a_label_can_be_changed
        only_plain_tokens_can_be_read
        verify_answers_in_the_order_of_the_question
    }
    agents {
        a_client_s_own_process_is_believed
        a_process_that_is_not_proven_proves_nothing
        only_its_session_registers_a_client
        a_client_that_runs_keeps_its_place
        the_newest_client_counts
    }
    rekeying {
        the_old_token_ends_at_once
        an_operator_needs_no_token
        one_side_s_token_rekeys_no_other_side
        only_open_conversations_are_rekeyed
        one_of_two_concurrent_rekeys_succeeds
    }
    messages {
        messages_arrive_in_order
        each_side_gets_only_its_own
        callers_without_the_right_to_send_or_read
        an_agent_claims_its_own
        secrets_are_taken_out
        the_metadata_has_the_shared_keys
        a_client_id_makes_one_message
        batch_is_stored_whole_or_not_at_all
        rate_limits_say_how_long_to_wait
        batch_beyond_a_window_is_refused_at_once
        duplicates_do_not_count
        a_sender_s_limits_are_its_own
        fetching_marks_read
        a_fetch_that_died_is_repeated
        the_next_call_acknowledges
        acknowledging_by_id
        agent_reports_its_state
        a_limit_leaves_the_rest
        peeking_marks_nothing
        a_page_begins_behind_a_message
        a_page_ends_at_a_mebibyte
        mail_is_answered_in_order
        concurrent_fetches_lose_nothing
        a_cancelled_call_leaves_the_store_usable
        followers_get_each_message_once
        followers_go_on_behind_a_message
        followers_need_a_token
    }
    tasks {
        added_task_is_shown
        all_tasks_are_added_or_none
        a_client_id_makes_one_task
        secrets_are_taken_out
        oldest_of_the_caller_s_role_is_claimed
        a_named_task_is_had_or_refused
        a_session_has_as_many_as_it_may
        a_wrong_token_claims_and_writes_nothing
        one_of_two_concurrent_claims_succeeds
        lists_are_filtered
        a_session_that_is_drained_claims_nothing
        a_session_lists_its_own_alone
        old_fence_hears_who_has_the_task_now
        an_old_fence_hears_how_the_task_ended
        task_that_failed_is_tried_again_after_a_pause
        a_failure_that_is_repeated_counts_once
        cancelling_tells_the_owner
        progress_is_noted
        a_task_is_done_once
        the_history_tells_it_all_in_order
        to_another_session
        into_the_queue
        a_task_that_waits_is_given
        to_the_one_that_has_it_is_refused
        finished_task_is_not_moved
        to_a_session_that_cannot_is_refused
    }
    status {
        limits_are_kept_in_the_store
        a_check_of_a_sound_store
        sessions_show_everything
        the_audit_log_is_filtered
        daemons_are_listed
        a_status_has_all_that_is_true
        a_status_is_of_one_commit
        controls_hold_until_their_end
        a_control_is_taken_back
        an_alert_says_what_it_is_about
        the_lease_names_who_acts
        a_call_counts_as_life_and_steals_nothing
        the_last_word_of_a_turn_counts
        foreign_rows_are_pruned_where_that_is_wanted
        an_answer_names_the_store
    }
}
