//! Duty *message watch*: notices mail the moment it is committed and sees to
//! it that its reader looks.
//!
//! The doorbell's thread reads where new messages are and wakes this duty; the
//! duty asks the store how much each of those sessions owes and lets the pure
//! decisions of `model::wake` say what to do. A full look at all sessions
//! stands behind the doorbell.

mod calls;
mod endings;
mod report;
mod returned;
mod runs;
mod start;
mod told;
mod wake;
mod wakes;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::alerts::AlertDesk;
use super::links::StoreLink;
pub use report::MessageWatchReport;
use wakes::{Wakes, Watched};

use super::fleet::FleetPost;
use super::roster::{KeptSession, Sessions};
use super::{Duty, DutyBell, Patience, Round};
use crate::clock;
use crate::config::{AgentSettings, MessageWatchSettings, Settings, WatchMode};
use crate::doorbell::{Doorbell, Mode};
use crate::model::SessionKey;
use crate::model::wake::Mail;
use crate::store::{SharedStore, StoreError};

/// The duty.
pub struct MessageWatch {
    settings: MessageWatchSettings,
    link: StoreLink,
    sessions: watch::Receiver<Sessions>,
    bell: DutyBell,
    keeper: DutyBell,
    /// Of an orchestrator: whatever the doorbell brings concerns its watchdog.
    fleet: Option<Arc<FleetPost>>,
    mounted: Option<Mounted>,
    /// The store that `wakes` speak of.
    known: Option<SharedStore>,
    wakes: Wakes,
    full_look: Instant,
}

/// The doorbell, on the store that it is mounted on.
struct Mounted {
    store: SharedStore,
    /// KeptSession for its drop, which takes it down.
    doorbell: Doorbell,
    post: Arc<Post>,
}

/// What the doorbell's thread leaves for the duty.
#[derive(Default)]
struct Post {
    /// Sessions with new messages.
    arrived: Mutex<HashSet<SessionKey>>,
    /// A look failed: the store may be gone.
    failed: AtomicBool,
    /// A wake is open: any commit may decide it.
    awaiting: AtomicBool,
}

impl MessageWatch {
    /// The duty. `claimant` is its name in the rows of wakes; of the bells, the
    /// second is the store keeper's, rung when the store seems to be gone.
    #[must_use]
    pub fn new(
        settings: &AgentSettings,
        claimant: String,
        link: StoreLink,
        sessions: watch::Receiver<Sessions>,
        (bell, keeper): (DutyBell, DutyBell),
        fleet: Option<Arc<FleetPost>>,
        desk: AlertDesk,
    ) -> Self {
        Self {
            settings: settings.message_watch.clone(),
            link,
            sessions,
            wakes: Wakes::new(claimant, bell.clone(), desk),
            bell,
            keeper,
            fleet,
            mounted: None,
            known: None,
            full_look: Instant::now(),
        }
    }

    async fn round(&mut self, store: &SharedStore) -> Result<MessageWatchReport, StoreError> {
        let patience = Patience::begin();
        self.mount(store)?;
        let changed = self.sessions.has_changed().unwrap_or(false);
        let sessions = Arc::clone(&self.sessions.borrow_and_update());
        let due = self.due(&sessions, changed);
        self.wakes.collect_returned(store, patience).await;
        let mails = if due.is_empty() {
            Vec::new()
        } else {
            let keys: Vec<SessionKey> = due.iter().map(|kept| kept.key.clone()).collect();
            patience
                .bounded(store.location(), store.mail(&keys))
                .await?
        };
        let mut asked: Vec<(KeptSession, Mail)> = due.into_iter().zip(mails).collect();
        // Wakes that are under way first: what came of them decides on others.
        asked.sort_by_key(|(session, _)| !self.wakes.is_fired(&session.key));
        for (session, mail) in asked {
            if patience.is_over() {
                // The rest in the next round, at once.
                self.full_look = Instant::now();
                break;
            }
            let watched = Watched {
                session: &session,
                mail,
                sessions: &sessions,
                now: clock::since_boot(),
            };
            self.wakes.advance(store, watched, patience).await?;
        }
        self.wakes.endings.flush(store, patience).await?;
        Ok(self.report())
    }

    /// Mounts the doorbell, if the store is another one than last time.
    fn mount(&mut self, store: &SharedStore) -> Result<(), StoreError> {
        if self
            .mounted
            .as_ref()
            .is_some_and(|m| Arc::ptr_eq(&m.store, store))
        {
            return Ok(());
        }
        self.mounted = None;
        if !self.known.as_ref().is_some_and(|k| Arc::ptr_eq(k, store)) {
            self.wakes.forget();
            self.known = Some(Arc::clone(store));
        }
        let post = Arc::new(Post::default());
        let (letters, bell) = (Arc::clone(&post), self.bell.clone());
        let fleet = self.fleet.clone();
        let mode = match self.settings.mode {
            WatchMode::Events => Mode::Events,
            WatchMode::Poll => Mode::Poll,
        };
        let doorbell = store.doorbell(
            mode,
            Box::new(move |look| {
                let arrivals = look.arrivals();
                if let Some(fleet) = &fleet {
                    let new = arrivals.iter().flatten();
                    // A look that failed is told by the other question.
                    let signalled = look.signalled().unwrap_or(false);
                    fleet.leave(new.map(|arrival| arrival.to.clone()), signalled);
                }
                let ring = match arrivals {
                    Ok(new) if new.is_empty() => letters.awaiting.load(Ordering::Acquire),
                    Ok(new) => {
                        let mut arrived = letters
                            .arrived
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner);
                        arrived.extend(new.into_iter().map(|arrival| arrival.to));
                        true
                    }
                    Err(_) => !letters.failed.swap(true, Ordering::AcqRel),
                };
                if ring {
                    bell.ring();
                }
            }),
        )?;
        self.mounted = Some(Mounted {
            store: Arc::clone(store),
            doorbell,
            post,
        });
        // What came before the bell hung there.
        self.full_look = Instant::now();
        Ok(())
    }

    /// The sessions to ask about in this round: those with new mail, those
    /// whose time has come, and now and then all.
    fn due(&mut self, sessions: &Sessions, roster_changed: bool) -> Vec<KeptSession> {
        let Some(Mounted { post, .. }) = &self.mounted else {
            return Vec::new();
        };
        if post.failed.swap(false, Ordering::AcqRel) {
            self.keeper.ring();
        }
        let arrived =
            std::mem::take(&mut *post.arrived.lock().unwrap_or_else(PoisonError::into_inner));
        if roster_changed {
            let kept: HashSet<&SessionKey> = sessions.iter().map(|kept| &kept.key).collect();
            self.wakes.keep_only(&kept);
        }
        let all = roster_changed || Instant::now() >= self.full_look;
        if all {
            self.full_look = Instant::now() + self.settings.poll_interval;
        }
        sessions
            .iter()
            .filter(|kept| {
                all || arrived.contains(&kept.key)
                    // A commit may have been the evidence.
                    || self.wakes.is_open(&kept.key)
            })
            .cloned()
            .collect()
    }

    fn report(&self) -> MessageWatchReport {
        if let Some(Mounted { post, .. }) = &self.mounted {
            post.awaiting
                .store(self.wakes.any_open(), Ordering::Release);
        }
        MessageWatchReport {
            unread: self.wakes.unread(),
            awaiting: self.wakes.awaiting(),
            unwakeable: self.wakes.given_up(),
            ..MessageWatchReport::default()
        }
    }

    /// The next full look, or the first session whose time comes before.
    fn next(&self) -> Instant {
        let Some(until) = self.wakes.until() else {
            return self.full_look;
        };
        let wait = until.saturating_sub(clock::since_boot());
        self.full_look.min(Instant::now() + wait)
    }
}

impl Duty for MessageWatch {
    type Report = MessageWatchReport;

    fn name(&self) -> &'static str {
        "message-watch"
    }

    async fn tick(&mut self) -> Round<MessageWatchReport> {
        let store = self.link.borrow_and_update().clone();
        let Some(store) = store else {
            self.mounted = None;
            // The keeper's news wakes this duty; the interval is only in case.
            return Round {
                report: MessageWatchReport {
                    waiting: true,
                    ..MessageWatchReport::default()
                },
                next: Instant::now() + self.settings.poll_interval,
            };
        };
        match self.round(&store).await {
            Ok(report) => Round {
                next: self.next(),
                report,
            },
            Err(error) => {
                self.keeper.ring();
                // Whatever was under way is looked at as a whole.
                self.full_look = Instant::now();
                Round {
                    report: MessageWatchReport {
                        trouble: Some(error.to_string()),
                        ..MessageWatchReport::default()
                    },
                    next: Instant::now() + Duration::from_secs(1),
                }
            }
        }
    }

    fn reload(&mut self, settings: &Arc<Settings>) {
        let new = &settings.agents.message_watch;
        if new.mode != self.settings.mode {
            self.mounted = None;
        }
        self.settings = new.clone();
        self.full_look = Instant::now();
    }

    async fn stop(&mut self) {
        // First: its thread may be in the middle of a look.
        self.mounted = None;
        self.wakes.stop(self.known.as_ref()).await;
    }
}

impl std::fmt::Debug for MessageWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageWatch")
            .field("settings", &self.settings)
            .field("wakes", &self.wakes.records.len())
            .field("doorbell", &self.mounted.as_ref().map(|m| &m.doorbell))
            .finish_non_exhaustive()
    }
}
