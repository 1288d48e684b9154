//! What a session is owed: one definition for all that count, hand out or name it.

/// The ids of the messages that a session `w(conversation, side)` is owed:
/// unread ones, and those that were handed out by a call that died before it
/// could answer.
macro_rules! owed_mail {
    () => {
        "SELECT m.id AS id FROM messages m INDEXED BY bridge_messages_unread
             WHERE m.conversation_id = w.conversation
               AND m.to_session IN (w.side, 'session_' || w.side) AND m.read = 0
         UNION ALL
         SELECT r.message_id FROM bridge_receipt r INDEXED BY bridge_receipt_open
             WHERE r.conversation_id = w.conversation AND r.session_id = w.side
               AND r.acked_ms IS NULL AND r.written_ms IS NULL"
    };
}

pub(super) use owed_mail;
