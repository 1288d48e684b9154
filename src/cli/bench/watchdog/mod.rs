//! `bench watchdog`: how soon a session that is gone is noticed and its task is
//! with another, what watching costs, and whether anybody is given up wrongly.

mod desk;
mod growth;
mod mass;
mod report;

use std::io::Write;

use super::scratch::{Environment, Scratch, time_fsync};
use super::stats::Histogram;
use super::{Exit, WatchdogArgs};
use report::Report;

const FSYNCS: u32 = 200;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Part {
    /// Heartbeat rounds and watchdog ticks, by the size of the fleet
    Growth,
    /// Everybody falls silent at once
    Mass,
}

pub(super) async fn run(args: &WatchdogArgs, json: bool) -> anyhow::Result<Exit> {
    let wants = |part| args.only.is_empty() || args.only.contains(&part);
    let scratch = Scratch::new(&args.place)?;
    let mut environment = Environment::of(scratch.path());
    let mut fsync = Histogram::new();
    time_fsync(scratch.path(), FSYNCS, &mut fsync)?;
    let growth = if wants(Part::Growth) {
        Some(growth::measure(&scratch, &args.sizes, usize::try_from(args.rounds)?).await?)
    } else {
        None
    };
    let mass = if wants(Part::Mass) {
        Some(mass::measure(&scratch, args.mass_sessions).await?)
    } else {
        None
    };
    environment.close(&fsync);
    let report = Report::new(environment, growth, mass);
    if json {
        super::print_json(&report)?;
    } else {
        report.print()?;
    }
    Ok(if report.is_clean() {
        Exit::Success
    } else {
        Exit::Failure
    })
}

/// Tells a person who waits how far it is; a script reads stdout.
fn say(what: &str) -> anyhow::Result<()> {
    let mut err = anstream::stderr();
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        writeln!(err, "{what} ...")?;
    }
    Ok(())
}
