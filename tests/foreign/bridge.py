"""A foreign writer for tests: uses the shared tables the way the Python bridge
does. A connection for each call, `PRAGMA journal_mode=WAL` on each, its
statements, its times, its tokens. Takes one JSON request a line on standard
input and answers each with one line."""

import hmac
import hashlib
import json
import secrets
import sqlite3
import sys
from datetime import datetime, timedelta, timezone

TABLES = """
CREATE TABLE IF NOT EXISTS conversations (
    id TEXT PRIMARY KEY, session_a_role TEXT NOT NULL, session_b_role TEXT NOT NULL,
    session_a_token TEXT NOT NULL, session_b_token TEXT NOT NULL,
    created_at TEXT NOT NULL, expires_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, conversation_id TEXT NOT NULL,
    from_session TEXT NOT NULL, to_session TEXT NOT NULL, message TEXT NOT NULL,
    metadata TEXT, timestamp TEXT NOT NULL, read INTEGER DEFAULT 0,
    FOREIGN KEY (conversation_id) REFERENCES conversations(id));
CREATE TABLE IF NOT EXISTS audit_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT, conversation_id TEXT, session_id TEXT,
    action TEXT NOT NULL, details TEXT, timestamp TEXT NOT NULL);
"""

STATUS = """
CREATE TABLE IF NOT EXISTS session_status (
    conversation_id TEXT NOT NULL, session_id TEXT NOT NULL, status TEXT NOT NULL,
    last_heartbeat TEXT NOT NULL, PRIMARY KEY (conversation_id, session_id));
"""

OLDER_STATUS = """
CREATE TABLE IF NOT EXISTS session_status (
    conversation_id TEXT PRIMARY KEY, session_id TEXT NOT NULL,
    last_heartbeat TEXT NOT NULL, status TEXT DEFAULT 'active');
"""


def utcnow():
    """What datetime.utcnow() returns, without its deprecation warning."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


class Bridge:
    def __init__(self, path):
        self.path = path
        self.key = secrets.token_bytes(32)

    def connect(self):
        connection = sqlite3.connect(self.path, timeout=10.0)
        connection.execute("PRAGMA journal_mode=WAL")
        return connection

    def run(self, sql, values=()):
        connection = self.connect()
        try:
            rows = connection.execute(sql, values).fetchall()
            connection.commit()
            return rows
        finally:
            connection.close()

    def init(self, older_status=False):
        connection = self.connect()
        connection.executescript(TABLES + (OLDER_STATUS if older_status else STATUS))
        connection.commit()
        connection.close()

    def audit(self, conversation, session, action, details):
        self.run(
            "INSERT INTO audit_log (conversation_id, session_id, action, details, timestamp)"
            " VALUES (?, ?, ?, ?, ?)",
            (conversation, session, action, json.dumps(details), utcnow().isoformat()),
        )

    def token(self, conversation, session):
        text = f"{conversation}:{session}:{utcnow().isoformat()}"
        return hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()

    def create(self):
        conversation = "conv_" + secrets.token_hex(8)
        a, b = self.token(conversation, "a"), self.token(conversation, "b")
        now = utcnow()
        self.run(
            "INSERT INTO conversations (id, session_a_role, session_b_role, session_a_token,"
            " session_b_token, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (conversation, "planner", "builder", a, b, now.isoformat(),
             (now + timedelta(hours=3)).isoformat()),
        )
        self.audit(conversation, None, "create_conversation", {"roles": ["planner", "builder"]})
        return {"id": conversation, "a": a, "b": b}

    def verify(self, conversation, session, token):
        rows = self.run(
            "SELECT session_a_token, session_b_token, expires_at FROM conversations WHERE id = ?",
            (conversation,),
        )
        if not rows or utcnow() > datetime.fromisoformat(rows[0][2]):
            return False
        return hmac.compare_digest(token, rows[0][0 if session == "a" else 1])

    def authenticate(self, conversation, session, token):
        if not self.verify(conversation, session, token):
            raise PermissionError("Invalid session token")

    def send(self, conversation, session, token, message):
        self.authenticate(conversation, session, token)
        to, now = ("b" if session == "a" else "a"), utcnow().isoformat()
        self.run(
            "INSERT INTO messages (conversation_id, from_session, to_session, message, metadata,"
            " timestamp) VALUES (?, ?, ?, ?, ?, ?)",
            (conversation, session, to, message, json.dumps({"action_type": "info"}), now),
        )
        self.audit(conversation, session, "send_message", {"to": to})
        return now

    def burst(self, conversation, session, token, count):
        for number in range(count):
            self.send(conversation, session, token, f"foreign {number}")

    def read(self, conversation, session, token):
        self.authenticate(conversation, session, token)
        connection = self.connect()
        try:
            connection.execute("BEGIN IMMEDIATE")
            rows = connection.execute(
                "SELECT id, from_session, message, metadata, timestamp FROM messages"
                " WHERE conversation_id = ? AND to_session = ? AND read = 0"
                " ORDER BY timestamp ASC",
                (conversation, session),
            ).fetchall()
            if rows:
                marks = ",".join("?" * len(rows))
                connection.execute(
                    f"UPDATE messages SET read = 1 WHERE id IN ({marks})",
                    [row[0] for row in rows],
                )
            connection.commit()
        finally:
            connection.close()
        self.audit(conversation, session, "get_messages", {"count": len(rows)})
        return [
            {"from": row[1], "message": row[2], "metadata": json.loads(row[3] or "{}"),
             "at": datetime.fromisoformat(row[4]).isoformat(timespec="microseconds")}
            for row in rows
        ]

    def drain(self, conversation, session, token, count):
        """Reads until so many have come, when there is something to read."""
        messages = []
        while len(messages) < count:
            unread = self.run(
                "SELECT count(*) FROM messages"
                " WHERE conversation_id = ? AND to_session = ? AND read = 0",
                (conversation, session),
            )
            if unread[0][0]:
                messages += [m["message"] for m in self.read(conversation, session, token)]
        return messages

    def status(self, conversation, session, token, status):
        self.authenticate(conversation, session, token)
        self.run(
            "INSERT OR REPLACE INTO session_status"
            " (conversation_id, session_id, status, last_heartbeat) VALUES (?, ?, ?, ?)",
            (conversation, session, status, utcnow().isoformat()),
        )

    def partner(self, conversation, session, token):
        self.authenticate(conversation, session, token)
        rows = self.run(
            "SELECT status, last_heartbeat FROM session_status"
            " WHERE conversation_id = ? AND session_id = ?",
            (conversation, "b" if session == "a" else "a"),
        )
        if not rows:
            return {"status": "unknown", "alive": False}
        age = (utcnow() - datetime.fromisoformat(rows[0][1])).total_seconds()
        return {"status": rows[0][0], "at": rows[0][1], "alive": age < 120}

    def old_status(self, conversation, session, heartbeat, status):
        self.run(
            "INSERT INTO session_status (conversation_id, session_id, last_heartbeat, status)"
            " VALUES (?, ?, ?, ?)",
            (conversation, session, heartbeat, status),
        )

    def forget(self, conversation):
        """Its cleanup: keys are not enforced on its connections."""
        self.run("DELETE FROM conversations WHERE id = ?", (conversation,))


def main():
    bridge = Bridge(sys.argv[1])
    for line in sys.stdin:
        call, *arguments = json.loads(line)
        try:
            answer = {"ok": getattr(bridge, call)(*arguments)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
