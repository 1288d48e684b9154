"""keepalive-client.py DATABASE CONVERSATION SESSION: one heartbeat, and how much is
unread. Verifies no token, and knows the table with one key column."""
import sqlite3
import sys
from datetime import datetime

database, conversation, session = sys.argv[1:4]
store = sqlite3.connect(database, timeout=10)
store.execute(
    "INSERT OR REPLACE INTO session_status (conversation_id, session_id, last_heartbeat, status)"
    " VALUES (?, ?, ?, 'active')",
    (conversation, session, datetime.utcnow().isoformat()),
)
store.commit()
side = session.replace("session_", "")
(unread,) = store.execute(
    "SELECT count(*) FROM messages WHERE conversation_id = ? AND to_session = ? AND read = 0",
    (conversation, side),
).fetchone()
print(f"heartbeat sent, {unread} unread")
