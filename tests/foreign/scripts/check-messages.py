"""check-messages.py DATABASE CONVERSATION SIDE: prints what is unread and marks it."""
import sqlite3
import sys

database, conversation, side = sys.argv[1:4]
store = sqlite3.connect(database, timeout=10)
rows = store.execute(
    "SELECT id, message FROM messages WHERE conversation_id = ? AND to_session = ? AND read = 0",
    (conversation, side),
).fetchall()
for number, text in rows:
    print(text)
    store.execute("UPDATE messages SET read = 1 WHERE id = ?", (number,))
store.commit()
