//! What the doorbell's thread leaves for the message watch.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::duties::{CommitListener, DutyBell, News};
use crate::model::SessionKey;
use crate::store::Arrival;

/// Sessions with new mail, until the duty takes them.
#[derive(Debug, Default)]
pub struct MessageInbox {
    arrived: Mutex<HashSet<SessionKey>>,
    /// Whose mail concerns the duty. It looks at all mail of one that is new among them.
    kept: Mutex<HashSet<SessionKey>>,
    /// Messages may have come without a bell.
    missed: AtomicBool,
    /// A wake is open: any commit may decide it.
    awaiting: AtomicBool,
    bell: DutyBell,
}

impl MessageInbox {
    /// An inbox that rings this bell.
    #[must_use]
    pub fn new(bell: DutyBell) -> Self {
        Self {
            bell,
            ..Self::default()
        }
    }

    /// Mail for these is news from now on, and for no others. Said before the store is asked
    /// about the mail of one that is new among them, so none falls in between.
    pub(super) fn keeps(&self, sessions: impl Iterator<Item = SessionKey>) {
        *lock(&self.kept) = sessions.collect();
    }

    fn arrived(&self) -> MutexGuard<'_, HashSet<SessionKey>> {
        lock(&self.arrived)
    }

    /// Leaves what concerns the duty, and says whether anything does.
    fn takes_in(&self, arrivals: &[Arrival]) -> bool {
        let kept = lock(&self.kept);
        let to = arrivals.iter().map(|arrival| &arrival.to);
        let mut concerned = to.filter(|to| kept.contains(*to)).cloned().peekable();
        let any = concerned.peek().is_some();
        self.arrived().extend(concerned);
        any
    }

    /// The sessions with new mail since the last time, and whether all others are
    /// to be looked at, too.
    pub(super) fn take(&self) -> (HashSet<SessionKey>, bool) {
        let missed = self.missed.swap(false, Ordering::AcqRel);
        (std::mem::take(&mut *self.arrived()), missed)
    }

    /// Whether a commit without a message is news from now on.
    pub(super) fn awaits(&self, any_commit: bool) {
        self.awaiting.store(any_commit, Ordering::Release);
    }
}

impl CommitListener for MessageInbox {
    fn wants_signals(&self) -> bool {
        true
    }

    fn begins(&self) {
        self.missed.store(true, Ordering::Release);
        self.bell.ring();
    }

    fn hears(&self, news: &News<'_>) {
        if news.signalled.owed {
            self.begins();
        }
        let decides = !news.failed && self.awaiting.load(Ordering::Acquire);
        if self.takes_in(news.arrivals) || decides {
            self.bell.ring();
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ConversationId, MessageId, Side};
    use crate::store::Signalled;
    use futures_util::FutureExt as _;

    fn key(number: u8) -> SessionKey {
        SessionKey::new(ConversationId::from_random([number; 8]), Side::B)
    }

    /// An inbox, and whether its bell has been rung since the last time.
    fn inbox() -> (MessageInbox, impl Fn() -> bool) {
        let bell = DutyBell::default();
        let rung = bell.clone();
        let has_rung = move || rung.0.notified().now_or_never().is_some();
        (MessageInbox::new(bell), has_rung)
    }

    fn mail_for(inbox: &MessageInbox, number: u8) {
        inbox.hears(&News {
            arrivals: &[Arrival {
                id: MessageId(i64::from(number)),
                to: key(number),
                message: None,
            }],
            signalled: Signalled::default(),
            failed: false,
        });
    }

    #[test]
    fn mail_for_other_sessions_is_no_news() {
        let (inbox, has_rung) = inbox();
        inbox.keeps([key(1)].into_iter());
        mail_for(&inbox, 2);
        assert!(!has_rung());
        mail_for(&inbox, 1);
        assert!(has_rung());
        inbox.keeps([key(2)].into_iter());
        mail_for(&inbox, 2);
        assert!(has_rung());
        assert_eq!(inbox.take().0, HashSet::from([key(1), key(2)]));
        // It may be what a wake waits for.
        inbox.awaits(true);
        mail_for(&inbox, 3);
        assert!(has_rung() && inbox.take().0.is_empty());
    }

    #[test]
    fn new_mail_is_taken_once() {
        let (inbox, has_rung) = inbox();
        inbox.keeps([key(1), key(2)].into_iter());
        for number in [1, 2, 1] {
            mail_for(&inbox, number);
        }
        assert!(has_rung());
        assert_eq!(inbox.take(), (HashSet::from([key(1), key(2)]), false));
        assert_eq!(inbox.take(), (HashSet::new(), false));
    }

    #[test]
    fn commit_without_mail_rings_only_for_an_open_wake() {
        let (inbox, has_rung) = inbox();
        let nothing = |failed| News {
            arrivals: &[],
            signalled: Signalled::default(),
            failed,
        };
        inbox.hears(&nothing(false));
        assert!(!has_rung());
        inbox.awaits(true);
        inbox.hears(&nothing(true));
        assert!(!has_rung(), "a look that failed decides nothing");
        inbox.hears(&nothing(false));
        assert!(has_rung());
        inbox.awaits(false);
        inbox.hears(&nothing(false));
        assert!(!has_rung());
    }

    #[test]
    fn mail_that_is_owed_again_asks_for_a_full_look() {
        let (inbox, has_rung) = inbox();
        assert!(inbox.wants_signals());
        inbox.hears(&News {
            arrivals: &[],
            signalled: Signalled {
                owed: true,
                ..Signalled::default()
            },
            failed: false,
        });
        assert!(has_rung());
        assert_eq!(inbox.take(), (HashSet::new(), true));
    }

    #[test]
    fn a_new_doorbell_asks_for_one_full_look() {
        let (inbox, has_rung) = inbox();
        inbox.begins();
        assert!(has_rung());
        assert_eq!(inbox.take(), (HashSet::new(), true));
        assert_eq!(inbox.take(), (HashSet::new(), false));
    }
}
