//! What `bench watchdog` prints: tables for people, one JSON object for scripts.
//! The JSON's fields are documented in `docs/bench.md`.

use std::io::Write;

use serde::Serialize;

use super::growth::Size;
use super::mass::{Mass, RATE};
use crate::cli::bench::scratch::Environment;
use crate::cli::bench::stats::{Micros, time};
use crate::cli::table::{Cell, Table, WARN};

#[derive(Debug, Serialize)]
pub(super) struct Report {
    bench: &'static str,
    version: u32,
    environment: Environment,
    growth: Option<Vec<Size>>,
    mass: Option<Mass>,
    verdict: Verdict,
}

/// What must not be. Anything else than 0 fails the run.
#[derive(Debug, Default, Serialize)]
pub(super) struct Verdict {
    /// Sessions that were given up and should not have been.
    false_lost: u64,
    /// Leases that were over and whose writes were accepted.
    double_fences: u64,
    /// Tasks that nobody could end.
    lost_tasks: u64,
}

impl Report {
    pub(super) fn new(
        environment: Environment,
        growth: Option<Vec<Size>>,
        mass: Option<Mass>,
    ) -> Self {
        let mut verdict = Verdict::default();
        if let Some(mass) = &mass {
            verdict.false_lost += mass.lost_in_hold + mass.returned_and_lost;
            verdict.lost_tasks += mass.left;
        }
        Self {
            bench: "watchdog",
            version: 1,
            environment,
            growth,
            mass,
            verdict,
        }
    }

    pub(super) fn is_clean(&self) -> bool {
        let Verdict {
            false_lost,
            double_fences,
            lost_tasks,
        } = self.verdict;
        false_lost + double_fences + lost_tasks == 0
    }

    pub(super) fn print(&self) -> anyhow::Result<()> {
        let mut out = anstream::stdout().lock();
        writeln!(out, "{}", self.environment.describe())?;
        if let Some(sizes) = &self.growth {
            writeln!(out, "\nwhat it costs, and how that grows\n")?;
            writeln!(out, "{}", growth_table(sizes).render(0))?;
            writeln!(
                out,
                "x tenth: p50 over the p50 with a tenth of the sessions. The goal stands for 10,000."
            )?;
        }
        if let Some(mass) = &self.mass {
            print_mass(&mut out, mass)?;
        }
        let Verdict {
            false_lost,
            double_fences,
            lost_tasks,
        } = self.verdict;
        writeln!(
            out,
            "\n{false_lost} given up wrongly, {double_fences} writes with an old fence accepted, {lost_tasks} tasks lost"
        )?;
        Ok(())
    }
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
