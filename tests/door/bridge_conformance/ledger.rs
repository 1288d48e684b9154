//! Each case of the store's suite, and why it has no case here; each operation, and
//! the case that asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use regex::Regex;

use super::CASES;

/// Why a case of the store's suite is not one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// It has the calls of daemons, which no operation of the door is.
    Daemon,
    /// It says at which time each call comes; the daemon's clock is the daemon's.
    Clock,
    /// It writes or reads the tables as another program does, in SQL, or looks at the
    /// handle of the store itself.
    File,
    /// Its part that a caller sees is in a case of another name.
    Elsewhere,
}

use Why::{Clock, Daemon, Elsewhere, File};

/// Of whole areas.
const AREAS: &[(&str, Why)] = &[
    ("doorbell", Daemon),
    ("findings", Daemon),
    ("fleet", Daemon),
    ("leader", Daemon),
    ("moves", Daemon),
    ("prune", Daemon),
    ("registrations", Daemon),
    ("reminders", Daemon),
    ("times", Clock),
    ("wakes", Daemon),
];

/// Of single cases.
const CASES_LEFT: &[(&str, &str, Why)] = &[
    ("alerts", "each_edge_is_announced_once", Daemon),
    ("alerts", "one_of_a_kind_is_open_for_a_subject", Daemon),
    (
        "conversations",
        "label_is_free_after_its_conversation_was_pruned",
        File,
    ),
    ("conversations", "a_stored_digest_is_no_token", File),
    ("conversations", "hashed_and_plain_tokens_both_verify", File),
    ("conversations", "odd_rows_stop_no_session", File),
    (
        "conversations",
        "renewing_reads_ends_that_others_wrote",
        File,
    ),
    ("heartbeats", "*", Daemon),
    ("messages", "a_batch_keeps_the_limits_line_by_line", Clock),
    ("messages", "clock_that_jumped_locks_no_sender_out", Clock),
    ("messages", "a_long_batch_holds_up_no_other_writer", File),
    ("messages", "foreign_spellings_are_read", File),
    ("messages", "heartbeats_and_looks_acknowledge_nothing", File),
    ("rekeying", "new_token_has_the_stores_token_form", File),
    ("reassign", "a_dead_task_gets_another_life", Daemon),
    ("reports", "a_closed_handle_does_not_hang", File),
    ("reports", "a_probe_and_a_checkpoint", Daemon),
    ("reports", "a_store_that_is_tended_counts_on", Daemon),
    ("reports", "a_write_that_got_through_is_known", Daemon),
    ("reports", "sessions_leave_out_what_is_over", Elsewhere),
    ("reports", "the_audit_log_is_read_in_parts", Elsewhere),
    ("task_ends", "gone_creator_stops_no_end", File),
    (
        "task_ends",
        "dead_task_that_is_cancelled_alarms_no_more",
        Clock,
    ),
    (
        "task_ends",
        "progress_is_noted_and_counts_as_activity",
        Elsewhere,
    ),
    ("task_ends", "the_fifth_failure_is_the_end", Clock),
    ("tasks", "an_agent_that_has_ended_claims_nothing", Daemon),
    // Through the door that loses answers, each claim is one of two.
    ("tasks", "claims_of_one_name_are_one", Elsewhere),
    (
        "tasks",
        "secrets_in_the_names_of_files_are_taken_out",
        Elsewhere,
    ),
];

fn text(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join(path)).expect("text")
}

fn texts(directory: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let files = std::fs::read_dir(root).expect("the source");
    files
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .map(|path| std::fs::read_to_string(path).expect("text"))
        .collect()
}

/// The cases of the store's suite: area and name.
fn of_the_store() -> BTreeSet<(String, String)> {
    let text = text("tests/store/conformance.rs");
    let area = Regex::new(r"(?s)\n            (\w+) \{\n(.*?)\n            \}").expect("a pattern");
    let mut found = BTreeSet::new();
    for area in area.captures_iter(&text) {
        let cases = area[2].split_whitespace();
        found.extend(cases.map(|case| (area[1].to_owned(), case.to_owned())));
    }
    found
}

#[test]
fn every_case_of_the_store_is_here_or_excused() {
    let store = of_the_store();
    assert!(store.len() > 150, "the list is elsewhere: {store:?}");
    // An area of the store's suite may stand in one of these of another name.
    let here: BTreeSet<&str> = CASES.iter().map(|(_, case)| *case).collect();
    let reason = |area: &str, case: &str| {
        let of_area = AREAS.iter().find(|(name, _)| *name == area);
        let of_case = CASES_LEFT
            .iter()
            .find(|(of, name, _)| *of == area && (*name == case || *name == "*"));
        of_area
            .map(|(_, why)| *why)
            .or(of_case.map(|(.., why)| *why))
    };
    let (mut counts, mut wrong) = (BTreeMap::<Option<Why>, usize>::new(), Vec::new());
    for (area, case) in &store {
        let reason = reason(area, case);
        if here.contains(case.as_str()) && reason.is_none_or(|why| why == Daemon) {
            *counts.entry(None).or_default() += 1;
        } else if reason.is_some() {
            *counts.entry(reason).or_default() += 1;
        } else {
            wrong.push(format!("{area}::{case}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "neither here nor with a reason: {wrong:?}"
    );
    // What is left out is there to be left out.
    for (area, case, _) in CASES_LEFT {
        let is_there = store
            .iter()
            .any(|(of, name)| of == area && (name == case || *case == "*"));
        assert!(is_there, "{area}::{case} is no case of the store's");
    }
    println!(
        "of {} cases of the store, {counts:?}; here {} by each way",
        store.len(),
        CASES.len()
    );
}

/// Each operation is asked for by a call of the bridge, and that by a case.
#[test]
fn each_operation_has_a_case() {
    let list = text("src/api/operations/mod.rs");
    let list = list.split("$take! {").nth(1).expect("the list");
    let list = list.split('}').next().expect("its end");
    let operations: BTreeSet<&str> = list
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    assert!(operations.len() > 40, "{operations:?}");
    let bridge = texts("src/bridge").concat();
    let call = Regex::new(r"(?s)pub (?:async )?fn (\w+).*?\n    \}\n").expect("a pattern");
    let cases = texts("tests/door/bridge_conformance").concat();
    let mut asked = BTreeSet::new();
    for call in call.captures_iter(&bridge) {
        if cases.contains(&format!(".{}(", &call[1])) {
            let body = &call[0];
            asked.extend(operations.iter().filter(|name| {
                let made = Regex::new(&format!(r"\b{name}(?: \{{|::\w)")).expect("a pattern");
                made.is_match(body)
            }));
        }
    }
    let without: Vec<_> = operations.difference(&asked).collect();
    assert!(without.is_empty(), "no case asks for {without:?}");
}
