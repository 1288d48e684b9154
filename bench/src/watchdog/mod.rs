//! `bench watchdog`: how soon a session that is gone is noticed and its task is with
//! another, what watching costs, and whether a session is declared lost wrongly.

mod desk;
mod detect;
mod growth;
mod mass;
mod pauses;
mod report;
mod yard;

use std::io::Write;

use super::scratch::{Environment, Scratch, time_fsync};
use super::stats::Histogram;
use crate::args::WatchdogArgs;
use mcp_bridge::exit::Exit;
use report::{Measured, Report};
use yard::Timers;

const FSYNCS: u32 = 200;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Part {
    /// Agents and hosts that die, with real daemons
    Detection,
    /// Heartbeat rounds and watchdog ticks, by the size of the fleet
    Growth,
    /// All sessions fall silent at once
    Mass,
    /// Daemons that are paused for a time; only with --pauses
    Pauses,
}

pub(super) async fn run(args: &WatchdogArgs, json: bool) -> anyhow::Result<Exit> {
    let wants = |part| args.only.is_empty() || args.only.contains(&part);
    let scratch = Scratch::new(&args.place)?;
    let mut environment = Environment::of(scratch.path());
    let mut fsync = Histogram::new();
    time_fsync(scratch.path(), FSYNCS, &mut fsync)?;
    let fleet = (args.sessions, args.hosts);
    let mut measured = Measured::default();
    if wants(Part::Detection) {
        let timers = if args.defaults {
            Timers::DEFAULT
        } else {
            Timers::QUICK
        };
        let detection = detect::measure(&scratch, fleet, args.kills, timers).await?;
        measured.detection = Some(detection);
    }
    if wants(Part::Growth) {
        let rounds = usize::try_from(args.rounds)?;
        measured.growth = Some(growth::measure(&scratch, &args.sizes, rounds).await?);
    }
    if wants(Part::Mass) {
        measured.mass = Some(mass::measure(&scratch, args.mass_sessions).await?);
    }
    if let Some(duration) = args.pauses.filter(|_| wants(Part::Pauses)) {
        measured.pauses = Some(pauses::measure(&scratch, fleet, duration).await?);
    }
    environment.close(&fsync);
    let report = Report::new(environment, measured);
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
