-- Work that outlives its worker: tasks, who acts for the fleet, what it found.
-- A program of schema 1 may go on beside it: what it writes moves no `change`,
-- so that nobody hears of it at once, but every verdict is a compare-and-set on
-- what was seen, and fails when it was not.

-- The agent's process, so that whoever sits on the same host can look himself,
-- and a number that was given to another process is not taken for it.
ALTER TABLE bridge_heartbeat ADD COLUMN pid INTEGER;
ALTER TABLE bridge_heartbeat ADD COLUMN pid_start INTEGER;
ALTER TABLE bridge_heartbeat ADD COLUMN mirrored TEXT;
CREATE INDEX bridge_heartbeat_daemon ON bridge_heartbeat (daemon_id);

-- `change` grows with every write of any row: what is new is above what was
-- seen. A round of heartbeats counts once, at its daemon: an index that every
-- heartbeat moved made a round twice as long.
ALTER TABLE bridge_daemon ADD COLUMN change INTEGER NOT NULL DEFAULT 0;
CREATE INDEX bridge_daemon_change ON bridge_daemon (change);

-- epoch grows when a session returns after it was lost. standing is the acting
-- orchestrator's verdict, on the heartbeat of standing_seq; busy_seq grows with
-- each declaration that the agent is busy for a while.
ALTER TABLE bridge_session ADD COLUMN epoch INTEGER NOT NULL DEFAULT 1;
ALTER TABLE bridge_session ADD COLUMN capacity INTEGER;
ALTER TABLE bridge_session ADD COLUMN busy_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE bridge_session ADD COLUMN busy_for_ms INTEGER;
ALTER TABLE bridge_session ADD COLUMN turn TEXT;
ALTER TABLE bridge_session ADD COLUMN standing TEXT;
ALTER TABLE bridge_session ADD COLUMN standing_seq INTEGER;
ALTER TABLE bridge_session ADD COLUMN standing_ms INTEGER;
ALTER TABLE bridge_session ADD COLUMN change INTEGER NOT NULL DEFAULT 0;
CREATE INDEX bridge_session_change ON bridge_session (change);

-- The fence grows with each claim and each move: a write with an older one is
-- refused. owner_* stands while the task is leased, last_* is whoever had it
-- before. Attempts are leases, failures what an owner reported, losses owners
-- that went away.
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
    created_ms INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,
    CHECK ((state = 'leased') = (owner_conversation IS NOT NULL))
);
CREATE INDEX bridge_task_owner
    ON bridge_task (owner_conversation, owner_session) WHERE state = 'leased';
CREATE INDEX bridge_task_waiting
    ON bridge_task (task_id) WHERE state IN ('queued', 'retry_wait');
CREATE UNIQUE INDEX bridge_task_client
    ON bridge_task (creator, client_id) WHERE client_id IS NOT NULL;

CREATE TABLE bridge_task_history (
    history_id INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id INTEGER NOT NULL REFERENCES bridge_task (task_id) ON DELETE CASCADE,
    fence INTEGER NOT NULL,
    event TEXT NOT NULL,
    conversation_id TEXT,
    session_id TEXT,
    at_ms INTEGER NOT NULL,
    note TEXT
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

-- One orchestrator acts. Whoever saw renew_seq stand still for ttl_ms on a
-- clock of his own may take over; every write of the acting one checks epoch.
CREATE TABLE bridge_leader (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL,
    holder TEXT,
    holder_epoch INTEGER,
    renew_seq INTEGER NOT NULL,
    ttl_ms INTEGER NOT NULL,
    since_ms INTEGER NOT NULL
);

-- Counters that are hints for whoever waits, as the doorbell is: data stands
-- in the other tables.
CREATE TABLE bridge_signal (
    name TEXT PRIMARY KEY,
    n INTEGER NOT NULL
) WITHOUT ROWID;

-- An alert is open until its matter recovers. told is the edge that the
-- adapters have been told of: 1 raised, 2 recovered.
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

-- What an operator said: drain a session or a host, hold the watchdog, mute a
-- kind of alert; each until its end.
CREATE TABLE bridge_control (
    kind TEXT NOT NULL CHECK (kind IN ('drain', 'hold', 'mute')),
    subject TEXT NOT NULL,
    set_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) WITHOUT ROWID;

-- Whoever is gone may still have tasks.
CREATE INDEX bridge_session_gone
    ON bridge_session (standing) WHERE standing IN ('lost', 'exited');
-- What is cleaned away after a time.
CREATE INDEX bridge_wake_ended ON bridge_wake (ended_ms) WHERE ended_ms IS NOT NULL;
CREATE INDEX bridge_task_over
    ON bridge_task (changed_ms) WHERE state IN ('done', 'dead', 'cancelled');
