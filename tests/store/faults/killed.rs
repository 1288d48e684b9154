//! A process that is killed while many of its callers share commits.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use mcp_bridge::store::sqlite::Create;

use crate::common::again::{child, report, reported, told};
use crate::common::store as common;
use crate::common::store::{Scratch, at, draft, pairs, unlimited};

const SENDERS: usize = 16;

/// A child whose callers send until it is killed; it says what was acknowledged.
#[test]
fn child_with_many_senders() {
    let Some(path) = told() else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = common::open(Path::new(&path), Create::Yes).await;
        unlimited(&store).await;
        let pairs = pairs(&store, SENDERS, at(0)).await;
        let senders = pairs.into_iter().map(|pair| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for number in 0.. {
                    let text = number.to_string();
                    let sent = store.send(&pair.a, &[draft(&text)], at(1)).await;
                    sent.expect("sent");
                    report(&format!("{} {number}", pair.id));
                }
            })
        });
        futures_util::future::join_all(senders).await;
    });
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    for round in 0..6 {
        let scratch = Scratch::new();
        let path = scratch.path().display().to_string();
        let mut command = child(&[], module_path!(), "child_with_many_senders", &path);
        let mut sending = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let lines = BufReader::new(sending.stdout.take().expect("a pipe")).lines();
        let mut acknowledged: HashMap<String, i64> = HashMap::new();
        let (mut heard, end) = (0, SENDERS * (1 + round) + fastrand::usize(..100));
        for line in lines.map_while(Result::ok) {
            let Some((conversation, number)) = reported(&line).and_then(|l| l.split_once(' '))
            else {
                continue;
            };
            let number: i64 = number.parse().expect("a whole line");
            acknowledged.insert(conversation.to_owned(), number + 1);
            heard += 1;
            if heard == end {
                sending.kill().expect("it runs");
            }
        }
        sending.wait().expect("ended");
        assert!(heard >= end, "it ended by itself");

        let raw = scratch.raw();
        let mut statement = raw
            .prepare("SELECT conversation_id, message FROM messages ORDER BY id")
            .expect("good SQL");
        let mut rows = statement.query([]).expect("it runs");
        let mut stored: HashMap<String, i64> = HashMap::new();
        while let Some(row) = rows.next().expect("a row") {
            let (conversation, text): (String, String) = row.try_into().expect("two texts");
            let next = stored.entry(conversation).or_default();
            assert_eq!(text, next.to_string(), "once each, in order");
            *next += 1;
        }
        for (conversation, acknowledged) in acknowledged {
            let stored = stored.get(&conversation).copied().unwrap_or(0);
            // The one whose answer the kill cut off may be there.
            let there = acknowledged..=acknowledged + 1;
            assert!(
                there.contains(&stored),
                "{conversation}: {stored} of {there:?}"
            );
        }
        let whole: String = raw
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .expect("checked");
        assert_eq!(whole, "ok");
    }
}
