//! Duty *door*: keeps the daemon's sockets open, or closed, as the settings say; and
//! connects them to the doorbell.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::server::{self, Door, Hub, Limits};
use crate::api::{Purpose, Sockets};
use crate::config::{ApiSettings, Settings};
use crate::duties::links::StoreLink;
use crate::duties::{CommitListener, Duty, News, Report, Round};
use crate::host;
use crate::model::SessionKey;
use crate::service_manager::{KeptSockets, Shelf};
use crate::supervisor::InstancePlace;
use crate::text::shown::shown;

/// Whose members may be operators by the system's socket.
const OPERATORS: &str = "mcp-bridge-admin";

/// When sockets that could not be made are tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// How long clients that connect wait for a store that is being opened, before they hear
/// that there is none.
const STORE: Duration = Duration::from_secs(1);

/// When a door that is as it should be is looked at again.
const LOOK: Duration = Duration::from_mins(1);

/// Tells the hub of what the doorbell heard.
pub(super) struct HubListener(pub(super) Arc<Hub>);

impl CommitListener for HubListener {
    fn wants_signals(&self) -> bool {
        true
    }

    fn wants(&self) -> Option<Arc<HashSet<SessionKey>>> {
        Some(self.0.wanted())
    }

    fn begins(&self) {
        self.0.missed();
        self.0.committed();
    }

    fn hears(&self, news: &News<'_>) {
        let arrivals = news.arrivals.iter();
        self.0
            .tell(arrivals.filter_map(|arrival| arrival.message.as_ref()));
        if news.signalled.access {
            self.0.access();
        }
        // It has the numbers of before, which no look behind the newest finds.
        if news.signalled.owed {
            self.0.missed();
        }
        self.0.committed();
    }
}

/// The duty.
pub(super) struct DoorKeeper {
    place: InstancePlace,
    store: StoreLink,
    hub: Arc<Hub>,
    settings: ApiSettings,
    entrance: Entrance,
    /// What the service manager kept of the daemon before this one, and where this one's
    /// sockets are kept.
    kept: KeptSockets,
    shelf: Shelf,
    /// Why it is not open, as it was logged.
    logged: Option<String>,
}

/// The door while it is open. It outlives the duty: programs may ask as long as other
/// duties still end.
#[derive(Debug, Clone, Default)]
pub(super) struct Entrance(Arc<Mutex<Option<Opened>>>);

/// A door that is open.
#[derive(Debug)]
struct Opened {
    door: Arc<Door>,
    ends: CancellationToken,
    serving: JoinHandle<()>,
    /// What the service manager calls its sockets.
    names: Vec<String>,
    /// Whether they stay where they are when it is closed.
    stays: Arc<AtomicBool>,
    /// Held for its drop, which ends them.
    _threads: Threads,
}

/// The door's own threads: no flood of requests keeps a duty from its turn.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            // One: a second one would be woken for each call, and find nothing to do.
            .worker_threads(1)
            .thread_name("door")
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    fn handle(&self) -> io::Result<&Handle> {
        let runtime = self.0.as_ref().map(Runtime::handle);
        runtime.ok_or_else(|| io::Error::other("the door's threads have ended"))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // One that the disk holds up is not waited for.
            runtime.shutdown_background();
        }
    }
}

/// Why it is not open, if it should be.
#[derive(Debug)]
pub(super) struct DoorReport(Option<String>);

impl Report for DoorReport {
    fn summary(&self) -> String {
        String::new()
    }

    fn trouble(&self) -> Option<String> {
        self.0.clone()
    }

    fn already_told(&self) -> bool {
        true
    }
}

impl Entrance {
    /// Closes the door, once the requests that are under way have their answers.
    pub(super) async fn close(&self) {
        if let Some(opened) = self.0.lock().await.take() {
            opened.close().await;
        }
    }
}

impl Opened {
    async fn close(self) {
        self.ends.cancel();
        // One that panicked has nothing to end.
        let _ = self.serving.await;
    }
}

impl DoorKeeper {
    /// Of the instance in this place.
    pub(super) fn new(
        settings: &ApiSettings,
        place: InstancePlace,
        store: StoreLink,
        hub: Arc<Hub>,
        (kept, shelf): (KeptSockets, Shelf),
    ) -> (Self, Entrance) {
        let entrance = Entrance::default();
        let keeper = Self {
            place,
            store,
            hub,
            settings: settings.clone(),
            entrance: entrance.clone(),
            kept,
            shelf,
            logged: None,
        };
        (keeper, entrance)
    }

    /// Sees to it that the door is as the settings say.
    async fn attend(&mut self) -> io::Result<()> {
        let place = self.entrance.clone();
        let mut entrance = place.0.lock().await;
        if let Some(ended) = entrance.take_if(|opened| opened.serving.is_finished()) {
            // It panicked, and the next one begins anew.
            self.forget(&ended.names);
        }
        match entrance.take() {
            Some(opened) if self.settings.enabled => {
                opened.door.limit(Limits::from(&self.settings));
                *entrance = Some(opened);
            }
            Some(opened) => {
                opened.stays.store(false, Ordering::Release);
                let names = opened.names.clone();
                opened.close().await;
                self.forget(&names);
                info!(
                    event = "door-closed",
                    "the sockets are closed: api.enabled is false"
                );
            }
            None if self.settings.enabled => *entrance = Some(self.open()?),
            None => {}
        }
        self.close_strangers();
        Ok(())
    }

    /// What the service manager kept and is no socket of this door, such as one at whose
    /// path another stands by now.
    fn close_strangers(&mut self) {
        let strangers = self.kept.close_rest();
        for name in &strangers {
            warn!(
                event = "descriptor-refused",
                "the service manager kept `{}`, which is not a socket of this daemon: closed",
                shown(name)
            );
        }
        self.forget(&strangers);
    }

    fn forget(&self, names: &[String]) {
        for name in names {
            self.shelf.forget(name);
        }
    }

    fn open(&mut self) -> io::Result<Opened> {
        let sockets = Sockets::at(&self.place.directory);
        let groups = match self.place.is_system {
            true => groups(&sockets),
            false => [None, None],
        };
        let threads = Threads::start()?;
        let bound = {
            // They hear of the sockets.
            let _inside = threads.handle()?.enter();
            server::bind(&sockets, groups, &mut self.kept)?
        };
        let (names, stays) = bound.give(&self.shelf)?;
        info!(
            event = "door-open",
            "listening at {}",
            sockets.path(Purpose::Sessions).display()
        );
        let ends = CancellationToken::new();
        let door = Door::new(
            self.store.clone(),
            Arc::clone(&self.hub),
            Limits::from(&self.settings),
            ends.clone(),
        );
        let serving = {
            let (door, ends, mut store) = (Arc::clone(&door), ends.clone(), self.store.clone());
            threads.handle()?.spawn(async move {
                let is_open = async { drop(store.wait_for(Option::is_some).await) };
                tokio::select! {
                    _ = timeout(STORE, is_open) => {}
                    () = ends.cancelled() => {}
                }
                door.serve(bound).await;
            })
        };
        Ok(Opened {
            door,
            ends,
            serving,
            names,
            stays,
            _threads: threads,
        })
    }
}

/// Who may use the sockets of the machine's own daemon: the group that it runs as, and
/// the operators'.
fn groups(sockets: &Sockets) -> [Option<u32>; 2] {
    let operators = host::group_number(OPERATORS);
    if operators.is_none() {
        warn!(
            event = "door-for-one-user",
            "{}: this machine has no group {OPERATORS}, so only {user} and root may use it; create the group (groupadd --system {OPERATORS}), put {user} into it (usermod -aG {OPERATORS} {user}), and restart this daemon",
            sockets.path(Purpose::Operators).display(),
            user = host::caller().name,
        );
    }
    let own = rustix::process::getegid().as_raw();
    [Some(own).filter(|group| *group != 0), operators]
}

impl Duty for DoorKeeper {
    type Report = DoorReport;

    fn name(&self) -> &'static str {
        "door"
    }

    async fn tick(&mut self) -> Round<DoorReport> {
        let trouble = self.attend().await.err();
        let trouble = trouble.map(|error| {
            format!("this daemon has no sockets, so no program can use its store: {error}")
        });
        if self.logged != trouble {
            if let Some(why) = &trouble {
                warn!(event = "door-not-open", "{why}");
            }
            self.logged.clone_from(&trouble);
        }
        let next = match trouble {
            Some(_) => AGAIN,
            None => LOOK,
        };
        Round {
            report: DoorReport(trouble),
            next: Instant::now() + next,
        }
    }

    fn reload(&mut self, settings: &Arc<Settings>) {
        self.settings = settings.api.clone();
    }
}
