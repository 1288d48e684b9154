//! Where duties say what they see by themselves, and where that is taken.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use crate::duties::DutyBell;
use crate::model::SessionKey;
use crate::model::alert::AlertKind;

/// Where a duty says what it sees by itself.
#[derive(Debug, Clone)]
pub struct AlertDesk {
    requests: mpsc::UnboundedSender<AlertRequest>,
    bell: DutyBell,
    urgent: Arc<Notify>,
}

/// What is said at the desk, for the duty.
#[derive(Debug)]
pub struct AlertInbox {
    pub(super) requests: mpsc::UnboundedReceiver<AlertRequest>,
    /// Rung for what cannot wait until a round with the store has ended.
    pub(super) urgent: Arc<Notify>,
}

#[cfg(test)]
impl AlertInbox {
    /// The subjects that are well again, as far as they were said.
    pub(in crate::duties) fn recoveries(&mut self) -> Vec<String> {
        let requests = std::iter::from_fn(|| self.requests.try_recv().ok());
        requests
            .filter_map(|request| match request {
                AlertRequest::Recover { subject, .. } => Some(subject),
                AlertRequest::Raise { .. } => None,
            })
            .collect()
    }
}

/// A desk, and what is said there; `bell` is the duty's.
#[must_use]
pub fn desk(bell: DutyBell) -> (AlertDesk, AlertInbox) {
    let (sender, requests) = mpsc::unbounded_channel();
    let urgent = Arc::new(Notify::new());
    let inbox = AlertInbox {
        requests,
        urgent: Arc::clone(&urgent),
    };
    let desk = AlertDesk {
        requests: sender,
        bell,
        urgent,
    };
    (desk, inbox)
}

#[derive(Debug)]
pub(super) enum AlertRequest {
    Raise {
        kind: AlertKind,
        subject: String,
        session: Option<(SessionKey, String)>,
        text: String,
    },
    Recover {
        kind: AlertKind,
        subject: String,
    },
}

impl AlertDesk {
    /// It got worse. Raised again while it lasts, it is announced once.
    pub fn raise(&self, kind: AlertKind, subject: &str, text: String) {
        self.say(AlertRequest::Raise {
            kind,
            subject: subject.to_owned(),
            session: None,
            text,
        });
    }

    /// The same about a session, which people call `name`.
    pub fn raise_about(&self, kind: AlertKind, session: &SessionKey, name: String, text: String) {
        self.say(AlertRequest::Raise {
            kind,
            subject: session.to_string(),
            session: Some((session.clone(), name)),
            text,
        });
    }

    /// It is well again.
    pub fn recover(&self, kind: AlertKind, subject: &str) {
        self.say(AlertRequest::Recover {
            kind,
            subject: subject.to_owned(),
        });
    }

    /// Something to tell was written into the store.
    pub fn look(&self) {
        self.bell.ring();
    }

    fn say(&self, request: AlertRequest) {
        let (AlertRequest::Raise { kind, .. } | AlertRequest::Recover { kind, .. }) = request;
        // The receiver is gone: the daemon is stopping.
        let _ = self.requests.send(request);
        if kind == AlertKind::StoreTrouble {
            self.urgent.notify_one();
        }
        self.bell.ring();
    }
}
