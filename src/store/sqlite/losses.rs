//! What counts as a loss of a task, for statements that ask about many.

/// Whether the owner of a leased task `t` got to know it in this lease: it claimed it,
/// read the message that gave it, or reported on it. An owner that did none of these
/// was not killed by it.
macro_rules! fetched {
    () => {
        "(EXISTS (SELECT 1 FROM bridge_task_history c WHERE c.task_id = t.task_id
                      AND c.fence = t.fence AND c.event = 'claimed')
          OR coalesce(t.progress_ms > t.changed_ms, 0)
          OR EXISTS (SELECT 1 FROM bridge_task_message k CROSS JOIN messages m
                         ON m.id = k.message_id
                     WHERE k.task_id = t.task_id AND m.conversation_id = t.owner_conversation
                       AND m.to_session = t.owner_session AND m.from_session = 'system'
                       AND m.read = 1
                       AND iif(json_valid(m.metadata), m.metadata ->> 'fence', NULL) = t.fence))"
    };
}

/// The events of a task `t` that count as losses since the time `?2`. A task that was
/// dead and is open again begins anew.
macro_rules! counted {
    () => {
        "y.task_id = t.task_id AND y.counts = 1
         AND y.event IN ('lost', 'exited', 'stalled') AND y.at_ms > ?2
         AND y.history_id > (SELECT coalesce(max(d.history_id), 0) FROM bridge_task_history d
                             WHERE d.task_id = t.task_id AND d.event = 'dead')"
    };
}

pub(super) use {counted, fetched};
