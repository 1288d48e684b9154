//! What this daemon sees by itself: it alone announces it, also while the store cannot
//! be used, and writes it down when it can.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::desk::AlertRequest;
use super::{Alerts, say_muted};
use crate::clock;
use crate::duties::Patience;
use crate::model::SessionKey;
use crate::model::alert::{Alert, AlertKind, Edge, next_reminder};
use crate::store::{NewAlert, SharedStore, StoreError, ToldEdge};

/// Own troubles that are remembered while the store cannot be written.
const UNRECORDED: usize = 1_000;

/// The troubles that this daemon sees by itself.
#[derive(Debug, Default)]
pub(super) struct Own {
    open: HashMap<(AlertKind, String), Trouble>,
    /// What of them is not in the store yet, in order.
    unrecorded: VecDeque<Record>,
    /// Whether what an earlier life left open in the store was closed.
    tidied: bool,
    numbers: u64,
}

impl Own {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// `subject` is the store's word for it; the alert itself has people's.
    fn begin(&mut self, subject: &str, alert: Alert) {
        let matter = (alert.kind, subject.to_owned());
        let trouble = Trouble {
            alert,
            heard: Heard::Nothing,
            remind: Duration::MAX,
        };
        self.open.insert(matter, trouble);
    }

    pub(super) fn is_open(&self, kind: AlertKind, subject: &str) -> bool {
        self.open.contains_key(&(kind, subject.to_owned()))
    }
}

#[derive(Debug)]
struct Trouble {
    alert: Alert,
    heard: Heard,
    remind: Duration,
}

/// What the operator knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// It has just begun.
    Nothing,
    /// It began while its kind was muted.
    Withheld,
    /// It was announced.
    Told,
}

/// An own trouble, on its way into the store.
#[derive(Debug)]
enum Record {
    Raised(NewAlert, Timestamp),
    Recovered(AlertKind, String, Timestamp),
}

/// As the store gets it.
fn recorded(subject: &str, alert: &Alert) -> NewAlert {
    NewAlert {
        kind: alert.kind,
        subject: subject.to_owned(),
        session: alert.session.clone(),
        text: alert.text.clone(),
        by: alert.daemon.clone(),
        told: true,
    }
}

impl Alerts {
    /// Takes what other duties said since the last round.
    pub(super) fn listen(&mut self) {
        while let Ok(request) = self.requests.try_recv() {
            match request {
                AlertRequest::Raise {
                    kind,
                    subject,
                    session,
                    text,
                } => {
                    if let Some((alert, at)) = self.begin(kind, &subject, session, text) {
                        self.record(Record::Raised(alert, at));
                        self.announce();
                    }
                }
                AlertRequest::Recover { kind, subject } => self.recover(kind, &subject),
            }
        }
    }

    /// It is ours from now on, and [`Alerts::announce`] announces it. `None` if it was.
    fn begin(
        &mut self,
        kind: AlertKind,
        subject: &str,
        session: Option<(SessionKey, String)>,
        text: String,
    ) -> Option<(NewAlert, Timestamp)> {
        if self.own.is_open(kind, subject) {
            return None;
        }
        let alert = self.found(kind, subject, session, text);
        let record = (recorded(subject, &alert), alert.since);
        self.own.begin(subject, alert);
        Some(record)
    }

    /// A trouble that this daemon has just found.
    fn found(
        &mut self,
        kind: AlertKind,
        subject: &str,
        session: Option<(SessionKey, String)>,
        text: String,
    ) -> Alert {
        let (session, name) = session.unzip();
        let now = clock::now();
        self.own.numbers += 1;
        let number = self.own.numbers;
        Alert {
            id: format!("{}/{}/{number}", self.daemon, now.as_millisecond()),
            kind,
            edge: Edge::Raised,
            subject: name.unwrap_or_else(|| subject.to_owned()),
            session,
            task: None,
            text,
            since: now,
            at: now,
            reminders: 0,
            daemon: self.daemon.clone(),
        }
    }

    /// What all daemons see alike is announced by the first one that wrote it into the
    /// store, and by none where there is no store to ask.
    pub(super) async fn begin_if_first(
        &mut self,
        (kind, subject): (AlertKind, &str),
        text: String,
        store: &SharedStore,
        patience: Patience,
    ) -> Result<(), StoreError> {
        if self.own.is_open(kind, subject) {
            return Ok(());
        }
        let alert = self.found(kind, subject, None, text);
        let record = recorded(subject, &alert);
        let raising = store.raise_alert(None, &record, alert.since);
        // Ours only with the answer: the round may end while it is waited for.
        if patience.bounded(store.location(), raising).await? {
            self.own.begin(subject, alert);
            self.announce();
        }
        Ok(())
    }

    /// Tells what has begun, or whose mute has ended. Where the store is still to
    /// say what is muted, only the trouble with the store itself does not wait.
    pub(super) fn announce(&mut self) {
        let (now, policy) = (clock::since_boot(), self.policy());
        for Trouble {
            alert,
            heard,
            remind,
        } in self.own.open.values_mut()
        {
            if self.mutes_are_due && alert.kind != AlertKind::StoreTrouble {
                continue;
            }
            match (*heard, self.mutes.hold(alert.kind)) {
                (Heard::Told, _) | (Heard::Withheld, true) => {}
                (Heard::Nothing, true) => {
                    say_muted(alert);
                    *heard = Heard::Withheld;
                }
                (_, false) => {
                    self.telling.tell(alert.clone(), HashSet::new());
                    *heard = Heard::Told;
                    *remind = now + next_reminder(0, &policy);
                }
            }
        }
    }

    /// Its end is announced if its beginning was.
    pub(super) fn recover(&mut self, kind: AlertKind, subject: &str) {
        let Some(Trouble { alert, heard, .. }) = self.own.open.remove(&(kind, subject.to_owned()))
        else {
            return;
        };
        let now = clock::now();
        self.record(Record::Recovered(kind, subject.to_owned(), now));
        let over = Alert {
            edge: Edge::Recovered,
            at: now,
            ..alert
        };
        if self.mutes.hold(kind) {
            say_muted(&over);
            self.telling.forget(over, HashSet::new());
        } else if heard == Heard::Told {
            self.telling.tell(over, HashSet::new());
        }
    }

    fn record(&mut self, record: Record) {
        if self.own.unrecorded.len() < UNRECORDED {
            self.own.unrecorded.push_back(record);
        }
    }

    /// Reminds of own troubles that last. A reminder that is muted is sent when the
    /// mute ends.
    pub(super) fn remind(&mut self) {
        let (now, policy) = (clock::since_boot(), self.policy());
        for Trouble { alert, remind, .. } in self.own.open.values_mut() {
            if *remind <= now && !self.mutes.hold(alert.kind) {
                alert.reminders += 1;
                *remind = now + next_reminder(alert.reminders, &policy);
                let lasting = Alert {
                    edge: Edge::Reminder,
                    at: clock::now(),
                    ..alert.clone()
                };
                self.telling.tell(lasting, HashSet::new());
            }
        }
    }

    /// Writes own troubles down, so that `status` knows them.
    pub(super) async fn flush(
        &mut self,
        store: &SharedStore,
        patience: Patience,
    ) -> Result<(), StoreError> {
        if !self.own.tidied {
            let open = store.open_alerts();
            let open = patience.bounded(store.location(), open).await?;
            for row in open {
                if row.raised_by == self.daemon && row.told == ToldEdge::All {
                    let closing = store.recover_alert(None, row.kind, &row.subject, clock::now());
                    patience.bounded(store.location(), closing).await?;
                }
            }
            self.own.tidied = true;
        }
        while let Some(record) = self.own.unrecorded.front() {
            match record {
                Record::Raised(alert, at) => {
                    let raising = store.raise_alert(None, alert, *at);
                    patience.bounded(store.location(), raising).await?;
                }
                Record::Recovered(kind, subject, at) => {
                    let ending = store.recover_alert(None, *kind, subject, *at);
                    patience.bounded(store.location(), ending).await?;
                }
            }
            self.own.unrecorded.pop_front();
        }
        Ok(())
    }
}
