-- The four tables that we share with the Python bridge, exactly as it makes
-- them, and our own tables beside them. Ours have no foreign keys into the
-- shared ones: that bridge's cleanup ignores keys, so orphans must be borne.
-- Times in shared tables are naive UTC text; in ours, integer milliseconds
-- since 1970 (_ms) or since boot (_boot_ms).
--
-- The Python bridge's SQLite reads all of this before its first statement, and
-- one that is old reads nothing at all if it cannot read a part: no STRICT, no
-- iif(), nothing else that came after 3.8.

CREATE TABLE IF NOT EXISTS conversations (
    id TEXT PRIMARY KEY,
    session_a_role TEXT NOT NULL,
    session_b_role TEXT NOT NULL,
    session_a_token TEXT NOT NULL,
    session_b_token TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation_id TEXT NOT NULL,
    from_session TEXT NOT NULL,
    to_session TEXT NOT NULL,
    message TEXT NOT NULL,
    metadata TEXT,
    timestamp TEXT NOT NULL,
    read INTEGER DEFAULT 0,
    FOREIGN KEY (conversation_id) REFERENCES conversations(id)
);

CREATE TABLE IF NOT EXISTS session_status (
    conversation_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    status TEXT NOT NULL,
    last_heartbeat TEXT NOT NULL,
    PRIMARY KEY (conversation_id, session_id)
);

CREATE TABLE IF NOT EXISTS audit_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation_id TEXT,
    session_id TEXT,
    action TEXT NOT NULL,
    details TEXT,
    timestamp TEXT NOT NULL
);

-- Unread mail of a session (with the column that it is about, so that counting
-- it needs no row), and a sender's newest messages (rate limit).
CREATE INDEX IF NOT EXISTS bridge_messages_unread
    ON messages (conversation_id, to_session, id, read) WHERE read = 0;
CREATE INDEX IF NOT EXISTS bridge_messages_sent
    ON messages (conversation_id, from_session, timestamp);

-- What this database is, and who may open it: a program whose own version is
-- below min_compatible must not write here.
CREATE TABLE bridge_schema (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL,
    min_compatible INTEGER NOT NULL
);

-- Settings that all processes on this store must agree on.
CREATE TABLE bridge_setting (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE bridge_conversation (
    conversation_id TEXT PRIMARY KEY,
    label TEXT,
    closed_ms INTEGER
) WITHOUT ROWID;
CREATE UNIQUE INDEX bridge_conversation_label
    ON bridge_conversation (label) WHERE closed_ms IS NULL;

-- A client process that acts for one session or several.
CREATE TABLE bridge_agent (
    agent_id TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    pid_start INTEGER NOT NULL,
    client TEXT,
    client_version TEXT,
    registered_ms INTEGER NOT NULL
) WITHOUT ROWID;

-- activity_seq grows with every authenticated call of the agent itself.
CREATE TABLE bridge_session (
    conversation_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    agent_id TEXT,
    activity_seq INTEGER NOT NULL DEFAULT 0,
    activity_ms INTEGER,
    busy_until_ms INTEGER,
    PRIMARY KEY (conversation_id, session_id)
) WITHOUT ROWID;

-- Fetched, its reply written, acknowledged: three steps, three times. A
-- message that was fetched by a call which died before it answered is given
-- out again.
CREATE TABLE bridge_receipt (
    message_id INTEGER PRIMARY KEY,
    conversation_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    fetch_id TEXT NOT NULL,
    fetched_ms INTEGER NOT NULL,
    written_ms INTEGER,
    acked_ms INTEGER
);
CREATE INDEX bridge_receipt_open
    ON bridge_receipt (conversation_id, session_id, message_id) WHERE acked_ms IS NULL;
-- The replies that are under way, to be confirmed by the name of the fetch.
CREATE INDEX bridge_receipt_unwritten
    ON bridge_receipt (fetch_id) WHERE written_ms IS NULL;

-- A sender's own names for its messages: the same one twice is one message.
CREATE TABLE bridge_client_message (
    conversation_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, session_id, client_id)
) WITHOUT ROWID;

-- A daemon keeps its row over restarts; the epoch tells them apart.
CREATE TABLE bridge_daemon (
    daemon_id TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    role TEXT NOT NULL,
    host TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    started_ms INTEGER NOT NULL,
    stopped_ms INTEGER
) WITHOUT ROWID;

-- Narrow, because it is written all the time. beat_boot_ms is comparable only
-- between rows of one boot_id; beat_ms is for people.
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
    PRIMARY KEY (conversation_id, session_id)
) WITHOUT ROWID;

-- One open wake a session: whoever inserts it wakes, the others do not.
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
);
CREATE UNIQUE INDEX bridge_wake_open
    ON bridge_wake (conversation_id, session_id) WHERE ended_ms IS NULL;
CREATE INDEX bridge_wake_session
    ON bridge_wake (conversation_id, session_id, wake_id);
