//! SIGHUP: new settings if they are right, the old ones otherwise.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

use super::state_file::LastReload;
use super::{InForce, Supervisor, Told};
use crate::clock;
use crate::config::{self, restart_keys};
use crate::service_manager;

/// How long duties may take to finish the round that is under way.
const PATIENCE: Duration = Duration::from_secs(10);

impl Supervisor {
    /// Reads the configuration again. Returns when the new settings are in
    /// force in every duty, or refused.
    pub(super) async fn reload(&self, config: &Path, told: &mut Told) {
        service_manager::reloading();
        let outcome = match config::load(config, config::environment()) {
            Err(refused) => {
                for error in refused.each() {
                    error!(event = "reload-refused", "the old settings go on: {error}");
                }
                Err(refused.to_string())
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
                self.settings.send_replace(InForce {
                    generation,
                    settings: Arc::new(settings),
                });
                self.in_force(generation).await.map(|()| restart)
            }
        };
        let at = clock::now();
        told.last_reload = Some(match outcome {
            Ok(restart) => {
                info!(event = "reloaded", "the new settings are in force");
                let needs_restart = restart.into_iter().map(str::to_owned).collect();
                LastReload {
                    at,
                    error: None,
                    needs_restart,
                }
            }
            Err(error) => LastReload {
                at,
                error: Some(error),
                needs_restart: Vec::new(),
            },
        });
        told.ready = true;
        let status = match &told.last_reload {
            Some(LastReload {
                error: Some(error), ..
            }) => {
                let first = error.lines().next().unwrap_or_default();
                format!("{}; reload refused: {first}", self.status())
            }
            _ => self.status(),
        };
        service_manager::ready(&status);
        self.tell(told);
    }

    async fn in_force(&self, generation: u64) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        while !self.board.all_in(generation) {
            if timeout_at(end, self.board.changed()).await.is_err() {
                return Err("a duty has not taken the new settings yet".into());
            }
        }
        Ok(())
    }
}
