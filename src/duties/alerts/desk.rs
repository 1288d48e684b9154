//! Where duties say what they see by themselves, and where that is taken.

use tokio::sync::mpsc;

use crate::duties::DutyBell;
use crate::model::SessionKey;
use crate::model::alert::AlertKind;

/// Where a duty says what it sees by itself.
#[derive(Debug, Clone)]
pub struct AlertDesk {
    said: mpsc::UnboundedSender<Said>,
    bell: DutyBell,
}

/// What is said at the desk, for the duty.
#[derive(Debug)]
pub struct AlertPost(pub(super) mpsc::UnboundedReceiver<Said>);

/// A desk, and what is said there; `bell` is the duty's.
#[must_use]
pub fn desk(bell: DutyBell) -> (AlertDesk, AlertPost) {
    let (said, post) = mpsc::unbounded_channel();
    (AlertDesk { said, bell }, AlertPost(post))
}

#[derive(Debug)]
pub(super) enum Said {
    Raise {
        kind: AlertKind,
        subject: String,
        session: Option<SessionKey>,
        text: String,
    },
    Recover {
        kind: AlertKind,
        subject: String,
    },
}

impl AlertDesk {
    /// It turned for the worse. Said again while it lasts, it is told once.
    pub fn raise(
        &self,
        kind: AlertKind,
        subject: &str,
        session: Option<&SessionKey>,
        text: String,
    ) {
        self.say(Said::Raise {
            kind,
            subject: subject.to_owned(),
            session: session.cloned(),
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
        // Nobody takes it any more: the daemon is stopping.
        let _ = self.said.send(said);
        self.bell.ring();
    }
}
