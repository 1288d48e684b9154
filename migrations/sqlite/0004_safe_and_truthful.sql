-- What keeps rows of others apart from ours, lives from each other, and orders
-- from hearsay. As before: nothing that came after SQLite 3.8.

-- The end of a conversation, by two clocks: the wall clock and the boot clock
-- when it was written, so that a caller whose own clock is behind does not use a
-- conversation that is over. What a daemon wrote while it renewed is known by its
-- value: a wrong clock's renewal is taken back.
ALTER TABLE bridge_conversation ADD COLUMN set_ms INTEGER
    CHECK (typeof(set_ms) IN ('integer', 'null'));
ALTER TABLE bridge_conversation ADD COLUMN set_boot_ms INTEGER
    CHECK (typeof(set_boot_ms) IN ('integer', 'null'));
ALTER TABLE bridge_conversation ADD COLUMN set_boot_id TEXT
    CHECK (typeof(set_boot_id) IN ('text', 'null'));
ALTER TABLE bridge_conversation ADD COLUMN renewed_to TEXT
    CHECK (typeof(renewed_to) IN ('text', 'null'));
ALTER TABLE bridge_conversation ADD COLUMN renewed_for_ms INTEGER
    CHECK (typeof(renewed_for_ms) IN ('integer', 'null'));

-- When a session last fetched its mail: a side `a` that never did, and that
-- nothing keeps, is where an operator sends from, and no agent.
ALTER TABLE bridge_session ADD COLUMN fetched_ms INTEGER
    CHECK (typeof(fetched_ms) IN ('integer', 'null'));
UPDATE bridge_session SET fetched_ms = coalesce(activity_ms, 0)
    WHERE session_id = 'a'
      AND conversation_id IN (SELECT conversation_id FROM bridge_receipt WHERE session_id = 'a');

-- How many times in a row a session's agent ended right after it was given a
-- task; and whether a loss counts against its task, which it does only if that
-- owner had fetched it.
ALTER TABLE bridge_session ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0
    CHECK (typeof(crashes) = 'integer');
ALTER TABLE bridge_task_history ADD COLUMN counts INTEGER NOT NULL DEFAULT 1
    CHECK (counts IN (0, 1));

-- The process id namespace of a daemon: in another one its number tells nothing.
ALTER TABLE bridge_daemon ADD COLUMN pid_ns INTEGER
    CHECK (typeof(pid_ns) IN ('integer', 'null'));

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
