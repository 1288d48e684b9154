//! The duties of either role, and which duty wakes which.
//!
//! A further duty is a bell of its own, a constructor here, and a line where it is
//! woken by more than time.

use std::sync::Arc;

use tokio::sync::watch;

use super::door::HubListener;
use crate::api::server::Hub;
use crate::config::{OrchestratorSettings, RoleSettings, Settings};
use crate::duties::alerts::{self, AlertDesk, Alerts};
use crate::duties::heartbeat::{Heartbeat, RegistrationListener, Witnessed};
use crate::duties::housekeeping::Housekeeping;
use crate::duties::leadership::{Leadership, Registration};
use crate::duties::links::{LeaderLink, StoreLink};
use crate::duties::message_watch::{MessageInbox, MessageWatch};
use crate::duties::reassignment::Reassignment;
use crate::duties::store_keeper::{Listeners, StoreKeeper};
use crate::duties::watchdog::Watchdog;
use crate::duties::{Bells, DutyBell, FleetInbox, SharedFleet};
use crate::store::DaemonInfo;
use crate::store::locate::Location;
use crate::supervisor::Supervisor;

/// Starts the duties of the role. A store that comes or goes wakes all; a session
/// that comes or goes, the message watch.
pub(super) fn start(
    supervisor: &mut Supervisor,
    settings: &Settings,
    (daemon, owner): (DaemonInfo, Option<u32>),
    location: Location,
    hub: Arc<Hub>,
) -> StoreLink {
    let bells = Bells::default();
    let (desk, requests) = alerts::desk(bells.alerts.clone());
    let name = daemon.id.clone();
    let orchestrator = match &settings.role {
        RoleSettings::Worker => None,
        RoleSettings::Orchestrator(own) => Some(own),
    };
    // All that hear of each commit.
    let mail = Arc::new(MessageInbox::new(bells.message_watch.clone()));
    let fleet = orchestrator.map(|_| Arc::new(FleetInbox::new(bells.watchdog.clone())));
    let mut listeners: Listeners = vec![Arc::clone(&mail) as _];
    listeners.push(Arc::new(HubListener(hub)));
    listeners.push(Arc::new(RegistrationListener(bells.heartbeat.clone())));
    listeners.extend(fleet.clone().map(|fleet| fleet as _));

    let (keeper, store) = StoreKeeper::new(settings, location, listeners, &bells, desk.clone());
    let (heartbeat, sessions) = Heartbeat::new(
        &settings.agents,
        (daemon, owner),
        store.clone(),
        &bells,
        desk.clone(),
    );
    rings(&store, [&bells.heartbeat, &bells.message_watch]);
    rings(&sessions, [&bells.message_watch]);
    let message_watch = MessageWatch::new(
        &settings.agents,
        name.clone(),
        store.clone(),
        sessions,
        mail,
        &bells,
        desk.clone(),
    );
    // In the order in which the status line tells of them.
    let leader = orchestrator.zip(fleet).map(|(own, inbox)| {
        let sight = Sight {
            store: store.clone(),
            registration: heartbeat.registration(),
            inbox,
            desk,
            witness: heartbeat.witness(),
        };
        start_orchestrator(supervisor, own, sight, &bells)
    });
    supervisor.spawn(heartbeat, &bells.heartbeat);
    supervisor.spawn(message_watch, &bells.message_watch);
    let alerts = Alerts::new(
        &settings.alert,
        store.clone(),
        leader,
        name,
        &bells,
        requests,
    );
    supervisor.spawn(alerts, &bells.alerts);
    supervisor.spawn(keeper, &bells.keeper);
    store
}

/// What the orchestrator's duties see with.
struct Sight {
    store: StoreLink,
    registration: Registration,
    inbox: Arc<FleetInbox>,
    desk: AlertDesk,
    witness: Witnessed,
}

/// Starts the duties that only an orchestrator has.
fn start_orchestrator(
    supervisor: &mut Supervisor,
    settings: &OrchestratorSettings,
    sight: Sight,
    bells: &Bells,
) -> LeaderLink {
    let Sight {
        store,
        registration,
        inbox,
        desk,
        witness,
    } = sight;
    rings(&registration, [&bells.leadership]);
    let (leadership, leader) =
        Leadership::new(settings.watchdog.leader_ttl, store.clone(), registration);
    let acting = [&bells.watchdog, &bells.reassignment, &bells.housekeeping];
    rings(&leader, acting);
    rings(&store, acting);
    let eyes = (store, leader.clone());
    let fleet = SharedFleet::default();
    let watchdog = Watchdog::new(
        settings,
        eyes.clone(),
        (inbox, fleet.clone()),
        bells,
        desk.clone(),
    );
    let reassignment = Reassignment::new(settings, eyes.clone(), fleet, bells, desk);
    let housekeeping = Housekeeping::new(settings, eyes, bells, witness);
    supervisor.spawn(leadership, &bells.leadership);
    supervisor.spawn(watchdog, &bells.watchdog);
    supervisor.spawn(reassignment, &bells.reassignment);
    supervisor.spawn(housekeeping, &bells.housekeeping);
    leader
}

/// Rings these bells whenever something that their duties depend on changes.
fn rings<T: Send + Sync + 'static, const N: usize>(
    news: &watch::Receiver<T>,
    bells: [&DutyBell; N],
) {
    for bell in bells {
        let (mut news, bell) = (news.clone(), bell.clone());
        tokio::spawn(async move {
            while news.changed().await.is_ok() {
                bell.ring();
            }
        });
    }
}
