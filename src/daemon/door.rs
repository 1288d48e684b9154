//! The daemon's door: its sockets, and who tells it of commits.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::server::{self, Door, Hub, Limits};
use crate::api::{Purpose, Sockets};
use crate::duties::links::StoreLink;
use crate::duties::{CommitListener, News};
use crate::host;
use crate::model::SessionKey;
use crate::supervisor::InstancePlace;

/// Whose members may be operators by the system's socket.
const OPERATORS: &str = "mcp-bridge-admin";

/// Tells the hub of what the doorbell heard.
pub(super) struct HubListener(pub(super) Arc<Hub>);

impl CommitListener for HubListener {
    fn wants_work(&self) -> bool {
        true
    }

    fn wants(&self) -> Option<Arc<HashSet<SessionKey>>> {
        Some(self.0.wanted())
    }

    fn begins(&self) {
        self.0.missed();
    }

    fn hears(&self, news: &News<'_>) {
        let arrivals = news.arrivals.iter();
        self.0
            .tell(arrivals.filter_map(|arrival| arrival.message.as_ref()));
        if news.work {
            self.0.signal();
        }
    }
}

/// A door that is open.
pub(super) struct Opened {
    ends: CancellationToken,
    serving: Option<JoinHandle<()>>,
}

impl Opened {
    /// Ends it, once the requests that are under way have their answers.
    pub(super) async fn close(self) {
        self.ends.cancel();
        if let Some(serving) = self.serving {
            // One that panicked has nothing to end.
            let _ = serving.await;
        }
    }
}

/// Who may use the sockets of the machine's own daemon: the group that it runs as, and
/// the operators'.
fn groups(sockets: &Sockets) -> [Option<u32>; 2] {
    let operators = host::group_number(OPERATORS);
    if operators.is_none() {
        warn!(
            event = "door-for-one-user",
            "{}: this machine has no group {OPERATORS}, so only {user} and root may use it; make the group (groupadd --system {OPERATORS}), put {user} into it (usermod -aG {OPERATORS} {user}), and restart this daemon",
            sockets.path(Purpose::Operators).display(),
            user = host::caller().name,
        );
    }
    let own = rustix::process::getegid().as_raw();
    [Some(own).filter(|group| *group != 0), operators]
}

/// Opens the door of this instance. Without it the daemon does all else.
pub(super) fn open(place: &InstancePlace, store: StoreLink, hub: Arc<Hub>) -> Opened {
    let ends = CancellationToken::new();
    let sockets = Sockets::at(&place.directory);
    let groups = match place.is_system {
        true => groups(&sockets),
        false => [None, None],
    };
    let bound = match server::bind(&sockets, groups) {
        Ok(bound) => bound,
        Err(error) => {
            warn!(
                event = "door-not-open",
                "no program can ask this daemon for its store: {error}"
            );
            let serving = None;
            return Opened { ends, serving };
        }
    };
    info!(
        event = "door-open",
        "programs may ask at {}",
        sockets.path(Purpose::Sessions).display()
    );
    let door = Door::new(store, hub, Limits::default(), ends.clone());
    let serving = Some(tokio::spawn(door.serve(bound)));
    Opened { ends, serving }
}
