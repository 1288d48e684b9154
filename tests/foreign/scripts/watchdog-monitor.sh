#!/bin/sh
# watchdog-monitor.sh DATABASE LIMIT [SECONDS]: alerts about each session whose last
# heartbeat is older than LIMIT seconds, in each round again.
while :; do
    python3 - "$1" "$2" <<'PY'
import sqlite3, sys
from datetime import datetime
limit = float(sys.argv[2])
store = sqlite3.connect(sys.argv[1], timeout=10)
for conversation, session, beat in store.execute(
        "SELECT conversation_id, session_id, last_heartbeat FROM session_status"):
    age = (datetime.utcnow() - datetime.fromisoformat(beat)).total_seconds()
    if age > limit:
        print(f"ALERT {conversation} {session} silent for {age:.0f} s", flush=True)
PY
    sleep "${3:-60}"
done
