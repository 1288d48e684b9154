//! The keys, in the order in which the documents show them.

use std::sync::LazyLock;

use super::super::{api, orchestrator, sessions, validate};
use crate::setting::KeyRole::Orchestrator;
use crate::setting::Value::{As, Count, Duration, Flag, Number, Proof, Text, Word, Words};
use crate::setting::{Key, Value, key};
use crate::{alert, wake};

/// All of them.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let parts = [GENERAL, SESSIONS, ORCHESTRATORS];
    let [general, sessions, orchestrators] = parts.map(<[Key]>::iter);
    let worker = general.chain(wake::keys()).chain(sessions);
    let all = worker.chain(alert::keys()).chain(orchestrators);
    all.copied().collect()
});

const GENERAL: &[Key] = &[
    key(
        "role",
        Word(&["worker", "orchestrator"], ""),
        "what the daemon is for; an `orchestrator` is a worker for its own agent that also watches every session",
    )
    .or("wanted")
    .needs_restart(),
    key(
        "sessions",
        Word(&["listed", "local"], "listed"),
        "which sessions are kept: `listed` in `[[session]]`; `local`, also those whose client registers and runs here, of a user's own daemon that user's alone",
    ),
    key(
        "store.url",
        Text(""),
        "the store: a path, or `sqlite:/path`; `MCP_BRIDGE_STORE` in the environment comes before it",
    )
    .or("this user's own store")
    .such_as(r#""sqlite:/var/lib/mcp-bridge/bridge.db""#)
    .needs_restart(),
    key(
        "store.url_file",
        Text(""),
        "a file with that in it, where it holds a password; relative as `session.credentials` is; not together with `store.url`",
    )
    .such_as(r#""store.url""#)
    .needs_restart(),
    key(
        "store.accepted_schema",
        Text(""),
        "the hash of triggers and other definitions in the database that `mcp-bridge store check` names, if they are meant to be there",
    )
    .such_as(r#""e3b0c44298fc1c149afbf4c8996fb924""#)
    .needs_restart(),
    key(
        "log.level",
        Text("info"),
        "`error`, `warn`, `info`, `debug`, `trace`, `off`, or a filter such as `info,mcp_bridge=debug`",
    )
    .such_as(r#""info,mcp_bridge=debug""#)
    .needs_restart(),
    key(
        "service.state_file",
        Text(""),
        "JSON: pid, the settings' generation, the last reload, the duties and their figures; an absolute path",
    )
    .or("`NAME.json` in the runtime directory")
    .such_as(r#""/run/mcp-bridge/worker.json""#)
    .needs_restart(),
    key(
        "service.shutdown_grace",
        Duration(validate::SHUTDOWN_GRACE),
        "how long the duties may take to finish after the first signal",
    ),
    key(
        "api.enabled",
        Flag(true),
        "whether the daemon answers programs at its sockets",
    ),
    key(
        "api.connections",
        Number(api::CONNECTIONS),
        "connections of all users at once",
    ),
    key(
        "api.connections_per_user",
        Number(api::CONNECTIONS_PER_USER),
        "connections of one user at once; root and the daemon's own user have no such limit",
    ),
    key(
        "api.max_body",
        Number(api::MAX_BODY),
        "bytes of a request's body",
    ),
    key(
        "api.time_limit",
        Duration(api::TIME_LIMIT),
        "how long a request may take to arrive, and as long to be worked on",
    ),
    key(
        "api.conversations_per_hour",
        Number(api::CONVERSATIONS_PER_HOUR),
        "conversations that one user may make in an hour without being an operator; `0` is none",
    ),
    key(
        "api.tasks_per_hour",
        Number(api::TASKS_PER_HOUR),
        "tasks that one user may add in an hour without being an operator; `0` is none",
    ),
    key(
        "api.stored_mib_per_day",
        Number(api::STORED_MIB_PER_DAY),
        "MiB of messages, tasks and their like that one user may have stored in a day; root and the daemon's own user have no such limit",
    ),
    key(
        "heartbeat.interval",
        Duration(validate::INTERVAL),
        "between two heartbeats, with a tenth of jitter",
    ),
    key(
        "heartbeat.ttl",
        Duration(validate::TTL),
        "how long a heartbeat is good for: silent for so long, a session is lost; at least three intervals",
    ),
    key(
        "heartbeat.renew_conversations",
        Flag(true),
        "a conversation does not end under a living agent",
    ),
    key(
        "heartbeat.renew_for",
        Duration(validate::RENEW_FOR),
        "how far ahead a renewal sets the end; renewed when half of it is over; never below the ttl",
    ),
    key(
        "heartbeat.mirror_interval",
        Duration(validate::MIRROR_INTERVAL),
        "how often the Python bridge's own table is told",
    ),
    key(
        "message_watch.mode",
        Word(&["events", "poll"], "events"),
        "`poll` for file systems without events: the store is asked every 5 ms",
    ),
    key(
        "message_watch.poll_interval",
        Duration(validate::POLL_INTERVAL),
        "the full look behind all events",
    ),
];

const SESSIONS: &[Key] = &[
    key(
        "session.credentials",
        Text(""),
        "a credentials file. A relative one is looked for among the service's credentials, there also with `mcp-bridge_` before its name, then beside the main file, then in `credentials/` there",
    )
    .or("wanted")
    .such_as(r#""backend-1.toml""#),
    key(
        "session.proof",
        Proof,
        "how the agent is known to live: one of the next three, or `\"none\"`",
    )
    .or("wanted")
    .such_as(r#"{ pid_file = "/run/backend-1/agent.pid" }"#),
    key(
        "session.proof.pid",
        Count(1, i32::MAX as i64),
        "by this process",
    )
    .such_as("4121"),
    key(
        "session.proof.pid_file",
        Text(""),
        "by the process whose id stands in this file; an absolute path",
    )
    .such_as(r#""/run/backend-1/agent.pid""#),
    key(
        "session.proof.exec",
        Words,
        "by a command that ends with status 0",
    )
    .such_as(r#"["pgrep", "-f", "agent"]"#),
    key(
        "session.proof.timeout",
        Duration(sessions::PROOF_TIMEOUT),
        "after which that command has failed; beside `exec` alone",
    ),
    key(
        "session.wake",
        As("wake"),
        "this session's own way to be woken: the keys of `[wake]`, each in the place of the common one",
    )
    .or("as `[wake]`"),
];

const ORCHESTRATORS: &[Key] = &[
    orchestrators(
        "watchdog.check_interval",
        Duration(orchestrator::CHECK_INTERVAL),
        "the longest sleep between two looks",
    ),
    orchestrators(
        "watchdog.default_ttl",
        Duration(orchestrator::DEFAULT_TTL),
        "how long a session without a daemon may be silent, beyond a time for which it \
         said that it is busy",
    ),
    orchestrators(
        "watchdog.idle_after",
        Duration(orchestrator::IDLE_AFTER),
        "no activity and nothing owed for so long is idle",
    ),
    orchestrators(
        "watchdog.stalled_after",
        Duration(orchestrator::STALLED_AFTER),
        "no activity, but mail or a task, for so long is stalled; never below `watchdog.idle_after`",
    ),
    orchestrators(
        "watchdog.revoke_after",
        Duration(orchestrator::REVOKE_AFTER),
        "stalled for so long, its task is moved, where the client reports turns",
    ),
    orchestrators(
        "watchdog.starting_for",
        Duration(orchestrator::STARTING_FOR),
        "a new session's time for its first sign of life",
    ),
    orchestrators(
        "watchdog.correlated_hosts",
        Number(orchestrator::CORRELATED_HOSTS),
        "from so many hosts on, silence may be the watchdog's own fault",
    ),
    orchestrators(
        "watchdog.correlated_percent",
        Number(orchestrator::CORRELATED_PERCENT),
        "if so many percent of them fall silent together, nobody is expired",
    ),
    orchestrators(
        "watchdog.correlated_hold",
        Duration(orchestrator::CORRELATED_HOLD),
        "for so long; `0s` is not at all",
    ),
    orchestrators(
        "watchdog.leader_ttl",
        Duration(orchestrator::LEADER_TTL),
        "how long an orchestrator leads without renewing; at least three `watchdog.check_interval`",
    ),
    orchestrators(
        "reassignment.capacity",
        Number(orchestrator::CAPACITY),
        "open tasks of a session; its own number in the store wins",
    ),
    orchestrators(
        "reassignment.match_role",
        Word(&["same", "any"], "same"),
        "who may take a task: sessions of its role, or any",
    ),
    orchestrators(
        "reassignment.moves_per_second",
        Number(orchestrator::MOVES_PER_SECOND),
        "how fast tasks are moved at most",
    ),
    orchestrators(
        "reassignment.max_losses",
        Number(orchestrator::MAX_LOSSES),
        "a task that lost so many owners is given to nobody any more",
    ),
    orchestrators(
        "reassignment.losses_within",
        Duration(orchestrator::LOSSES_WITHIN),
        "only losses so recent count",
    ),
    orchestrators(
        "housekeeping.interval",
        Duration(orchestrator::INTERVAL),
        "between two rounds",
    ),
    orchestrators(
        "housekeeping.keep_messages",
        Duration(orchestrator::KEEP_MESSAGES),
        "read and acknowledged messages, of conversations that ended",
    ),
    orchestrators(
        "housekeeping.keep_audit",
        Duration(orchestrator::KEEP_AUDIT),
        "lines of the audit log",
    ),
    orchestrators(
        "housekeeping.keep_tasks",
        Duration(orchestrator::KEEP_TASKS),
        "finished tasks",
    ),
    orchestrators(
        "housekeeping.keep_alerts",
        Duration(orchestrator::KEEP_ALERTS),
        "alerts that are over",
    ),
];

const fn orchestrators(name: &'static str, value: Value, about: &'static str) -> Key {
    key(name, value, about).of(Orchestrator)
}
