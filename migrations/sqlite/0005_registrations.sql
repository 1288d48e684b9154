-- Which client acts for a session, as that client said: a daemon that keeps the sessions
-- of its machine takes those whose process runs there. What is said later takes the place
-- of what was said before. `bridge_agent`, which no program ever wrote, stays for those of
-- older schemas, which read it. As before: nothing that came after SQLite 3.8.

-- A number means a process only in its boot and its namespace of process ids. `uid` is the
-- user whose program said it. Without a process the session lives by its heartbeats' ttl.
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
