#!/bin/sh
# keepalive-daemon.sh DATABASE CONVERSATION SESSION [SECONDS]: beats for ever, also
# after the agent has ended.
while :; do
    python3 "$(dirname "$0")/keepalive-client.py" "$1" "$2" "$3"
    sleep "${4:-30}"
done
