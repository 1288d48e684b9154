//! An orchestrator's duties without a daemon around them, and hosts whose
//! daemons are only rows: for what is measured in this process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;

use crate::scratch::Pair;
use mcp_bridge::clock;
use mcp_bridge::config::{self, RoleSettings, Settings};
use mcp_bridge::duties::alerts::{self, AlertDesk, Alerts};
use mcp_bridge::duties::links::{LeaderLink, StoreLink};
use mcp_bridge::duties::reassignment::Reassignment;
use mcp_bridge::duties::watchdog::{Watchdog, WatchdogReport};
use mcp_bridge::duties::{Bells, Duty, DutyBell, FleetInbox, Report, SharedFleet};
use mcp_bridge::host;
use mcp_bridge::model::session::ProofKind;
use mcp_bridge::model::{SessionKey, Side};
use mcp_bridge::store::sqlite::{Create, SqliteStore};
use mcp_bridge::store::{Beat, BeatRound, Boot, DaemonInfo, DaemonRef, Leader, SharedStore};

/// How often a tick may find the store too slow and begin again, as in the
/// daemon.
const TRIES: u32 = 3;

/// A worker daemon, and the sessions that it keeps.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) daemon: DaemonRef,
    pub(super) keys: Vec<SessionKey>,
}

/// The duties of an orchestrator that acts, and what wakes them.
pub(super) struct Desk {
    pub(super) store: SharedStore,
    settings: Settings,
    leader: Leader,
    /// Both links end when these go.
    pub(super) links: (
        watch::Sender<Option<SharedStore>>,
        watch::Sender<Option<Leader>>,
    ),
    pub(super) watchdog: Watchdog,
    pub(super) rest: Rest,
}

/// What `bench` needs besides the watchdog where tasks move.
pub(super) struct Rest {
    pub(super) reassignment: Reassignment,
    pub(super) reassignment_bell: DutyBell,
    pub(super) alerts: Alerts,
    pub(super) alerts_bell: DutyBell,
}

impl Desk {
    /// Takes the lead of the store at `path`; `text` is added to the
    /// configuration.
    pub(super) async fn open(path: &Path, text: &str) -> anyhow::Result<Self> {
        let file = path.with_extension("orchestrator.toml");
        let url = serde_json::json!(path);
        std::fs::write(
            &file,
            format!("role = \"orchestrator\"\nstore.url = {url}\n{text}"),
        )?;
        let settings = config::load(&file, [])?;
        let store: SharedStore = Arc::new(SqliteStore::open(path, Create::No).await?);
        let now = clock::now();
        let daemon = store.register_daemon(&info("orchestrator"), now).await?;
        let ttl = Duration::from_secs(60);
        let leader = store.take_lead(&daemon, None, ttl, now).await?;
        let leader = leader.context("an orchestrator leads a scratch store")?;
        let (store_sender, store_link) = watch::channel(Some(Arc::clone(&store)));
        let (leader_sender, leader_link) = watch::channel(Some(leader.clone()));
        let (watchdog, rest) = duties(&settings, (store_link, leader_link))?;
        Ok(Self {
            store,
            settings,
            leader,
            links: (store_sender, leader_sender),
            watchdog,
            rest,
        })
    }

    /// The duties of an orchestrator that has just begun.
    pub(super) fn begin_anew(&mut self) -> anyhow::Result<()> {
        let links = (self.links.0.subscribe(), self.links.1.subscribe());
        (self.watchdog, self.rest) = duties(&self.settings, links)?;
        Ok(())
    }

    /// One tick of the watchdog, in nanoseconds; the first one of a large fleet
    /// takes several rounds, and so does one whose store was slow.
    pub(super) async fn tick(&mut self) -> anyhow::Result<(u64, WatchdogReport)> {
        let begun = clock::monotonic_nanos();
        let mut failed = 0;
        loop {
            let report = self.watchdog.tick().await.report;
            let took = clock::monotonic_nanos() - begun;
            match Report::trouble(&report) {
                Some(trouble) if failed == TRIES => {
                    anyhow::bail!("the watchdog could not look: {trouble}");
                }
                Some(_) => failed += 1,
                None if report.complete => return Ok((took, report)),
                None => {}
            }
        }
    }

    /// A daemon of its own for each group of sessions.
    pub(super) async fn hosts(
        &self,
        keys: &[SessionKey],
        each: usize,
    ) -> anyhow::Result<Vec<Host>> {
        let mut hosts = Vec::new();
        for (n, keys) in keys.chunks(each).enumerate() {
            hosts.push(self.host(&format!("host-{n}"), keys.to_vec()).await?);
        }
        Ok(hosts)
    }

    pub(super) async fn host(&self, name: &str, keys: Vec<SessionKey>) -> anyhow::Result<Host> {
        let daemon = self
            .store
            .register_daemon(&info(name), clock::now())
            .await?;
        Ok(Host { daemon, keys })
    }

    /// One heartbeat round of a host, in nanoseconds.
    pub(super) async fn beat(
        &self,
        host: &Host,
        ttl: Duration,
        mirror: bool,
    ) -> anyhow::Result<u64> {
        beat(&self.store, host, ttl, mirror).await
    }

    pub(super) async fn close(self) {
        let _ = self.store.give_up_lead(&self.leader).await;
        self.store.close().await;
    }
}

/// One heartbeat round of a host, in nanoseconds.
pub(super) async fn beat(
    store: &SharedStore,
    host: &Host,
    ttl: Duration,
    mirror: bool,
) -> anyhow::Result<u64> {
    let beats: Vec<Beat> = host.keys.iter().map(beat_of).collect();
    // Not this machine: no daemon here can look for these processes.
    let boot = Boot {
        id: host.daemon.id.clone(),
        ..host::boot()
    };
    let round = BeatRound {
        beats: &beats,
        daemon: &host.daemon,
        ttl,
        mirror,
        boot: &boot,
        now: clock::now(),
        wall: clock::now(),
    };
    let begun = clock::monotonic_nanos();
    let report = store.beat(&round).await?;
    let took = clock::monotonic_nanos() - begun;
    anyhow::ensure!(
        report.beaten == beats.len() as u64,
        "{} of {} heartbeats were written",
        report.beaten,
        beats.len()
    );
    Ok(took)
}

fn duties(settings: &Settings, links: (StoreLink, LeaderLink)) -> anyhow::Result<(Watchdog, Rest)> {
    let RoleSettings::Orchestrator(own) = &settings.role else {
        anyhow::bail!("an orchestrator's configuration is needed");
    };
    let bells = Bells::default();
    let (desk, requests): (AlertDesk, _) = alerts::desk(bells.alerts.clone());
    let inbox = Arc::new(FleetInbox::new(bells.watchdog.clone()));
    let fleet = SharedFleet::default();
    let watchdog = Watchdog::new(
        own,
        links.clone(),
        (inbox, fleet.clone()),
        &bells,
        desk.clone(),
    );
    let reassignment = Reassignment::new(own, links.clone(), fleet, &bells, desk);
    let alerts = Alerts::new(
        &settings.alert,
        links.0,
        Some(links.1),
        "bench".to_owned(),
        &bells,
        requests,
    );
    let rest = Rest {
        reassignment,
        reassignment_bell: bells.reassignment,
        alerts,
        alerts_bell: bells.alerts,
    };
    Ok((watchdog, rest))
}

fn info(name: &str) -> DaemonInfo {
    DaemonInfo {
        id: format!("{name}:bench"),
        role: "worker",
        host: name.to_owned(),
        boot_id: name.to_owned(),
        pid: std::process::id(),
    }
}

fn beat_of(session: &SessionKey) -> Beat {
    Beat {
        session: session.clone(),
        proof: ProofKind::Probe,
        process: None,
        renew_until: None,
    }
}

/// Both sides of every pair.
pub(super) fn sessions_of(pairs: &[Pair]) -> Vec<SessionKey> {
    let both = |pair: &Pair| {
        let id = pair.sender.conversation().clone();
        Side::BOTH.map(|side| SessionKey::new(id.clone(), side))
    };
    pairs.iter().flat_map(both).collect()
}
