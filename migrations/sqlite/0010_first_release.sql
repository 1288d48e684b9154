-- The schema of the first release. Numbers below 10 were used before it, and no
-- released program reads a store that has one of them.
--
-- The four tables that we share with the Python bridge stand here exactly as that
-- bridge makes them, and our own tables beside them. Ours have no foreign keys into
-- the shared ones: that bridge's cleanup ignores keys and leaves orphans. Times in
-- shared tables are naive UTC text; in ours, integer milliseconds since 1970 (_ms)
-- or since boot (_boot_ms).
--
-- The Python bridge's SQLite reads all of this before its first statement, and an
-- old one reads nothing at all if it cannot read a part: no STRICT, no iif(),
-- nothing else that came after SQLite 3.8.

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

-- Unread mail of a session (with the column in its condition, so that counting
-- needs no row), and a sender's newest messages (rate limit).
CREATE INDEX IF NOT EXISTS bridge_messages_unread
    ON messages (conversation_id, to_session, id, read) WHERE read = 0;
CREATE INDEX IF NOT EXISTS bridge_messages_sent
    ON messages (conversation_id, from_session, timestamp);

-- What this database is, and which programs may open it: one whose own schema is
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

-- The end of a conversation by two clocks: the wall clock and the boot clock when
-- it was written, so that a caller whose wall clock is behind does not use a
-- conversation that is over. What a daemon wrote while it renewed is known by its
-- value: the renewal of a wrong clock is taken back.
CREATE TABLE bridge_conversation (
    conversation_id TEXT PRIMARY KEY,
    label TEXT,
    closed_ms INTEGER,
    set_ms INTEGER CHECK (typeof(set_ms) IN ('integer', 'null')),
    set_boot_ms INTEGER CHECK (typeof(set_boot_ms) IN ('integer', 'null')),
    set_boot_id TEXT CHECK (typeof(set_boot_id) IN ('text', 'null')),
    renewed_to TEXT CHECK (typeof(renewed_to) IN ('text', 'null')),
    renewed_for_ms INTEGER CHECK (typeof(renewed_for_ms) IN ('integer', 'null'))
) WITHOUT ROWID;
CREATE UNIQUE INDEX bridge_conversation_label
    ON bridge_conversation (label) WHERE closed_ms IS NULL;

-- activity_seq grows with every authenticated call of the agent itself, busy_seq
-- with each declaration that the agent is busy for a while. epoch grows when a
-- session returns after it was lost. standing is the acting orchestrator's verdict,
-- on the heartbeat of standing_seq. `change` grows with every write of any row:
-- what is new is above what was seen. fetched_ms is the last fetch of mail: a side
-- `a` that never fetched, and that no daemon keeps, is where an operator sends
-- from, and no agent. crashes counts how many times in a row the session's agent
-- ended right after it was given a task. turn_boot_ms is when its client said so of its
-- turn, since that boot of the machine: what was said before may arrive later.
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
) WITHOUT ROWID;
CREATE INDEX bridge_session_change ON bridge_session (change);
-- A session that is gone may still have tasks.
CREATE INDEX bridge_session_gone
    ON bridge_session (standing) WHERE standing IN ('lost', 'exited');

-- Which client acts for a session, as that client said: a daemon that keeps the
-- sessions of its machine takes those whose process runs there. A later word
-- replaces an earlier one. A number means a process only in its boot and its
-- namespace of process ids. `uid` is the user whose program said it. Without a
-- process the session lives by the ttl of its heartbeats.
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
) WITHOUT ROWID;
CREATE INDEX bridge_registration_place
    ON bridge_registration (boot_id, pid_ns) WHERE pid IS NOT NULL;

-- Fetched, its reply written, acknowledged: three steps, three times. A message
-- that was fetched by a call which died before it answered is given out again.
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

-- A sender's own names for its messages: the same name twice is one message.
CREATE TABLE bridge_client_message (
    conversation_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, session_id, client_id)
) WITHOUT ROWID;

-- A daemon keeps its row over restarts; the epoch tells them apart. A round of
-- heartbeats counts once in `change`, here: an index that every heartbeat moved
-- made a round twice as long. In another namespace of process ids (pid_ns) the
-- number pid tells nothing.
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
) WITHOUT ROWID;
CREATE INDEX bridge_daemon_change ON bridge_daemon (change);

-- Narrow, because it is written all the time. beat_boot_ms is comparable only
-- between rows of one boot_id; beat_ms is for people. pid is the agent's process,
-- so that a program on the same host can look by itself, and pid_start tells it
-- from a later process with the same number.
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
) WITHOUT ROWID;
CREATE INDEX bridge_heartbeat_daemon ON bridge_heartbeat (daemon_id);

-- One open wake a session: the program that inserts it wakes, the others do not.
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
-- What is cleaned away after a time.
CREATE INDEX bridge_wake_ended ON bridge_wake (ended_ms) WHERE ended_ms IS NOT NULL;

-- The fence grows with each claim and each move: a write with an older one is
-- refused. owner_* stands while the task is leased, last_* is the owner before.
-- Attempts are leases, failures what an owner reported, losses owners that went
-- away. claim_id is the owner's name for the claim that gave it the task: the same
-- name twice is one claim.
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
);
CREATE INDEX bridge_task_owner
    ON bridge_task (owner_conversation, owner_session) WHERE state = 'leased';
CREATE INDEX bridge_task_waiting
    ON bridge_task (task_id) WHERE state IN ('queued', 'retry_wait');
-- Tasks that wait, by role: ten thousand of one role must not hide those of
-- another, and a look for the oldest task of a role need not pass by all that are
-- older. What else that look asks of them stands beside it.
CREATE INDEX bridge_task_role ON bridge_task (role, task_id, state, retry_ms)
    WHERE state IN ('queued', 'retry_wait');
CREATE UNIQUE INDEX bridge_task_client
    ON bridge_task (creator, client_id) WHERE client_id IS NOT NULL;
-- What is cleaned away after a time.
CREATE INDEX bridge_task_over
    ON bridge_task (changed_ms) WHERE state IN ('done', 'dead', 'cancelled');

-- counts: whether a loss counts against its task, which it does only if that owner
-- had fetched it.
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
);
CREATE INDEX bridge_task_history_task ON bridge_task_history (task_id, history_id);
CREATE INDEX bridge_task_history_session
    ON bridge_task_history (conversation_id, session_id, history_id);

-- Messages that belong to a task: they go where it goes.
CREATE TABLE bridge_task_message (
    message_id INTEGER PRIMARY KEY,
    task_id INTEGER NOT NULL REFERENCES bridge_task (task_id) ON DELETE CASCADE
);
CREATE INDEX bridge_task_message_task ON bridge_task_message (task_id);

-- One orchestrator acts. Another that saw renew_seq stand still for ttl_ms on a
-- clock of its own may take over; every write of the acting one checks epoch.
CREATE TABLE bridge_leader (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL,
    holder TEXT,
    holder_epoch INTEGER,
    renew_seq INTEGER NOT NULL,
    ttl_ms INTEGER NOT NULL,
    since_ms INTEGER NOT NULL
);

-- Counters that are hints for programs that wait, as the doorbell is: data stands
-- in the other tables.
CREATE TABLE bridge_signal (
    name TEXT PRIMARY KEY,
    n INTEGER NOT NULL
) WITHOUT ROWID;

-- An alert is open until its matter recovers. told is the edge that the adapters
-- have been told of: 1 raised, 2 recovered.
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
);
CREATE UNIQUE INDEX bridge_alert_open
    ON bridge_alert (kind, subject) WHERE recovered_ms IS NULL;
CREATE INDEX bridge_alert_untold
    ON bridge_alert (alert_id) WHERE told < CASE WHEN recovered_ms IS NULL THEN 1 ELSE 2 END;

-- What an operator ordered: drain a session or a host, hold the watchdog, mute a
-- kind of alert; each until its end.
CREATE TABLE bridge_control (
    kind TEXT NOT NULL CHECK (kind IN ('drain', 'hold', 'mute')),
    subject TEXT NOT NULL,
    set_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) WITHOUT ROWID;

-- Which rows of the shared tables we wrote, in a store that the Python bridge made:
-- housekeeping deletes those alone. Messages (m), audit rows (a), conversations (c),
-- statuses (s). A row is ours by its id and its time, in microseconds: one that
-- another program put in its place is not. In a store of our own all of them are
-- ours, and this is empty.
CREATE TABLE bridge_ours (
    kind TEXT NOT NULL CHECK (kind IN ('m', 'a', 'c', 's')),
    id NOT NULL CHECK (typeof(id) IN ('integer', 'text')),
    at_us INTEGER NOT NULL CHECK (typeof(at_us) = 'integer'),
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
