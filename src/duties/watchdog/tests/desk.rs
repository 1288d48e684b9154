//! An orchestrator's duties without a daemon around them, and hosts whose daemons
//! are only rows. The bench has its own, which measures.

use super::*;

/// What the store is called in its directory.
pub(super) const STORE: &str = "bridge.db";

/// The duties of an orchestrator that acts.
pub(super) struct Desk {
    pub(super) path: PathBuf,
    pub(super) store: SharedStore,
    pub(super) watchdog: Watchdog,
    pub(super) reassignment: Reassignment,
    _directory: TempDir,
    /// Both links end when these go.
    _links: (
        watch::Sender<Option<SharedStore>>,
        watch::Sender<Option<Leader>>,
    ),
}

/// A worker daemon, and the sessions that it keeps.
pub(super) struct Host {
    daemon: DaemonRef,
    pub(super) keys: Vec<SessionKey>,
}

impl Desk {
    /// Takes the lead of the store in `directory`; `text` is added to the configuration.
    pub(super) async fn open(directory: TempDir, text: &str) -> Self {
        let path = directory.path().join(STORE);
        let file = path.with_extension("orchestrator.toml");
        let url = serde_json::json!(&path);
        let text = format!("role = \"orchestrator\"\nstore.url = {url}\n{text}");
        std::fs::write(&file, text).expect("written");
        let settings = config::load(&file, []).expect("settings");
        let RoleSettings::Orchestrator(own) = &settings.role else {
            panic!("an orchestrator's configuration");
        };
        let store = SqliteStore::open(&path, Create::No).await.expect("open");
        let store: SharedStore = Arc::new(store);
        let now = clock::now();
        let daemon = store.register_daemon(&info("orchestrator"), now).await;
        let daemon = daemon.expect("known");
        let lead = store.take_lead(&daemon, None, TTL, now);
        let leader = lead.await.expect("asked").expect("the first");
        let (store_sender, store_link) = tokio::sync::watch::channel(Some(Arc::clone(&store)));
        let (leader_sender, leader_link) = tokio::sync::watch::channel(Some(leader));
        let links = (store_link, leader_link);
        let bells = Bells::default();
        let (alerts, _) = alerts::desk(bells.alerts.clone());
        let inbox = Arc::new(FleetInbox::new(bells.watchdog.clone()));
        let fleet = SharedFleet::default();
        let (own_links, inboxes) = (links.clone(), (inbox, fleet.clone()));
        Self {
            path,
            store,
            watchdog: Watchdog::new(own, own_links, inboxes, &bells, alerts.clone()),
            reassignment: Reassignment::new(own, links, fleet, &bells, alerts),
            _directory: directory,
            _links: (store_sender, leader_sender),
        }
    }

    /// One look of the watchdog; the first one of a large fleet takes several rounds,
    /// and so does one whose store was slow.
    pub(super) async fn tick(&mut self) -> WatchdogReport {
        let mut failed = 0;
        loop {
            let report = self.watchdog.tick().await.report;
            match Report::trouble(&report) {
                Some(trouble) if failed == 3 => panic!("the watchdog could not look: {trouble}"),
                Some(_) => failed += 1,
                None if report.complete => return report,
                None => {}
            }
        }
    }

    pub(super) async fn host(&self, name: &str, keys: Vec<SessionKey>) -> Host {
        let daemon = self.store.register_daemon(&info(name), clock::now()).await;
        let daemon = daemon.expect("known");
        Host { daemon, keys }
    }

    /// One heartbeat round of a host.
    pub(super) async fn beat(&self, host: &Host, ttl: Duration) {
        let beat = |session: &SessionKey| Beat {
            session: session.clone(),
            proof: ProofKind::Probe,
            process: None,
            renew_until: None,
        };
        let beats: Vec<Beat> = host.keys.iter().map(beat).collect();
        // Not this machine: no daemon here can look for these processes.
        let boot = Boot {
            id: host.daemon.id.clone(),
            ..host::boot()
        };
        let round = BeatRound {
            beats: &beats,
            daemon: &host.daemon,
            ttl,
            mirror: false,
            boot: &boot,
            now: clock::now(),
            wall: clock::now(),
        };
        let report = self.store.beat(&round).await.expect("beaten");
        assert_eq!(report.beaten, beats.len() as u64);
    }
}

fn info(name: &str) -> DaemonInfo {
    DaemonInfo {
        id: format!("{name}:tests"),
        role: "worker",
        host: name.to_owned(),
        boot_id: name.to_owned(),
        pid: std::process::id(),
    }
}
