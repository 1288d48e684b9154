//! All sessions fall silent at once: a fault of the network or of the watchdog looks
//! like that, and must not end in thousands of moves. In this process, with the
//! product's own duties; the hosts are rows.

use std::time::Duration;

use anyhow::Context;
use rusqlite::Connection;
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use super::desk::{Desk, Host, beat, sessions_of};
use crate::scratch::{Scratch, make_store};
use mcp_bridge::duties::{Duty, DutyBell};
use mcp_bridge::store::SharedStore;

const HOSTS: usize = 100;
/// Hosts that come back while the rest stays away: they get the tasks.
const RETURNING: usize = 10;
/// Tasks on each host.
const TASKS: usize = 3;
/// Long enough for the slowest machine to beat in between.
const TTL: Duration = Duration::from_secs(5);
const HOLD: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_secs(1);
/// What `moves_per_second` allows by default.
pub(super) const RATE: usize = 50;
const PATIENCE: Duration = Duration::from_secs(120);

/// What became of it.
#[derive(Debug, Serialize)]
pub(super) struct Mass {
    pub(super) sessions: usize,
    pub(super) hosts: usize,
    ttl_seconds: f64,
    hold_seconds: f64,
    /// From the last heartbeat to the hold.
    pub(super) hold_entered_seconds: f64,
    /// Alerts of correlated silence.
    pub(super) alerts: u64,
    /// Given up before the hold was over.
    pub(super) lost_in_hold: u64,
    /// Given up although they were back.
    pub(super) returned_and_lost: u64,
    /// The longest time between two heartbeats of those who were back. From half
    /// a ttl on they were silent, too, by the fault of this machine.
    longest_pause_seconds: f64,
    pub(super) lost_after: u64,
    pub(super) moves: usize,
    /// In any second, by the store's history.
    pub(super) most_moves_in_a_second: usize,
    /// From the end of the hold to the last move.
    pub(super) moved_seconds: f64,
    /// Tasks without an owner that no agent is to get.
    pub(super) lost_tasks: u64,
}

pub(super) async fn measure(scratch: &Scratch, sessions: usize) -> anyhow::Result<Mass> {
    super::say(&format!("{sessions} sessions on {HOSTS} hosts fall silent"))?;
    let path = scratch.path().join("mass.db");
    let pairs = make_store(&path, u32::try_from(sessions.div_ceil(2))?).await?;
    let keys = sessions_of(&pairs);
    let text = format!(
        "[watchdog]\ncorrelated_hold = \"{}s\"\nidle_after = \"24h\"\nstalled_after = \"24h\"\n\
         [reassignment]\nmatch_role = \"any\"\n",
        HOLD.as_secs()
    );
    let desk = Desk::open(&path, &text).await?;
    let hosts = desk.hosts(&keys, keys.len().div_ceil(HOSTS)).await?;
    let mut raw = Connection::open(&path)?;
    raw.busy_timeout(PATIENCE)?;
    give_tasks(&mut raw, &hosts)?;
    let (store, stage) = (desk.store.clone(), Stage { hosts, raw });
    let Desk {
        mut watchdog,
        mut rest,
        links,
        ..
    } = desk;
    let quiet = DutyBell::default();
    let mass = tokio::select! {
        mass = stage.play(&store) => mass?,
        () = run(&mut watchdog, &quiet) => anyhow::bail!("the watchdog ended"),
        () = run(&mut rest.reassignment, &rest.reassignment_bell) => anyhow::bail!("the reassignment ended"),
        () = run(&mut rest.alerts, &rest.alerts_bell) => anyhow::bail!("the alerts ended"),
    };
    drop(links);
    store.close().await;
    Ok(mass)
}

/// As a daemon drives it.
async fn run(duty: &mut impl Duty, bell: &DutyBell) {
    loop {
        let round = duty.tick().await;
        tokio::select! {
            () = sleep_until(round.next) => {}
            () = bell.0.notified() => {}
        }
    }
}

fn give_tasks(raw: &mut Connection, hosts: &[Host]) -> anyhow::Result<()> {
    let all = raw.transaction()?;
    for host in hosts {
        for key in host.keys.iter().take(TASKS) {
            all.execute(
                "INSERT INTO bridge_task (role, title, body, state, fence, owner_conversation,
                     owner_session, created_ms, changed_ms)
                 VALUES ('reader', 'work', 'work', 'leased', 1, ?1, ?2, 1, 1)",
                (key.conversation.as_str(), key.side.as_str()),
            )?;
        }
    }
    all.commit()?;
    Ok(())
}

struct Stage {
    hosts: Vec<Host>,
    raw: Connection,
}

impl Stage {
    async fn play(&self, store: &SharedStore) -> anyhow::Result<Mass> {
        let all = &self.hosts[..];
        let back = &all[..RETURNING.min(all.len())];
        // Longer than a ttl: before that no session would be declared lost anyway.
        let begun = Instant::now();
        while begun.elapsed() < TTL + INTERVAL {
            round(store, all).await?;
        }
        let silent = Instant::now();
        let until = silent + PATIENCE;
        while self.alerts()? == 0 {
            anyhow::ensure!(Instant::now() < until, "no hold was entered");
            sleep(Duration::from_millis(5)).await;
        }
        let entered = Instant::now();
        let mut lost_in_hold = 0;
        let mut pauses = Pauses::default();
        // The alert is written a little after the hold began.
        while entered.elapsed() < HOLD.mul_f64(0.9) {
            round(store, back).await?;
            pauses.beaten();
            let gone = self.gone()?;
            // A round that the machine held up may end after the hold.
            if entered.elapsed() < HOLD.mul_f64(0.9) {
                lost_in_hold = lost_in_hold.max(gone);
            }
        }
        let expected = (all.len() - back.len()) * TASKS;
        while self.moved()?.len() < expected {
            anyhow::ensure!(
                Instant::now() < until,
                "{} of {expected} tasks were moved, {} sessions are gone",
                self.moved()?.len(),
                self.gone()?
            );
            round(store, back).await?;
            pauses.beaten();
        }
        let moves = self.moved()?;
        let [first, last] = [moves.first(), moves.last()].map(|at| at.copied().unwrap_or(0));
        let window = |from: &i64| {
            moves
                .iter()
                .filter(|at| (*from..from + 1000).contains(*at))
                .count()
        };
        #[expect(clippy::cast_precision_loss, reason = "seconds of one run")]
        let moved_seconds = (last - first) as f64 / 1e3;
        Ok(Mass {
            sessions: all.iter().map(|host| host.keys.len()).sum(),
            hosts: all.len(),
            ttl_seconds: TTL.as_secs_f64(),
            hold_seconds: HOLD.as_secs_f64(),
            hold_entered_seconds: entered.duration_since(silent).as_secs_f64(),
            alerts: self.alerts()?,
            lost_in_hold,
            returned_and_lost: self.gone_of(back)?,
            longest_pause_seconds: pauses.longest.as_secs_f64(),
            lost_after: self.gone()?,
            moves: moves.len(),
            most_moves_in_a_second: moves.iter().map(window).max().unwrap_or(0),
            moved_seconds,
            lost_tasks: self.count(
                "SELECT count(*) FROM bridge_task WHERE state NOT IN ('leased', 'queued')",
            )?,
        })
    }

    fn count(&self, query: &str) -> anyhow::Result<u64> {
        let count: u32 = self
            .raw
            .query_row(query, [], |row| row.get(0))
            .context("asking the scratch store")?;
        Ok(count.into())
    }

    fn alerts(&self) -> anyhow::Result<u64> {
        self.count("SELECT count(*) FROM bridge_alert WHERE kind = 'correlated-silence'")
    }

    fn gone(&self) -> anyhow::Result<u64> {
        self.count("SELECT count(*) FROM bridge_session WHERE standing IN ('lost', 'exited')")
    }

    fn gone_of(&self, hosts: &[Host]) -> anyhow::Result<u64> {
        let mut gone = 0;
        for key in hosts.iter().flat_map(|host| &host.keys) {
            let count: u32 = self.raw.query_row(
                "SELECT count(*) FROM bridge_alert WHERE kind = 'lost'
                 AND conversation_id = ?1 AND session_id = ?2",
                (key.conversation.as_str(), key.side.as_str()),
                |row| row.get(0),
            )?;
            gone += u64::from(count);
        }
        Ok(gone)
    }

    /// When each move was made, by the store's own history, in its order.
    fn moved(&self) -> anyhow::Result<Vec<i64>> {
        let mut query = self.raw.prepare_cached(
            "SELECT min(at_ms) FROM bridge_task_history WHERE fence > 1
             GROUP BY task_id, fence ORDER BY 1",
        )?;
        let rows = query.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// How long a session that is back was silent at most.
#[derive(Debug, Default)]
struct Pauses {
    last: Option<Instant>,
    longest: Duration,
}

impl Pauses {
    fn beaten(&mut self) {
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            self.longest = self.longest.max(now - last);
        }
    }
}

/// A heartbeat of each of these hosts, and what is left of the interval.
async fn round(store: &SharedStore, hosts: &[Host]) -> anyhow::Result<()> {
    let next = Instant::now() + INTERVAL;
    for host in hosts {
        beat(store, host, TTL, false).await?;
    }
    sleep_until(next).await;
    Ok(())
}
