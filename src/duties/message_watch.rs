//! Duty *message watch*: notices mail the moment it is committed and sees to
//! it that its reader looks.
//!
//! The doorbell's thread reads where new messages are and wakes this duty; the
//! duty asks the store how much each of those sessions owes and lets the pure
//! decisions of `model::wake` say what to do. A full look at all sessions
//! stands behind the doorbell.

mod called;
mod report;
mod returned;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::alerts::AlertDesk;
use super::links::StoreLink;
use called::Called;
pub use report::MessageWatchReport;

use super::fleet::FleetPost;
use super::roster::{Kept, Sessions};
use super::wakes::{Fired, Waker};
use super::{Duty, DutyBell, Patience, Round};
use crate::clock;
use crate::config::{AgentSettings, MessageWatchSettings, Settings, WatchMode};
use crate::doorbell::{Doorbell, Mode};
use crate::model::SessionKey;
use crate::model::wake::{self, Mail, WakePolicy, WakeState, WakeStep};
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
    waker: Waker,
    mounted: Option<Mounted>,
    /// The store that `states` speak of.
    known: Option<SharedStore>,
    /// One for each session that has mail, or had some lately.
    states: HashMap<SessionKey, Watched>,
    /// Agents that hold several sessions and were called for one of them.
    called: Called,
    full_look: Instant,
}

/// The doorbell, on the store that it is mounted on.
struct Mounted {
    store: SharedStore,
    /// Kept for its drop, which takes it down.
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

#[derive(Default)]
struct Watched {
    state: WakeState,
    mail: Mail,
    /// When to look again, since boot.
    until: Option<Duration>,
    /// An adapter that still runs, or a wake for another session of the same
    /// agent, stands in the way of the next wake.
    held_up: bool,
}

impl Watched {
    /// Whether any news may change what is to be done.
    fn is_open(&self) -> bool {
        self.held_up || self.state != WakeState::Quiet
    }

    /// It was woken, and a fetch is awaited.
    fn is_fired(&self) -> bool {
        matches!(self.state, WakeState::Fired { .. })
    }
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
            waker: Waker::new(claimant, bell.clone(), desk),
            bell,
            keeper,
            fleet,
            mounted: None,
            known: None,
            states: HashMap::new(),
            called: Called::default(),
            full_look: Instant::now(),
        }
    }

    async fn round(&mut self, store: &SharedStore) -> Result<MessageWatchReport, StoreError> {
        let patience = Patience::begin();
        self.mount(store)?;
        let changed = self.sessions.has_changed().unwrap_or(false);
        let sessions = Arc::clone(&self.sessions.borrow_and_update());
        let due = self.due(&sessions, changed);
        self.collect_returned(store, patience).await;
        let mails = if due.is_empty() {
            Vec::new()
        } else {
            let keys: Vec<SessionKey> = due.iter().map(|kept| kept.key.clone()).collect();
            patience
                .bounded(store.location(), store.mail(&keys))
                .await?
        };
        let mut asked: Vec<(Kept, Mail)> = due.into_iter().zip(mails).collect();
        // Wakes that are under way first: what came of them decides on others.
        asked.sort_by_key(|(session, _)| !self.is_fired(&session.key));
        for (session, mail) in asked {
            if patience.is_over() {
                // The rest in the next round, at once.
                self.full_look = Instant::now();
                break;
            }
            self.advance(store, session, mail, patience).await?;
        }
        self.waker.flush(store, patience).await?;
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
            // Its messages have other numbers.
            self.states.clear();
            self.called = Called::default();
            self.waker.forget();
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
    fn due(&mut self, sessions: &Sessions, roster_changed: bool) -> Vec<Kept> {
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
            self.states.retain(|key, _| kept.contains(key));
            self.called.keep_only(&kept);
            self.waker.keep_only(&kept);
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
                    || self.states.get(&kept.key).is_some_and(Watched::is_open)
            })
            .cloned()
            .collect()
    }

    async fn advance(
        &mut self,
        store: &SharedStore,
        session: Kept,
        mail: Mail,
        patience: Patience,
    ) -> Result<(), StoreError> {
        let policy = policy(&session);
        let now = clock::since_boot();
        let mut watched = self.states.remove(&session.key).unwrap_or_default();
        watched.mail = mail;
        watched.held_up = false;
        let outcome = loop {
            let (state, step) = wake::step(watched.state, mail, now, &policy);
            match step {
                WakeStep::Rest { until } => {
                    watched.state = state;
                    watched.until = until;
                    break Ok(());
                }
                WakeStep::Fire { adapter, mark } => {
                    if let Some(until) = self.called.holds_up(&session, now) {
                        watched.held_up = true;
                        watched.until = Some(until);
                        break Ok(());
                    }
                    let agent = self.sessions_of(&session);
                    let fired = self
                        .waker
                        .fire(
                            store,
                            &session,
                            (adapter, mark),
                            (mail, &agent),
                            &policy,
                            patience,
                        )
                        .await;
                    watched.until = Some(now + policy.verify_within);
                    match fired {
                        // The state stays as it was, and the next round tries again.
                        Err(error) => break Err(error),
                        Ok(Fired::Started) => {
                            watched.state = state;
                            if agent.len() > 1 {
                                let until = now + policy.verify_within;
                                self.called.begin(&session, mail.acted_at, until);
                            }
                            break Ok(());
                        }
                        // Its return rings the bell.
                        Ok(Fired::Running) => {
                            watched.held_up = true;
                            break Ok(());
                        }
                        Ok(Fired::Elsewhere) => {
                            watched.state = after(state, now + policy.verify_within);
                            break Ok(());
                        }
                        Ok(Fired::Failed(why)) => {
                            let (state, step) = wake::fail(state, now, &policy);
                            watched.state = state;
                            if let WakeStep::Unverified { adapter, spent } = step {
                                self.waker.unverified(&session, adapter, why, spent);
                            }
                        }
                    }
                }
                WakeStep::Verified { adapter } => {
                    watched.state = state;
                    self.waker.verified(&session, adapter);
                }
                WakeStep::Unverified { adapter, spent } => {
                    watched.state = state;
                    let why = format!(
                        "it did not fetch within {}",
                        humantime::format_duration(policy.verify_within)
                    );
                    self.waker.unverified(&session, adapter, &why, spent);
                }
            }
        };
        let awaited = watched.is_fired().then_some(mail.acted_at);
        self.called.follow(&session, awaited, now);
        if mail.unread == 0 {
            self.waker.rests(&session);
        }
        if watched.state != WakeState::Quiet || mail.unread > 0 {
            self.states.insert(session.key, watched);
        }
        outcome
    }

    fn report(&self) -> MessageWatchReport {
        let awaiting = self.states.values().filter(|w| w.is_fired()).count();
        if let Some(Mounted { post, .. }) = &self.mounted {
            let open = self.states.values().any(Watched::is_open);
            post.awaiting.store(open, Ordering::Release);
        }
        MessageWatchReport {
            unread: self
                .states
                .values()
                .map(|watched| watched.mail.unread)
                .sum(),
            awaiting,
            unwakeable: self.waker.troubles(),
            ..MessageWatchReport::default()
        }
    }

    /// The next full look, or the first session whose time comes before.
    fn next(&self) -> Instant {
        let now = clock::since_boot();
        self.states
            .values()
            .filter_map(|watched| watched.until)
            .map(|until| Instant::now() + until.saturating_sub(now))
            .chain(std::iter::once(self.full_look))
            .min()
            .unwrap_or(self.full_look)
    }
}

/// The state of a session that somebody else is waking: his turn, until then.
fn after(fired: WakeState, until: Duration) -> WakeState {
    match fired {
        WakeState::Fired { mark, rounds, .. } => WakeState::BackingOff {
            mark,
            until,
            rounds,
        },
        other => other,
    }
}

fn policy(session: &Kept) -> WakePolicy {
    WakePolicy {
        adapters: session.wake.adapters.len(),
        verify_within: session.wake.verify_within,
        backoff: session.wake.backoff,
        backoff_max: session.wake.backoff_max,
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
        self.waker.stop(self.known.as_ref()).await;
    }
}

impl std::fmt::Debug for MessageWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageWatch")
            .field("settings", &self.settings)
            .field("states", &self.states.len())
            .field("doorbell", &self.mounted.as_ref().map(|m| &m.doorbell))
            .finish_non_exhaustive()
    }
}
