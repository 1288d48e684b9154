//! Running wakes: claim the row, run the adapter beside the duty's rounds, end
//! the row with what came of it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::PathBuf;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{Instrument as _, debug, info, warn};

use super::alerts::AlertDesk;
use super::{DutyBell, Patience, SessionState};
use crate::config::AdapterSettings;
use crate::duties::roster::Kept;
use crate::model::alert::AlertKind;
use crate::model::wake::{Mail, WakeOutcome, WakePolicy};
use crate::model::{MessageId, SessionKey};
use crate::store::{SharedStore, StoreError, WakeClaim, WakeEnd, WakeRef};
use crate::wake::{self, Pointer, Returned};
use crate::{clock, host};

/// An adapter that has returned.
pub(super) struct Finished {
    pub(super) session: Kept,
    pub(super) policy: WakePolicy,
    /// Which wake it was: index in the list, and the newest message.
    pub(super) adapter: usize,
    pub(super) mark: MessageId,
    /// When the sessions that its credentials act for had last done something
    /// before it was run.
    pub(super) acted_at: Vec<(SessionKey, Option<Timestamp>)>,
    /// What came of it.
    pub(super) returned: Returned,
}

/// What came of the try to start an adapter.
pub(super) enum Fired {
    /// It runs.
    Started,
    /// Somebody else is waking this session at the moment.
    Elsewhere,
    /// The same command still runs for an earlier wake of this agent, within its
    /// time limit: a second one beside it would only pile up.
    Running,
    /// It cannot be started.
    Failed(&'static str),
}

/// Runs adapters and keeps their rows.
pub(super) struct Waker {
    claimant: String,
    bell: DutyBell,
    desk: AlertDesk,
    tasks: JoinSet<()>,
    /// Adapters that have not returned, each at most once for an agent, which is
    /// known by its credentials.
    running: HashSet<(PathBuf, &'static str)>,
    /// Claimed rows.
    open: HashMap<SessionKey, Open>,
    /// What became of claimed rows and is not in the store yet.
    endings: VecDeque<Ending>,
    /// Sessions whose whole list has failed, and why: told once, not with each
    /// try.
    given_up: BTreeMap<SessionKey, SessionState>,
    results: mpsc::UnboundedSender<Finished>,
    finished: mpsc::UnboundedReceiver<Finished>,
}

struct Open {
    wake: WakeRef,
    adapter: &'static str,
}

struct Ending {
    wake: WakeRef,
    outcome: WakeOutcome,
    reason: Option<String>,
}

impl Waker {
    pub(super) fn new(claimant: String, bell: DutyBell, desk: AlertDesk) -> Self {
        let (results, finished) = mpsc::unbounded_channel();
        Self {
            claimant,
            bell,
            desk,
            tasks: JoinSet::new(),
            running: HashSet::new(),
            open: HashMap::new(),
            endings: VecDeque::new(),
            given_up: BTreeMap::new(),
            results,
            finished,
        }
    }

    /// Claims the wake and starts the adapter. `agent` are all sessions that the
    /// agent of this one holds.
    pub(super) async fn fire(
        &mut self,
        store: &SharedStore,
        session: &Kept,
        (adapter, mark): (usize, MessageId),
        (mail, agent): (Mail, &[SessionKey]),
        policy: &WakePolicy,
        patience: Patience,
    ) -> Result<Fired, StoreError> {
        let Some(settings) = session.wake.adapters.get(adapter) else {
            return Ok(Fired::Failed("it is not in the list any more"));
        };
        let run = (session.credentials.clone(), settings.name());
        if self.running.contains(&run) {
            return Ok(match settings {
                // Killed at its time limit, so it is not for long.
                AdapterSettings::Exec(_) => Fired::Running,
                AdapterSettings::File(_) => Fired::Failed("its last write has not returned yet"),
            });
        }
        // An open row of ours would be taken over and its end be lost.
        self.flush(store, patience).await?;
        let acted_at = if let [_] = agent {
            vec![(session.key.clone(), mail.acted_at)]
        } else {
            let mails = patience
                .bounded(store.location(), store.mail(agent))
                .await?;
            let mails = mails.into_iter().map(|mail| mail.acted_at);
            agent.iter().cloned().zip(mails).collect()
        };
        let claim = WakeClaim {
            session: &session.key,
            mark,
            adapter: settings.name(),
            claimant: &self.claimant,
            // Somebody may take over when this daemon died in the middle.
            lease: policy.verify_within * 2,
            boot: &host::boot(),
        };
        let claimed = store.claim_wake(&claim, clock::now());
        let Some(wake) = patience.bounded(store.location(), claimed).await? else {
            debug!(session = %session.key, "somebody else is waking it");
            return Ok(Fired::Elsewhere);
        };
        let open = Open {
            wake,
            adapter: settings.name(),
        };
        self.open.insert(session.key.clone(), open);
        let pointer = Pointer {
            event: "messages",
            session: session.key.clone(),
            label: session.label.clone(),
            role: session.role.clone(),
            unread: mail.unread,
            newest_message_id: mark,
            credentials: session.credentials.clone(),
            store: store.location().to_owned(),
            text: Pointer::line(mail.unread, &session.partner_role, &session.wake.text),
        };
        if self.given_up.contains_key(&session.key) {
            debug!(session = %session.key, adapter = settings.name(), "waking again");
        } else {
            info!(
                           event = "session-woken", adapter = settings.name(), unread = mail.unread,
                           conversation = %session.key.conversation, session = %session.key,
            label = session.name(),
                           "waking {}", session.name()
                       );
        }
        self.running.insert(run);
        let (settings, session, policy) = (settings.clone(), session.clone(), *policy);
        let (results, bell) = (self.results.clone(), self.bell.clone());
        let work = async move {
            let finished = Finished {
                returned: wake::run(&settings, &pointer).await,
                acted_at,
                session,
                policy,
                adapter,
                mark,
            };
            // Nobody takes it any more: the daemon is stopping.
            let _ = results.send(finished);
            bell.ring();
        };
        self.tasks.spawn(work.in_current_span());
        // Results come through the channel; this only forgets tasks that ended.
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended {
                warn!(event = "wake-died", %error, "a wake adapter died");
            }
        }
        Ok(Fired::Started)
    }

    /// An adapter that has returned since the last call.
    pub(super) fn finished(&mut self) -> Option<Finished> {
        let finished = self.finished.try_recv().ok()?;
        let name = adapter_name(&finished.session, finished.adapter);
        let agent = finished.session.credentials.clone();
        self.running.remove(&(agent, name));
        Some(finished)
    }

    /// The session gave evidence.
    pub(super) fn verified(&mut self, session: &Kept, adapter: usize) {
        self.well(&session.key);
        info!(
                   event = "wake-verified", adapter = self.name(session, adapter),
                   conversation = %session.key.conversation, session = %session.key,
        label = session.name(),
                   "{} looked", session.name()
               );
        self.end(&session.key, WakeOutcome::Verified, None);
    }

    /// The adapter failed, or its time is over without evidence.
    pub(super) fn unverified(&mut self, session: &Kept, adapter: usize, why: &str, spent: bool) {
        let adapter = self.name(session, adapter);
        if self.given_up.contains_key(&session.key) {
            debug!(session = %session.key, adapter, "not woken: {why}");
        } else if spent {
            warn!(
                           event = "wake-list-spent", adapter,
                           conversation = %session.key.conversation, session = %session.key,
            label = session.name(),
                           "{} was not woken by {adapter}: {why}; no other way is left, trying again later",
                           session.name()
                       );
            let state = SessionState {
                session: session.key.to_string(),
                name: session.name(),
                credentials: session.credentials.clone(),
                life: None,
                wake: Some(format!(
                    "no way to wake it worked; the last, {adapter}: {why}"
                )),
            };
            self.given_up.insert(session.key.clone(), state);
            let text = format!(
                "no way to wake {} worked; the last, {adapter}: {why}",
                session.name()
            );
            let kind = AlertKind::WakeListSpent;
            self.desk
                .raise_about(kind, &session.key, session.name(), text);
        } else {
            warn!(
                           event = "wake-unverified", adapter,
                           conversation = %session.key.conversation, session = %session.key,
            label = session.name(),
                           "{} was not woken by {adapter}: {why}; trying the next way", session.name()
                       );
        }
        let outcome = if spent {
            WakeOutcome::Spent
        } else {
            WakeOutcome::Unverified
        };
        self.end(&session.key, outcome, Some(why.to_owned()));
    }

    /// The adapter that was really run: a reload may have changed the list.
    fn name(&self, session: &Kept, adapter: usize) -> &'static str {
        self.open
            .get(&session.key)
            .map_or_else(|| adapter_name(session, adapter), |open| open.adapter)
    }

    /// It owes nothing: what was told of it before is over, also if no wake of
    /// ours did it.
    pub(super) fn rests(&mut self, session: &Kept) {
        if self.well(&session.key) {
            info!(
                           event = "session-looked",
                           conversation = %session.key.conversation, session = %session.key,
            label = session.name(),
                           "{} looked by itself", session.name()
                       );
        }
    }

    /// It was woken, or looked by itself. `true` if it had been given up.
    fn well(&mut self, session: &SessionKey) -> bool {
        let given_up = self.given_up.remove(session).is_some();
        if given_up {
            self.desk
                .recover(AlertKind::WakeListSpent, &session.to_string());
        }
        given_up
    }

    /// Ends the wakes of sessions that are not kept any more, so that whoever
    /// keeps them need not wait for our lease, and of those whose agent ended.
    pub(super) fn keep_only(&mut self, kept: &HashSet<&SessionKey>) {
        let gone = self.open.keys().filter(|key| !kept.contains(key)).cloned();
        for session in gone.collect::<Vec<_>>() {
            let why = "the session is not kept here any more, or its agent has ended";
            self.end(&session, WakeOutcome::Abandoned, Some(why.into()));
        }
        let spent: Vec<SessionKey> = self
            .given_up
            .keys()
            .filter(|key| !kept.contains(key))
            .cloned()
            .collect();
        for session in &spent {
            self.well(session);
        }
    }

    fn end(&mut self, session: &SessionKey, outcome: WakeOutcome, reason: Option<String>) {
        // Without a row somebody else had the claim, and ends it himself.
        if let Some(Open { wake, .. }) = self.open.remove(session) {
            self.endings.push_back(Ending {
                wake,
                outcome,
                reason,
            });
        }
    }

    /// Writes what became of claimed wakes. What fails stays for the next time.
    pub(super) async fn flush(
        &mut self,
        store: &SharedStore,
        patience: Patience,
    ) -> Result<(), StoreError> {
        while let Some(ending) = self.endings.front() {
            let end = WakeEnd {
                outcome: ending.outcome,
                reason: ending.reason.as_deref(),
            };
            let ended = store.end_wake(&ending.wake, &end, clock::now());
            // `false`: our lease was over and somebody took the row.
            patience.bounded(store.location(), ended).await?;
            self.endings.pop_front();
        }
        Ok(())
    }

    /// The sessions that no way could wake.
    pub(super) fn troubles(&self) -> Vec<SessionState> {
        self.given_up.values().cloned().collect()
    }

    /// Another store: what was claimed in the old one means nothing there.
    pub(super) fn forget(&mut self) {
        self.open.clear();
        self.endings.clear();
    }

    /// A clean stop: ends adapters that still run, and lets go of their rows,
    /// so that whoever comes next need not wait for our lease.
    pub(super) async fn stop(&mut self, store: Option<&SharedStore>) {
        self.tasks.shutdown().await;
        self.keep_only(&HashSet::new());
        let Some(store) = store else { return };
        if let Err(error) = self.flush(store, Patience::begin()).await {
            debug!(%error, "the wakes that are under way were not ended");
        }
    }
}

pub(super) fn adapter_name(session: &Kept, adapter: usize) -> &'static str {
    session
        .wake
        .adapters
        .get(adapter)
        .map_or("an adapter", |adapter| adapter.name())
}
