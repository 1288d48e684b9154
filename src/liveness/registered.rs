//! The proof of a client that registered: its very process, whose start is known, so
//! that a later one with its number is never taken for it.

use std::sync::Arc;

use super::process::{self, Process};
use super::{ProofOutcome, Watcher};
use crate::model::process::ProcessId;
use crate::model::session::ProofKind;

/// The process of one client.
#[derive(Debug)]
pub struct Registered {
    id: ProcessId,
    state: State,
    watcher: Watcher,
}

#[derive(Debug)]
enum State {
    /// It was not found yet, nor its end.
    Sought,
    Watched(Arc<Process>),
    Ended,
}

impl Registered {
    /// Begins to look, with what the proofs of a daemon share.
    #[must_use]
    pub fn new(id: ProcessId, watcher: &Watcher) -> Self {
        Self {
            id,
            state: State::Sought,
            watcher: watcher.clone(),
        }
    }

    /// The verdict now.
    pub fn check(&mut self) -> ProofOutcome {
        if matches!(self.state, State::Sought)
            && let Err(why) = self.seek()
        {
            return ProofOutcome::Unproven(why);
        }
        match &self.state {
            State::Watched(process) if process.is_alive() => {
                let kind = match process.is_stopped() {
                    true => ProofKind::Stopped,
                    false => ProofKind::Process,
                };
                ProofOutcome::Alive(kind, Some(self.id))
            }
            _ => {
                self.state = State::Ended;
                ProofOutcome::Exited
            }
        }
    }

    fn seek(&mut self) -> Result<(), String> {
        let number = i32::try_from(self.id.pid).map_err(|_| "no process id".to_owned())?;
        self.state = match self.watcher.watch(number) {
            Ok(process) if process.id() == self.id => State::Watched(process),
            Ok(_) => State::Ended,
            Err(_) if process::has_ended(self.id) => State::Ended,
            Err(why) => return Err(why),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn later_process_with_its_number_is_another_one() {
        let watcher = Watcher::new(Arc::default());
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .expect("sleep");
        let pid = i32::try_from(child.id()).expect("a process id");
        let id = process::of(pid).expect("a process");
        let mut proof = Registered::new(id, &watcher);
        assert_eq!(
            proof.check(),
            ProofOutcome::Alive(ProofKind::Process, Some(id)),
            "it runs"
        );
        let earlier = ProcessId {
            start: id.start - 1,
            ..id
        };
        let mut other = Registered::new(earlier, &watcher);
        assert_eq!(other.check(), ProofOutcome::Exited);
        child.kill().expect("killed");
        child.wait().expect("ended");
        assert_eq!(proof.check(), ProofOutcome::Exited);
        assert_eq!(Registered::new(id, &watcher).check(), ProofOutcome::Exited);
    }
}
