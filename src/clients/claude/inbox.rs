//! Claude Code's inbox: a socket at which a session takes messages of others. A line
//! there begins a turn of an idle session. What it looks like is no promise of its
//! vendor's: it is used where the client's own note of its session has the version that
//! was seen, and nothing is believed of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::geteuid;
use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

use super::inbound;
use crate::clients::{Addressee, Fired, OwnNote, Text, Way};
use crate::guarded;
use crate::liveness;
use crate::model::process::ProcessId;
use crate::model::wake::ClientWay;

/// The version of the line's shape that was seen to work.
const PROTOCOL: u64 = 1;

/// How long the socket may take to be reached, and to take the line.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of a client's note at most.
const MOST: u64 = 64 << 10;

/// By which the client lets its own children say that they are that, and at which socket.
const TOKEN: &str = "CLAUDE_CODE_MESSAGING_TOKEN";
const SOCKET: &str = "CLAUDE_CODE_MESSAGING_SOCKET";

/// By which a user lets a client be woken through its inbox that asks for no permission.
const INTO_BYPASSING: &str = "MCP_BRIDGE_WAKE_BYPASSING";

/// The way by the inbox.
pub(super) struct Inbox;

#[async_trait]
impl Way for Inbox {
    fn kind(&self) -> ClientWay {
        ClientWay::ClaudeInbox
    }

    async fn gate(&self, agent: &Addressee) -> Result<(), Fired> {
        if agent.bypasses && std::env::var_os(INTO_BYPASSING).is_none_or(|word| word != "1") {
            // The client holds what comes from outside there, and takes this server for a
            // child of its own: that is not ours to use without its user's word.
            let why = format!(
                "the client runs without permission prompts: only its hook wakes it, unless {INTO_BYPASSING}=1 is in its environment"
            );
            return Err(Fired::Held(why));
        }
        match ClaudeInbox::of(agent.client) {
            Ok(inbox) => inbox.held().map_or(Ok(()), |why| Err(Fired::Held(why))),
            Err(why) => Err(Fired::Failed(why)),
        }
    }

    async fn put(&self, agent: &Addressee, text: &Text) -> Fired {
        let put = match ClaudeInbox::of(agent.client) {
            Ok(inbox) => inbox.put(&text.words).await,
            Err(why) => Err(why),
        };
        put.map_or_else(Fired::Failed, |()| Fired::Done)
    }
}

/// Whether the client with this process is Claude Code.
pub(in crate::clients) fn is_claude(client: ProcessId) -> bool {
    sessions().is_some_and(|directory| noted(&directory, client).is_ok())
}

/// What the client notes of its session. It says there that it sits idle also where its
/// user broke a turn off, and it called no hook; and that it waits for its user, which it
/// does for more than its hooks report.
pub(in crate::clients) fn own_note(client: ProcessId) -> OwnNote {
    let noted = sessions().and_then(|directory| noted_with(&directory, client).ok());
    let Some((Some(status), text)) = noted.map(|(noted, text)| (noted.status, text)) else {
        return OwnNote::default();
    };
    OwnNote {
        waits: Some(status == "waiting"),
        idle: (status == "idle").then_some(text),
    }
}

/// What the client notes of a session that runs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Noted {
    session_id: String,
    /// In the ticks of `/proc/PID/stat`.
    #[serde(default)]
    proc_start: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    cwd: Option<PathBuf>,
    #[serde(default)]
    peer_protocol: Option<u64>,
    #[serde(default)]
    messaging_socket_path: Option<PathBuf>,
}

/// The inbox of one running session.
#[derive(Debug)]
struct ClaudeInbox {
    client: ProcessId,
    session: String,
    socket: PathBuf,
    /// The directory that its session works in.
    directory: Option<PathBuf>,
}

impl ClaudeInbox {
    /// That of the client with this process, which this user runs.
    ///
    /// # Errors
    /// Why it has none, in plain words.
    fn of(client: ProcessId) -> Result<Self, String> {
        let directory = sessions().ok_or("this user has no home directory")?;
        Self::noted_in(&directory, client)
    }

    fn noted_in(directory: &Path, client: ProcessId) -> Result<Self, String> {
        let noted = noted(directory, client)?;
        if noted.peer_protocol != Some(PROTOCOL) {
            let version = noted
                .peer_protocol
                .map_or_else(String::new, |v| format!(" {v}"));
            return Err(format!("the client's inbox has another protocol{version}"));
        }
        let socket = noted.messaging_socket_path.ok_or(
            "the client has no inbox (without telemetry, or with Bedrock or Vertex, it has none)",
        )?;
        Ok(Self {
            client,
            session: noted.session_id,
            socket,
            directory: noted.cwd,
        })
    }

    /// Why its agent would not hear of what is put into it.
    fn held(&self) -> Option<String> {
        inbound::held(&home()?, self.directory.as_deref())
    }

    /// Hands the client one text. That it was taken is no proof that a turn begins.
    ///
    /// # Errors
    /// Why not, in plain words.
    async fn put(&self, text: &str) -> Result<(), String> {
        match tokio::time::timeout(PATIENCE, self.deliver(text)).await {
            Ok(outcome) => outcome,
            Err(_) => Err("the client does not read its inbox".into()),
        }
    }

    async fn deliver(&self, text: &str) -> Result<(), String> {
        let reach = |error| format!("the client's inbox cannot be reached: {error}");
        let mut stream = UnixStream::connect(&self.socket).await.map_err(reach)?;
        let peer = stream.peer_cred().map_err(reach)?;
        // Any user can make a path in a directory for temporary files, and a process
        // that has nothing to do with that session may inherit the environment.
        let is_client = i64::from(peer.pid().unwrap_or(0)) == self.client.pid
            && peer.uid() == geteuid().as_raw()
            && liveness::runs(self.client);
        if !is_client {
            return Err("another process listens at the client's inbox".into());
        }
        let line = json!({
            "type": "user", "msgV": PROTOCOL, "msg_id": id(), "session_id": self.session,
            "priority": "next", "message": { "role": "user", "content": text },
        });
        let token = self.token(std::env::var_os(SOCKET), std::env::var(TOKEN).ok());
        let auth = token.map(|token| format!("{}\n", json!({ "type": "auth", "token": token })));
        let lines = format!("{}{line}\n", auth.unwrap_or_default());
        stream.write_all(lines.as_bytes()).await.map_err(reach)?;
        stream.shutdown().await.map_err(reach)
    }
}

impl ClaudeInbox {
    /// The token that the environment holds for the inbox at this `socket`, if it is this
    /// one: a client within a client hands on the environment of the outer one.
    fn token(&self, socket: Option<OsString>, token: Option<String>) -> Option<String> {
        token.filter(|_| socket.is_some_and(|socket| *socket == *self.socket))
    }
}

/// What the client with this process notes of its session.
fn noted(directory: &Path, client: ProcessId) -> Result<Noted, String> {
    noted_with(directory, client).map(|(noted, _)| noted)
}

fn noted_with(directory: &Path, client: ProcessId) -> Result<(Noted, Vec<u8>), String> {
    let file = directory.join(format!("{}.json", client.pid));
    let text = guarded::read(&file, MOST)
        .map_err(|error| format!("the client has no session file ({error})"))?;
    let noted: Noted = serde_json::from_slice(&text)
        .map_err(|_| "the client's session file has an unknown format".to_owned())?;
    if noted
        .proc_start
        .as_ref()
        .is_none_or(|start| *start != client.start.to_string())
    {
        return Err("the session file belongs to an earlier process".into());
    }
    Ok((noted, text))
}

/// Where the client notes its sessions.
fn sessions() -> Option<PathBuf> {
    Some(home()?.join("sessions"))
}

/// Where the client keeps what is its user's.
fn home() -> Option<PathBuf> {
    let own = std::env::var_os("CLAUDE_CONFIG_DIR").filter(|path| !path.is_empty());
    let own = own.map(PathBuf::from);
    own.or_else(|| Some(std::env::home_dir()?.join(".claude")))
}

/// A random identifier in the form of a UUID of version 4.
fn id() -> String {
    let bits = (fastrand::u128(..) & !(0xf << 76) & !(0b11 << 62)) | (0x4 << 76) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use tempfile::TempDir;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn own() -> ProcessId {
        liveness::own().expect("a process")
    }

    fn note(
        directory: &TempDir,
        change: impl Fn(&mut serde_json::Value),
    ) -> Result<ClaudeInbox, String> {
        let own = own();
        let mut note = json!({
            "pid": own.pid, "sessionId": "s-1", "procStart": own.start.to_string(),
            "peerProtocol": 1, "messagingSocketPath": directory.path().join("inbox"),
        });
        change(&mut note);
        let file = directory.path().join(format!("{}.json", own.pid));
        std::fs::write(file, note.to_string()).expect("written");
        ClaudeInbox::noted_in(directory.path(), own)
    }

    fn scratch() -> TempDir {
        tempfile::tempdir().expect("a directory")
    }

    #[tokio::test]
    async fn line_reaches_the_session_that_the_client_notes() {
        let directory = scratch();
        let inbox = note(&directory, |_| {}).expect("an inbox");
        let listener = tokio::net::UnixListener::bind(directory.path().join("inbox"));
        let listener = listener.expect("bound");
        inbox.put("2 unread messages").await.expect("taken");
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("lines");
        let last = text.lines().last().expect("a line");
        let line: serde_json::Value = serde_json::from_str(last).expect("JSON");
        assert_eq!(line["session_id"], "s-1");
        assert_eq!(line["message"]["content"], "2 unread messages");
        let id = line["msg_id"].as_str().expect("an id");
        assert_eq!((id.len(), &id[14..15]), (36, "4"), "{id}");
    }

    #[test]
    fn the_token_of_another_inbox_is_not_sent() {
        let directory = scratch();
        let inbox = note(&directory, |_| {}).expect("an inbox");
        let at = |name: &str| Some(directory.path().join(name).into_os_string());
        let token = || Some("secret".to_owned());
        assert_eq!(inbox.token(at("inbox"), token()), token());
        assert_eq!(inbox.token(at("outer"), token()), None);
        assert_eq!(inbox.token(None, token()), None);
        assert_eq!(inbox.token(at("inbox"), None), None);
    }

    #[test]
    fn client_that_says_something_else_has_no_inbox() {
        let directory = scratch();
        let why = |change: &dyn Fn(&mut serde_json::Value)| {
            note(&directory, change).expect_err("no inbox")
        };
        assert!(why(&|n| n["procStart"] = "17".into()).contains("earlier process"));
        assert!(why(&|n| n["peerProtocol"] = 2.into()).contains("protocol 2"));
        assert!(why(&|n| n["messagingSocketPath"] = serde_json::Value::Null).contains("no inbox"));
        assert!(why(&|n| *n = "garbage".into()).contains("unknown format"));
        let none = ClaudeInbox::noted_in(&directory.path().join("none"), own());
        assert!(none.expect_err("no inbox").contains("no session file"));
    }

    #[tokio::test]
    async fn a_stale_socket_is_named() {
        let directory = scratch();
        let inbox = note(&directory, |_| {}).expect("an inbox");
        drop(UnixListener::bind(directory.path().join("inbox")).expect("bound"));
        let why = inbox.put("text").await.expect_err("no process listens");
        assert!(why.contains("cannot be reached"), "{why}");
    }

    #[tokio::test]
    async fn a_socket_that_never_reads_holds_nothing_up() {
        let directory = scratch();
        let inbox = note(&directory, |_| {}).expect("an inbox");
        let _listener = UnixListener::bind(directory.path().join("inbox")).expect("bound");
        let text = "x".repeat(4 << 20);
        let why = inbox.put(&text).await.expect_err("it does not read");
        assert!(why.contains("does not read"), "{why}");
    }

    #[tokio::test]
    async fn another_process_at_the_socket_gets_nothing() {
        let directory = scratch();
        let mut inbox = note(&directory, |_| {}).expect("an inbox");
        inbox.client.pid = 1;
        let _listener = UnixListener::bind(directory.path().join("inbox")).expect("bound");
        let why = inbox.put("text").await.expect_err("a stranger");
        assert!(why.contains("another process listens"), "{why}");
    }
}
