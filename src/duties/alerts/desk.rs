//! Where duties say what they see by themselves, and where that is taken.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use crate::duties::DutyBell;
use crate::model::SessionKey;
use crate::model::alert::AlertKind;

/// Where a duty says what it sees by itself.
#[derive(Debug, Clone)]
pub struct AlertDesk {
    said: mpsc::UnboundedSender<Said>,
    bell: DutyBell,
    urgent: Arc<Notify>,
}

/// What is said at the desk, for the duty.
#[derive(Debug)]
pub struct AlertPost {
    pub(super) said: mpsc::UnboundedReceiver<Said>,
    /// Rung for what cannot wait until a round with the store has ended.
    pub(super) urgent: Arc<Notify>,
}

#[cfg(test)]
impl AlertPost {
    /// The subjects that are well again, as far as they were said.
    pub(in crate::duties) fn recoveries(&mut self) -> Vec<String> {
        let said = std::iter::from_fn(|| self.said.try_recv().ok());
        said.filter_map(|said| match said {
            Said::Recover { subject, .. } => Some(subject),
            Said::Raise { .. } => None,
        })
        .collect()
    }
}

/// A desk, and what is said there; `bell` is the duty's.
#[must_use]
pub fn desk(bell: DutyBell) -> (AlertDesk, AlertPost) {
    let (sender, said) = mpsc::unbounded_channel();
    let urgent = Arc::new(Notify::new());
    let post = AlertPost {
        said,
        urgent: Arc::clone(&urgent),
    };
    let desk = AlertDesk {
        said: sender,
        bell,
        urgent,
    };
    (desk, post)
}

#[derive(Debug)]
pub(super) enum Said {
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
    /// It turned for the worse. Said again while it lasts, it is told once.
    pub fn raise(&self, kind: AlertKind, subject: &str, text: String) {
        self.say(Said::Raise {
            kind,
            subject: subject.to_owned(),
            session: None,
            text,
        });
    }

    /// The same about a session, which people call `name`.
    pub fn raise_about(&self, kind: AlertKind, session: &SessionKey, name: String, text: String) {
        self.say(Said::Raise {
            kind,
            subject: session.to_string(),
            session: Some((session.clone(), name)),
            text,
        });
    }

    /// It is well again.
    pub fn recover(&self, kind: AlertKind, subject: &str) {
        self.say(Said::Recover {
            kind,
            subject: subject.to_owned(),
        });
    }

    /// Something to tell was written into the store.
    pub fn look(&self) {
        self.bell.ring();
    }

    fn say(&self, said: Said) {
        let (Said::Raise { kind, .. } | Said::Recover { kind, .. }) = said;
        // Nobody takes it any more: the daemon is stopping.
        let _ = self.said.send(said);
        if kind == AlertKind::StoreTrouble {
            self.urgent.notify_one();
        }
        self.bell.ring();
    }
}
