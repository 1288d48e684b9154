//! Ways into agents' clients. A way asks first what the client says of itself, and says
//! in plain words why it could not be taken. A new one is a file in its client's folder,
//! an entry in that client's list, and its word in [`ClientWay`].

mod claude;
mod codex;
mod opencode;

use std::time::Duration;

use async_trait::async_trait;

use crate::liveness;
use crate::model::process::ProcessId;
use crate::model::wake::ClientWay;

/// One way into a client.
#[async_trait]
pub(crate) trait Way: Sync {
    /// Which one it is, in the store.
    fn kind(&self) -> ClientWay;

    /// How long a wake by it has to lead to a reading.
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// Whether it may be taken now. The wake is claimed after that.
    ///
    /// # Errors
    /// What else is to be done.
    async fn gate(&self, agent: &Addressee) -> Result<(), Fired>;

    /// Hands the client one text. That the client took it is no proof that a turn begins.
    async fn put(&self, agent: &Addressee, text: &Text) -> Fired;
}

/// The text for an agent.
#[derive(Debug)]
pub(crate) struct Text {
    /// The name of the wake, for clients that keep one beside a text.
    pub(crate) wake: String,
    /// A pointer to the mail.
    pub(crate) words: String,
}

/// The agent to which a way leads, and what is known of it.
#[derive(Debug)]
pub(crate) struct Addressee {
    /// The process of its client.
    pub(crate) client: ProcessId,
    /// What the client says of its version.
    pub(crate) version: String,
    /// What the client calls the conversations with its user, the likeliest first.
    pub(crate) threads: Vec<String>,
    /// The agent is in a turn, where other hooks tell it.
    pub(crate) in_turn: bool,
    /// The client asks its user for no permission.
    pub(crate) bypasses: bool,
    /// A hook of the client waits for mail.
    pub(crate) has_waiter: bool,
    /// The agent was woken for this mail a moment ago.
    pub(crate) was_woken: bool,
    /// The agent heard of this mail, and is not to be reminded of it yet.
    pub(crate) was_told: bool,
}

/// What came of the try to take a way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fired {
    /// It was taken, or the agent hears of its mail without it.
    Done,
    /// The agent is in a turn: again when that is over.
    Busy,
    /// Nothing can be done just now: again in a while.
    Later,
    /// It cannot be taken, for this reason: the next one is tried.
    Failed(String),
    /// The client holds back what comes from outside, for this reason: another way would
    /// end the same.
    Held(String),
}

/// What a client says of an agent's conversation that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    /// It waits for its user's leave, or answer.
    pub(crate) waits: bool,
    /// Whether any screen is connected to the client; nothing where that is not known.
    pub(crate) has_screen: Option<bool>,
}

/// The process of the client of this name that started this program as process `pid`, if
/// its life is that of one session.
pub(crate) fn own_process(name: &str, pid: i32) -> Option<ProcessId> {
    codex::owns_its_process(name, pid).then(|| liveness::of(pid))?
}

/// Whether a client of this name has one process for all of its sessions.
pub(crate) fn shares_its_process(name: &str) -> bool {
    codex::is_codex(name)
}

/// Whether this process of such a client may hold the sessions of several agents.
pub(crate) fn is_shared_process(pid: i32) -> bool {
    codex::is_shared_process(pid)
}

/// What such a client, with this process, says of the first of these conversations that
/// it has; nothing where it has none of them.
///
/// # Errors
/// Why it does not say, in plain words.
pub(crate) async fn state(client: ProcessId, threads: &[String]) -> Result<Option<State>, String> {
    codex::state(client, threads).await
}

/// What a client notes of itself. All is `None` where it does not say what it does.
#[derive(Debug, Default)]
pub(crate) struct OwnNote {
    /// Whether it waits for its user.
    pub(crate) waits: Option<bool>,
    /// The whole note, as long as it says there that it is idle.
    pub(crate) idle: Option<Vec<u8>>,
}

/// What the client with this process notes of itself.
pub(crate) fn own_note(client: ProcessId) -> OwnNote {
    claude::own_note(client)
}

/// What an agent does, as its client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// It waits for a prompt.
    Nothing,
    /// It works.
    Working,
    /// It waits within its work for its user's permission or answer.
    Asking,
}

/// A client that answers whether its agent works.
#[derive(Default)]
pub(crate) struct Asked(Option<opencode::Server>);

impl Asked {
    /// Whether a client of this name may be one.
    pub(crate) fn may_be(name: &str) -> bool {
        opencode::is_opencode(name)
    }

    /// What the agent of the client with this process does; nothing where the client does
    /// not say.
    pub(crate) async fn work(&mut self, client: ProcessId) -> Option<Work> {
        opencode::work(&mut self.0, client).await
    }
}

/// The ways into the client with this process and this name, in the order in which they
/// are tried; none for a client that is not known here.
pub(crate) fn ways(client: ProcessId, name: &str) -> &'static [&'static dyn Way] {
    if codex::is_codex(name) {
        codex::WAYS
    } else if opencode::is_opencode(name) {
        opencode::WAYS
    } else if claude::is_claude(client) {
        claude::WAYS
    } else {
        &[]
    }
}
