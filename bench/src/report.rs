//! What `bench latency` prints: a table for people, one JSON object for
//! scripts. The JSON's fields are documented in `docs/bench.md`.

use std::io::Write;

use serde::Serialize;

use super::measured::Measured;
use super::rows::{COMPUTED, Goal, TIMES_FLOOR};
use super::scratch::Environment;
use super::stats::{Histogram, Micros, time};
use super::writers::From;
use crate::args::LatencyArgs;
use mcp_bridge::cli::table::{Cell, Table, WARN};

#[derive(Debug, Serialize)]
pub(super) struct Report {
    bench: &'static str,
    version: u32,
    settings: Settings,
    environment: Environment,
    rows: Vec<Line>,
}

#[derive(Debug, Serialize)]
pub(super) struct Settings {
    messages: u32,
    rounds: u32,
    size_bytes: u32,
    gap_us: u128,
}

#[derive(Debug, Serialize)]
struct Line {
    row: &'static str,
    #[serde(skip)]
    title: &'static str,
    /// `measured`, or `computed` from the times of the commits.
    source: &'static str,
    from: From,
    messages: u64,
    missing: u64,
    early: u64,
    after_next_commit: u64,
    looks_per_message: Option<f64>,
    latency_us: Option<Micros>,
    floor: Option<Floor>,
    goal_us: Option<Goal>,
    met: Option<bool>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Floor {
    row: &'static str,
    times_p50: f64,
    times_p99: f64,
}

impl Settings {
    pub(super) fn new(args: &LatencyArgs, rounds: u32) -> Self {
        Self {
            messages: args.messages,
            rounds,
            size_bytes: args.size,
            gap_us: args.gap.as_micros(),
        }
    }
}

impl Line {
    fn new(measured: &Measured, all: &[Measured]) -> Self {
        let latency = measured.latency.micros();
        let floor = measured.row.floor.and_then(|name| {
            let floor = all.iter().find(|other| other.row.name == name)?;
            let (ours, bare) = (latency?, floor.latency.micros()?);
            // Most lines of the floor were out before the writer's task had its
            // COMMIT back: this run cannot tell how far above it a row stands.
            if bare.p50 < 1.0 || bare.p99 < 1.0 {
                return None;
            }
            let times = |ours: f64, bare: f64| round(ours / bare, 100.0);
            Some(Floor {
                row: name,
                times_p50: times(ours.p50, bare.p50),
                times_p99: times(ours.p99, bare.p99),
            })
        });
        let goal = measured.row.goal;
        let in_time = goal.zip(latency).map(|(goal, latency)| {
            latency.p50 <= goal.p50 && latency.p99 <= goal.p99 && measured.after_next == 0
        });
        let near = floor.map(|floor| floor.times_p50 <= TIMES_FLOOR);
        Self {
            row: measured.row.name,
            title: measured.row.title,
            source: "measured",
            from: measured.row.from,
            messages: measured.latency.len() + measured.missing,
            missing: measured.missing,
            early: measured.early,
            after_next_commit: measured.after_next,
            looks_per_message: measured.looks.map(|(looks, found)| {
                #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
                round(looks as f64 / found.max(1) as f64, 100.0)
            }),
            latency_us: latency,
            floor,
            goal_us: goal,
            met: match (in_time, near) {
                (None, None) => None,
                (a, b) => Some(a.unwrap_or(true) && b.unwrap_or(true)),
            },
        }
    }

    /// Waiting 30 s for each message would take a day, and needs no
    /// measurement: it is the distance to the poller's next turn, over all
    /// phases that its clock can have.
    fn computed(commits: &[u64]) -> Self {
        const PERIOD: u64 = 30_000_000_000;
        const PHASES: u64 = 100;
        let mut latency = Histogram::new();
        for commit in commits {
            for phase in 0..PHASES {
                let since = (commit + phase * (PERIOD / PHASES)) % PERIOD;
                latency.record(PERIOD - since);
            }
        }
        let (row, title) = COMPUTED;
        Self {
            row,
            title,
            source: "computed",
            from: From::Commit,
            messages: commits.len() as u64,
            missing: 0,
            early: 0,
            after_next_commit: 0,
            looks_per_message: None,
            latency_us: latency.micros(),
            floor: None,
            goal_us: None,
            met: None,
        }
    }

    fn verdict(&self) -> Cell {
        let mut parts = Vec::new();
        if let Some(goal) = self.goal_us {
            parts.push(format!("p50 {}, p99 {}", time(goal.p50), time(goal.p99)));
        }
        if self.floor.is_some() {
            parts.push(format!("{TIMES_FLOOR:.0} x floor"));
        }
        match self.met {
            None => "".into(),
            Some(true) => format!("met: {}", parts.join(", ")).into(),
            Some(false) => Cell::new(format!("NOT met: {}", parts.join(", ")), WARN),
        }
    }
}

fn round(value: f64, unit: f64) -> f64 {
    (value * unit).round() / unit
}

impl Report {
    pub(super) fn new(
        settings: Settings,
        environment: Environment,
        table: &[Measured],
        commits: &[u64],
    ) -> Self {
        let mut rows: Vec<Line> = table.iter().map(|row| Line::new(row, table)).collect();
        rows.push(Line::computed(commits));
        Self {
            bench: "latency",
            version: 1,
            settings,
            environment,
            rows,
        }
    }

    pub(super) fn print(&self) -> anyhow::Result<()> {
        let mut out = anstream::stdout().lock();
        let Settings {
            messages,
            rounds,
            size_bytes,
            ..
        } = self.settings;
        writeln!(
            out,
            "COMMIT returned -> the line is out, in another process\n\
             {messages} messages of {size_bytes} bytes a row, one every {}, in {rounds} rounds\n{}\n",
            humantime::format_duration(std::time::Duration::from_micros(u64::try_from(
                self.settings.gap_us
            )?)),
            self.environment.describe()
        )?;
        writeln!(out, "{}", self.table().render(0))?;
        writeln!(
            out,
            "x floor: p50 over the p50 of the bare floor; for our own `send`, with a bare writer that rings.\n\
             early: the line was out before the thread that committed had its COMMIT back, counted as 0.\n\
             late: out only after the next commit. Goals are for a quiet machine; compare figures of one\n\
             run only."
        )?;
        for line in &self.rows {
            if line.missing > 0 {
                writeln!(out, "LOST: {} messages of {}", line.missing, line.row)?;
            }
        }
        Ok(())
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&[
            "path", "p50", "p90", "p99", "max", "mean", "x floor", "looks", "early", "late", "goal",
        ])
        .figures(1..10);
        for line in &self.rows {
            let us = |of: fn(Micros) -> f64| line.latency_us.map_or("-".into(), |us| time(of(us)));
            let count = |n: u64| if n == 0 { String::new() } else { n.to_string() };
            let times = line.floor.map(|floor| format!("{:.2}", floor.times_p50));
            let looks = line.looks_per_message.map(|looks| format!("{looks:.2}"));
            table.row([
                line.title.into(),
                us(|us| us.p50).into(),
                us(|us| us.p90).into(),
                us(|us| us.p99).into(),
                us(|us| us.max).into(),
                us(|us| us.mean).into(),
                times.unwrap_or_default().into(),
                looks.unwrap_or_default().into(),
                count(line.early).into(),
                count(line.after_next_commit).into(),
                line.verdict(),
            ]);
        }
        table
    }
}
