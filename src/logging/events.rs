//! The words of `MCP_EVENT`, and the `MESSAGE_ID` of those that an operator
//! filters on or wants explained.
//!
//! The source of the table in docs/daemon.md and in mcp-bridged(8); the
//! explanations stand in packaging/catalog. Words and ids never change.

use Level::{Alert, Error, Info, Warning};

/// How bad an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The ordinary course of things.
    Info,
    /// Somebody may want to look.
    Warning,
    /// Somebody must look.
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
    event(
        "ready",
        Info,
        "",
        "every duty has returned from its first round",
    )
    .id("5af14c90e35d4db888e16b0d380ed4d0"),
    event("stopping", Info, "", "a signal, or the death of a duty"),
    event(
        "stop-overdue",
        Warning,
        "",
        "duties did not finish in time, or a second signal came",
    )
    .id("5c9ad98305e24dfb943a66b5f2a1f7ae"),
    event("reloaded", Info, "", "the new settings are in force"),
    event(
        "reload-refused",
        Error,
        "",
        "the new settings are wrong: the old ones go on",
    )
    .id("f4d99ffb483249b3bab7f2f3e10d59f9"),
    event(
        "reload-partial",
        Warning,
        "",
        "a changed key, or a file that the service was not given, waits for a restart",
    )
    .id("fc439b9309eb4a1bb1c1c3f54ab82c18"),
    event(
        "reload-overdue",
        Error,
        "",
        "a duty has not taken the new settings yet",
    ),
    event("duty-trouble", Warning, "DUTY", "a duty cannot do its work")
        .id("5e7a9f56586c4604b512bef98749d6a9"),
    event("duty-recovered", Info, "DUTY", "it can again"),
    event(
        "duty-hung",
        Error,
        "DUTY",
        "a round has not returned by its deadline",
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
        "programs may ask for the store at this socket",
    ),
    event(
        "door-closed",
        Info,
        "",
        "the settings say that no program may ask any more",
    ),
    event(
        "door-not-open",
        Warning,
        "",
        "the sockets cannot be made; the daemon does all else",
    ),
    event(
        "door-for-one-user",
        Warning,
        "",
        "a socket cannot be given to its group, and stays the daemon's user's",
    )
    .id("073291738bef4c11a845993b5bc34621"),
    event(
        "descriptor-refused",
        Warning,
        "",
        "the service manager kept something that is no socket of this daemon: closed",
    ),
    event(
        "door-not-answered",
        Warning,
        "",
        "a connection cannot be taken; the next are",
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
        "a database is kept as a copy before it is adopted or brought up to date",
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
        "a store of an older version was brought up to date",
    ),
    event(
        "store-migrating",
        Info,
        "STORE",
        "a store of an older version is being brought up to date, which takes a while",
    ),
    event(
        "row-odd",
        Warning,
        "",
        "a row of the store has a value of a wrong type and is left out",
    ),
    event("store-recovered", Info, "STORE", "it can again"),
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
        "the kernel gives no file events: the store is asked instead",
    )
    .id("40f81f1c889a4683a8ae3c40b17448cc"),
    event("file-events-back", Info, "STORE", "it does again"),
    event(
        "log-missing",
        Warning,
        "COUNT",
        "log records were lost: their reader did not take them in time",
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
        "no proof of an agent's life: no heartbeat",
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
        "credentials that do not hold",
    )
    .id("a9f9873a888848639ba3ce6785d220e6"),
    event(
        "session-accepted",
        Info,
        "SESSION, or CREDENTIALS",
        "they hold again",
    ),
    event(
        "session-adopted",
        Info,
        "SESSION",
        "its client registered here, and its session is kept",
    ),
    event(
        "credentials-of-another-store",
        Warning,
        "CREDENTIALS, STORE",
        "they name another store than the one in force",
    ),
    event(
        "conversation-renewed",
        Info,
        "SESSION",
        "it expired while the daemon was down or the machine asleep, and its agent lives",
    ),
    event(
        "renewals-taken-back",
        Warning,
        "",
        "a clock that was far ahead had renewed conversations beyond their right",
    ),
    event(
        "clock-ahead",
        Warning,
        "",
        "the clock of this machine is far ahead: conversations are renewed by the time since boot",
    ),
    event(
        "clock-believed",
        Info,
        "",
        "conversations are renewed by the clock of this machine again",
    ),
    event(
        "sessions-released",
        Info,
        "",
        "sessions given back, so that nobody takes the silence for death",
    ),
    event("sessions-not-released", Warning, "ERROR", "they were not"),
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
        "what a command that did its part said",
    ),
    event("wake-verified", Info, "SESSION, ADAPTER", "it looked"),
    event(
        "wake-unverified",
        Warning,
        "SESSION, ADAPTER",
        "it did not: the next way is tried",
    ),
    event(
        "wake-list-spent",
        Warning,
        "SESSION, ADAPTER",
        "no way worked",
    )
    .id("c687831abfad4958af5ca047ff239b20"),
    event(
        "wake-died",
        Warning,
        "ERROR",
        "a way to wake ended unexpectedly",
    ),
    event(
        "session-looked",
        Info,
        "SESSION",
        "an agent that no way could wake looked by itself",
    ),
    event("lead-taken", Info, "EPOCH", "this orchestrator acts")
        .id("8d95ab13b76649c0ab6d68158b6c82e8"),
    event("lead-lost", Warning, "EPOCH", "another one acts now")
        .id("dc29583a746c4d91a4fdeb8dbae6a058"),
    event(
        "lead-given-back",
        Info,
        "",
        "it stops, and another may take over at once",
    ),
    event(
        "lead-not-given-back",
        Warning,
        "ERROR",
        "another takes over when the lease is over",
    ),
    event(
        "watchdog-late",
        Warning,
        "",
        "a look came late: nobody is given up before a whole ttl is over",
    )
    .id("6a2daea911bf4494b4f0d266d85d9a6c"),
    event(
        "store-unwritable",
        Warning,
        "",
        "the store takes no writes: no silent session is declared lost",
    ),
    event(
        "store-writable",
        Info,
        "",
        "the store takes writes again: silence counts from now",
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
        "it owes, and does not move",
    )
    .id("75c7fc6d2cac40819e67ae4167093156"),
    event(
        "session-never-started",
        Warning,
        "SESSION",
        "made, and never heard of",
    )
    .id("d98c1f2d78c748e08d847cc2a3904dc8"),
    event("session-recovered", Info, "SESSION", "well again"),
    event(
        "session-kept",
        Info,
        "SESSION",
        "no daemon beats for it, but its agent runs on this host",
    ),
    event(
        "task-given",
        Info,
        "TASK, FENCE, SESSION",
        "a task has an owner",
    ),
    event(
        "task-queued",
        Info,
        "TASK, FENCE",
        "a task waits: nobody healthy can take it",
    ),
    event("task-dead", Warning, "TASK, FENCE", "a task was given up")
        .id("eceddb76955946cca2c0f49d847fc2d8"),
    event(
        "housekeeping",
        Info,
        "MESSAGES, CONVERSATIONS, AUDIT, TASKS, ALERTS",
        "what ended long ago was taken away",
    ),
    event(
        "alert-raised",
        Alert,
        "ALERT, ALERT_ID, SUBJECT, DAEMON, SESSION, TASK",
        "the operator is told: see alerts",
    ),
    event("alert-reminder", Alert, "the same", "it still lasts"),
    event("alert-recovered", Alert, "the same", "it is over"),
    event(
        "alert-muted",
        Info,
        "ALERT, SESSION, TASK",
        "not told, as an operator ordered",
    ),
    event(
        "alerts-not-noted",
        Info,
        "",
        "the daemon ended before the store took what it had told",
    ),
    event(
        "alert-not-told",
        Error,
        "ADAPTER",
        "an adapter could not tell",
    )
    .id("dd5b433b4ae04881884fdcc719256b1a"),
];

/// Which of [`EVENTS`] has this name.
pub(super) fn position(name: &str) -> Option<usize> {
    EVENTS.iter().position(|event| event.name == name)
}
