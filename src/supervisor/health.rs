//! Health is earned: a duty is well if its last round returned by its own
//! deadline, with a result or with a named trouble.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::figures::{FigureState, KeptFigures};
use super::state_file::DutyState;
use crate::advice;
use crate::duties::{Figure, SessionState, StoreState};

/// The duty that says how the store is.
const STORE_KEEPER: &str = "store";
/// How every error of the store's own begins.
const STORE_ERROR: &str = "store ";

/// What is known of every duty.
#[derive(Debug, Default)]
pub(super) struct Board {
    duties: Mutex<Vec<Entry>>,
    news: Notify,
}

#[derive(Debug)]
struct Entry {
    name: &'static str,
    deadline: Duration,
    /// When the round that runs, or the next one, must have returned.
    due: Option<Instant>,
    returned: bool,
    generation: u64,
    said: RoundReport,
    figures: KeptFigures,
}

/// What a duty said after a round.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RoundReport {
    pub(super) summary: String,
    pub(super) trouble: Option<String>,
    pub(super) store: Option<StoreState>,
    pub(super) sessions: Vec<SessionState>,
}

/// How many sessions in trouble the state file holds at most.
const MOST_SESSIONS: usize = 1_000;

impl Board {
    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.duties.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, name: &'static str, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().iter_mut().find(|entry| entry.name == name) {
            change(entry);
        }
    }

    /// A duty that is about to start.
    pub(super) fn enter(&self, name: &'static str, deadline: Duration) {
        self.lock().push(Entry {
            name,
            deadline,
            due: None,
            returned: false,
            generation: 0,
            said: RoundReport::default(),
            figures: KeptFigures::default(),
        });
    }

    /// A round begins.
    pub(super) fn begins(&self, name: &'static str, now: Instant) {
        self.with(name, |entry| entry.due = Some(now + entry.deadline));
    }

    /// A round returned; the next one begins at `next` at the latest. Figures alone
    /// are no news.
    pub(super) fn returned(
        &self,
        name: &'static str,
        said: RoundReport,
        figures: Vec<Figure>,
        next: Instant,
        generation: u64,
    ) {
        self.with(name, |entry| {
            entry.figures.take(figures);
            entry.due = Some(next + entry.deadline);
            let news = !entry.returned || entry.generation != generation || entry.said != said;
            entry.returned = true;
            entry.generation = generation;
            entry.said = said;
            if news {
                self.news.notify_one();
            }
        });
    }

    /// Waits for news.
    pub(super) async fn changed(&self) {
        self.news.notified().await;
    }

    /// A duty whose deadline has passed.
    pub(super) fn overdue(&self, now: Instant) -> Option<&'static str> {
        self.lock()
            .iter()
            .find(|entry| entry.due.is_some_and(|due| now > due))
            .map(|entry| entry.name)
    }

    /// Gives every duty its whole time again, from now.
    pub(super) fn forgive(&self, now: Instant) {
        for entry in self.lock().iter_mut() {
            entry.due = entry.due.map(|due| due.max(now + entry.deadline));
        }
    }

    /// Whether every duty has had a round.
    pub(super) fn all_returned(&self) -> bool {
        self.lock().iter().all(|entry| entry.returned)
    }

    /// Whether every duty has had a round with these settings.
    pub(super) fn all_in(&self, generation: u64) -> bool {
        self.lock()
            .iter()
            .all(|entry| entry.generation >= generation)
    }

    /// What the duties do, in one line. A store that one duty just failed to use
    /// is not called well, although its keeper has not looked again yet.
    pub(super) fn words(&self) -> String {
        let duties = self.lock();
        let of_the_store = |why: &String| why.starts_with(STORE_ERROR);
        let failing = duties
            .iter()
            .any(|entry| entry.said.trouble.as_ref().is_some_and(of_the_store));
        let mut words: Vec<&str> = duties
            .iter()
            .filter(|entry| entry.name != STORE_KEEPER || entry.said.trouble.is_some() || !failing)
            .map(|entry| {
                let trouble = entry.said.trouble.as_deref();
                // What to do stands below, and not on a line of status.
                trouble
                    .filter(|_| entry.said.summary.is_empty())
                    .map_or(entry.said.summary.as_str(), |why| {
                        why.lines().next().unwrap_or_default()
                    })
            })
            .filter(|words| !words.is_empty())
            .collect();
        // Several duties may have the same trouble.
        let mut said = HashSet::new();
        words.retain(|words| said.insert(*words));
        if words.is_empty() {
            "starting".into()
        } else {
            words.join("; ")
        }
    }

    /// The store, as its keeper reports it.
    pub(super) fn store(&self) -> Option<StoreState> {
        self.lock()
            .iter()
            .find_map(|entry| entry.said.store.clone())
    }

    /// Sessions in trouble, each once with all that duties say of it.
    pub(super) fn sessions(&self) -> Vec<SessionState> {
        let duties = self.lock();
        let mut all: BTreeMap<&str, SessionState> = BTreeMap::new();
        for said in duties.iter().flat_map(|entry| &entry.said.sessions) {
            let session = all.entry(&said.session).or_insert_with(|| said.clone());
            session.life = session.life.take().or_else(|| said.life.clone());
            session.wake = session.wake.take().or_else(|| said.wake.clone());
            session.beside = session.beside.take().or_else(|| said.beside.clone());
        }
        all.into_values().take(MOST_SESSIONS).collect()
    }

    /// The figures of all duties.
    pub(super) fn figures(&self) -> Vec<FigureState> {
        let duties = self.lock();
        let each = duties
            .iter()
            .flat_map(|entry| entry.figures.states(entry.name));
        each.collect()
    }

    /// For the state file.
    pub(super) fn states(&self) -> Vec<DutyState> {
        self.lock()
            .iter()
            .map(|entry| DutyState {
                name: entry.name.to_owned(),
                summary: entry.said.summary.clone(),
                trouble: entry.said.trouble.as_deref().map(advice::as_given),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> RoundReport {
        RoundReport {
            summary: "well".into(),
            ..RoundReport::default()
        }
    }

    #[test]
    fn unusable_store_is_not_called_well() {
        let board = Board::default();
        let now = Instant::now();
        let said = |summary: &str, trouble: Option<&str>| RoundReport {
            summary: summary.into(),
            trouble: trouble.map(str::to_owned),
            ..RoundReport::default()
        };
        let full = "store /s: the disk is full";
        for name in ["heartbeat", STORE_KEEPER] {
            board.enter(name, Duration::from_secs(1));
        }
        board.returned("heartbeat", said("", Some(full)), vec![], now, 1);
        board.returned(STORE_KEEPER, said("store ok", None), vec![], now, 1);
        assert_eq!(board.words(), full);
        board.returned(STORE_KEEPER, said(full, Some(full)), vec![], now, 1);
        assert_eq!(board.words(), full);
        board.returned("heartbeat", said("1 session alive", None), vec![], now, 1);
        board.returned(STORE_KEEPER, said("store ok", None), vec![], now, 1);
        assert_eq!(board.words(), "1 session alive; store ok");
    }

    #[test]
    fn a_session_in_two_troubles_is_one() {
        let board = Board::default();
        let now = Instant::now();
        let about = |life: Option<&str>, wake: Option<&str>| RoundReport {
            sessions: vec![SessionState {
                session: "conv_0123456789abcdef/b".into(),
                name: "one/b".into(),
                credentials: std::path::PathBuf::new(),
                life: life.map(str::to_owned),
                wake: wake.map(str::to_owned),
                beside: None,
            }],
            ..RoundReport::default()
        };
        for name in ["heartbeat", "message-watch"] {
            board.enter(name, Duration::from_secs(1));
        }
        board.returned(
            "heartbeat",
            about(Some("no pid file"), None),
            vec![],
            now,
            1,
        );
        board.returned(
            "message-watch",
            about(None, Some("exec: failed")),
            vec![],
            now,
            1,
        );
        let both = about(Some("no pid file"), Some("exec: failed")).sessions;
        assert_eq!(board.sessions(), both);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_hanging_round_is_noticed() {
        let board = Board::default();
        let start = Instant::now();
        let seconds = Duration::from_secs;
        board.enter("one", seconds(10));
        board.enter("two", seconds(10));
        assert_eq!(
            board.overdue(start + seconds(99)),
            None,
            "nothing has begun"
        );
        board.begins("one", start);
        board.begins("two", start);
        board.returned("one", well(), vec![], start + seconds(30), 1);
        let busy = RoundReport {
            trouble: Some("store: busy\n  try again".into()),
            ..RoundReport::default()
        };
        board.returned("two", busy, vec![], start + seconds(30), 1);
        assert_eq!(board.overdue(start + seconds(40)), None);
        board.begins("two", start + seconds(30));
        board.begins("one", start + seconds(31));
        board.returned("one", well(), vec![], start + seconds(61), 1);
        assert_eq!(board.overdue(start + seconds(41)), Some("two"));
        assert_eq!(board.words(), "well; store: busy");
        let trouble = board.states().pop().and_then(|state| state.trouble);
        assert_eq!(trouble.as_deref(), Some("store: busy\n  try again"));
    }

    #[test]
    fn reload_counts_after_a_round_of_every_duty() {
        let board = Board::default();
        let now = Instant::now();
        board.enter("one", Duration::from_secs(1));
        board.enter("two", Duration::from_secs(1));
        board.returned("one", RoundReport::default(), vec![], now, 2);
        board.returned("two", RoundReport::default(), vec![], now, 1);
        assert!(board.all_returned() && board.all_in(1) && !board.all_in(2));
    }
}
