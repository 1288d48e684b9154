//! Codex's app server: the process that its sessions run in, and its interface for
//! programs. It reports the state of a thread, and takes a text into the thread's
//! queue: as JSON-RPC in a WebSocket, at a Unix socket. The shapes are those of
//! 0.171.0, and a client with other ones is one that cannot be asked.
//!
//! It does not say whether a screen shows a thread.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rustix::process::geteuid;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::liveness;
use crate::model::process::ProcessId;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of what it says at once at most.
const MOST: usize = 4 << 20;

/// Threads that are looked through at most.
const MOST_THREADS: usize = 64;

/// Characters of its reasons that are passed on.
const MOST_WORDS: usize = 200;

/// A connection to the app server that a client is.
pub(super) struct AppServer {
    stream: WebSocketStream<UnixStream>,
    asked: u64,
}

/// The state of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thread {
    /// It waits for its user, or for a wake.
    Idle,
    /// It works.
    Active {
        /// It waits for its user's leave, or answer.
        waits: bool,
    },
    /// It failed, and works no more.
    Broken,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Status {
    Idle,
    #[serde(rename_all = "camelCase")]
    Active {
        #[serde(default)]
        active_flags: Vec<String>,
    },
    SystemError,
    NotLoaded,
}

/// A thread, as it describes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    status: Status,
    #[serde(default)]
    cwd: Option<PathBuf>,
    /// It is kept nowhere: Codex finds a title in such a thread.
    #[serde(default)]
    ephemeral: bool,
    /// The thread whose helper works in this one.
    #[serde(default)]
    parent_thread_id: Option<String>,
}

impl About {
    fn state(&self) -> Option<Thread> {
        match &self.status {
            Status::Idle => Some(Thread::Idle),
            Status::Active { active_flags } => {
                // "waitingOnApproval", "waitingOnUserInput"
                let waits = active_flags
                    .iter()
                    .any(|flag| flag.starts_with("waitingOn"));
                Some(Thread::Active { waits })
            }
            Status::SystemError => Some(Thread::Broken),
            Status::NotLoaded => None,
        }
    }

    /// Whether its user works with it in this directory.
    fn is_users_in(&self, directory: &Path) -> bool {
        let is_users = !self.ephemeral && self.parent_thread_id.is_none();
        let cwd = self.cwd.as_deref().filter(|_| is_users);
        cwd.is_some_and(|cwd| {
            cwd == directory || cwd.canonicalize().is_ok_and(|cwd| cwd == directory)
        })
    }
}

/// An answer, or something else that it says.
#[derive(Deserialize)]
struct ServerMessage {
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    result: Option<Value>,
    #[serde(default)]
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
}

impl AppServer {
    /// That which the client with this process is.
    ///
    /// # Errors
    /// Why there is none, in plain words.
    pub(super) async fn of(client: ProcessId) -> Result<Self, String> {
        let socket = socket().ok_or("this user has no home directory")?;
        Self::at(&socket, client).await
    }

    pub(super) async fn at(socket: &Path, client: ProcessId) -> Result<Self, String> {
        in_time(async {
            let reach = |error| format!("Codex's app server cannot be reached: {error}");
            // The client makes a link there, into a directory for temporary files. Where
            // that leads does not matter: this program is a child of the process that is
            // to answer, and says nothing to another one.
            let stream = UnixStream::connect(socket).await.map_err(reach)?;
            let peer = stream.peer_cred().map_err(reach)?;
            let is_client = i64::from(peer.pid().unwrap_or(0)) == client.pid
                && peer.uid() == geteuid().as_raw()
                && liveness::runs(client);
            if !is_client {
                return Err("no app server that answers has this session".into());
            }
            let config = WebSocketConfig::default()
                .read_buffer_size(16 << 10)
                .write_buffer_size(0)
                .max_message_size(Some(MOST))
                .max_frame_size(Some(MOST));
            let stream = client_async_with_config("ws://localhost/", stream, Some(config)).await;
            let (stream, _) =
                stream.map_err(|error| format!("Codex's app server does not answer: {error}"))?;
            let mut server = Self { stream, asked: 0 };
            let version = env!("CARGO_PKG_VERSION");
            let about = json!({
                "clientInfo": { "name": "mcp-bridge", "version": version },
                "capabilities": { "experimentalApi": true, "requestAttestation": false },
            });
            let _: Value = server.ask("initialize", about).await?;
            server.say(json!({ "method": "initialized" })).await?;
            Ok(server)
        })
        .await
    }

    /// The first of these threads that is loaded, and its state.
    ///
    /// # Errors
    /// Why it does not say, in plain words.
    pub(super) async fn first_of(
        &mut self,
        threads: &[String],
    ) -> Result<Option<(String, Thread)>, String> {
        for thread in threads {
            if let Some(state) = self.thread(thread).await? {
                return Ok(Some((thread.clone(), state)));
            }
        }
        Ok(None)
    }

    /// The state of a thread; `None` where it is not loaded.
    ///
    /// # Errors
    /// Why it does not say, in plain words.
    pub(super) async fn thread(&mut self, thread: &str) -> Result<Option<Thread>, String> {
        let loaded = self.loaded().await?;
        if !loaded.iter().any(|one| one == thread) {
            return Ok(None);
        }
        Ok(self.about(thread).await?.state())
    }

    /// The only loaded thread that its user works with in this directory, and how it
    /// fares; nothing where there is none, or more than one.
    ///
    /// # Errors
    /// Why it does not say, in plain words.
    pub(super) async fn only_in(
        &mut self,
        directory: &Path,
    ) -> Result<Option<(String, Thread)>, String> {
        let loaded = self.loaded().await?;
        if loaded.len() > MOST_THREADS {
            return Ok(None);
        }
        let mut found = None;
        for thread in loaded {
            // One that ended meanwhile, or is of another kind, says nothing of the rest.
            let Ok(about) = self.about(&thread).await else {
                continue;
            };
            let Some(state) = about.state().filter(|_| about.is_users_in(directory)) else {
                continue;
            };
            if found.is_some() {
                return Ok(None);
            }
            found = Some((thread, state));
        }
        Ok(found)
    }

    async fn about(&mut self, thread: &str) -> Result<About, String> {
        #[derive(Deserialize)]
        struct Answer {
            thread: About,
        }
        let question = json!({ "threadId": thread });
        let answer: Answer = in_time(self.ask("thread/read", question)).await?;
        Ok(answer.thread)
    }

    async fn loaded(&mut self) -> Result<Vec<String>, String> {
        #[derive(Deserialize)]
        struct Answer {
            data: Vec<String>,
        }
        let answer: Answer = in_time(self.ask("thread/loaded/list", json!({}))).await?;
        Ok(answer.data)
    }

    /// Queues a text for a thread. `wake` stands in the thread beside it; Codex takes the
    /// same one twice. Returns what it calls the text in its queue.
    ///
    /// # Errors
    /// Why not, in plain words.
    pub(super) async fn queue(
        &mut self,
        thread: &str,
        wake: &str,
        text: &str,
    ) -> Result<String, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            queued_submission: Queued,
        }
        let question = json!({
            "threadId": thread, "clientUserMessageId": wake,
            "input": [{ "type": "text", "text": text, "text_elements": [] }],
        });
        let answer: Answer = in_time(self.ask("thread/queue/add", question)).await?;
        Ok(answer.queued_submission.id)
    }

    /// Whether a text waits in the queue of a thread.
    ///
    /// # Errors
    /// Why it does not say, in plain words.
    pub(super) async fn is_queued(&mut self, thread: &str, id: &str) -> Result<bool, String> {
        #[derive(Deserialize)]
        struct Answer {
            data: Vec<Queued>,
        }
        let question = json!({ "threadId": thread });
        let answer: Answer = in_time(self.ask("thread/queue/list", question)).await?;
        Ok(answer.data.iter().any(|queued| queued.id == id))
    }

    /// Takes a text out of the queue. `false` if it was not there any more.
    ///
    /// # Errors
    /// Why not, in plain words.
    pub(super) async fn withdraw(&mut self, thread: &str, id: &str) -> Result<bool, String> {
        #[derive(Deserialize)]
        struct Answer {
            deleted: bool,
        }
        let question = json!({ "threadId": thread, "queuedSubmissionId": id });
        let answer: Answer = in_time(self.ask("thread/queue/delete", question)).await?;
        Ok(answer.deleted)
    }

    async fn ask<T: DeserializeOwned>(
        &mut self,
        method: &str,
        question: Value,
    ) -> Result<T, String> {
        self.asked += 1;
        let id = self.asked;
        self.say(json!({ "id": id, "method": method, "params": question }))
            .await?;
        let other = || format!("Codex answers {method} in another form");
        loop {
            let said = self.stream.next().await;
            let said = said.ok_or("Codex's app server closed the connection")?;
            let said = said.map_err(|error| format!("Codex's app server: {error}"))?;
            // It tells all who listen of its other threads, too.
            let Message::Text(text) = said else {
                continue;
            };
            let said: ServerMessage = serde_json::from_str(&text).map_err(|_| other())?;
            if said.method.is_some() || said.id != Some(id.into()) {
                continue;
            }
            if let Some(refusal) = said.error {
                let why: String = refusal.message.chars().take(MOST_WORDS).collect();
                return Err(format!("Codex refuses {method}: {why}"));
            }
            return serde_json::from_value(said.result.unwrap_or_default()).map_err(|_| other());
        }
    }

    async fn say(&mut self, words: Value) -> Result<(), String> {
        let sent = self.stream.send(Message::text(words.to_string())).await;
        sent.map_err(|error| format!("Codex's app server: {error}"))
    }
}

#[derive(Deserialize)]
struct Queued {
    id: String,
}

async fn in_time<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => Err("Codex's app server does not answer in time".into()),
    }
}

/// Where the app server of this user listens.
pub(super) fn socket() -> Option<PathBuf> {
    let own = std::env::var_os("CODEX_HOME").filter(|path| !path.is_empty());
    let own = own.map(PathBuf::from);
    let home = own.or_else(|| Some(std::env::home_dir()?.join(".codex")))?;
    Some(home.join("app-server-control/app-server-control.sock"))
}
