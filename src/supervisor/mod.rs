//! Runs the duties: one driver each, health that is earned, a reload that
//! keeps what works, a shutdown in two stages.

mod driver;
mod figures;
mod health;
mod reload;
mod reload_request;
mod state_file;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use signal_hook::consts::SIGHUP;
use tokio::sync::watch;
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info, warn};

use crate::config::Settings;
use crate::duties::{Duty, DutyBell};
use crate::exit::Exit;
use crate::logging;
use crate::service_manager::{News, ServiceManager};
pub use figures::FigureState;
use health::Board;
pub use reload_request::{ReloadRequestError, request_reload};
pub use state_file::{
    DutyState, Instance, InstancePlace, LastReload, StateFile, find_state, read as read_state,
    running, state_path,
};
pub(crate) use state_file::{is_elsewhere, lock_is_closed, runs};

/// How often health is looked at where no service manager asks.
const LOOK: Duration = Duration::from_secs(1);

/// So often the state file is written where nothing but figures changed.
pub const FIGURES_EVERY: Duration = Duration::from_secs(5);

/// A look that comes so much later says more about us than about the duties.
const LATE: Duration = Duration::from_secs(3);
/// How long duties that were aborted may take to end.
const LAST_BREATH: Duration = Duration::from_millis(300);
/// What a stop may take after the grace period is over, with the last breath and
/// the store's closing: less than 5 s in all, as it is by default.
const AFTER_GRACE: Duration = Duration::from_millis(700);

/// How it ended, and until when the rest may take its time.
#[derive(Debug)]
pub struct Stopped {
    /// What the process ends with.
    pub exit: Exit,
    /// When it must have ended.
    pub until: Instant,
}

/// Settings with the number of the reload that brought them.
#[derive(Debug, Clone)]
struct InForce {
    generation: u64,
    settings: Arc<Settings>,
}

/// The daemon's duties and what they share.
#[derive(Debug)]
pub struct Supervisor {
    settings: watch::Sender<InForce>,
    /// What a key that needs a restart is compared with.
    started_with: Settings,
    board: Arc<Board>,
    soft: CancellationToken,
    duties: JoinSet<&'static str>,
    /// Whose task it is: one that panicked cannot say so itself.
    names: HashMap<task::Id, &'static str>,
    instance: Instance,
    role: &'static str,
    manager: Box<dyn ServiceManager>,
}

impl Supervisor {
    /// A supervisor without duties.
    #[must_use]
    pub fn new(settings: Settings, instance: Instance, manager: Box<dyn ServiceManager>) -> Self {
        let role = settings.role.name();
        Self {
            started_with: settings.clone(),
            settings: watch::Sender::new(InForce {
                generation: 1,
                settings: Arc::new(settings),
            }),
            board: Arc::new(Board::default()),
            soft: CancellationToken::new(),
            duties: JoinSet::new(),
            names: HashMap::new(),
            instance,
            role,
            manager,
        }
    }

    /// Starts a duty.
    pub fn spawn<D: Duty>(&mut self, duty: D, bell: &DutyBell) {
        let name = duty.name();
        self.board.enter(name, duty.deadline());
        let driver = driver::Driver {
            duty,
            bell: bell.clone(),
            settings: self.settings.subscribe(),
            board: Arc::clone(&self.board),
            soft: self.soft.clone(),
        };
        let work = async move {
            driver.run().await;
            name
        };
        let task = self.duties.spawn(work.instrument(logging::duty_span(name)));
        self.names.insert(task.id(), name);
    }

    /// Runs until a signal or the death of a duty ends it.
    ///
    /// # Errors
    /// If the stream of signals ends.
    pub async fn run(
        mut self,
        config: PathBuf,
        mut signals: impl Stream<Item = i32> + Unpin,
    ) -> anyhow::Result<Stopped> {
        let watchdog = self.manager.watchdog();
        let mut look = tokio::time::interval(watchdog.map_or(LOOK, |limit| (limit / 3).min(LOOK)));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = LastReport::default();

        let exit = loop {
            tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    Some(SIGHUP) => self.begin_reload(&config, &mut told),
                    Some(_) => break Exit::Success,
                    None => anyhow::bail!("signals are not received any more"),
                },
                Some(ended) = self.duties.join_next() => {
                    match ended {
                        Ok(name) => error!(event = "duty-died", duty = name, "the duty {name} ended unexpectedly"),
                        Err(error) => died(&self.names, &error),
                    }
                    break Exit::DutyDied;
                }
                _ = look.tick() => {
                    if !self.look(watchdog.is_some(), &mut told) {
                        break Exit::DutyDied;
                    }
                }
                () = self.board.changed() => {
                    self.conclude_reload(&mut told);
                    self.tell(&mut told);
                }
                () = reload_overdue(&told) => self.conclude_reload(&mut told),
            }
        };
        let grace = self.settings.borrow().settings.service.shutdown_grace;
        let until = Instant::now() + grace + AFTER_GRACE;
        self.manager.tell(News::Stopping(grace + AFTER_GRACE));
        let exit = self.drain(exit, grace, &mut signals).await;
        self.instance.remove_state();
        Ok(Stopped { exit, until })
    }

    /// One look at health. `false` if a duty hangs and only this process would notice;
    /// under a watchdog the missing ping speaks for itself.
    fn look(&self, watched: bool, told: &mut LastReport) -> bool {
        let now = Instant::now();
        // We were stopped, or the machine was: then so were the duties.
        if told.looked.is_some_and(|then| now - then > LOOK + LATE) {
            self.board.forgive(now);
        }
        told.looked = Some(now);
        let Some(hung) = self.board.overdue(now) else {
            told.hung = None;
            if watched {
                self.manager.tell(News::Ping);
            }
            self.tell(told);
            return true;
        };
        if told.hung != Some(hung) {
            error!(
                event = "duty-hung",
                duty = hung,
                "the duty {hung} has not returned by its deadline"
            );
        }
        told.hung = Some(hung);
        self.tell(told);
        watched
    }

    /// Tells the service manager and the state file what is new.
    fn tell(&self, told: &mut LastReport) {
        let status = self.status(told);
        let now_ready = !told.ready && self.board.all_returned();
        told.ready |= now_ready;
        // The file first: a program that waits for READY reads it next.
        self.write(self.state(told, &status), told);
        if now_ready {
            self.manager.tell(News::Ready(&status));
            info!(event = "ready", "ready: {status}");
        } else if told.status != status {
            self.manager.tell(News::Status(&status));
        }
        told.status = status;
    }

    /// Writes the state file if there is news, or other figures since a while.
    fn write(&self, mut state: StateFile, told: &mut LastReport) {
        let figures = self.board.figures();
        let now = Instant::now();
        let are_due = told
            .figures_at
            .is_none_or(|then| now - then >= FIGURES_EVERY);
        let has_figures = are_due && told.figures != figures;
        let is_news = told.state.as_ref() != Some(&state);
        if !is_news && !has_figures {
            return;
        }
        state.figures.clone_from(&figures);
        if let Err(error) = self.instance.write_state(&state) {
            if !told.state_failed {
                warn!(event = "state-file-trouble", %error, "the state file cannot be written");
            }
            // Tried again with the next look.
            told.state_failed = true;
        } else {
            told.state_failed = false;
            (told.figures, told.figures_at) = (figures, Some(now));
            state.figures.clear();
            told.state = Some(state);
        }
    }

    fn status(&self, told: &LastReport) -> String {
        let refused = told
            .last_reload
            .as_ref()
            .and_then(|last| last.error.as_deref())
            .and_then(|error| error.lines().next());
        let words = match told.hung {
            Some(hung) => format!("the duty {hung} hangs"),
            None => format!("{}: {}", self.role, self.board.words()),
        };
        match refused {
            Some(why) => format!("{words}; reload refused: {why}"),
            None => words,
        }
    }

    fn state(&self, told: &LastReport, status: &str) -> StateFile {
        StateFile {
            pid_ns: crate::host::boot().pid_ns,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            role: self.role.to_owned(),
            ready: told.ready,
            generation: self.settings.borrow().generation,
            reloads: told.reloads,
            last_reload: told.last_reload.clone(),
            status: status.to_owned(),
            duties: self.board.states(),
            store: self.board.store(),
            sessions: self.board.sessions(),
            // Added when it is written: alone they are no news.
            figures: Vec::new(),
        }
    }

    /// Lets every duty finish its round, and no longer than the grace period;
    /// a second signal ends the patience.
    async fn drain(
        &mut self,
        exit: Exit,
        grace: Duration,
        signals: &mut (impl Stream<Item = i32> + Unpin),
    ) -> Exit {
        info!(event = "stopping", "stopping");
        self.soft.cancel();
        let (duties, names) = (&mut self.duties, &self.names);
        let finished = async {
            let mut exit = exit;
            while let Some(ended) = duties.join_next().await {
                if let Err(error) = ended {
                    died(names, &error);
                    exit = Exit::DutyDied;
                }
            }
            exit
        };
        tokio::select! {
            exit = finished => return exit,
            () = tokio::time::sleep(grace) => warn!(
                event = "stop-overdue",
                "duties did not finish within {}: ending them", humantime::format_duration(grace)
            ),
            () = terminated(signals) => warn!(event = "stop-overdue", "second signal: ending at once"),
        }
        self.duties.abort_all();
        // One that hangs in a system call hears no abort: it ends with the
        // process.
        let gone = async { while self.duties.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_BREATH, gone).await.is_err() {
            warn!(event = "stop-overdue", "a duty hangs: leaving it behind");
        }
        match exit {
            Exit::Success => Exit::Failure,
            other => other,
        }
    }
}

fn died(names: &HashMap<task::Id, &'static str>, error: &JoinError) {
    let duty = names.get(&error.id()).copied().unwrap_or_default();
    error!(event = "duty-died", duty, %error, "the duty {duty} died");
}

/// Comes when a reload has taken too long; never without one.
async fn reload_overdue(told: &LastReport) {
    match &told.pending {
        Some(pending) => tokio::time::sleep_until(pending.end).await,
        None => std::future::pending().await,
    }
}

/// Waits for a signal that means the end; a reload is not one.
async fn terminated(signals: &mut (impl Stream<Item = i32> + Unpin)) {
    while let Some(SIGHUP) = signals.next().await {}
}

/// What was reported last, so that only news is reported.
#[derive(Debug, Default)]
struct LastReport {
    ready: bool,
    looked: Option<Instant>,
    hung: Option<&'static str>,
    status: String,
    /// Without the figures, which are beside it.
    state: Option<StateFile>,
    figures: Vec<FigureState>,
    figures_at: Option<Instant>,
    state_failed: bool,
    reloads: u64,
    last_reload: Option<LastReload>,
    pending: Option<reload::Pending>,
}

#[cfg(test)]
mod tests;
