//! One row of `bench latency`: its turns, and what they measured.
//!
//! One turn is two fresh processes: a reader, and a writer that sends unmeasured
//! messages until the reader shows them, then the measured ones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::child::{Child, Job};
use super::lines::Stamps;
use super::readers::ReaderJob;
use super::rows::Row;
use super::scratch::Pair;
use super::stats::Histogram;
use super::writers::{Done, WriterJob};
use crate::args::LatencyArgs;

/// Lines that a reader has shown before its turn counts.
const WARM_UP: usize = 20;
/// After a writer is done, a message that has not come in this time is lost.
const GIVE_UP: Duration = Duration::from_secs(10);

/// What a row has measured so far.
pub(super) struct Measured {
    pub(super) row: Row,
    pub(super) latency: Histogram,
    /// The line was there before COMMIT returned to the writer.
    pub(super) early: u64,
    /// Never shown.
    pub(super) missing: u64,
    /// Shown only after the next message had been committed.
    pub(super) after_next: u64,
    /// Looks, and the messages that they found.
    pub(super) looks: Option<(u64, u64)>,
    /// When each message was committed, or where the time of the row begins.
    pub(super) commits: Vec<u64>,
    store: PathBuf,
    pair: Pair,
}

/// What is read of a reader's line.
#[derive(Deserialize)]
struct Shown {
    id: i64,
}

impl Measured {
    pub(super) fn new(row: Row, store: PathBuf, pair: Pair) -> Self {
        Self {
            row,
            latency: Histogram::new(),
            early: 0,
            missing: 0,
            after_next: 0,
            looks: None,
            commits: Vec::new(),
            store,
            pair,
        }
    }

    /// Measures this number of messages.
    pub(super) async fn turn(&mut self, args: &LatencyArgs, messages: u32) -> anyhow::Result<()> {
        let beside = |name| self.store.with_file_name(name);
        let (committed, shown) = (beside("committed.json"), beside("shown.json"));
        let mut reader = Child::start(&Job::Reader(ReaderJob {
            store: self.store.clone(),
            login: self.pair.reader.clone(),
            reader: self.row.reader,
            stamps: shown.clone(),
        }))
        .await?;
        let mut writer = Child::start(&Job::Writer(WriterJob {
            store: self.store.clone(),
            login: self.pair.sender.clone(),
            writer: self.row.writer,
            full: self.row.full,
            from: self.row.from,
            messages,
            gap: args.gap,
            size: args.size,
            stamps: committed.clone(),
        }))
        .await?;
        for _ in 0..WARM_UP {
            reader.hear::<Shown>().await?;
        }
        writer.order("go").await?;
        // The reader's pipe is emptied all the time, as a user of `watch` would; a full
        // one would hold it up.
        let (mut newest, mut last) = (0, None);
        while last.is_none_or(|last| newest < last) {
            tokio::select! {
                shown = reader.hear::<Shown>() => newest = shown?.id,
                done = writer.hear::<Done>(), if last.is_none() => last = Some(done?.last),
                () = tokio::time::sleep(GIVE_UP), if last.is_some() => break,
            }
        }
        reader.finish().await?;
        writer.finish().await?;
        self.count(&committed, &shown)
    }

    fn count(&mut self, committed: &Path, shown: &Path) -> anyhow::Result<()> {
        let (committed, shown) = (Stamps::load(committed)?, Stamps::load(shown)?);
        let lines = shown.by_id();
        let commits = committed.in_order();
        for (n, &(id, committed_at)) in commits.iter().enumerate() {
            self.commits.push(committed_at);
            let Some(&shown_at) = lines.get(&id) else {
                self.missing += 1;
                continue;
            };
            self.early += u64::from(shown_at < committed_at);
            self.latency.record(shown_at.saturating_sub(committed_at));
            let next = commits.get(n + 1);
            self.after_next += u64::from(next.is_some_and(|&(_, next)| shown_at > next));
        }
        if let Some(looks) = shown.looks {
            let (all, found) = self.looks.unwrap_or_default();
            self.looks = Some((all + looks, found + shown.in_order().len() as u64));
        }
        Ok(())
    }
}
