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
        "task of the daemon: `worker`, or `orchestrator`, which also does the work of a worker for its own agent",
    )
    .or("required")
    .needs_restart(),
    key(
        "sessions",
        Word(&["listed", "local"], "listed"),
        "which sessions the daemon keeps: `listed`, those in `[[session]]`; `local`, also those whose client registers and runs on this machine (a user's own daemon: only that user's)",
    ),
    key(
        "store.url",
        Text(""),
        "the store: a path, or `sqlite:/path`; `MCP_BRIDGE_STORE` in the environment takes precedence",
    )
    .or("this user's own store")
    .such_as(r#""sqlite:/var/lib/mcp-bridge/bridge.db""#)
    .needs_restart(),
    key(
        "store.url_file",
        Text(""),
        "a file with that URL, if it contains a password; a relative path works as for `session.credentials`; not together with `store.url`",
    )
    .such_as(r#""store.url""#)
    .needs_restart(),
    key(
        "store.accepted_schema",
        Text(""),
        "hash of triggers and other definitions in the database that you accept; `mcp-bridge store verify` shows it",
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
        "file for the daemon's state, as JSON: pid, generation of the settings, last reload, duties and their figures; an absolute path",
    )
    .or("`NAME.json` in the runtime directory")
    .such_as(r#""/run/mcp-bridge/worker.json""#)
    .needs_restart(),
    key(
        "service.shutdown_grace",
        Duration(validate::SHUTDOWN_GRACE),
        "time for the duties to finish after the first signal",
    ),
    key(
        "api.enabled",
        Flag(true),
        "whether the daemon answers programs at its sockets",
    ),
    key(
        "api.connections",
        Number(api::CONNECTIONS),
        "maximum number of connections, all users together",
    ),
    key(
        "api.connections_per_user",
        Number(api::CONNECTIONS_PER_USER),
        "maximum number of connections of one user; no limit for root and the daemon's own user",
    ),
    key(
        "api.max_body",
        Number(api::MAX_BODY),
        "maximum size of a request's body, in bytes",
    ),
    key(
        "api.time_limit",
        Duration(api::TIME_LIMIT),
        "time limit for a request to arrive, and the same again to answer it",
    ),
    key(
        "api.conversations_per_hour",
        Number(api::CONVERSATIONS_PER_HOUR),
        "conversations that a user who is not an operator may create in an hour; `0` means none",
    ),
    key(
        "api.tasks_per_hour",
        Number(api::TASKS_PER_HOUR),
        "tasks that a user who is not an operator may add in an hour; `0` means none",
    ),
    key(
        "api.stored_mib_per_day",
        Number(api::STORED_MIB_PER_DAY),
        "MiB of messages, tasks and notes that one user may store in a day; no limit for root and the daemon's own user",
    ),
    key(
        "heartbeat.interval",
        Duration(validate::INTERVAL),
        "time between two heartbeats, with a tenth of jitter",
    ),
    key(
        "heartbeat.ttl",
        Duration(validate::TTL),
        "heartbeat validity: a session silent for longer is lost; at least three intervals",
    ),
    key(
        "heartbeat.renew_conversations",
        Flag(true),
        "whether conversations of live agents are renewed, so that they do not expire",
    ),
    key(
        "heartbeat.renew_for",
        Duration(validate::RENEW_FOR),
        "new lifetime at each renewal; renewed when half of it has passed; never below the ttl",
    ),
    key(
        "heartbeat.mirror_interval",
        Duration(validate::MIRROR_INTERVAL),
        "how often the Python bridge's own table is updated",
    ),
    key(
        "message_watch.mode",
        Word(&["events", "poll"], "events"),
        "`poll` for file systems without change events: the store is polled every 5 ms",
    ),
    key(
        "message_watch.poll_interval",
        Duration(validate::POLL_INTERVAL),
        "time between full checks, which find messages even if an event was missed",
    ),
];

const SESSIONS: &[Key] = &[
    key(
        "session.credentials",
        Text(""),
        "a credentials file. A relative path is searched among the service's credentials (there also as `mcp-bridge_NAME`), then beside the main file, then in `credentials/` beside the main file",
    )
    .or("required")
    .such_as(r#""backend-1.toml""#),
    key(
        "session.proof",
        Proof,
        "proof that the agent is alive: one of the next three, or `\"none\"`",
    )
    .or("required")
    .such_as(r#"{ pid_file = "/run/backend-1/agent.pid" }"#),
    key(
        "session.proof.pid",
        Count(1, i32::MAX as i64),
        "alive while this process runs",
    )
    .such_as("4121"),
    key(
        "session.proof.pid_file",
        Text(""),
        "alive while the process with the id in this file runs; an absolute path",
    )
    .such_as(r#""/run/backend-1/agent.pid""#),
    key(
        "session.proof.exec",
        Words,
        "alive if this command ends with status 0",
    )
    .such_as(r#"["pgrep", "-f", "agent"]"#),
    key(
        "session.proof.timeout",
        Duration(sessions::PROOF_TIMEOUT),
        "time limit of that command; only together with `exec`",
    ),
    key(
        "session.wake",
        As("wake"),
        "wake settings of this session: the keys of `[wake]`; each replaces the common one",
    )
    .or("as `[wake]`"),
];

const ORCHESTRATORS: &[Key] = &[
    orchestrators(
        "watchdog.check_interval",
        Duration(orchestrator::CHECK_INTERVAL),
        "longest time between two rounds",
    ),
    orchestrators(
        "watchdog.default_ttl",
        Duration(orchestrator::DEFAULT_TTL),
        "how long a session without a daemon may be silent, in addition to a time that it reported as busy",
    ),
    orchestrators(
        "watchdog.idle_after",
        Duration(orchestrator::IDLE_AFTER),
        "a session with no pending work and no activity for this time is idle",
    ),
    orchestrators(
        "watchdog.stalled_after",
        Duration(orchestrator::STALLED_AFTER),
        "a session with unread messages or a task and no activity for this time is stalled; never below `watchdog.idle_after`",
    ),
    orchestrators(
        "watchdog.revoke_after",
        Duration(orchestrator::REVOKE_AFTER),
        "a session stalled for this time loses its task to another, if its client reports turns",
    ),
    orchestrators(
        "watchdog.starting_for",
        Duration(orchestrator::STARTING_FOR),
        "time for the first sign of life of a new session",
    ),
    orchestrators(
        "watchdog.correlated_hosts",
        Number(orchestrator::CORRELATED_HOSTS),
        "silence of this number of hosts or more may be the watchdog's own problem",
    ),
    orchestrators(
        "watchdog.correlated_percent",
        Number(orchestrator::CORRELATED_PERCENT),
        "if this percentage of hosts goes silent at once, no session is declared lost",
    ),
    orchestrators(
        "watchdog.correlated_hold",
        Duration(orchestrator::CORRELATED_HOLD),
        "for this time; `0s` turns it off",
    ),
    orchestrators(
        "watchdog.leader_ttl",
        Duration(orchestrator::LEADER_TTL),
        "lease of the acting orchestrator; another takes over when it is not renewed; at least three `watchdog.check_interval`",
    ),
    orchestrators(
        "reassignment.capacity",
        Number(orchestrator::CAPACITY),
        "maximum number of open tasks of a session; `mcp-bridge capacity` overrides it",
    ),
    orchestrators(
        "reassignment.match_role",
        Word(&["same", "any"], "same"),
        "which sessions may get a task: `same`, those of its role; or `any`",
    ),
    orchestrators(
        "reassignment.moves_per_second",
        Number(orchestrator::MOVES_PER_SECOND),
        "maximum number of tasks moved in a second",
    ),
    orchestrators(
        "reassignment.max_losses",
        Number(orchestrator::MAX_LOSSES),
        "a task that lost this number of owners is dead: no session gets it any more",
    ),
    orchestrators(
        "reassignment.losses_within",
        Duration(orchestrator::LOSSES_WITHIN),
        "only losses within this time count",
    ),
    orchestrators(
        "housekeeping.interval",
        Duration(orchestrator::INTERVAL),
        "time between two rounds",
    ),
    orchestrators(
        "housekeeping.keep_messages",
        Duration(orchestrator::KEEP_MESSAGES),
        "how long read and acknowledged messages of ended conversations are kept",
    ),
    orchestrators(
        "housekeeping.keep_audit",
        Duration(orchestrator::KEEP_AUDIT),
        "how long rows of the audit log are kept",
    ),
    orchestrators(
        "housekeeping.keep_tasks",
        Duration(orchestrator::KEEP_TASKS),
        "how long finished tasks are kept",
    ),
    orchestrators(
        "housekeeping.keep_alerts",
        Duration(orchestrator::KEEP_ALERTS),
        "how long past alerts are kept",
    ),
];

const fn orchestrators(name: &'static str, value: Value, about: &'static str) -> Key {
    key(name, value, about).of(Orchestrator)
}
