//! Codex's queue: a text that is queued for a thread begins a turn of it when it is idle.
//! The client's own command queues it. The server that its sessions share takes it at
//! once; a session without that looks every ten seconds.

use std::time::Duration;

use async_trait::async_trait;

use super::{is_open, is_thread};
use crate::clients::{Addressee, Fired, Text, Way};
use crate::command::{self, Ended, Request};
use crate::model::process::ProcessId;
use crate::model::wake::ClientWay;

/// The first version that has the queue.
const SINCE: (u32, u32) = (0, 149);

/// How long the command may take: it takes a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of what it says that are kept.
const OUTPUT_LIMIT: usize = 4 << 10;

/// The way by the client's command.
pub(super) struct Queue;

#[async_trait]
impl Way for Queue {
    fn kind(&self) -> ClientWay {
        ClientWay::CodexQueue
    }

    fn patience(&self) -> Duration {
        // Without its shared server the client looks into its queue every ten seconds.
        Duration::from_secs(30)
    }

    async fn gate(&self, agent: &Addressee) -> Result<(), Fired> {
        is_open(agent)?;
        match agent.threads.is_empty() {
            // The user's first prompt names it.
            true => Err(Fired::Later),
            false => Ok(()),
        }
    }

    async fn put(&self, agent: &Addressee, text: &Text) -> Fired {
        let mut whys = Vec::new();
        for thread in &agent.threads {
            let queued = match CodexQueue::of(agent.client, &agent.version, thread) {
                Ok(queue) => queue.put(&text.words).await,
                Err(why) => Err(why),
            };
            match queued {
                Ok(()) => return Fired::Done,
                Err(why) => whys.push(why),
            }
        }
        Fired::Failed(whys.join("; "))
    }
}

/// The queue of one thread.
#[derive(Debug)]
struct CodexQueue {
    program: String,
    thread: String,
}

impl CodexQueue {
    /// That of a thread of the client with this process, which says this of its version.
    ///
    /// # Errors
    /// Why it has none, in plain words.
    fn of(client: ProcessId, version: &str, thread: &str) -> Result<Self, String> {
        if parsed(version).is_some_and(|version| version < SINCE) {
            let (major, minor) = SINCE;
            return Err(format!(
                "Codex {version} has no queue; {major}.{minor} has one"
            ));
        }
        if !is_thread(thread) {
            return Err("Codex reports an invalid thread id".into());
        }
        Ok(Self {
            program: program(client).unwrap_or_else(|| "codex".into()),
            thread: thread.to_owned(),
        })
    }

    /// Queues one text. That it was queued is no proof that a turn begins.
    ///
    /// # Errors
    /// Why not, in plain words.
    async fn put(&self, text: &str) -> Result<(), String> {
        let words = ["queue", "--thread", &self.thread, "--message", text];
        let command: Vec<String> = std::iter::once(self.program.as_str())
            .chain(words)
            .map(str::to_owned)
            .collect();
        let ended = command::run(&Request {
            command: &command,
            environment: &[],
            input: Vec::new(),
            timeout: PATIENCE,
            output_limit: OUTPUT_LIMIT,
        })
        .await;
        match ended {
            Ended::Success { .. } => Ok(()),
            failed => Err(format!("`codex queue`: {}", failed.reason())),
        }
    }
}

/// The client's program, where that is known and is there to be started again: an update
/// takes the one away that runs.
#[cfg(target_os = "linux")]
fn program(client: ProcessId) -> Option<String> {
    let path = std::fs::read_link(format!("/proc/{}/exe", client.pid)).ok()?;
    let name = path.file_name()?.as_encoded_bytes();
    let is_it = name.starts_with(b"codex") && path.is_file() && crate::liveness::runs(client);
    is_it.then(|| path.into_os_string().into_string().ok())?
}

#[cfg(not(target_os = "linux"))]
fn program(_client: ProcessId) -> Option<String> {
    None
}

/// The first two numbers of a version.
fn parsed(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::liveness;

    const THREAD: &str = "01a2267a-8e3e-7301-ad4e-fe56114537d8";

    fn queue(script: &str) -> (tempfile::TempDir, CodexQueue) {
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join("codex");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
        let mode = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(&program, mode).expect("a mode");
        let queue = CodexQueue {
            program: program.display().to_string(),
            thread: THREAD.into(),
        };
        (directory, queue)
    }

    fn own() -> ProcessId {
        liveness::own().expect("a process")
    }

    #[tokio::test]
    async fn a_text_is_queued_for_the_thread() {
        let (directory, queue) = queue("printf '%s\\n' \"$@\" > \"$0.said\"");
        queue.put("2 unread messages").await.expect("queued");
        let said = std::fs::read_to_string(directory.path().join("codex.said"));
        let wanted = format!("queue\n--thread\n{THREAD}\n--message\n2 unread messages\n");
        assert_eq!(said.expect("arguments"), wanted);
    }

    #[tokio::test]
    async fn failure_text_of_the_client_is_passed_on() {
        let (_directory, queue) = queue("echo 'Error: no such thread' >&2; exit 1");
        let why = queue.put("text").await.expect_err("refused");
        assert!(why.contains("codex queue"), "{why}");
        assert!(why.contains("no such thread"), "{why}");
        let (directory, queue) = self::queue("exit 0");
        directory.close().expect("removed");
        let why = queue.put("text").await.expect_err("no program");
        assert!(why.contains("was not found"), "{why}");
    }

    #[test]
    fn an_older_client_has_no_queue() {
        let why = |version| CodexQueue::of(own(), version, THREAD).expect_err("none");
        assert!(why("0.148.2").contains("has no queue"));
        for newer in ["0.149.0", "1.0.0", "a build of mine"] {
            let queue = CodexQueue::of(own(), newer, THREAD).expect("a queue");
            // This test is another program.
            assert_eq!(queue.program, "codex");
        }
    }

    #[test]
    fn invalid_thread_has_no_queue() {
        let refused = CodexQueue::of(own(), "0.171.0", "--message=x").expect_err("none");
        assert!(refused.contains("invalid thread id"), "{refused}");
    }

    #[test]
    fn versions_are_read_by_their_first_numbers() {
        assert_eq!(parsed("0.171.0"), Some((0, 171)));
        assert_eq!(parsed("1.2"), Some((1, 2)));
        assert_eq!(parsed("dev"), None);
        assert_eq!(parsed(""), None);
    }
}
