-- Tasks that wait, by role: ten thousand of one role must not hide those of
-- another, and whoever asks for the oldest of a role need not pass by all that
-- are older. What else is asked of them stands beside it.
CREATE INDEX bridge_task_role ON bridge_task (role, task_id, state, retry_ms)
    WHERE state IN ('queued', 'retry_wait');
