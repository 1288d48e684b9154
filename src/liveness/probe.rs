//! A command as proof: exit status 0 is life. It is asked in the background,
//! so that a slow one delays nobody's heartbeat.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::Verdict;
use crate::command::{self, Ended};
use crate::model::session::ProofKind;

#[derive(Debug)]
pub(super) struct Probe {
    command: Vec<String>,
    timeout: Duration,
    answer: Arc<Mutex<Verdict>>,
    running: Option<AbortOnDropHandle<()>>,
}

impl Probe {
    pub(super) fn new(command: Vec<String>, timeout: Duration) -> Self {
        Self {
            command,
            timeout,
            answer: Arc::new(Mutex::new(Verdict::Asked)),
            running: None,
        }
    }

    /// The last answer. Asks again if it is time to, unless the last question
    /// is still open. `changed` is rung when the answer differs from the one
    /// before.
    pub(super) fn verdict(&mut self, due: bool, changed: &Arc<Notify>) -> Verdict {
        let ask_now = match &self.running {
            None => true,
            Some(task) => due && task.is_finished(),
        };
        if ask_now {
            let (command, timeout) = (self.command.clone(), self.timeout);
            let (answer, changed) = (Arc::clone(&self.answer), Arc::clone(changed));
            self.running = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                let verdict = ask(&command, timeout).await;
                let mut answer = answer.lock().unwrap_or_else(PoisonError::into_inner);
                if *answer != verdict {
                    *answer = verdict;
                    changed.notify_one();
                }
            })));
        }
        self.answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn ask(command: &[String], timeout: Duration) -> Verdict {
    let ended = command::run(&command::Request {
        command,
        environment: &[],
        input: Vec::new(),
        timeout,
        output_limit: 0,
    })
    .await;
    match ended {
        Ended::Success { .. } => Verdict::Alive(ProofKind::Probe, None),
        other => Verdict::Unproven(format!("the probe {other}")),
    }
}
