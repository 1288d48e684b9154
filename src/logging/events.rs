//! The words of `MCP_EVENT`, and the `MESSAGE_ID` of those that an operator filters on
//! or looks up.
//!
//! The source of the table in docs/daemon.md and in mcp-bridged(8); the
//! explanations stand in packaging/catalog. Words and ids never change.

use Level::{Alert, Error, Info, Warning};

/// How bad an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The ordinary course of things.
    Info,
    /// An operator may have to look.
    Warning,
    /// An operator must look.
    Error,
    /// As bad as the alert that it tells of, and with that one's id.
    Alert,
}

impl Level {
    /// The journal's `PRIORITY`. An alert has its own.
    #[must_use]
    pub fn priority(self) -> Option<u8> {
        match self {
            Self::Error => Some(3),
            Self::Warning => Some(4),
            Self::Info => Some(6),
            Self::Alert => None,
        }
    }
}

/// One event.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// The word in `MCP_EVENT`.
    pub name: &'static str,
    /// How bad it is.
    pub level: Level,
    /// Its fields besides `MCP_ROLE` and `MCP_DUTY`, without `MCP_`; where
    /// there is a session, there are its conversation and its label.
    pub fields: &'static str,
    /// What happened.
    pub about: &'static str,
    /// `MESSAGE_ID` of the journal: 32 hexadecimal digits.
    pub message_id: Option<&'static str>,
}

const fn event(
    name: &'static str,
    level: Level,
    fields: &'static str,
    about: &'static str,
) -> Event {
    Event {
        name,
        level,
        fields,
        about,
        message_id: None,
    }
}

impl Event {
    const fn id(mut self, id: &'static str) -> Self {
        self.message_id = Some(id);
        self
    }
}

/// All of them.
pub static EVENTS: &[Event] = &[
    event(
        "starting",
        Info,
        "",
        "configuration read, duties about to start",
    ),
    event("ready", Info, "", "every duty has finished its first round")
        .id("5af14c90e35d4db888e16b0d380ed4d0"),
    event("stopping", Info, "", "a signal, or the death of a duty"),
    event(
        "stop-overdue",
        Warning,
        "",
        "duties did not finish in time, or a second signal came",
    )
    .id("5c9ad98305e24dfb943a66b5f2a1f7ae"),
    event("reloaded", Info, "", "the new settings are active"),
    event(
        "reload-refused",
        Error,
        "",
        "the new settings are wrong; the old ones stay active",
    )
    .id("f4d99ffb483249b3bab7f2f3e10d59f9"),
    event(
        "reload-partial",
        Warning,
        "",
        "a changed key, or a file that the service did not get, needs a restart",
    )
    .id("fc439b9309eb4a1bb1c1c3f54ab82c18"),
    event(
        "reload-overdue",
        Error,
        "",
        "a duty does not use the new settings yet",
    ),
    event("duty-trouble", Warning, "DUTY", "a duty cannot do its work")
        .id("5e7a9f56586c4604b512bef98749d6a9"),
    event("duty-recovered", Info, "DUTY", "works again"),
    event(
        "duty-hung",
        Error,
        "DUTY",
        "a round has not finished by its deadline",
    )
    .id("c2701774f8c94d37827ff4813ac8703d"),
    event(
        "duty-died",
        Error,
        "DUTY",
        "a duty ended or panicked: the daemon ends",
    )
    .id("08f19eb84f9a409b867685f8f3902e9f"),
    event(
        "state-file-trouble",
        Warning,
        "",
        "the state file cannot be written",
    ),
    event(
        "door-open",
        Info,
        "",
        "programs can use the store at this socket",
    ),
    event(
        "door-closed",
        Info,
        "",
        "the new settings turn the sockets off",
    ),
    event(
        "door-not-open",
        Warning,
        "",
        "the sockets cannot be created; everything else works",
    ),
    event(
        "door-for-one-user",
        Warning,
        "",
        "a socket cannot be given to its group; only the daemon's user can use it",
    )
    .id("073291738bef4c11a845993b5bc34621"),
    event(
        "descriptor-refused",
        Warning,
        "",
        "the service manager kept a descriptor that is not a socket of this daemon; it was closed",
    ),
    event(
        "door-not-answered",
        Warning,
        "",
        "a connection cannot be accepted; later ones can",
    ),
    event(
        "answer-not-written",
        Warning,
        "",
        "an answer cannot be written as JSON",
    ),
    event(
        "store-open",
        Info,
        "STORE",
        "the store was found and opened",
    ),
    event(
        "store-trouble",
        Warning,
        "STORE",
        "the store cannot be used",
    )
    .id("3fe54f03ae9a4291b0900300b9515301"),
    event(
        "store-copied",
        Info,
        "COPY",
        "a copy of the database is kept before it is adopted or upgraded",
    ),
    event(
        "store-adopted",
        Info,
        "STORE, COPY",
        "the Python bridge's database was adopted as it is",
    ),
    event(
        "store-migrated",
        Info,
        "STORE, COPY",
        "a store of an older version was upgraded",
    ),
    event(
        "store-migrating",
        Info,
        "STORE",
        "a database is being adopted or upgraded; this takes some time",
    ),
    event(
        "row-odd",
        Warning,
        "",
        "a row of the store has a value of a wrong type; listings skip it",
    ),
    event("store-recovered", Info, "STORE", "works again"),
    event(
        "store-log-large",
        Error,
        "MEBIBYTES",
        "the write-ahead log keeps growing",
    )
    .id("566628f690514312a4a9e86c92c5a622"),
    event(
        "store-log-kept",
        Warning,
        "ERROR",
        "the log was not written back into the database",
    ),
    event(
        "store-not-closed",
        Warning,
        "STORE",
        "the store did not close in time",
    ),
    event(
        "file-events-lost",
        Warning,
        "STORE",
        "the kernel gives no file events; the store is polled instead",
    )
    .id("40f81f1c889a4683a8ae3c40b17448cc"),
    event("file-events-back", Info, "STORE", "file events work again"),
    event(
        "log-missing",
        Warning,
        "COUNT",
        "log records were lost: the journal did not accept them in time",
    )
    .id("3c0f5d1be3a945a8a1d1b8f6b0d4c2f7"),
    event(
        "doorbell-died",
        Error,
        "",
        "the thread that watches the store panicked",
    ),
    event(
        "registered",
        Info,
        "DAEMON, EPOCH",
        "the store knows this daemon",
    ),
    event(
        "session-alive",
        Info,
        "SESSION",
        "an agent is proven alive again",
    ),
    event(
        "session-unproven",
        Warning,
        "SESSION",
        "no proof that an agent is alive; no heartbeat is sent",
    )
    .id("95797aa77795459e97e1d63994b4c735"),
    event(
        "session-exited",
        Warning,
        "SESSION",
        "an agent's process ended",
    )
    .id("a6394cae5bb84b7ca2791736f31d879b"),
    event(
        "session-refused",
        Warning,
        "SESSION, or CREDENTIALS",
        "credentials are not valid",
    )
    .id("a9f9873a888848639ba3ce6785d220e6"),
    event(
        "session-accepted",
        Info,
        "SESSION, or CREDENTIALS",
        "credentials are valid again",
    ),
    event(
        "session-adopted",
        Info,
        "SESSION",
        "its client registered here; the daemon keeps its session",
    ),
    event(
        "credentials-of-another-store",
        Warning,
        "CREDENTIALS, STORE",
        "credentials name another store than the daemon's",
    ),
    event(
        "conversation-renewed",
        Info,
        "SESSION",
        "it expired while the daemon was down or the machine slept; its agent is alive, so it was renewed",
    ),
    event(
        "renewals-taken-back",
        Warning,
        "",
        "a clock far ahead had renewed conversations for too long; that was reverted",
    ),
    event(
        "clock-ahead",
        Warning,
        "",
        "the clock of this machine is far ahead; conversations are renewed by the time since boot",
    ),
    event(
        "clock-believed",
        Info,
        "",
        "conversations are renewed by this machine's clock again",
    ),
    event(
        "sessions-released",
        Info,
        "",
        "the daemon released its sessions, so that their silence is not taken for a loss",
    ),
    event(
        "sessions-not-released",
        Warning,
        "ERROR",
        "the sessions were not released",
    ),
    event(
        "session-woken",
        Info,
        "SESSION, ADAPTER, UNREAD",
        "an agent is being woken",
    ),
    event(
        "wake-output",
        Info,
        "SESSION, ADAPTER",
        "output of a wake command that succeeded",
    ),
    event(
        "wake-verified",
        Info,
        "SESSION, ADAPTER",
        "the agent fetched its messages",
    ),
    event(
        "wake-unverified",
        Warning,
        "SESSION, ADAPTER",
        "no fetch in time; trying the next adapter",
    ),
    event(
        "wake-list-spent",
        Warning,
        "SESSION, ADAPTER",
        "all adapters failed",
    )
    .id("c687831abfad4958af5ca047ff239b20"),
    event(
        "wake-died",
        Warning,
        "ERROR",
        "an adapter ended unexpectedly",
    ),
    event(
        "session-looked",
        Info,
        "SESSION",
        "an agent that no adapter could wake fetched its messages",
    ),
    event(
        "lead-taken",
        Info,
        "EPOCH",
        "this orchestrator is the acting leader now",
    )
    .id("8d95ab13b76649c0ab6d68158b6c82e8"),
    event(
        "lead-lost",
        Warning,
        "EPOCH",
        "another orchestrator is the acting leader now",
    )
    .id("dc29583a746c4d91a4fdeb8dbae6a058"),
    event(
        "lead-given-back",
        Info,
        "",
        "it stops; another may take over at once",
    ),
    event(
        "lead-not-given-back",
        Warning,
        "ERROR",
        "the lead was not released; another takes over when the lease ends",
    ),
    event(
        "watchdog-late",
        Warning,
        "",
        "the watchdog was paused; no session is declared lost before a whole ttl has passed",
    )
    .id("6a2daea911bf4494b4f0d266d85d9a6c"),
    event(
        "store-unwritable",
        Warning,
        "",
        "the store accepts no writes; no silent session is declared lost",
    ),
    event(
        "store-writable",
        Info,
        "",
        "the store accepts writes again; silence counts from now",
    ),
    event(
        "session-lost",
        Warning,
        "SESSION",
        "silent for its whole ttl",
    )
    .id("2980efe32793486d99d924ef4828000d"),
    event(
        "session-stalled",
        Warning,
        "SESSION",
        "pending work, no activity",
    )
    .id("75c7fc6d2cac40819e67ae4167093156"),
    event(
        "session-never-started",
        Warning,
        "SESSION",
        "created, without any sign of life",
    )
    .id("d98c1f2d78c748e08d847cc2a3904dc8"),
    event("session-recovered", Info, "SESSION", "active again"),
    event(
        "session-kept",
        Info,
        "SESSION",
        "no daemon sends its heartbeat, but its agent runs on this host",
    ),
    event(
        "task-given",
        Info,
        "TASK, FENCE, SESSION",
        "a session got a task",
    ),
    event(
        "task-queued",
        Info,
        "TASK, FENCE",
        "a task waits: no healthy session can take it",
    ),
    event("task-dead", Warning, "TASK, FENCE", "a task is dead")
        .id("eceddb76955946cca2c0f49d847fc2d8"),
    event(
        "housekeeping",
        Info,
        "MESSAGES, CONVERSATIONS, AUDIT, TASKS, ALERTS",
        "old rows were deleted",
    ),
    event(
        "alert-raised",
        Alert,
        "ALERT, ALERT_ID, SUBJECT, DAEMON, SESSION, TASK",
        "an alert for the operator: see Alerts",
    ),
    event(
        "alert-reminder",
        Alert,
        "the same",
        "the alert is still open",
    ),
    event("alert-recovered", Alert, "the same", "the alert is over"),
    event(
        "alert-muted",
        Info,
        "ALERT, SESSION, TASK",
        "an alert was not sent: an operator muted it",
    ),
    event(
        "alerts-not-noted",
        Info,
        "",
        "the daemon ended before the store recorded which alerts it had sent",
    ),
    event(
        "alert-not-told",
        Error,
        "ADAPTER",
        "an adapter could not send an alert",
    )
    .id("dd5b433b4ae04881884fdcc719256b1a"),
];

/// Which of [`EVENTS`] has this name.
pub(super) fn position(name: &str) -> Option<usize> {
    EVENTS.iter().position(|event| event.name == name)
}
