//! `bench latency`: from the moment COMMIT returned in one process to the
//! moment a line about it was written by another.
//!
//! Every row has a store of its own and takes its turn in each round, in a
//! shuffled order, so that whatever else the machine does hits all alike. One
//! turn is two fresh processes: a reader, and a writer that sends unmeasured
//! messages until the reader shows them, then the measured ones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

use super::child::{Child, Job};
use super::lines::Stamps;
use super::readers::{Reader, ReaderJob};
use super::report::{Report, Settings};
use super::rows::{ROWS, Row};
use super::scratch::{Environment, Pair, Scratch, make_store, time_fsync};
use super::stats::Histogram;
use super::writers::{Done, WriterJob};
use super::{Exit, LatencyArgs};

/// Lines that a reader has shown before its turn counts.
const WARM_UP: usize = 20;
/// fsyncs that are timed, over all rounds.
const FSYNCS: u32 = 200;
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
    /// When each message was committed.
    commits: Vec<u64>,
    store: PathBuf,
    pair: Pair,
}

pub(super) async fn run(args: &LatencyArgs, json: bool) -> anyhow::Result<Exit> {
    let scratch = Scratch::new(&args.place)?;
    let mut environment = Environment::of(scratch.path());
    let mut fsync = Histogram::new();
    let mut table = prepare(&scratch, &args.only).await?;

    let rounds = args.rounds.min(args.messages);
    let progress = progress(u64::from(args.messages) * table.len() as u64);
    let mut turns: Vec<usize> = (0..table.len()).collect();
    for round in 0..rounds {
        let messages = share(args.messages, rounds, round);
        time_fsync(scratch.path(), share(FSYNCS, rounds, round), &mut fsync)?;
        fastrand::shuffle(&mut turns);
        for &turn in &turns {
            let measured = &mut table[turn];
            progress.set_message(measured.row.name);
            measured
                .turn(args, messages)
                .await
                .with_context(|| format!("measuring {}", measured.row.name))?;
            progress.inc(u64::from(messages));
        }
    }
    progress.finish_and_clear();
    environment.close(&fsync);

    let settings = Settings::new(args, rounds);
    let commits: Vec<u64> = table.iter().flat_map(|row| row.commits.clone()).collect();
    let report = Report::new(settings, environment, &table, &commits);
    if json {
        super::print_json(&report)?;
    } else {
        report.print()?;
    }
    Ok(if table.iter().any(|row| row.missing > 0) {
        Exit::Failure
    } else {
        Exit::Success
    })
}

/// A store for each row; floors come along with the rows that need them.
async fn prepare(scratch: &Scratch, only: &[String]) -> anyhow::Result<Vec<Measured>> {
    for name in only {
        anyhow::ensure!(
            ROWS.iter().any(|row| row.name == name),
            "`{name}` is no row; rows are {}",
            ROWS.iter()
                .map(|row| row.name)
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
    let named = |row: &Row| only.iter().any(|name| name == row.name);
    let wanted = |row: &Row| {
        only.is_empty()
            || named(row)
            || ROWS
                .iter()
                .any(|other| named(other) && other.floor == Some(row.name))
    };
    let mut table = Vec::new();
    for &row in ROWS.iter().filter(|row| wanted(row)) {
        if row.reader == Reader::Floor && cfg!(not(target_os = "linux")) {
            continue;
        }
        let directory = scratch.path().join(row.name);
        std::fs::create_dir(&directory)?;
        let store = directory.join("bridge.db");
        let pair = make_store(&store, 1)
            .await?
            .pop()
            .context("a store without a pair")?;
        table.push(Measured {
            row,
            latency: Histogram::new(),
            early: 0,
            missing: 0,
            after_next: 0,
            looks: None,
            commits: Vec::new(),
            store,
            pair,
        });
    }
    Ok(table)
}

/// Part `n` of `all` in `parts` nearly equal parts.
fn share(all: u32, parts: u32, n: u32) -> u32 {
    all / parts + u32::from(n < all % parts)
}

fn progress(messages: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} messages, {eta} left, {msg}");
    // Draws to stderr, and only if that is a terminal.
    let bar = ProgressBar::new(messages);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// What is read of a reader's line.
#[derive(Deserialize)]
struct Shown {
    id: i64,
}

impl Measured {
    async fn turn(&mut self, args: &LatencyArgs, messages: u32) -> anyhow::Result<()> {
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
        // The reader's pipe is emptied all the time, as whoever runs `watch`
        // would; a full one would hold it up.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for (all, parts) in [(2000, 5), (7, 3), (3, 3), (1, 1)] {
            let sum: u32 = (0..parts).map(|n| share(all, parts, n)).sum();
            assert_eq!(sum, all);
        }
    }
}
