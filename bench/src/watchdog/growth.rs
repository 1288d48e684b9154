//! What heartbeats and looks cost, and how that grows: a scratch store of a given size,
//! the store's own calls, the product's own watchdog, in this process.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tokio::time::sleep;

use super::desk::{Desk, Host, sessions_of};
use crate::scratch::{Scratch, make_store};
use crate::stats::{Histogram, Micros};
use mcp_bridge::clock;
use mcp_bridge::model::SessionKey;

/// Sessions of one host.
const PER_HOST: usize = 100;
/// Beats of one host between two looks: an interval of 5 s, a look each second.
const LOOKS: usize = 5;
/// In one round of this many the heartbeat is copied for the Python bridge, once a
/// minute at an interval of 5 s.
const MIRRORED: usize = 12;
/// Sessions that are lost at once.
const LOST: usize = 50;
/// For how long a beat counts that is not to be lost.
const LONG: Duration = Duration::from_secs(24 * 3600);
/// The same for one that is.
const SHORT: Duration = Duration::from_millis(300);
/// What a round and a look may take at most with this many sessions.
const GOAL: (usize, Duration) = (10_000, Duration::from_millis(100));

/// What it costs with this number of sessions.
#[derive(Debug, Serialize)]
pub(super) struct Size {
    pub(super) sessions: usize,
    pub(super) rows: Vec<Cost>,
}

/// One kind of work.
#[derive(Debug, Serialize)]
pub(super) struct Cost {
    pub(super) what: &'static str,
    #[serde(skip)]
    pub(super) title: &'static str,
    pub(super) times: u64,
    pub(super) us: Option<Micros>,
    /// Its p50 over that of the tenth of the sessions.
    pub(super) times_tenth: Option<f64>,
    /// `None` where no goal was set.
    pub(super) met: Option<bool>,
}

/// Name in the JSON, words for people.
const ROWS: [(&str, &str); 7] = [
    (
        "host-round",
        "heartbeat round of one daemon, 100 sessions at most",
    ),
    ("round", "heartbeat round of all, in one daemon"),
    ("mirror-round", "the same, copied for the Python bridge"),
    ("tick-quiet", "watchdog tick, nothing new"),
    ("tick-changed", "watchdog tick, 20 % beat since"),
    ("tick-lost", "watchdog tick that finds 50 lost"),
    (
        "tick-first",
        "first watchdog tick after a start: all is read",
    ),
];

/// Measures each size in a store of its own.
pub(super) async fn measure(
    scratch: &Scratch,
    sizes: &[usize],
    rounds: usize,
) -> anyhow::Result<Vec<Size>> {
    let mut all: Vec<Size> = Vec::new();
    for &sessions in sizes {
        super::say(&format!("cost with {sessions} sessions"))?;
        let store = scratch.path().join(format!("growth-{sessions}.db"));
        let mut size = one(&store, sessions, rounds).await?;
        let tenth = all.iter().find(|size| size.sessions * 10 == sessions);
        for row in &mut size.rows {
            let before = tenth.and_then(|tenth| tenth.rows.iter().find(|r| r.what == row.what));
            row.times_tenth = before
                .and_then(|before| before.us)
                .zip(row.us)
                .filter(|(before, _)| before.p50 > 0.0)
                .map(|(before, now)| (now.p50 / before.p50 * 100.0).round() / 100.0);
        }
        all.push(size);
    }
    Ok(all)
}

async fn one(path: &Path, sessions: usize, rounds: usize) -> anyhow::Result<Size> {
    let pairs = u32::try_from(sessions.div_ceil(2))?;
    let pairs = make_store(path, pairs).await?;
    let mut keys = sessions_of(&pairs);
    keys.truncate(sessions);
    give_them_work(path, &keys)?;

    let mut desk = Desk::open(path, "").await?;
    let hosts = desk.hosts(&keys, PER_HOST).await?;
    let parts = parts(&hosts);
    let [mut host_round, mut round, mut mirror_round] = [(); 3].map(|()| Histogram::new());
    for turn in 0..(rounds / hosts.len()).max(3) {
        for host in &hosts {
            // The first one makes the rows.
            let took = desk.beat(host, LONG, false).await?;
            if turn > 0 {
                host_round.record(took);
            }
        }
    }
    let [mut quiet, mut changed, mut lost, mut first] = [(); 4].map(|()| Histogram::new());
    desk.tick().await?;
    for _ in 0..rounds {
        quiet.record(desk.tick().await.context("nothing new")?.0);
    }
    for turn in 0..rounds {
        // A daemon beats for all of its sessions at once; with fewer hosts than
        // looks, a fifth of the sessions of each.
        let beating = if hosts.len() < LOOKS { &parts } else { &hosts };
        for host in beating.iter().skip(turn % LOOKS).step_by(LOOKS) {
            desk.beat(host, LONG, false).await?;
        }
        changed.record(desk.tick().await.context("20 % beat since")?.0);
    }
    for _ in 0..(rounds / 20).max(3) {
        lost.record(lose(&mut desk, &parts).await.context("50 are lost")?);
    }
    for _ in 0..(rounds / 20).max(3) {
        desk.begin_anew()?;
        first.record(desk.tick().await.context("all is read")?.0);
    }

    for host in &hosts {
        desk.store.release(&host.daemon, None, clock::now()).await?;
    }
    let one = desk.host("all", keys.clone()).await?;
    desk.beat(&one, LONG, false).await?;
    for turn in 1..=rounds {
        let mirror = turn % MIRRORED == 0;
        let took = desk.beat(&one, LONG, mirror).await?;
        if mirror {
            mirror_round.record(took);
        } else {
            round.record(took);
        }
    }
    desk.close().await;
    let histograms = [host_round, round, mirror_round, quiet, changed, lost, first];
    Ok(Size {
        sessions,
        rows: ROWS
            .into_iter()
            .zip(histograms)
            .map(|((what, title), histogram)| cost(what, title, sessions, &histogram))
            .collect(),
    })
}

/// So that a fifth of the sessions can beat where there are few hosts.
fn parts(hosts: &[Host]) -> Vec<Host> {
    let size = match hosts {
        [one] => one.keys.len().div_ceil(LOOKS),
        _ => PER_HOST / LOOKS,
    };
    let part = |host: &Host, keys: &[SessionKey]| Host {
        daemon: host.daemon.clone(),
        keys: keys.to_vec(),
    };
    // Column by column, so that every fifth part is a fifth of the fleet.
    let chunks = hosts
        .iter()
        .map(|host| host.keys.chunks(size).map(|keys| part(host, keys)));
    chunks.flatten().collect()
}

/// Lets up to 50 sessions fall silent, times the tick that finds it, and brings
/// them back.
async fn lose(desk: &mut Desk, parts: &[Host]) -> anyhow::Result<u64> {
    let mut left = LOST;
    let mut silent = Vec::new();
    for part in parts {
        let mut part = part.clone();
        part.keys.truncate(left);
        left -= part.keys.len();
        if !part.keys.is_empty() {
            desk.beat(&part, SHORT, false).await?;
            silent.push(part);
        }
    }
    let expected: usize = silent.iter().map(|part| part.keys.len()).sum();
    desk.tick().await?;
    sleep(SHORT * 2).await;
    let (took, report) = desk.tick().await?;
    anyhow::ensure!(
        report.settled == expected,
        "{} of {expected} silent sessions were found lost",
        report.settled
    );
    for part in &silent {
        desk.beat(part, LONG, false).await?;
    }
    desk.tick().await?;
    Ok(took)
}

/// A fifth of the sessions have a task and unread mail; in one transaction,
/// which is faster than to live that life.
fn give_them_work(path: &Path, keys: &[SessionKey]) -> anyhow::Result<()> {
    let mut raw = rusqlite::Connection::open(path).context("opening the scratch store")?;
    let all = raw.transaction()?;
    {
        let mut message = all.prepare(
            "INSERT INTO messages (conversation_id, from_session, to_session, message, metadata,
                 timestamp) VALUES (?1, ?2, ?3, 'work', '{}', '2025-11-13T02:13:21.000000')",
        )?;
        let mut task = all.prepare(
            "INSERT INTO bridge_task (role, title, body, state, fence, owner_conversation,
                 owner_session, created_ms, changed_ms)
             VALUES ('reader', 'work', 'work', 'leased', 1, ?1, ?2, 1, 1)",
        )?;
        for key in keys.iter().step_by(5) {
            let (conversation, side) = (key.conversation.as_str(), key.side.as_str());
            let from = if side == "a" { "b" } else { "a" };
            message.execute((conversation, from, side))?;
            task.execute((conversation, side))?;
        }
    }
    all.commit()?;
    Ok(())
}

fn cost(what: &'static str, title: &'static str, sessions: usize, histogram: &Histogram) -> Cost {
    let us = histogram.micros();
    let (goal, most) = GOAL;
    // The first look is made once, before any duty relies on it.
    let judged = sessions == goal && what != "tick-first";
    Cost {
        what,
        title,
        times: histogram.len(),
        us,
        times_tenth: None,
        met: us
            .filter(|_| judged)
            .map(|us| us.p99 <= most.as_secs_f64() * 1e6),
    }
}
