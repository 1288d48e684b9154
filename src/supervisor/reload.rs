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
use super::{InForce, Supervisor, Told};
use crate::clock;
use crate::config::{self, restart_keys};
use crate::service_manager::News;

/// How long duties may take to finish the round that is under way.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Settings that were handed to the duties, until each had a round with them.
#[derive(Debug)]
pub(super) struct Pending {
    generation: u64,
    needs_restart: Vec<&'static str>,
    /// When a duty that has not taken them is named.
    pub(super) end: Instant,
}

impl Supervisor {
    /// Reads the configuration again. Settings that are right are handed to
    /// the duties; [`Self::settle_reload`] ends what begins here.
    pub(super) fn begin_reload(&self, config: &Path, told: &mut Told) {
        // Before the first READY there is nothing to announce: it comes anyway.
        if told.ready {
            self.manager.tell(News::Reloading);
        }
        // A signal while a reload is under way: what is read now counts.
        told.pending = None;
        // Before anything is read: whoever saw a smaller number may rely on it
        // that this reload reads what stood there then.
        told.reloads += 1;
        self.tell(told);
        match config::load(config, config::environment()) {
            Err(refused) => {
                for error in refused.each() {
                    error!(event = "reload-refused", "the old settings go on: {error}");
                }
                self.end_reload(Err(refused.to_string()), told);
            }
            Ok(settings) => {
                let old = self.settings.borrow().clone();
                let restart = restart_keys(&old.settings, &settings);
                for key in &restart {
                    warn!(
                        event = "reload-partial",
                        "{key} changed: that needs a restart"
                    );
                }
                let generation = old.generation + 1;
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

    /// Ends a reload that is in force in every duty, or has taken too long.
    pub(super) fn settle_reload(&self, told: &mut Told) {
        let Some(pending) = &told.pending else { return };
        if self.board.all_in(pending.generation) {
            let restart = pending.needs_restart.clone();
            info!(event = "reloaded", "the new settings are in force");
            self.end_reload(Ok(restart), told);
        } else if Instant::now() >= pending.end {
            let why = "a duty has not taken the new settings yet";
            error!(event = "reload-overdue", "{why}");
            self.end_reload(Err(why.into()), told);
        }
    }

    fn end_reload(&self, outcome: Result<Vec<&'static str>, String>, told: &mut Told) {
        told.pending = None;
        let (error, needs_restart) = match outcome {
            Ok(restart) => (None, restart.into_iter().map(str::to_owned).collect()),
            Err(error) => (Some(error), Vec::new()),
        };
        told.last_reload = Some(LastReload {
            number: told.reloads,
            at: clock::now(),
            error,
            needs_restart,
        });
        // The state file first: whoever waits for READY reads it next.
        let announced = told.ready;
        self.tell(told);
        if announced {
            self.manager.tell(News::Ready(&self.status(told)));
        }
    }
}
