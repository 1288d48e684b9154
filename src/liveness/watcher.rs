//! What the proofs of one daemon share: one descriptor for each process, however
//! many sessions name it, and turns for the commands that are asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Notify, Semaphore};

use super::process::Process;
use crate::files;

/// Commands that are asked at the same time: each is a process with three pipes.
const AT_ONCE: usize = 16;

/// Shared by the proofs of one daemon.
#[derive(Debug, Clone)]
pub struct Watcher {
    /// Rung when a verdict may have changed.
    pub(super) changed: Arc<Notify>,
    /// Turns of commands.
    pub(super) turns: Arc<Semaphore>,
    known: Arc<Mutex<HashMap<i32, Weak<Process>>>>,
}

impl Watcher {
    /// One that rings `changed` when there is news between two checks: a process
    /// that ends is noticed at once.
    #[must_use]
    pub fn new(changed: Arc<Notify>) -> Self {
        Self {
            changed,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            known: Arc::default(),
        }
    }

    /// Watches a process; one that is watched already is shared.
    pub(super) fn watch(&self, pid: i32) -> Result<Arc<Process>, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // The number of one that has ended may be another's by now.
        if let Some(process) = known.get(&pid).and_then(Weak::upgrade)
            && process.is_alive()
        {
            return Ok(process);
        }
        known.retain(|_, process| process.strong_count() > 0);
        if known.len() as u64 >= files::for_watching() {
            return Err(format!(
                "process {pid} cannot be watched: {}",
                files::words()
            ));
        }
        let process = Arc::new(Process::watch(pid, Arc::clone(&self.changed))?);
        known.insert(pid, Arc::downgrade(&process));
        Ok(process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_process_has_one_watch() {
        let watcher = Watcher::new(Arc::default());
        let pid = i32::try_from(std::process::id()).expect("a process id");
        let first = watcher.watch(pid).expect("watched");
        let second = watcher.watch(pid).expect("watched");
        assert!(Arc::ptr_eq(&first, &second));
        drop((first, second));
        watcher.watch(pid).expect("watched anew");
    }

    #[tokio::test]
    async fn a_process_that_ended_is_not_shared() {
        let watcher = Watcher::new(Arc::default());
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .expect("sleep");
        let pid = i32::try_from(child.id()).expect("a process id");
        let held = watcher.watch(pid).expect("watched");
        child.kill().expect("killed");
        child.wait().expect("ended");
        assert!(watcher.watch(pid).is_err());
        drop(held);
    }
}
