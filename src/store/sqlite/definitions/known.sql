---- 10 10 table bridge_alert bridge_alert
CREATE TABLE bridge_alert (
    alert_id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    conversation_id TEXT,
    session_id TEXT,
    task_id INTEGER,
    text TEXT NOT NULL,
    raised_by TEXT NOT NULL,
    raised_ms INTEGER NOT NULL,
    recovered_ms INTEGER,
    reminders INTEGER NOT NULL DEFAULT 0,
    told INTEGER NOT NULL DEFAULT 0
)
---- 10 10 index bridge_alert_open bridge_alert
CREATE UNIQUE INDEX bridge_alert_open
    ON bridge_alert (kind, subject) WHERE recovered_ms IS NULL
---- 10 10 index bridge_alert_untold bridge_alert
CREATE INDEX bridge_alert_untold
    ON bridge_alert (alert_id) WHERE told < CASE WHEN recovered_ms IS NULL THEN 1 ELSE 2 END
---- 10 10 table bridge_client_message bridge_client_message
CREATE TABLE bridge_client_message (
    conversation_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, session_id, client_id)
) WITHOUT ROWID
---- 10 10 table bridge_control bridge_control
CREATE TABLE bridge_control (
    kind TEXT NOT NULL CHECK (kind IN ('drain', 'hold', 'mute')),
    subject TEXT NOT NULL,
    set_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) WITHOUT ROWID
---- 10 10 table bridge_conversation bridge_conversation
CREATE TABLE bridge_conversation (
    conversation_id TEXT PRIMARY KEY,
    label TEXT,
    closed_ms INTEGER,
    set_ms INTEGER CHECK (typeof(set_ms) IN ('integer', 'null')),
    set_boot_ms INTEGER CHECK (typeof(set_boot_ms) IN ('integer', 'null')),
    set_boot_id TEXT CHECK (typeof(set_boot_id) IN ('text', 'null')),
    renewed_to TEXT CHECK (typeof(renewed_to) IN ('text', 'null')),
    renewed_for_ms INTEGER CHECK (typeof(renewed_for_ms) IN ('integer', 'null'))
) WITHOUT ROWID
---- 10 10 index bridge_conversation_label bridge_conversation
CREATE UNIQUE INDEX bridge_conversation_label
    ON bridge_conversation (label) WHERE closed_ms IS NULL
---- 10 10 table bridge_daemon bridge_daemon
CREATE TABLE bridge_daemon (
    daemon_id TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    role TEXT NOT NULL,
    host TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    started_ms INTEGER NOT NULL,
    stopped_ms INTEGER,
    change INTEGER NOT NULL DEFAULT 0,
    pid_ns INTEGER CHECK (typeof(pid_ns) IN ('integer', 'null'))
) WITHOUT ROWID
---- 10 10 index bridge_daemon_change bridge_daemon
CREATE INDEX bridge_daemon_change ON bridge_daemon (change)
---- 10 10 table bridge_heartbeat bridge_heartbeat
CREATE TABLE bridge_heartbeat (
    conversation_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    pid_ns INTEGER NOT NULL,
    beat_boot_ms INTEGER NOT NULL,
    beat_ms INTEGER NOT NULL,
    ttl_ms INTEGER NOT NULL,
    proof TEXT NOT NULL,
    daemon_id TEXT,
    daemon_epoch INTEGER,
    released INTEGER NOT NULL DEFAULT 0,
    exited_ms INTEGER,
    pid INTEGER,
    pid_start INTEGER,
    mirrored TEXT,
    PRIMARY KEY (conversation_id, session_id)
) WITHOUT ROWID
---- 10 10 index bridge_heartbeat_daemon bridge_heartbeat
CREATE INDEX bridge_heartbeat_daemon ON bridge_heartbeat (daemon_id)
---- 10 10 table bridge_leader bridge_leader
CREATE TABLE bridge_leader (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL,
    holder TEXT,
    holder_epoch INTEGER,
    renew_seq INTEGER NOT NULL,
    ttl_ms INTEGER NOT NULL,
    since_ms INTEGER NOT NULL
)
---- 10 10 index bridge_messages_sent messages
CREATE INDEX bridge_messages_sent
    ON messages (conversation_id, from_session, timestamp)
---- 10 10 index bridge_messages_unread messages
CREATE INDEX bridge_messages_unread
    ON messages (conversation_id, to_session, id, read) WHERE read = 0
---- 10 10 table bridge_ours bridge_ours
CREATE TABLE bridge_ours (
    kind TEXT NOT NULL CHECK (kind IN ('m', 'a', 'c', 's')),
    id NOT NULL CHECK (typeof(id) IN ('integer', 'text')),
    at_us INTEGER NOT NULL CHECK (typeof(at_us) = 'integer'),
    PRIMARY KEY (kind, id)
) WITHOUT ROWID
---- 10 10 table bridge_receipt bridge_receipt
CREATE TABLE bridge_receipt (
    message_id INTEGER PRIMARY KEY,
    conversation_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    fetch_id TEXT NOT NULL,
    fetched_ms INTEGER NOT NULL,
    written_ms INTEGER,
    acked_ms INTEGER
)
---- 10 10 index bridge_receipt_open bridge_receipt
CREATE INDEX bridge_receipt_open
    ON bridge_receipt (conversation_id, session_id, message_id) WHERE acked_ms IS NULL
---- 10 10 index bridge_receipt_unwritten bridge_receipt
CREATE INDEX bridge_receipt_unwritten
    ON bridge_receipt (fetch_id) WHERE written_ms IS NULL
---- 10 10 table bridge_registration bridge_registration
CREATE TABLE bridge_registration (
    conversation_id TEXT NOT NULL CHECK (typeof(conversation_id) = 'text'),
    session_id TEXT NOT NULL CHECK (typeof(session_id) = 'text'),
    client TEXT NOT NULL CHECK (typeof(client) = 'text'),
    client_version TEXT CHECK (typeof(client_version) IN ('text', 'null')),
    boot_id TEXT NOT NULL CHECK (typeof(boot_id) = 'text'),
    pid_ns INTEGER NOT NULL CHECK (typeof(pid_ns) = 'integer'),
    pid INTEGER CHECK (typeof(pid) IN ('integer', 'null')),
    pid_start INTEGER CHECK (typeof(pid_start) IN ('integer', 'null')),
    uid INTEGER NOT NULL CHECK (typeof(uid) = 'integer'),
    directory TEXT CHECK (typeof(directory) IN ('text', 'null')),
    registered_ms INTEGER NOT NULL CHECK (typeof(registered_ms) = 'integer'),
    PRIMARY KEY (conversation_id, session_id),
    CHECK ((pid IS NULL) = (pid_start IS NULL))
) WITHOUT ROWID
---- 10 10 index bridge_registration_place bridge_registration
CREATE INDEX bridge_registration_place
    ON bridge_registration (boot_id, pid_ns) WHERE pid IS NOT NULL
---- 10 10 table bridge_schema bridge_schema
CREATE TABLE bridge_schema (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL,
    min_compatible INTEGER NOT NULL
)
---- 10 10 table bridge_session bridge_session
CREATE TABLE bridge_session (
    conversation_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    activity_seq INTEGER NOT NULL DEFAULT 0,
    activity_ms INTEGER,
    busy_until_ms INTEGER,
    epoch INTEGER NOT NULL DEFAULT 1,
    capacity INTEGER,
    busy_seq INTEGER NOT NULL DEFAULT 0,
    busy_for_ms INTEGER,
    turn TEXT,
    turn_boot TEXT CHECK (typeof(turn_boot) IN ('text', 'null')),
    turn_boot_ms INTEGER CHECK (typeof(turn_boot_ms) IN ('integer', 'null')),
    standing TEXT,
    standing_seq INTEGER,
    standing_ms INTEGER,
    change INTEGER NOT NULL DEFAULT 0,
    fetched_ms INTEGER CHECK (typeof(fetched_ms) IN ('integer', 'null')),
    crashes INTEGER NOT NULL DEFAULT 0 CHECK (typeof(crashes) = 'integer'),
    PRIMARY KEY (conversation_id, session_id)
) WITHOUT ROWID
---- 10 10 index bridge_session_change bridge_session
CREATE INDEX bridge_session_change ON bridge_session (change)
---- 10 10 index bridge_session_gone bridge_session
CREATE INDEX bridge_session_gone
    ON bridge_session (standing) WHERE standing IN ('lost', 'exited')
---- 10 10 table bridge_setting bridge_setting
CREATE TABLE bridge_setting (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID
---- 10 10 table bridge_signal bridge_signal
CREATE TABLE bridge_signal (
    name TEXT PRIMARY KEY,
    n INTEGER NOT NULL
) WITHOUT ROWID
---- 10 10 table bridge_task bridge_task
CREATE TABLE bridge_task (
    task_id INTEGER PRIMARY KEY AUTOINCREMENT,
    role TEXT NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    files TEXT NOT NULL DEFAULT '[]',
    state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN
        ('queued', 'leased', 'retry_wait', 'done', 'dead', 'cancelled')),
    fence INTEGER NOT NULL DEFAULT 0,
    owner_conversation TEXT,
    owner_session TEXT,
    last_conversation TEXT,
    last_session TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    retry_ms INTEGER,
    progress TEXT,
    progress_ms INTEGER,
    result TEXT,
    reason TEXT,
    creator TEXT NOT NULL DEFAULT '',
    client_id TEXT,
    claim_id TEXT,
    created_ms INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,
    CHECK ((state = 'leased') = (owner_conversation IS NOT NULL))
)
---- 10 10 index bridge_task_client bridge_task
CREATE UNIQUE INDEX bridge_task_client
    ON bridge_task (creator, client_id) WHERE client_id IS NOT NULL
---- 10 10 table bridge_task_history bridge_task_history
CREATE TABLE bridge_task_history (
    history_id INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id INTEGER NOT NULL REFERENCES bridge_task (task_id) ON DELETE CASCADE,
    fence INTEGER NOT NULL,
    event TEXT NOT NULL,
    conversation_id TEXT,
    session_id TEXT,
    at_ms INTEGER NOT NULL,
    note TEXT,
    counts INTEGER NOT NULL DEFAULT 1 CHECK (counts IN (0, 1))
)
---- 10 10 index bridge_task_history_session bridge_task_history
CREATE INDEX bridge_task_history_session
    ON bridge_task_history (conversation_id, session_id, history_id)
---- 10 10 index bridge_task_history_task bridge_task_history
CREATE INDEX bridge_task_history_task ON bridge_task_history (task_id, history_id)
---- 10 10 table bridge_task_message bridge_task_message
CREATE TABLE bridge_task_message (
    message_id INTEGER PRIMARY KEY,
    task_id INTEGER NOT NULL REFERENCES bridge_task (task_id) ON DELETE CASCADE
)
---- 10 10 index bridge_task_message_task bridge_task_message
CREATE INDEX bridge_task_message_task ON bridge_task_message (task_id)
---- 10 10 index bridge_task_over bridge_task
CREATE INDEX bridge_task_over
    ON bridge_task (changed_ms) WHERE state IN ('done', 'dead', 'cancelled')
---- 10 10 index bridge_task_owner bridge_task
CREATE INDEX bridge_task_owner
    ON bridge_task (owner_conversation, owner_session) WHERE state = 'leased'
---- 10 10 index bridge_task_role bridge_task
CREATE INDEX bridge_task_role ON bridge_task (role, task_id, state, retry_ms)
    WHERE state IN ('queued', 'retry_wait')
---- 10 10 index bridge_task_waiting bridge_task
CREATE INDEX bridge_task_waiting
    ON bridge_task (task_id) WHERE state IN ('queued', 'retry_wait')
---- 10 10 table bridge_wake bridge_wake
CREATE TABLE bridge_wake (
    wake_id INTEGER PRIMARY KEY,
    conversation_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    mark INTEGER NOT NULL,
    claimant TEXT NOT NULL,
    claim INTEGER NOT NULL DEFAULT 1,
    boot_id TEXT NOT NULL,
    lease_boot_ms INTEGER NOT NULL,
    adapter TEXT,
    outcome TEXT,
    reason TEXT,
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER
)
---- 10 10 index bridge_wake_ended bridge_wake
CREATE INDEX bridge_wake_ended ON bridge_wake (ended_ms) WHERE ended_ms IS NOT NULL
---- 10 10 index bridge_wake_open bridge_wake
CREATE UNIQUE INDEX bridge_wake_open
    ON bridge_wake (conversation_id, session_id) WHERE ended_ms IS NULL
---- 10 10 index bridge_wake_session bridge_wake
CREATE INDEX bridge_wake_session
    ON bridge_wake (conversation_id, session_id, wake_id)
---- 10 10 table sqlite_sequence sqlite_sequence
CREATE TABLE sqlite_sequence(name,seq)
