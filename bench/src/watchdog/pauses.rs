//! Daemons that stand still for a while and go on, as in a virtual machine that is
//! moved: no session may be declared lost for that.

use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::Signal;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::yard::{Daemon, Timers, Yard};
use crate::scratch::Scratch;

/// The longest pause: below the ttl by an interval and a round.
const LONGEST: Duration = Duration::from_secs(10);
const SHORTEST: Duration = Duration::from_millis(200);

/// What became of it.
#[derive(Debug, Serialize)]
pub(super) struct Pauses {
    pub(super) sessions: usize,
    pub(super) hosts: usize,
    /// Whether the orchestrator could not look at the agents itself.
    pub(super) isolated: bool,
    pub(super) timers: Timers,
    pub(super) seconds: f64,
    pub(super) pauses: usize,
    pub(super) longest_seconds: f64,
    pub(super) false_lost: u64,
}

pub(super) async fn measure(
    scratch: &Scratch,
    (sessions, hosts): (usize, usize),
    duration: Duration,
) -> anyhow::Result<Pauses> {
    super::say("daemons are paused, up to 10 s each")?;
    let timers = Timers::DEFAULT;
    let yard = Yard::open(scratch, "pauses", (sessions, hosts), timers).await?;
    yard.give_tasks().await?;
    let end = Instant::now() + duration;
    let mut all = Vec::new();
    for (host, daemon) in yard.daemons.iter().enumerate() {
        if let Some(daemon) = daemon {
            all.push(pause(&yard, daemon, Some(host), end));
        }
    }
    if let Some(orchestrator) = &yard.orchestrator {
        all.push(pause(&yard, orchestrator, None, end));
    }
    let mut pauses = Vec::new();
    for made in join_all(all).await {
        pauses.extend(made?);
    }
    // Sessions that the last of them would cost are lost by now.
    sleep(timers.ttl + timers.check * 2).await;
    let false_lost = yard.false_lost()?;
    let isolated = yard.isolated;
    yard.close().await?;
    Ok(Pauses {
        sessions,
        hosts,
        isolated,
        timers,
        seconds: duration.as_secs_f64(),
        pauses: pauses.len(),
        longest_seconds: pauses.iter().max().map_or(0.0, Duration::as_secs_f64),
        false_lost,
    })
}

/// Pauses one daemon again and again; a worker's goes on only once its sessions
/// were kept in between, or two pauses would be one.
async fn pause(
    yard: &Yard,
    daemon: &Daemon,
    host: Option<usize>,
    end: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut made = Vec::new();
    loop {
        sleep(Duration::from_secs(3).mul_f64(fastrand::f64())).await;
        let pause = SHORTEST + (LONGEST - SHORTEST).mul_f64(fastrand::f64());
        if Instant::now() + pause >= end {
            return Ok(made);
        }
        daemon.signal(Signal::STOP)?;
        let begun = Instant::now();
        sleep(pause).await;
        daemon.signal(Signal::CONT)?;
        made.push(begun.elapsed());
        let Some(host) = host else { continue };
        for n in yard.on(host) {
            let before = yard.beats(n)?;
            yard.until("a heartbeat after a pause", async |yard| {
                Ok((yard.beats(n)? > before).then_some(()))
            })
            .await?;
        }
    }
}
