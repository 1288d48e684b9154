//! What a store must answer, over any backend. Each case is written once against
//! [`Store`](mcp_bridge::store::Store) and run for each backend; a new backend joins
//! with one [`Backend`] and one line at the end of this file.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

use crate::common::store as common;
mod alerts;
mod conversations;
mod doorbell;
mod findings;
mod fleet;
mod heartbeats;
mod leader;
mod messages;
mod moves;
mod prune;
mod reassign;
mod registrations;
mod rekeying;
mod reminders;
mod reports;
mod task_ends;
mod tasks;
mod times;
mod wakes;
mod work;

use std::sync::Arc;

use mcp_bridge::store::SharedStore;
use mcp_bridge::store::memory::{Memory, Troubles};

/// A fresh, empty store, and other ways to it.
trait Backend: Sized {
    /// Makes one.
    async fn new() -> Self;

    /// Opens it once more, as another process would: no connection is shared.
    async fn open(&self) -> SharedStore;

    /// Runs one statement as a program that knows only the shared tables;
    /// returns the first column of what it answers.
    fn foreign(&self, sql: &str) -> Vec<String>;

    /// The id that the next open finds in the store's name: what error
    /// messages must name.
    fn name(&self) -> String;
}

/// A file in a directory of its own.
struct Sqlite(common::Scratch);

impl Backend for Sqlite {
    async fn new() -> Self {
        let scratch = common::Scratch::new();
        scratch.make().await.close().await;
        Self(scratch)
    }

    async fn open(&self) -> SharedStore {
        self.0.open().await
    }

    fn foreign(&self, sql: &str) -> Vec<String> {
        let raw = self.0.raw();
        let mut statement = raw.prepare(sql).expect("good SQL");
        let mut rows = statement.query([]).expect("it runs");
        let mut texts = Vec::new();
        while let Some(row) = rows.next().expect("a row") {
            let value: rusqlite::types::Value = row.get(0).expect("a column");
            texts.push(match value {
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Integer(number) => number.to_string(),
                other => format!("{other:?}"),
            });
        }
        texts
    }

    fn name(&self) -> String {
        self.0.path().display().to_string()
    }
}

/// A backend in memory; "another process" is another store over the same tables.
struct InMemory(Memory);

impl Backend for InMemory {
    async fn new() -> Self {
        Self(Memory::default())
    }

    async fn open(&self) -> SharedStore {
        let sound: Troubles = Arc::new(|_| None);
        Arc::new(self.0.store(&sound))
    }

    fn foreign(&self, sql: &str) -> Vec<String> {
        panic!("a case of the shared tables: {sql}")
    }

    fn name(&self) -> String {
        "memory".into()
    }
}

/// Every call of the interface has a case: a backend that leaves one out, or a
/// call that was added without one, is found here.
#[test]
fn every_call_has_a_case() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let texts = |directory: &str| -> Vec<String> {
        let files = std::fs::read_dir(root.join(directory)).expect("the source");
        files
            .map(|file| file.expect("a file").path())
            .filter(|path| path.extension().is_some_and(|end| end == "rs"))
            .map(|path| std::fs::read_to_string(path).expect("text"))
            .collect()
    };
    let call = regex::Regex::new(r"(?m)^    pub (?:async )?fn (\w+)").expect("a pattern");
    let calls: std::collections::BTreeSet<String> = texts("src/store/calls")
        .iter()
        .flat_map(|text| {
            let names = call.captures_iter(text);
            names.map(|name| name[1].to_owned()).collect::<Vec<_>>()
        })
        .collect();
    assert!(calls.len() > 55 && calls.contains("prune"), "{calls:?}");
    let cases = texts("tests/store/conformance").concat()
        + &std::fs::read_to_string(root.join("tests/common/store.rs")).expect("text");
    let without: Vec<_> = calls
        .iter()
        .filter(|call| !cases.contains(&format!(".{call}(")))
        .collect();
    assert!(without.is_empty(), "no case calls {without:?}");
}

macro_rules! conformance {
    ($name:ident, $backend:ty, $($area:ident { $($case:ident)* })*) => {
        mod $name {
            $(mod $area {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let backend = <$backend as crate::conformance::Backend>::new().await;
                    crate::conformance::$area::$case(&backend).await;
                })*
            })*
        }
    };
}

/// What every backend answers alike.
macro_rules! every_case {
    ($name:ident, $backend:ty) => {
        conformance! { $name, $backend,
            conversations {
                all_conversations_are_made_or_none
                label_is_taken_until_its_conversation_is_closed
                listing_and_showing
                renewing_never_shortens
                renewing_reopens_what_expired
                closing_is_for_good_and_for_everyone
                a_label_can_be_changed
                only_plain_tokens_can_be_read
            }
            rekeying {
                the_old_token_ends_at_once
                an_operator_needs_no_token
                one_side_s_token_rekeys_no_other_side
                only_open_conversations_are_rekeyed
                one_of_two_concurrent_rekeys_succeeds
            }
            registrations {
                a_new_client_without_a_daemon_keeps_its_tasks
                the_newest_client_counts
                only_its_session_registers_a_client
                clients_of_this_machine_are_listed
                a_new_token_forgets_the_client
                a_client_s_words_are_short_and_harmless
            }
            messages {
                messages_arrive_in_order
                each_side_gets_only_its_own
                a_batch_keeps_the_limits_line_by_line
                a_long_batch_holds_up_no_other_writer
                rate_limits_say_how_long_to_wait
                batch_beyond_a_window_is_refused_at_once
                duplicates_do_not_count
                clock_that_jumped_locks_no_sender_out
                a_fetch_that_died_is_repeated
                a_limit_leaves_the_rest
                mail_is_answered_in_order
                concurrent_fetches_lose_nothing
                a_cancelled_call_leaves_the_store_usable
            }
            wakes {
                one_of_many_may_wake
                a_lease_that_ran_out_is_taken_over
                another_boot_s_lease_is_over
                sessions_do_not_stand_in_each_other_s_way
                a_wake_that_ended_makes_room
                no_wake_without_unread_mail
                wake_without_a_way_is_found_until_one_works
                an_agent_claims_its_own
                a_fetch_makes_room
                read_mail_ends_its_wake
            }
            alerts {
                one_of_a_kind_is_open_for_a_subject
                an_alert_says_what_it_is_about
                controls_hold_until_their_end
                each_edge_is_announced_once
                a_control_is_taken_back
            }
            reports {
                limits_are_kept_in_the_store
                a_check_of_a_sound_store
                a_probe_and_a_checkpoint
                a_write_that_got_through_is_known
                a_store_that_is_tended_counts_on
                daemons_are_listed
                a_status_has_all_that_is_true
                the_audit_log_is_read_in_parts
            }
            doorbell {
                our_own_commits_ring
                another_process_s_commits_ring
                rolled_back_message_is_not_reported
                older_message_is_not_reported
                asking_looks_at_once
                heartbeats_bring_no_arrivals
                work_is_signalled
                a_lost_right_is_signalled
                mail_that_is_owed_again_is_signalled
            }
            tasks {
                all_tasks_are_added_or_none
                a_client_id_makes_one_task
                secrets_are_taken_out
                oldest_of_the_caller_s_role_is_claimed
                claims_of_one_name_are_one
                a_named_task_is_had_or_refused
                a_session_has_as_many_as_it_may
                a_wrong_token_claims_and_writes_nothing
                one_of_two_concurrent_claims_succeeds
                lists_are_filtered
                added_task_is_shown
                an_agent_that_has_ended_claims_nothing
                a_session_that_is_drained_claims_nothing
            }
            task_ends {
                old_fence_hears_who_has_the_task_now
                an_old_fence_hears_how_the_task_ended
                task_that_failed_is_tried_again_after_a_pause
                a_failure_that_is_repeated_counts_once
                the_fifth_failure_is_the_end
                cancelling_tells_the_owner
                dead_task_that_is_cancelled_alarms_no_more
                progress_is_noted_and_counts_as_activity
                a_task_is_done_once
                the_history_tells_it_all_in_order
            }
            reassign {
                to_another_session
                into_the_queue
                a_task_that_waits_is_given
                to_the_one_that_has_it_is_refused
                finished_task_is_not_moved
                a_dead_task_gets_another_life
                to_a_session_that_cannot_is_refused
            }
            leader {
                a_lease_that_stood_still_is_taken_over
                a_renewed_lease_is_not_taken
                a_lease_that_was_given_up_is_free
                later_life_of_the_same_daemon_is_another
                one_of_two_concurrent_takers_leads
                the_first_takes_it
            }
            heartbeats {
                a_daemon_s_epochs_grow
                daemon_finds_a_later_one_of_its_name
                a_beat_counts_up
                two_live_daemons_do_not_share_a_session
                a_released_session_is_free
                a_silent_daemon_loses_its_session
                another_boot_loses_its_session
                older_life_of_a_daemon_takes_nothing_back
                missed_exit_is_noted_for_the_old_process
                unconfirmed_mail_goes_to_the_successor
                successor_gets_the_tasks_anew_under_a_new_fence
                crashing_agent_costs_no_task_and_gets_no_more
                many_new_lives_at_once_are_taken_part_by_part
                unconfirmed_mail_is_handed_out_after_a_reboot
                a_thousand_sessions_in_one_beat
            }
            fleet {
                a_side_that_only_sends_is_unused
                three_ways_to_the_same_row
                only_changed_rows_are_seen
                a_heartbeat_alone_is_a_pulse
                pages_hold_every_session_once
                cleaning_up_hides_no_change
                only_open_conversations_are_in_it
                one_that_ended_with_a_task_is_still_watched
                kept_is_what_a_daemon_keeps
                turn_stands_until_the_next_report
                view_tells_what_was_found_and_what_it_has
                processes_are_shown_as_they_beat
            }
            prune {
                unread_mail_stays
                alerts_about_what_has_ended_end
            }
            times {
                a_renewal_far_ahead_is_taken_back
                a_witness_is_the_last_row_of_others
            }
            findings {
                life_that_was_not_seen_is_life
                a_finding_that_holds_is_written
                hold_since_the_look_voids_only_losses
                an_alert_is_raised_once
                stall_may_be_announced_later
                one_standing_ends_the_alert_of_another
                the_notice_names_unread_mail
                the_notice_names_what_was_in_its_hand
                mail_of_a_lost_agent_is_handed_out_again
            }
            reminders {
                reminder_is_for_a_task_and_not_for_mail
                unread_it_is_no_debt
                three_times_without_progress
            }
            moves {
                everything_that_belongs_to_a_move
                creator_of_the_task_hears_of_it
                a_fence_that_moved_on_voids_it
                an_owner_that_is_back_voids_it
                a_beat_after_the_verdict_voids_it
                a_call_after_the_verdict_voids_it
                daemon_that_stops_after_an_exit_voids_nothing
                a_stalled_owner_hears_that_it_must_stop
                a_target_that_cannot_voids_it
                one_that_is_void_does_not_void_the_others
                the_old_owner_is_too_late
                buried_is_dead_and_told
                an_old_leader_moves_and_finds_nothing
                tasks_that_need_an_agent_are_waiting
            }
        }
    };
}

/// What another program writes into the four tables that it shares with us, or reads
/// there: in SQL, so of SQLite alone.
macro_rules! shared_table_case {
    ($name:ident, $backend:ty) => {
        conformance! { $name, $backend,
            conversations {
                label_is_free_after_its_conversation_was_pruned
                verify_answers_in_the_order_of_the_question
                hashed_and_plain_tokens_both_verify
                a_stored_digest_is_no_token
                renewing_reads_ends_that_others_wrote
                odd_rows_stop_no_session
            }
            rekeying {
                new_token_has_the_stores_token_form
            }
            messages {
                callers_without_the_right_to_send_or_read
                secrets_are_taken_out
                the_metadata_has_the_shared_keys
                a_client_id_makes_one_message
                batch_is_stored_whole_or_not_at_all
                a_sender_s_limits_are_its_own
                fetching_marks_read
                the_next_call_acknowledges
                heartbeats_and_looks_acknowledge_nothing
                agent_reports_its_state
                acknowledging_by_id
                peeking_marks_nothing
                a_page_begins_behind_a_message
                a_page_ends_at_a_mebibyte
                foreign_spellings_are_read
            }
            heartbeats {
                renewals_never_shorten_and_never_reopen
                expired_conversation_is_renewed_for_its_last_keeper
                the_mirror_touches_only_the_time
                an_exit_is_noted_once_by_its_owner
                a_stopped_daemon_lets_go
                a_call_counts_as_life_and_steals_nothing
                the_last_word_of_a_turn_counts
            }
            reports {
                sessions_show_everything
                sessions_leave_out_what_is_over
                the_audit_log_is_filtered
                a_closed_handle_does_not_hang
            }
            tasks {
                secrets_in_the_names_of_files_are_taken_out
            }
            task_ends {
                gone_creator_stops_no_end
            }
            leader {
                deposed_leader_writes_nothing
            }
            findings {
                an_end_since_the_look_voids_it
                later_foreign_write_voids_a_loss
                one_that_returns_hears_what_it_lost
                one_that_lost_nothing_hears_nothing
                a_foreign_session_is_found_like_any
            }
            fleet {
                a_row_tells_everything
                row_shows_activity_through_the_other_bridge
                foreign_mark_excludes_our_own_mirror
                status_written_by_scripts_is_seen
                unread_and_tasks_are_counted
            }
            moves {
                its_unread_messages_go_with_it
                mail_of_a_dead_call_goes_with_the_task
                many_of_one_role_hide_no_other
                owner_whose_conversation_was_cleaned_away_is_gone
            }
            prune {
                rows_of_an_adopted_store_are_left_alone
                conversations_that_ended_long_ago_are_removed
                open_conversation_loses_nothing
                owner_of_a_task_keeps_its_conversation
                tasks_that_are_over_go_after_their_time
                alerts_and_audit_go_after_their_time
                audit_behind_a_clock_that_ran_ahead_goes
                wakes_that_ended_count
                daemons_that_do_not_come_back_go
                a_second_call_goes_on
                orphans_of_ours_vanish
            }
            times {
                a_clock_set_back_sends_no_more
                a_clock_set_back_reopens_nothing
            }
            doorbell {
                foreign_commits_ring
                messages_are_handed_over_whole
                polling_finds_the_same
            }
        }
    };
}

every_case! { sqlite, crate::conformance::Sqlite }
shared_table_case! { sqlite_shared, crate::conformance::Sqlite }
every_case! { memory, crate::conformance::InMemory }
