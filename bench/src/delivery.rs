//! `bench delivery`: pairs of agents that send and read for a while, and then
//! the proof, from their journals, that every message came once and in order.
//!
//! A process shares only the store with the others, and its journal says all that the
//! checker needs: with `--kill` they are killed at random, all along, and started anew.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::agents::{Agent, Progress, ReceiverJob, SenderJob};
use super::check::{MessageTally, check};
use super::door::Daemon;
use super::journal;
use super::kills::{Every, Place, Trigger, Work, kill_at_random};
use super::scratch::{Environment, Login, Pair, Scratch, make_store, time_fsync};
use super::stats::{Histogram, Micros, time};
use crate::args::DeliveryArgs;
use mcp_bridge::cli::table::Table;
use mcp_bridge::exit::Exit;
use mcp_bridge::model::StoreName;

/// Processes of each kind; more agents than that share them.
const MOST_PROCESSES: usize = 16;
/// After the last send, how long the readers have for what the doorbell
/// brings; a last look finds the rest.
const GRACE: Duration = Duration::from_millis(500);
const FSYNCS: u32 = 200;

#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    version: u32,
    settings: Settings,
    environment: Environment,
    verdict: MessageTally,
    /// From COMMIT to the reader's process knowing of the message.
    seen_us: Option<Micros>,
    /// Those that were known before COMMIT had returned to the sender's task.
    seen_early: u64,
    /// From COMMIT to the reader having fetched it, which commits too.
    fetched_us: Option<Micros>,
    delivered_per_second: f64,
    /// Only with `--kill`.
    kills: Option<Kills>,
    /// Whether the store passed its integrity check at the end.
    intact: bool,
    /// Where the journals are, if they were kept.
    kept: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Kills {
    /// The shortest and the longest time between two.
    every_ms: [f64; 2],
    count: u64,
    /// From the kill until a new process sends or listens.
    restart_us: Option<Micros>,
}

#[derive(Debug, Serialize)]
struct Settings {
    agents: u32,
    processes: usize,
    duration_seconds: f64,
    rate_per_second: f64,
    most_bytes: u32,
}

pub(super) async fn run(args: &DeliveryArgs, json: bool) -> anyhow::Result<Exit> {
    let scratch = Scratch::new(&args.place)?;
    let mut environment = Environment::of(scratch.path());
    let mut fsync = Histogram::new();
    time_fsync(scratch.path(), FSYNCS, &mut fsync)?;

    let store = scratch.path().join("bridge.db");
    let pairs = make_store(&store, args.agents).await?;
    let (restarts, mut restarted) = mpsc::unbounded_channel();
    let daemon = match args.door {
        true => Some(Daemon::start(scratch.path()).await?),
        false => None,
    };
    let way = daemon.as_ref().map_or_else(
        || StoreName::from(&*store),
        |daemon| StoreName::of_door(&daemon.socket),
    );
    let fleet = Fleet::start(args, (&scratch, &way), &pairs, &restarts).await?;
    drop(restarts);
    let processes = fleet.readers.len() + fleet.senders.len();
    let journals = fleet.run(args.duration, args.kill).await?;
    drop(daemon);
    environment.close(&fsync);
    let mut restart = Histogram::new();
    while let Some(nanos) = restarted.recv().await {
        restart.record(nanos);
    }
    let kills = args.kill.map(|every| Kills {
        every_ms: [every.from, every.to].map(|time| time.as_secs_f64() * 1e3),
        count: restart.len(),
        restart_us: restart.micros(),
    });
    let intact = intact(&store)?;

    let mut records = Vec::new();
    for journal in &journals {
        records.extend(journal::read(journal)?);
    }
    let (verdict, latencies) = check(&records);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let delivered = verdict.delivered as f64;
    let report = Report {
        bench: "delivery",
        version: 1,
        settings: Settings {
            agents: args.agents,
            processes,
            duration_seconds: args.duration.as_secs_f64(),
            rate_per_second: args.rate,
            most_bytes: args.size,
        },
        environment,
        seen_us: latencies.seen.micros(),
        seen_early: latencies.early,
        fetched_us: latencies.got.micros(),
        delivered_per_second: (delivered / args.duration.as_secs_f64() * 10.0).round() / 10.0,
        kills,
        intact,
        kept: args.place.keep.then(|| scratch.path().to_owned()),
        verdict,
    };
    if json {
        super::print_json(&report)?;
    } else {
        report.print()?;
    }
    Ok(if report.verdict.is_clean() && report.intact {
        Exit::Success
    } else {
        Exit::Failure
    })
}

fn intact(store: &Path) -> anyhow::Result<bool> {
    let raw = rusqlite::Connection::open(store)?;
    let answer: String = raw.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    Ok(answer == "ok")
}

/// All processes of one run.
struct Fleet {
    readers: Vec<Place>,
    senders: Vec<Place>,
    triggers: Vec<Trigger>,
}

impl Fleet {
    /// Starts the readers, waits until they listen, then starts the senders.
    async fn start(
        args: &DeliveryArgs,
        (scratch, store): (&Scratch, &StoreName),
        pairs: &[Pair],
        restarts: &mpsc::UnboundedSender<u64>,
    ) -> anyhow::Result<Self> {
        let processes = pairs.len().min(MOST_PROCESSES);
        let mut fleet = Self {
            readers: Vec::new(),
            senders: Vec::new(),
            triggers: Vec::new(),
        };
        for n in 0..processes {
            let work = Work::Receiver(ReceiverJob {
                store: store.clone(),
                agents: agents(pairs, n, processes, |pair| &pair.reader),
                journal: PathBuf::new(),
                lose_one: args.lose_one && n == 0,
            });
            let name = format!("reader-{n}");
            let (place, trigger) = Place::start(name, scratch, work, restarts).await?;
            fleet.readers.push(place);
            fleet.triggers.push(trigger);
        }
        for reader in &mut fleet.readers {
            reader.child.hear::<Progress>().await?;
        }
        for n in 0..processes {
            let work = Work::Sender(SenderJob {
                store: store.clone(),
                agents: agents(pairs, n, processes, |pair| &pair.sender),
                duration: args.duration,
                rate: args.rate,
                size: args.size,
                journal: PathBuf::new(),
                resume: Vec::new(),
            });
            let name = format!("sender-{n}");
            let (place, trigger) = Place::start(name, scratch, work, restarts).await?;
            fleet.senders.push(place);
            fleet.triggers.push(trigger);
        }
        Ok(fleet)
    }

    /// Waits for the senders, then for the readers; returns all journals, those
    /// of one place in their order.
    async fn run(self, duration: Duration, kill: Option<Every>) -> anyhow::Result<Vec<PathBuf>> {
        let until = Instant::now() + duration;
        let had = Arc::new(AtomicU64::new(0));
        let progress = progress(duration);
        let mut beside = JoinSet::new();
        beside.spawn(draw(progress.clone(), Arc::clone(&had)));
        if let Some(every) = kill {
            beside.spawn(kill_at_random(every, self.triggers, until));
        }

        let (mut sending, mut reading) = (JoinSet::new(), JoinSet::new());
        for mut sender in self.senders {
            sending.spawn(async move {
                loop {
                    let said = match sender.hear().await? {
                        Some(said) => said,
                        None => sender.begin_anew(until).await?,
                    };
                    if said.ready {
                        break;
                    }
                }
                sender.child.finish().await?;
                anyhow::Ok(sender.journals)
            });
        }
        let (drain, draining) = watch::channel(false);
        for reader in self.readers {
            reading.spawn(follow_reader(
                reader,
                until,
                draining.clone(),
                Arc::clone(&had),
            ));
        }
        let mut journals = Vec::new();
        while let Some(sender) = sending.join_next().await {
            journals.extend(sender??);
        }
        tokio::time::sleep(GRACE).await;
        drain.send(true)?;
        while let Some(reader) = reading.join_next().await {
            journals.extend(reader??);
        }
        progress.finish_and_clear();
        Ok(journals)
    }
}

async fn follow_reader(
    mut reader: Place,
    until: Instant,
    mut draining: watch::Receiver<bool>,
    had: Arc<AtomicU64>,
) -> anyhow::Result<Vec<PathBuf>> {
    let mut before = 0;
    loop {
        let heard = tokio::select! {
            heard = reader.hear() => heard?,
            _ = draining.wait_for(|drain| *drain) => break,
        };
        let said = match heard {
            Some(said) => said,
            None => reader.begin_anew(until).await?,
        };
        had.fetch_add(said.count.saturating_sub(before), Ordering::Relaxed);
        before = said.count;
    }
    reader.child.order("drain").await?;
    reader.child.ended().await?;
    Ok(reader.journals)
}

/// The agents of process `n`: the pairs take turns.
fn agents<'a>(
    pairs: &'a [Pair],
    n: usize,
    processes: usize,
    side: impl Fn(&'a Pair) -> &'a Login,
) -> Vec<Agent> {
    (0_u32..)
        .zip(pairs)
        .skip(n)
        .step_by(processes)
        .map(|(pair, logins)| Agent {
            pair,
            login: side(logins).clone(),
        })
        .collect()
}

fn progress(duration: Duration) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {eta} left, {msg} messages read");
    // Draws to stderr, and only if that is a terminal.
    let bar = ProgressBar::new(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

async fn draw(bar: ProgressBar, had: Arc<AtomicU64>) {
    let start = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        bar.set_message(had.load(Ordering::Relaxed).to_string());
        bar.set_position(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
    }
}

impl Report {
    fn print(&self) -> anyhow::Result<()> {
        let (verdict, settings) = (&self.verdict, &self.settings);
        let mut out = anstream::stdout().lock();
        writeln!(
            out,
            "{} senders and as many readers in {} processes, {} a second each, {}\n{}\n",
            settings.agents,
            settings.processes,
            settings.rate_per_second,
            humantime::format_duration(Duration::from_secs_f64(settings.duration_seconds)),
            self.environment.describe(),
        )?;
        let mut table =
            Table::new(&["from COMMIT to", "p50", "p90", "p99", "max", "mean"]).figures(1..6);
        for (title, us) in [
            ("the reader's process knows", self.seen_us),
            ("the reader has it, marked as read", self.fetched_us),
        ] {
            let us = |of: fn(Micros) -> f64| us.map_or("-".into(), |us| time(of(us)));
            table.row([
                title.into(),
                us(|us| us.p50).into(),
                us(|us| us.p90).into(),
                us(|us| us.p99).into(),
                us(|us| us.max).into(),
                us(|us| us.mean).into(),
            ]);
        }
        writeln!(out, "{}", table.render(0))?;
        writeln!(
            out,
            "sent {}, delivered {} ({} a second): {} lost, {} duplicate, {} out of order",
            verdict.sent,
            verdict.delivered,
            self.delivered_per_second,
            verdict.lost,
            verdict.duplicate,
            verdict.out_of_order,
        )?;
        for (count, what) in [
            (
                self.seen_early,
                "known before COMMIT had returned to the sender, counted as 0 us",
            ),
            (verdict.invented, "delivered, but never sent"),
            (verdict.in_doubt, "in doubt: their sender got no answer"),
            (
                verdict.without_ring,
                "found by a periodic look, not by the doorbell",
            ),
            (verdict.refused, "refused at first, and sent again"),
            (
                verdict.redelivered,
                "handed out again to a reader that was killed before it had confirmed them",
            ),
        ] {
            if count > 0 {
                writeln!(out, "{count} {what}")?;
            }
        }
        if let Some(Kills {
            count, restart_us, ..
        }) = self.kills
        {
            let us = |of: fn(Micros) -> f64| restart_us.map_or("-".into(), |us| time(of(us)));
            writeln!(
                out,
                "{count} processes killed; a new one works after p50 {}, p99 {}",
                us(|us| us.p50),
                us(|us| us.p99)
            )?;
        }
        if !self.intact {
            writeln!(out, "the store did not pass its integrity check")?;
        }
        for example in &verdict.examples {
            writeln!(out, "  {example}")?;
        }
        if let Some(kept) = &self.kept {
            writeln!(out, "kept: {}", kept.display())?;
        }
        Ok(())
    }
}
