//! The supervisor with duties that misbehave, in paused time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream::unfold;
use signal_hook::consts::SIGTERM;
use tokio::sync::mpsc;

use super::*;
use crate::config;
use crate::duties::Round;
use crate::duties::{Duty, Figure, Report};

/// Keeps what a service manager would have received.
#[derive(Debug, Clone, Default)]
struct FakeManager {
    lines: Arc<Mutex<Vec<String>>>,
    stopping: Arc<Mutex<Option<Instant>>>,
    watchdog: Option<Duration>,
}

impl FakeManager {
    fn count(&self, news: &str) -> usize {
        self.lines
            .lock()
            .expect("whole")
            .iter()
            .filter(|line| line.starts_with(news))
            .count()
    }
}

impl ServiceManager for FakeManager {
    fn tell(&self, news: News<'_>) {
        if let News::Stopping(_) = news {
            *self.stopping.lock().expect("whole") = Some(Instant::now());
        }
        self.lines.lock().expect("whole").push(format!("{news:?}"));
    }

    fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Well,
    HangsIn(u32),
    PanicsIn(u32),
    /// This number of seconds.
    LateIn(u32, u32),
    ReturnsIn(u32),
    /// Has a round every second.
    Busy,
}

struct Fake {
    name: &'static str,
    mood: Mood,
    rounds: u32,
    generations: u32,
    drained: Arc<AtomicBool>,
}

struct Rounds(u32);

impl Report for Rounds {
    fn summary(&self) -> String {
        "well".into()
    }

    fn trouble(&self) -> Option<String> {
        (self.0 == u32::MAX).then(|| "never".into())
    }

    fn figures(&self) -> Vec<Figure> {
        vec![
            Figure::counter("rounds", 1),
            Figure::gauge("round", u64::from(self.0)),
        ]
    }
}

impl Duty for Fake {
    type Report = Rounds;

    fn name(&self) -> &'static str {
        self.name
    }

    async fn tick(&mut self) -> Round<Rounds> {
        self.rounds += 1;
        match self.mood {
            Mood::HangsIn(round) if round == self.rounds => std::future::pending().await,
            Mood::LateIn(round, seconds) if round == self.rounds => {
                tokio::time::sleep(Duration::from_secs(seconds.into())).await;
            }
            Mood::PanicsIn(round) if round == self.rounds => panic!("a duty that panics"),
            // A store that takes its time is no reason to bite.
            Mood::ReturnsIn(seconds) => {
                tokio::time::sleep(Duration::from_secs(seconds.into())).await;
            }
            _ => {}
        }
        let pause = if self.mood == Mood::Busy { 1 } else { 5 };
        Round {
            report: Rounds(self.rounds),
            next: Instant::now() + Duration::from_secs(pause),
        }
    }

    fn reload(&mut self, _settings: &Arc<Settings>) {
        self.generations += 1;
    }

    async fn stop(&mut self) {
        self.drained.store(true, Ordering::Release);
    }
}

struct Case {
    supervisor: Supervisor,
    told: FakeManager,
    drained: Arc<AtomicBool>,
    signal: mpsc::UnboundedSender<i32>,
    signals: mpsc::UnboundedReceiver<i32>,
    dir: tempfile::TempDir,
}

impl Case {
    /// A well duty beside one of this mood.
    fn new(mood: Mood, watchdog: Option<Duration>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let config = dir.path().join("worker.toml");
        std::fs::write(&config, "role = \"worker\"\n").expect("written");
        let settings = config::load(&config, []).expect("settings");
        let instance =
            Instance::claim(&config, Some(&dir.path().join("state.json"))).expect("claimed");
        let told = FakeManager {
            watchdog,
            ..FakeManager::default()
        };
        let mut supervisor = Supervisor::new(settings, instance, Box::new(told.clone()));
        let drained = Arc::new(AtomicBool::new(false));
        for (name, mood) in [("one", Mood::Well), ("two", mood)] {
            let duty = Fake {
                name,
                mood,
                rounds: 0,
                generations: 0,
                drained: if name == "one" {
                    Arc::clone(&drained)
                } else {
                    Arc::default()
                },
            };
            supervisor.spawn(duty, &DutyBell::default());
        }
        let (signal, signals) = mpsc::unbounded_channel();
        Self {
            supervisor,
            told,
            drained,
            signal,
            signals,
            dir,
        }
    }

    /// Runs it, `meanwhile` beside it; returns the exit code.
    async fn run(
        self,
        meanwhile: impl AsyncFnOnce(&mpsc::UnboundedSender<i32>, &FakeManager),
    ) -> Exit {
        let config = self.dir.path().join("worker.toml");
        let signals = Box::pin(unfold(self.signals, |mut signals| async {
            signals.recv().await.map(|signal| (signal, signals))
        }));
        let (exit, ()) = tokio::join!(
            self.supervisor.run(config, signals),
            meanwhile(&self.signal, &self.told)
        );
        let Stopped { exit, until } = exit.expect("an exit code");
        // Nothing else has happened since, and time is paused.
        let begun = self
            .told
            .stopping
            .lock()
            .expect("whole")
            .expect("it stopped");
        assert!(
            until - begun < Duration::from_secs(5),
            "{:?}",
            until - begun
        );
        assert!(Instant::now() < until, "time is left to close the store");
        exit
    }
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

#[tokio::test(start_paused = true)]
async fn hanging_duty_ends_an_unwatched_process() {
    let case = Case::new(Mood::HangsIn(3), None);
    let (told, drained) = (case.told.clone(), Arc::clone(&case.drained));
    let exit = case.run(async |_, _| {}).await;
    // launchd has no watchdog: by this status it knows that something is wrong.
    assert_eq!((exit, exit as u8), (Exit::DutyDied, 70));
    assert!(drained.load(Ordering::Acquire), "the others are drained");
    assert_eq!(told.count("Status(\"the duty two hangs"), 1);
    assert_eq!((told.count("Ready"), told.count("Stopping")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn hanging_duty_stops_the_watchdog_pings() {
    let case = Case::new(Mood::HangsIn(3), Some(Duration::from_secs(6)));
    let exit = case
        .run(async |signal, told| {
            // Two rounds of 5 s, and 8 s until the third must have returned.
            seconds(40).await;
            let pings = told.count("Ping");
            assert!(pings > 10, "it was well before: {pings}");
            seconds(60).await;
            assert_eq!(told.count("Ping"), pings);
            signal.send(SIGTERM).expect("sent");
        })
        .await;
    assert_eq!(exit, Exit::Failure, "a round did not finish");
}

#[tokio::test(start_paused = true)]
async fn duty_that_came_back_is_well_in_words() {
    let case = Case::new(Mood::LateIn(3, 12), Some(Duration::from_secs(30)));
    let state = case.dir.path().join("state.json");
    let status = || -> String {
        let said: StateFile =
            serde_json::from_slice(&std::fs::read(&state).expect("there")).expect("whole");
        said.status
    };
    let exit = case
        .run(async |signal, told| {
            seconds(20).await;
            assert_eq!(told.count("Status(\"the duty two hangs"), 1);
            assert_eq!(status(), "the duty two hangs");
            let well = told.count("Status(\"worker: well");
            seconds(5).await;
            assert_eq!(told.count("Status(\"worker: well"), well + 1);
            assert_eq!(status(), "worker: well");
            signal.send(SIGTERM).expect("sent");
        })
        .await;
    assert_eq!(exit, Exit::Success);
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_is_borne() {
    let case = Case::new(Mood::ReturnsIn(7), Some(Duration::from_secs(6)));
    let exit = case
        .run(async |signal, told| {
            seconds(600).await;
            let pings = told.count("Ping");
            seconds(60).await;
            assert!(told.count("Ping") >= pings + 30);
            signal.send(SIGTERM).expect("sent");
        })
        .await;
    assert!(matches!(exit, Exit::Success | Exit::Failure));
}

#[tokio::test(start_paused = true)]
async fn panicking_duty_ends_the_process_after_a_drain() {
    let case = Case::new(Mood::PanicsIn(2), None);
    let drained = Arc::clone(&case.drained);
    assert_eq!(case.run(async |_, _| {}).await, Exit::DutyDied);
    assert!(drained.load(Ordering::Acquire));
}

#[tokio::test(start_paused = true)]
async fn stopped_process_does_not_blame_its_duties() {
    let case = Case::new(Mood::Well, None);
    let exit = case
        .run(async |signal, _| {
            seconds(3).await;
            // Time goes on and no duty runs, as after SIGSTOP or a suspend.
            tokio::time::advance(Duration::from_secs(3600)).await;
            seconds(60).await;
            signal.send(SIGTERM).expect("sent");
        })
        .await;
    assert_eq!(exit, Exit::Success);
}

#[tokio::test(start_paused = true)]
async fn reload_neither_starves_the_watchdog_nor_delays_a_stop() {
    let case = Case::new(Mood::HangsIn(2), Some(Duration::from_secs(3)));
    let told = case.told.clone();
    let exit = case
        .run(async |signal, told| {
            seconds(6).await;
            let pings = told.count("Ping");
            signal.send(SIGHUP).expect("sent");
            seconds(8).await;
            assert!(told.count("Ping") >= pings + 6, "pinged while it waits");
            assert_eq!((told.count("Reloading"), told.count("Ready")), (1, 1));
            signal.send(SIGTERM).expect("sent");
            seconds(1).await;
            assert_eq!(told.count("Stopping"), 1);
        })
        .await;
    assert_eq!(exit, Exit::Failure);
    assert_eq!(told.count("Ready"), 1);
}

#[tokio::test(start_paused = true)]
async fn reload_refused_by_a_duty_is_reported() {
    let case = Case::new(Mood::HangsIn(2), Some(Duration::from_secs(600)));
    let state = case.dir.path().join("state.json");
    let exit = case
        .run(async |signal, told| {
            seconds(6).await;
            signal.send(SIGHUP).expect("sent");
            seconds(30).await;
            assert_eq!((told.count("Reloading"), told.count("Ready")), (1, 2));
            let state: StateFile =
                serde_json::from_slice(&std::fs::read(&state).expect("there")).expect("whole");
            let error = state
                .last_reload
                .expect("a reload")
                .error
                .expect("an error");
            assert!(error.contains("does not use"), "{error}");
            assert!(state.status.contains("does not use"), "{}", state.status);
            signal.send(SIGTERM).expect("sent");
            signal.send(SIGTERM).expect("sent again");
        })
        .await;
    assert_eq!(exit, Exit::Failure);
}

#[tokio::test(start_paused = true)]
async fn generation_grows_only_with_valid_settings() {
    let case = Case::new(Mood::Well, None);
    let (config, state) = (
        case.dir.path().join("worker.toml"),
        case.dir.path().join("state.json"),
    );
    let read = || -> StateFile {
        serde_json::from_slice(&std::fs::read(&state).expect("there")).expect("whole")
    };
    let exit = case
        .run(async |signal, told| {
            seconds(1).await;
            assert_eq!(read().generation, 1);
            signal.send(SIGHUP).expect("sent");
            seconds(1).await;
            assert_eq!(read().generation, 2);
            assert_eq!(read().last_reload.expect("a reload").error, None);
            std::fs::write(&config, "role = \"wroker\"\n").expect("written");
            signal.send(SIGHUP).expect("sent");
            seconds(1).await;
            assert_eq!(read().generation, 2);
            let error = read().last_reload.expect("a reload").error.expect("one");
            assert!(error.contains("wroker"), "{error}");
            assert_eq!((told.count("Reloading"), told.count("Ready")), (2, 3));
            signal.send(SIGTERM).expect("sent");
        })
        .await;
    assert_eq!(exit, Exit::Success);
    assert!(!state.exists(), "a clean stop leaves no state");
}

#[tokio::test(start_paused = true)]
async fn figures_alone_are_written_now_and_then() {
    let case = Case::new(Mood::Busy, None);
    let path = case.dir.path().join("state.json");
    let state = || -> StateFile {
        serde_json::from_slice(&std::fs::read(&path).expect("there")).expect("whole")
    };
    // A number may be used again, the time beside it is another one.
    let file = || {
        let meta = std::fs::metadata(&path).expect("there");
        let inode = std::os::unix::fs::MetadataExt::ino(&meta);
        (inode, meta.modified().expect("a time"))
    };
    let exit = case
        .run(async |signal, _| {
            // They have rounds, and nothing new to say.
            seconds(1).await;
            let mut files = std::collections::HashSet::new();
            for _ in 0..60 {
                seconds(1).await;
                files.insert(file());
            }
            let mut seen: Vec<(String, String, u64)> = Vec::new();
            for figure in state().figures {
                seen.push((figure.duty, figure.name, figure.value));
            }
            let of = |duty: &str, name: &str| {
                let found = seen
                    .iter()
                    .find(|(d, n, _)| (d.as_str(), n.as_str()) == (duty, name));
                found.map(|(.., value)| *value).expect("a figure")
            };
            assert_eq!(seen.len(), 4, "{seen:?}");
            assert!(of("one", "rounds") >= 11, "{seen:?}");
            assert!(of("two", "rounds") >= 55, "{seen:?}");
            assert_eq!(of("one", "rounds"), of("one", "round"));
            assert_eq!(of("two", "rounds"), of("two", "round"));
            assert!(files.len() <= 13, "{} writes in a minute", files.len());
            signal.send(SIGTERM).expect("sent");
        })
        .await;
    assert_eq!(exit, Exit::Success);
}
