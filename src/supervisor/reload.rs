//! SIGHUP: new settings if they are right, the old ones otherwise.
//!
//! A reload begins and ends in the supervisor's loop and never blocks it: the
//! watchdog is fed and a stop is heard while the duties finish their rounds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info, warn};

use super::state_file::LastReload;
use super::{InForce, LastReport, Supervisor};
use crate::clock;
use crate::config::{self, Settings, restart_keys};
use crate::credentials::handing_over;
use crate::service_manager::News;

/// How long duties may take to finish the round that is under way.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Settings that were handed to the duties, until each had a round with them.
#[derive(Debug)]
pub(super) struct Pending {
    generation: u64,
    needs_restart: Vec<String>,
    /// When a duty that has not taken them is named.
    pub(super) end: Instant,
}

impl Supervisor {
    /// Reads the configuration again. Settings that are right are handed to
    /// the duties; [`Self::conclude_reload`] ends what begins here.
    pub(super) fn begin_reload(&self, config: &Path, told: &mut LastReport) {
        // Before the first READY there is nothing to announce: it comes anyway.
        if told.ready {
            self.manager.tell(News::Reloading);
        }
        // A signal while a reload is under way: what is read now counts.
        told.pending = None;
        // Before anything is read: a program that saw a smaller number may rely on it
        // that this reload reads what stood there then.
        told.reloads += 1;
        self.tell(told);
        match config::load(config, config::environment()) {
            Err(refused) => {
                for error in refused.each() {
                    error!(
                        event = "reload-refused",
                        "the old settings stay active: {error}"
                    );
                }
                self.end_reload(Err(refused.to_string()), told);
            }
            Ok(settings) => {
                let restart = self.needs_restart(&settings);
                let generation = self.settings.borrow().generation + 1;
                told.pending = Some(Pending {
                    generation,
                    needs_restart: restart,
                    end: Instant::now() + PATIENCE,
                });
                self.settings.send_replace(InForce {
                    generation,
                    settings: Arc::new(settings),
                });
            }
        }
    }

    /// What will count after a restart only, by name: keys that are not what
    /// they were at the start, however many reloads ago, and files that the
    /// service manager hands over at a start.
    fn needs_restart(&self, settings: &Settings) -> Vec<String> {
        let keys = restart_keys(&self.started_with, settings);
        for key in &keys {
            warn!(
                event = "reload-partial",
                "{key} changed: this needs a restart"
            );
        }
        let files = settings.awaits_start();
        for file in &files {
            warn!(
                event = "reload-partial",
                "the service did not get {}: {}",
                file.display(),
                handing_over(file)
            );
        }
        let files = files.iter().map(|file| file.display().to_string());
        keys.into_iter().map(str::to_owned).chain(files).collect()
    }

    /// Ends a reload that is in force in every duty, or has taken too long.
    pub(super) fn conclude_reload(&self, told: &mut LastReport) {
        let Some(pending) = &told.pending else { return };
        if self.board.all_in(pending.generation) {
            let restart = pending.needs_restart.clone();
            info!(event = "reloaded", "the new settings are active");
            self.end_reload(Ok(restart), told);
        } else if Instant::now() >= pending.end {
            let why = "a duty does not use the new settings yet";
            error!(event = "reload-overdue", "{why}");
            self.end_reload(Err(why.into()), told);
        }
    }

    fn end_reload(&self, outcome: Result<Vec<String>, String>, told: &mut LastReport) {
        told.pending = None;
        let (error, needs_restart) = match outcome {
            Ok(restart) => (None, restart),
            Err(error) => (Some(error), Vec::new()),
        };
        told.last_reload = Some(LastReload {
            number: told.reloads,
            at: clock::now(),
            error,
            needs_restart,
        });
        // The state file first: a program that waits for READY reads it next.
        let announced = told.ready;
        self.tell(told);
        if announced {
            self.manager.tell(News::Ready(&self.status(told)));
        }
    }
}
