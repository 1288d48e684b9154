#!/bin/sh
# fs-watcher.sh DATABASE CONVERSATION SIDE [SECONDS]: looks when the database file
# changes (by its time, where there is no inotifywait), and so marks mail as read
# that no agent has seen.
last=
while :; do
    now=$(stat -c %Y "$1" "$1-wal" 2>/dev/null)
    [ "$now" = "$last" ] || python3 "$(dirname "$0")/check-messages.py" "$1" "$2" "$3" >/dev/null
    last=$now
    sleep "${4:-1}"
done
