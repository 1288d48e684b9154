//! Duty *message watch*: notices mail the moment it is committed and sees to
//! it that its reader looks.
//!
//! The doorbell's thread reads where new messages are, leaves that in the inbox
//! and wakes this duty; the duty asks the store how much each of those sessions
//! owes and lets the pure decisions of `model::wake` say what to do. A full look
//! at all sessions stands behind the doorbell.

mod calls;
mod elsewhere;
mod endings;
mod inbox;
mod report;
mod returned;
mod runs;
mod start;
mod told;
mod wake;
mod wakes;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::alerts::AlertDesk;
use super::links::StoreLink;
pub use inbox::MessageInbox;
pub use report::MessageWatchReport;
use wakes::{Wakes, Watched};

use super::roster::{KeptSession, Sessions};
use super::{Bells, Duty, DutyBell, Patience, Round};
use crate::clock;
use crate::config::{AgentSettings, MessageWatchSettings, Settings};
use crate::model::SessionKey;
use crate::model::wake::Mail;
use crate::store::{SharedStore, StoreError};

/// The duty.
pub struct MessageWatch {
    settings: MessageWatchSettings,
    link: StoreLink,
    sessions: watch::Receiver<Sessions>,
    inbox: Arc<MessageInbox>,
    /// The store keeper's, rung when the store seems to be gone.
    keeper: DutyBell,
    /// The store that `wakes` speak of.
    known: Option<SharedStore>,
    wakes: Wakes,
    full_look: Instant,
}

impl MessageWatch {
    /// The duty. `claimant` is its name in the rows of wakes.
    #[must_use]
    pub fn new(
        settings: &AgentSettings,
        claimant: String,
        link: StoreLink,
        sessions: watch::Receiver<Sessions>,
        inbox: Arc<MessageInbox>,
        bells: &Bells,
        desk: AlertDesk,
    ) -> Self {
        Self {
            settings: settings.message_watch.clone(),
            link,
            sessions,
            inbox,
            keeper: bells.keeper.clone(),
            known: None,
            wakes: Wakes::new(claimant, bells.message_watch.clone(), desk),
            full_look: Instant::now(),
        }
    }

    async fn round(&mut self, store: &SharedStore) -> Result<MessageWatchReport, StoreError> {
        let patience = Patience::begin();
        self.know(store);
        let (sessions, changed) = {
            // In one step: what is published between two would be seen, and never be news.
            let published = self.sessions.borrow_and_update();
            (Arc::clone(&published), published.has_changed())
        };
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
        self.wakes.look_elsewhere(store, &asked, patience).await?;
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

    /// Begins anew if the store is another one than last time.
    fn know(&mut self, store: &SharedStore) {
        let known = self.known.as_ref();
        if !known.is_some_and(|known| Arc::ptr_eq(known, store)) {
            self.wakes.forget();
            self.known = Some(Arc::clone(store));
            self.full_look = Instant::now();
        }
    }

    /// The sessions to ask about in this round: those with new mail, those
    /// whose time has come, and now and then all.
    fn due(&mut self, sessions: &Sessions, roster_changed: bool) -> Vec<KeptSession> {
        if roster_changed {
            self.inbox
                .keeps(sessions.iter().map(|kept| kept.key.clone()));
            let kept: HashSet<&SessionKey> = sessions.iter().map(|kept| &kept.key).collect();
            self.wakes.keep_only(&kept);
        }
        let (arrived, missed) = self.inbox.take();
        let all = roster_changed || missed || Instant::now() >= self.full_look;
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
        self.inbox.awaits(self.wakes.any_open());
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
            // The keeper's news wakes this duty; the interval is only in case.
            return Round {
                report: MessageWatchReport {
                    waiting: true,
                    ..MessageWatchReport::default()
                },
                next: Instant::now() + self.settings.poll_interval,
            };
        };
        let outcome = self.round(&store).await;
        let tally = std::mem::take(&mut self.wakes.tally);
        match outcome {
            Ok(report) => Round {
                next: self.next(),
                report: MessageWatchReport { tally, ..report },
            },
            Err(error) => {
                self.keeper.ring();
                // All that was under way is checked as a whole.
                self.full_look = Instant::now();
                Round {
                    report: MessageWatchReport {
                        trouble: Some(error.to_string()),
                        tally,
                        ..MessageWatchReport::default()
                    },
                    next: Instant::now() + Duration::from_secs(1),
                }
            }
        }
    }

    fn reload(&mut self, settings: &Arc<Settings>) {
        self.settings = settings.agents.message_watch.clone();
        self.full_look = Instant::now();
    }

    async fn stop(&mut self) {
        self.wakes.stop(self.known.as_ref()).await;
    }
}

impl std::fmt::Debug for MessageWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageWatch")
            .field("settings", &self.settings)
            .field("wakes", &self.wakes.records.len())
            .field("inbox", &self.inbox)
            .finish_non_exhaustive()
    }
}
