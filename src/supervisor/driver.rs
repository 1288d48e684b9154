//! One driver for each duty: wakes it by time, bell and reload, one round at a
//! time, and hands its reports to the board.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::InForce;
use super::health::{Board, RoundReport};
use crate::duties::{Duty, DutyBell, Report};

pub(super) struct Driver<D> {
    pub(super) duty: D,
    pub(super) bell: DutyBell,
    pub(super) settings: watch::Receiver<InForce>,
    pub(super) board: Arc<Board>,
    pub(super) soft: CancellationToken,
}

impl<D: Duty> Driver<D> {
    /// Runs rounds until the soft token is cancelled; a round that is under
    /// way is always finished.
    pub(super) async fn run(mut self) {
        let name = self.duty.name();
        let mut generation = self.settings.borrow_and_update().generation;
        let mut trouble: Option<String> = None;
        while !self.soft.is_cancelled() {
            self.board.begins(name, Instant::now());
            let round = self.duty.tick().await;
            let (summary, now_trouble) = (round.report.summary(), round.report.trouble());
            let news = now_trouble.clone().filter(|_| !round.report.already_told());
            if trouble != news {
                match &news {
                    Some(why) => warn!(event = "duty-trouble", "{name}: {why}"),
                    // Another trouble took its place, or it waits for a reader that
                    // reports it itself.
                    None if now_trouble.is_some() || summary.is_empty() => {}
                    None => info!(event = "duty-recovered", "{name}: {summary}"),
                }
                trouble = news;
            }
            debug!(%summary, "round");
            let said = RoundReport {
                summary,
                trouble: now_trouble,
                store: round.report.store(),
                sessions: round.report.sessions(),
            };
            let figures = round.report.figures();
            self.board
                .returned(name, said, figures, round.next, generation);
            tokio::select! {
                () = self.soft.cancelled() => break,
                () = self.bell.0.notified() => {}
                () = sleep_until(round.next) => {}
                changed = self.settings.changed() => if changed.is_err() { break },
            }
            let in_force = self.settings.borrow_and_update().clone();
            if in_force.generation != generation {
                generation = in_force.generation;
                self.duty.reload(&in_force.settings);
            }
        }
        self.duty.stop().await;
    }
}
