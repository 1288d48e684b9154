//! What `bench watchdog` prints: tables for people, one JSON object for scripts.
//! The JSON's fields are documented in `docs/bench.md`.

use std::io::Write;

use serde::Serialize;

use super::detect::Detection;
use super::growth::Size;
use super::mass::{Mass, RATE};
use super::pauses::Pauses;
use super::yard::Timers;
use crate::scratch::Environment;
use crate::stats::{Micros, time};
use mcp_bridge::cli::table::{Cell, Table, WARN};

#[derive(Debug, Serialize)]
pub(super) struct Report {
    bench: &'static str,
    version: u32,
    environment: Environment,
    #[serde(flatten)]
    measured: Measured,
    verdict: Violations,
}

/// What was measured; nothing stands for what was not asked for.
#[derive(Debug, Default, Serialize)]
pub(super) struct Measured {
    pub(super) detection: Option<Detection>,
    pub(super) growth: Option<Vec<Size>>,
    pub(super) mass: Option<Mass>,
    pub(super) pauses: Option<Pauses>,
}

/// What must not be. Anything else than 0 fails the run.
#[derive(Debug, Default, Serialize)]
pub(super) struct Violations {
    /// Sessions that were given up and should not have been.
    false_lost: u64,
    /// Leases that were over and whose writes were accepted.
    double_fences: u64,
    /// Tasks that no agent could end.
    lost_tasks: u64,
}

impl Report {
    pub(super) fn new(environment: Environment, measured: Measured) -> Self {
        let mut verdict = Violations::default();
        if let Some(detection) = &measured.detection {
            verdict.false_lost += detection.false_lost;
            verdict.double_fences += detection.double_fences;
            verdict.lost_tasks += detection.lost_tasks;
        }
        if let Some(mass) = &measured.mass {
            verdict.false_lost += mass.lost_in_hold + mass.returned_and_lost;
            verdict.lost_tasks += mass.lost_tasks;
        }
        if let Some(pauses) = &measured.pauses {
            verdict.false_lost += pauses.false_lost;
        }
        Self {
            bench: "watchdog",
            version: 1,
            environment,
            measured,
            verdict,
        }
    }

    pub(super) fn is_clean(&self) -> bool {
        let Violations {
            false_lost,
            double_fences,
            lost_tasks,
        } = self.verdict;
        false_lost + double_fences + lost_tasks == 0
    }

    pub(super) fn print(&self) -> anyhow::Result<()> {
        let mut out = anstream::stdout().lock();
        writeln!(out, "{}", self.environment.describe())?;
        if let Some(detection) = &self.measured.detection {
            print_detection(&mut out, detection)?;
        }
        if let Some(sizes) = &self.measured.growth {
            writeln!(out, "\nwhat it costs, and how that grows\n")?;
            writeln!(out, "{}", growth_table(sizes).render(0))?;
            writeln!(
                out,
                "x tenth: p50 over the p50 with a tenth of the sessions. The goal stands for 10,000."
            )?;
        }
        if let Some(mass) = &self.measured.mass {
            print_mass(&mut out, mass)?;
        }
        if let Some(pauses) = &self.measured.pauses {
            print_pauses(&mut out, pauses)?;
        }
        let Violations {
            false_lost,
            double_fences,
            lost_tasks,
        } = self.verdict;
        writeln!(
            out,
            "\n{false_lost} wrongly declared lost, {double_fences} writes with an old fence accepted, {lost_tasks} tasks lost"
        )?;
        Ok(())
    }
}

fn print_detection(out: &mut impl Write, detection: &Detection) -> anyhow::Result<()> {
    let text = |time| humantime::format_duration(time);
    let Timers {
        interval,
        ttl,
        check,
        stalled_after,
    } = detection.timers;
    let hosts = if detection.isolated {
        "hosts with names of their own"
    } else {
        "daemons on one host, which this user may not divide"
    };
    writeln!(
        out,
        "\n{} sessions, {} {hosts}; heartbeat every {}, ttl {}, a look at least every {}, stalled after {}\n",
        detection.sessions,
        detection.hosts,
        text(interval),
        text(ttl),
        text(check),
        text(stalled_after),
    )?;
    let mut table = Table::new(&[
        "from the end to",
        "p50",
        "p99",
        "max",
        "times",
        "goal p99",
        "the scripts claim",
    ])
    .figures(1..5);
    for row in &detection.rows {
        let us = |of: fn(Micros) -> f64| row.us.map_or("-".into(), |us| time(of(us)));
        let goal = time(row.goal_us);
        table.row([
            row.title.into(),
            us(|us| us.p50).into(),
            us(|us| us.p99).into(),
            us(|us| us.max).into(),
            row.times.to_string().into(),
            match row.met {
                Some(false) => Cell::new(format!("NOT met: {goal}"), WARN),
                Some(true) => format!("met: {goal}").into(),
                None => "".into(),
            },
            row.scripts.into(),
        ]);
    }
    writeln!(out, "{}", table.render(0))?;
    if detection.timers != Timers::DEFAULT {
        let defaults = Timers::DEFAULT;
        writeln!(
            out,
            "With the defaults (heartbeat {}, ttl {}) a silence is found after ttl + a look = {} at most,\n\
             less the age of the last heartbeat; a stall after {} + a look. --defaults measures that.",
            text(defaults.interval),
            text(defaults.ttl),
            text(defaults.ttl + defaults.check),
            text(defaults.stalled_after),
        )?;
    }
    Ok(())
}

fn print_pauses(out: &mut impl Write, pauses: &Pauses) -> anyhow::Result<()> {
    writeln!(
        out,
        "\n{} pauses of daemons in {:.0} s, the longest {:.1} s, ttl {}: {} declared lost",
        pauses.pauses,
        pauses.seconds,
        pauses.longest_seconds,
        humantime::format_duration(pauses.timers.ttl),
        pauses.false_lost,
    )?;
    if !pauses.isolated {
        writeln!(
            out,
            "(the orchestrator could see the agents' processes itself, which spares them in any case)"
        )?;
    }
    Ok(())
}

fn growth_table(sizes: &[Size]) -> Table {
    let mut table = Table::new(&[
        "sessions", "work", "p50", "p90", "p99", "max", "times", "x tenth", "goal",
    ])
    .figures(2..8);
    for size in sizes {
        for row in &size.rows {
            let us = |of: fn(Micros) -> f64| row.us.map_or("-".into(), |us| time(of(us)));
            let tenth = row.times_tenth.map(|times| format!("{times:.2}"));
            table.row([
                size.sessions.to_string().into(),
                row.title.into(),
                us(|us| us.p50).into(),
                us(|us| us.p90).into(),
                us(|us| us.p99).into(),
                us(|us| us.max).into(),
                row.times.to_string().into(),
                tenth.unwrap_or_default().into(),
                match row.met {
                    None => "".into(),
                    Some(true) => "met: p99 100 ms".into(),
                    Some(false) => Cell::new("NOT met: p99 100 ms", WARN),
                },
            ]);
        }
    }
    table
}

fn print_mass(out: &mut impl Write, mass: &Mass) -> anyhow::Result<()> {
    writeln!(
        out,
        "\n{} sessions on {} hosts silent at once: hold after {:.1} s, {} alert, {} given up in the hold;\n\
         then {} given up, {} moves in {:.1} s, at most {} in a second ({RATE} allowed)",
        mass.sessions,
        mass.hosts,
        mass.hold_entered_seconds,
        mass.alerts,
        mass.lost_in_hold,
        mass.lost_after,
        mass.moves,
        mass.moved_seconds,
        mass.most_moves_in_a_second,
    )?;
    Ok(())
}
