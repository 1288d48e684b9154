//! `bench latency`: from the moment COMMIT returned in one process to the
//! moment a line about it was written by another.
//!
//! Every row has a store of its own and takes its turn in each round, in a shuffled
//! order, so that other work of the machine hits all alike.

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use super::measured::Measured;
use super::readers::Reader;
use super::report::{Report, Settings};
use super::rows::{ROWS, Row};
use super::scratch::{Environment, Scratch, make_store, time_fsync};
use super::stats::Histogram;
use super::writers::From;
use crate::args::LatencyArgs;
use mcp_bridge::exit::Exit;

/// fsyncs that are timed, over all rounds.
const FSYNCS: u32 = 200;

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
    let committed = table.iter().filter(|row| row.row.from == From::Commit);
    let commits: Vec<u64> = committed.flat_map(|row| row.commits.clone()).collect();
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
        table.push(Measured::new(row, store, pair));
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
