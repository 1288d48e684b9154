//! From the begin of a send to the message in its reader's hands, beside what others
//! reach with the same promise: that an acknowledged message is on the disk.
//!
//! Each row is a program that writes over a connection that it keeps, and a process
//! that reads over another one. The rows take turns in one run, in a shuffled order, so
//! that other work of the machine hits all alike. Servers are started for the run, in a
//! scratch directory, and ended with it; one that is not installed is skipped by name.
//!
//! ```sh
//! apt-get install redis-server postgresql
//! cargo bench --bench peers [-- --messages 2000] [-- --dir /a/disk]
//! ```

#![expect(clippy::print_stdout, reason = "a benchmark says what it found")]

#[path = "../../tests/common/store.rs"]
mod common;
mod ours;
mod postgres;
mod reader;
mod redis;
mod server;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use mcp_bridge::clock::monotonic_nanos;

use reader::{Job, Reader};

const ROUNDS: u32 = 10;
/// About so long between two messages: the case is a message now and then.
const GAP: Duration = Duration::from_millis(5);
/// Before each turn, unmeasured: what another row's turn pushed out comes back.
const WARM: u32 = 5;
const SIZE: usize = 200;

/// A program that sends.
trait Writer {
    /// Sends a message; returns when it was acknowledged.
    fn send(&mut self, text: &str) -> anyhow::Result<()>;

    /// What the process that reads is to do.
    fn job(&self) -> Job;
}

/// A writer, or why there is none here.
type Made = anyhow::Result<Result<Box<dyn Writer>, String>>;

/// Starts what a row needs, in this directory.
type Make = fn(&Path) -> Made;

/// The rows. Another one is a line here, a [`Writer`], and a [`Job`] for its reader.
const ROWS: [(&str, Make); 4] = [
    ("mcp-bridge, embedded", ours::embedded),
    ("mcp-bridge, through a daemon", ours::door),
    ("Redis Streams, fsync always", redis::stream),
    ("PostgreSQL, row + NOTIFY", postgres::row_and_notify),
];

/// A row with what was measured of it.
struct Measured {
    name: &'static str,
    // Ended before the server that it reads from.
    reader: Reader,
    writer: Box<dyn Writer>,
    number: u64,
    delivered: Histogram<u64>,
    acknowledged: Histogram<u64>,
}

impl Measured {
    fn turn(&mut self, messages: u32) -> anyhow::Result<()> {
        for turn in 0..WARM + messages {
            pause();
            self.number += 1;
            let text = format!("{} {}", self.number, "x".repeat(SIZE));
            let begun = monotonic_nanos();
            self.writer.send(&text)?;
            let acknowledged = monotonic_nanos();
            let delivered = self.reader.has(self.number)?;
            if turn >= WARM {
                self.acknowledged.record(acknowledged - begun)?;
                self.delivered.record(delivered.saturating_sub(begun))?;
            }
        }
        Ok(())
    }
}

/// About the gap: never in step with another program's clock.
fn pause() {
    let end = Instant::now() + GAP.mul_f64(0.8 + 0.4 * fastrand::f64());
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

/// What the disk needs for a page.
fn fsyncs(directory: &Path, into: &mut Histogram<u64>) -> anyhow::Result<()> {
    let mut file = tempfile::tempfile_in(directory)?;
    for _ in 0..20 {
        let begun = monotonic_nanos();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        into.record(monotonic_nanos() - begun)?;
    }
    Ok(())
}

/// The value behind an argument.
fn argument(name: &str) -> Option<String> {
    let mut all = std::env::args();
    all.find(|argument| argument == name)?;
    all.next()
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(reader::READ) {
        return reader::run();
    }
    let measures = arguments.any(|argument| argument == "--bench")
        || std::env::args().any(|argument| argument == "--bench");
    let messages: u32 = match argument("--messages") {
        Some(number) => number.parse().context("--messages takes a number")?,
        // No measurement, but a test that it still runs.
        None if !measures => ROUNDS,
        None => 1000,
    };
    let parent = argument("--dir").map_or_else(std::env::temp_dir, PathBuf::from);
    let scratch = tempfile::Builder::new()
        .prefix("mcp-bridge-peers.")
        .tempdir_in(parent)?;
    // A server that does not run as root finds its own directory below.
    std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o755))?;

    let mut rows = Vec::new();
    for (name, make) in ROWS {
        match make(scratch.path()).with_context(|| format!("starting {name}"))? {
            Err(why) => println!("skipped: {name}: {why}"),
            Ok(writer) => rows.push(Measured {
                name,
                reader: Reader::start(&writer.job())?,
                writer,
                number: 0,
                delivered: Histogram::new(3)?,
                acknowledged: Histogram::new(3)?,
            }),
        }
    }
    let load = || std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let before = load();
    let mut syncs = Histogram::new(3)?;
    let mut turns: Vec<usize> = (0..rows.len()).collect();
    for _ in 0..ROUNDS {
        fsyncs(scratch.path(), &mut syncs)?;
        fastrand::shuffle(&mut turns);
        for &turn in &turns {
            let row = &mut rows[turn];
            let measured = row.turn((messages / ROUNDS).max(1));
            measured.with_context(|| format!("measuring {}", row.name))?;
        }
    }
    report(&rows, &syncs, [&before, &load()]);
    Ok(())
}

fn report(rows: &[Measured], syncs: &Histogram<u64>, [before, after]: [&str; 2]) {
    println!("from the begin of a send, in microseconds, in {ROUNDS} rounds in turns");
    println!(
        "{:<28} {:>7} {:>9} {:>7}  {:>12} {:>7}",
        "", "sent", "read p50", "p99", "answered p50", "p99"
    );
    let micros = |of: &Histogram<u64>, quantile| of.value_at_quantile(quantile) / 1000;
    for row in rows {
        println!(
            "{:<28} {:>7} {:>9} {:>7}  {:>12} {:>7}",
            row.name,
            row.delivered.len(),
            micros(&row.delivered, 0.5),
            micros(&row.delivered, 0.99),
            micros(&row.acknowledged, 0.5),
            micros(&row.acknowledged, 0.99),
        );
    }
    if let [first, others @ ..] = rows {
        for other in others {
            #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
            let times = |quantile| {
                let of = |row: &Measured| row.delivered.value_at_quantile(quantile) as f64;
                of(first) / of(other)
            };
            let (p50, p99) = (times(0.5), times(0.99));
            println!(
                "{}: {p50:.2} times the p50 of {}, {p99:.2} times its p99",
                first.name, other.name
            );
        }
    }
    let one = |load: &str| load.split(' ').next().unwrap_or("?").to_owned();
    println!(
        "one fsync of a page: p50 {}, p99 {}; load {} before and {} after",
        micros(syncs, 0.5),
        micros(syncs, 0.99),
        one(before),
        one(after),
    );
}
