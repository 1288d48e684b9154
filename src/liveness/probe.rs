//! A command as proof: exit status 0 is life. It is asked in the background, so that a
//! slow one delays no heartbeat.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{ProofOutcome, Watcher};
use crate::command::{self, Ended};
use crate::model::session::ProofKind;

/// How long a probe waits for its turn.
const TURN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Probe {
    command: Vec<String>,
    timeout: Duration,
    answer: Arc<Mutex<ProofOutcome>>,
    running: Option<AbortOnDropHandle<()>>,
}

impl Probe {
    pub(super) fn new(command: Vec<String>, timeout: Duration) -> Self {
        Self {
            command,
            timeout,
            answer: Arc::new(Mutex::new(ProofOutcome::Asked)),
            running: None,
        }
    }

    /// The last answer. Asks again if it is time to, unless the last question
    /// is still open. The watcher rings when the answer differs from the one
    /// before.
    pub(super) fn verdict(&mut self, due: bool, watcher: &Watcher) -> ProofOutcome {
        let ask_now = match &self.running {
            None => true,
            Some(task) => due && task.is_finished(),
        };
        if ask_now {
            let (command, limit) = (self.command.clone(), self.timeout);
            let (answer, watcher) = (Arc::clone(&self.answer), watcher.clone());
            self.running = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                let verdict = ask(&command, limit, &watcher).await;
                let mut answer = answer.lock().unwrap_or_else(PoisonError::into_inner);
                if *answer != verdict {
                    *answer = verdict;
                    watcher.changed.notify_one();
                }
            })));
        }
        self.answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn ask(command: &[String], limit: Duration, watcher: &Watcher) -> ProofOutcome {
    // A machine starts a limited number of processes at once. A command whose turn does
    // not come proves nothing: the answer before it grows old.
    let Ok(Ok(_turn)) = timeout(TURN, watcher.turns.acquire()).await else {
        return ProofOutcome::Unproven(format!(
            "the probe was not run: the probes of other sessions took longer than {}",
            humantime::format_duration(TURN)
        ));
    };
    let ended = command::run(&command::Request {
        command,
        environment: &[],
        input: Vec::new(),
        timeout: limit,
        output_limit: 0,
    })
    .await;
    match ended {
        Ended::Success { .. } => ProofOutcome::Alive(ProofKind::Probe, None),
        other => ProofOutcome::Unproven(format!("the probe {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sixteen_commands_run_at_once_and_no_more() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let words = format!("echo + >> {0}; sleep 0.05; echo - >> {0}", log.display());
        let command = vec!["sh".to_owned(), "-c".to_owned(), words];
        let watcher = Watcher::new(Arc::default());
        let mut probes: Vec<Probe> = (0..60)
            .map(|_| Probe::new(command.clone(), Duration::from_secs(60)))
            .collect();
        for probe in &mut probes {
            probe.verdict(true, &watcher);
        }
        let alive =
            |probe: &mut Probe| matches!(probe.verdict(false, &watcher), ProofOutcome::Alive(..));
        while !probes.iter_mut().all(alive) {
            watcher.changed.notified().await;
        }
        let (mut running, mut most) = (0, 0);
        for line in std::fs::read_to_string(&log).expect("a log").lines() {
            running += if line == "+" { 1 } else { -1 };
            most = most.max(running);
        }
        assert!((2..=16).contains(&most), "{most}");
    }
}
