//! The doorbell of the store that is open, and the listeners that it tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::WatchMode;
use crate::doorbell::{Doorbell, Mode};
use crate::duties::{CommitListener, DutyBell, News};
use crate::store::{Look, SharedStore, Signalled, StoreError};

/// All that hear of commits.
pub type Listeners = Vec<Arc<dyn CommitListener>>;

/// The doorbell, which hangs as long as the store is open.
pub(super) struct Ear {
    mode: WatchMode,
    listeners: Arc<Listeners>,
    /// The keeper's own, rung when a look fails: the store may be gone.
    bell: DutyBell,
    /// A look failed, and the keeper has not looked since.
    failed: Arc<AtomicBool>,
    /// Held for its drop, which takes it down.
    doorbell: Option<Doorbell>,
}

impl Ear {
    pub(super) fn new(mode: WatchMode, listeners: Listeners, bell: DutyBell) -> Self {
        Self {
            mode,
            listeners: Arc::new(listeners),
            bell,
            failed: Arc::default(),
            doorbell: None,
        }
    }

    /// Mounts the doorbell on the store that is open, if none hangs there.
    pub(super) fn mount(&mut self, store: &SharedStore) -> Result<(), StoreError> {
        if self.doorbell.is_some() {
            return Ok(());
        }
        let mode = match self.mode {
            WatchMode::Events => Mode::Events,
            WatchMode::Poll => Mode::Poll,
        };
        let listeners = Arc::clone(&self.listeners);
        let wants_signals = listeners.iter().any(|listener| listener.wants_signals());
        let (failed, bell) = (Arc::clone(&self.failed), self.bell.clone());
        self.doorbell = Some(store.doorbell(
            mode,
            Box::new(move |look| {
                if !tell(look, &listeners, wants_signals) && !failed.swap(true, Ordering::AcqRel) {
                    bell.ring();
                }
            }),
        )?);
        for listener in self.listeners.iter() {
            listener.begins();
        }
        Ok(())
    }

    /// The keeper looks at the store: it is to hear of the next failure.
    pub(super) fn looks(&self) {
        self.failed.store(false, Ordering::Release);
    }

    /// What rings from now on. Another mode takes the doorbell down.
    pub(super) fn listen_by(&mut self, mode: WatchMode) {
        if std::mem::replace(&mut self.mode, mode) != mode {
            self.take_down();
        }
    }

    /// Waits for the doorbell's thread: no listener hears anything after this.
    pub(super) fn take_down(&mut self) {
        self.doorbell = None;
    }
}

/// Reads what is new and tells the listeners; `false` if the look failed.
fn tell(look: &mut dyn Look, listeners: &Listeners, wants_signals: bool) -> bool {
    let whole = listeners.iter().find_map(|listener| listener.wants());
    let arrivals = look.arrivals(&whole.unwrap_or_default());
    let failed = arrivals.is_err();
    let arrivals = arrivals.unwrap_or_default();
    let news = News {
        arrivals: &arrivals,
        // The other question reports a look that failed.
        signalled: match wants_signals {
            true => look.signalled().unwrap_or_default(),
            false => Signalled::default(),
        },
        failed,
    };
    for listener in listeners {
        listener.hears(&news);
    }
    !failed
}

impl std::fmt::Debug for Ear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ear")
            .field("mode", &self.mode)
            .field("listeners", &self.listeners.len())
            .field("doorbell", &self.doorbell)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    use crate::clock;
    use crate::model::message::Draft;
    use crate::model::token::Token;
    use crate::model::{ConversationId, SessionKey, Side};
    use crate::store::locate::{self, Location, Origin};
    use crate::store::sqlite::Create;
    use crate::store::{Caller, NewConversation};

    /// What a listener heard, and on which thread.
    #[derive(Debug, PartialEq, Eq)]
    enum Heard {
        Begins,
        Mail(SessionKey, bool, Option<String>),
    }

    struct Recorder(mpsc::Sender<Heard>);

    impl CommitListener for Recorder {
        fn begins(&self) {
            let _ = self.0.send(Heard::Begins);
        }

        fn hears(&self, news: &News<'_>) {
            let thread = std::thread::current();
            for arrival in news.arrivals {
                let name = thread.name().map(str::to_owned);
                let to = arrival.to.clone();
                let _ = self.0.send(Heard::Mail(to, news.signalled.work, name));
            }
        }
    }

    fn recorder() -> (Arc<dyn CommitListener>, mpsc::Receiver<Heard>) {
        let (heard, record) = mpsc::channel();
        (Arc::new(Recorder(heard)), record)
    }

    fn next(record: &mpsc::Receiver<Heard>) -> Heard {
        let long = Duration::from_secs(60);
        record.recv_timeout(long).expect("something to hear")
    }

    async fn store(path: std::path::PathBuf) -> (SharedStore, Caller, SessionKey) {
        let origin = Origin::Flag;
        let name = path.into();
        let location = Location { name, origin };
        let store = locate::open(&location, Create::Yes).await.expect("open");
        let id = ConversationId::from_random([1; 8]);
        let [from, to] = Side::BOTH.map(|side| SessionKey::new(id.clone(), side));
        let [token_a, token_b] = [&from, &to].map(|side| Token::generate(side, &[7; 32]));
        let now = clock::now();
        let conversation = NewConversation {
            id,
            label: None,
            role_a: "orchestrator".into(),
            role_b: "worker".into(),
            token_a: token_a.clone(),
            token_b,
            expires_at: now + Duration::from_secs(3600),
        };
        let made = store.create_conversations(&[conversation], now).await;
        made.expect("made");
        let caller = Caller {
            session: from,
            token: token_a,
        };
        (store, caller, to)
    }

    async fn send(store: &SharedStore, from: &Caller) {
        let draft = Draft::text("hello".parse().expect("a message"));
        let sent = store.send(from, &[draft], clock::now()).await;
        sent.expect("sent");
    }

    #[tokio::test]
    async fn listeners_hear_of_mail_on_the_doorbell_thread() {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, from, to) = store(dir.path().join("bridge.db")).await;
        let ((one, first), (other, second)) = (recorder(), recorder());
        let mut ear = Ear::new(WatchMode::Events, vec![one, other], DutyBell::default());
        ear.mount(&store).expect("mounted");
        ear.mount(&store).expect("it hangs there");
        send(&store, &from).await;
        for record in [&first, &second] {
            assert_eq!(next(record), Heard::Begins);
            let thread = Some("doorbell".to_owned());
            assert_eq!(next(record), Heard::Mail(to.clone(), false, thread));
        }
        ear.take_down();
        send(&store, &from).await;
        assert!(first.try_recv().is_err(), "nothing once it is down");
        store.close().await;
    }

    #[tokio::test]
    async fn new_mode_hangs_a_doorbell_and_looks_fully() {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, from, to) = store(dir.path().join("bridge.db")).await;
        let (listener, record) = recorder();
        let mut ear = Ear::new(WatchMode::Events, vec![listener], DutyBell::default());
        ear.mount(&store).expect("mounted");
        assert_eq!(next(&record), Heard::Begins);
        ear.listen_by(WatchMode::Events);
        ear.mount(&store).expect("mounted");
        assert!(record.try_recv().is_err(), "the same one");
        ear.listen_by(WatchMode::Poll);
        // Between two doorbells: neither reports it.
        send(&store, &from).await;
        ear.mount(&store).expect("mounted");
        assert_eq!(next(&record), Heard::Begins);
        send(&store, &from).await;
        assert!(matches!(next(&record), Heard::Mail(who, ..) if who == to));
        ear.take_down();
        assert!(record.try_recv().is_err(), "one message, once");
        store.close().await;
    }

    /// A look with one answer to each question.
    struct Answers {
        fails: bool,
        asked_for_signals: bool,
    }

    impl Look for Answers {
        fn arrivals(
            &mut self,
            _: &std::collections::HashSet<SessionKey>,
        ) -> Result<Vec<crate::store::Arrival>, StoreError> {
            match self.fails {
                true => Err(StoreError::Busy("/s".into())),
                false => Ok(vec![]),
            }
        }

        fn messages(
            &mut self,
            _: &std::collections::HashSet<SessionKey>,
        ) -> Result<Vec<crate::model::message::Message>, StoreError> {
            Ok(vec![])
        }

        fn signalled(&mut self) -> Result<Signalled, StoreError> {
            self.asked_for_signals = true;
            Ok(Signalled::default())
        }
    }

    #[test]
    fn signals_are_read_only_for_a_listener() {
        for wants_signals in [false, true] {
            let mut look = Answers {
                fails: false,
                asked_for_signals: false,
            };
            assert!(tell(&mut look, &Listeners::new(), wants_signals));
            assert_eq!(look.asked_for_signals, wants_signals);
            look.fails = true;
            assert!(!tell(&mut look, &Listeners::new(), wants_signals));
        }
    }
}
