"""Drives a real Claude Code against a model of our own, without an account.

    unshare -n python3 claude.py BRIDGE CLAUDE DIRECTORY PLUGIN

Everything happens in DIRECTORY and in a network namespace that has only loopback.
Each step waits for what it leads to. The last line is a JSON object of figures.
"""

import json
import os
import subprocess
import sys
import threading
import time

import scripted
from scripted import figures, wait

BRIDGE, CLAUDE, HOME, PLUGIN = sys.argv[1:5]
PATIENCE = 60
FULL = os.environ.get("MCP_BRIDGE_TEST_FULL") == "1"
# The client drops what comes by its inbox after some 30 within a minute.
WAKES, WAKES_BY_SERVER = (200, 25) if FULL else (3, 1)
TREE, CREDENTIALS = f"{HOME}/tree", f"{HOME}/credentials"


class Model(scripted.Model):
    """Calls check_messages when the newest turn says that messages wait, else says ok."""

    # (nanoseconds, the newest turn, the tool that was called)
    asked = []
    # Ends what it ponders.
    goes_on = threading.Event()

    def do_POST(self):
        at, request = time.monotonic_ns(), self.asked_for()
        if not self.path.startswith("/v1/messages") or "count_tokens" in self.path:
            return self.reply("application/json", b'{"input_tokens": 1}')
        turns = [m for m in request.get("messages", []) if m["role"] == "user"]
        turn = json.dumps(turns[-1]["content"]) if turns else ""
        tools = [tool.get("name", "") for tool in request.get("tools", [])]
        tool = next((name for name in tools if name.endswith("__check_messages")), None)
        if "tool_result" in turn or "unread message" not in turn:
            tool = None
        Model.asked.append((at, turn, tool))
        if "ponder" in turn and not tool:
            Model.goes_on.wait(PATIENCE * 3)
        self.answer_claude(request, tool and (tool, {}))


def environment(port):
    return {"PATH": f"{os.path.dirname(BRIDGE)}:{os.environ['PATH']}", "HOME": HOME, "TERM": "xterm-256color",
            "LANG": "C.UTF-8", "TMUX_TMPDIR": HOME, "MCP_BRIDGE_STORE": f"{HOME}/bridge.db", "ENABLE_TOOL_SEARCH": "false",
            "MCP_BRIDGE_WAKES_PER_HOUR": "1000",
            # Else a hook of a busy machine says later what a step waits for.
            "MCP_BRIDGE_HOOK_PATIENCE": "10s",
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}", "ANTHROPIC_API_KEY": "sk-ant-fake"}


def run(env, *command):
    done = subprocess.run(command, env=env, cwd=TREE, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, (command, done)
    return done.stdout


def processes(word):
    """Ours with this word in their arguments."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")
            env = open(f"/proc/{pid}/environ", "rb").read()
        except OSError:
            continue
        if word.encode() in words and f"HOME={HOME}\0".encode() in env and b"mcp-bridge" in words[0]:
            found.append(int(pid))
    return found


def signal(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def main():
    env = environment(scripted.serve(Model))
    os.makedirs(TREE)
    trusted = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
    with open(f"{HOME}/.claude.json", "w") as file:
        json.dump({"hasCompletedOnboarding": True, "theme": "dark", "projects": {TREE: trusted},
                   "customApiKeyResponses": {"approved": ["sk-ant-fake"], "rejected": []}}, file)
    run(env, BRIDGE, "conversation", "new", "--label", "work", "--out", CREDENTIALS)
    run(env, BRIDGE, "store", "limits", "--per-minute", "0", "--per-hour", "0", "--per-day", "0")
    run(env, BRIDGE, "join", f"{CREDENTIALS}/work.b.toml")
    client = [CLAUDE]
    if PLUGIN == "-":
        run(env, BRIDGE, "setup", "claude")
        listed = run(env, CLAUDE, "mcp", "list")
        assert "Connected" in listed, listed
    else:
        client += ["--plugin-dir", PLUGIN, "--allowedTools", "mcp__plugin_mcp-bridge_bridge"]

    def send(text):
        run(env, BRIDGE, "-c", f"{CREDENTIALS}/work.a.toml", "send", text)

    def session():
        status = json.loads(run(env, BRIDGE, "status", "--json"))
        return next(one for one in status["sessions"] if one["session"] == "b")

    def unread():
        return session()["unread"]

    tmux = ["tmux", "-L", "test"]
    run(env, *tmux, "new-session", "-d", "-x", "150", "-y", "50", "-s", "agent", *client)
    pane = int(run(env, *tmux, "list-panes", "-F", "#{pane_pid}", "-t", "agent"))
    try:
        wait("waiter after the start", lambda: processes("wait"))
        wait("server", lambda: processes("mcp"))
        wakes = []

        def wakes_by_mail(text):
            """Until its agent has read it: milliseconds to the client's request, and the new waiter."""
            # At the end of a turn its hook would tell the agent, before anything wakes it.
            wait("idleness", lambda: session()["turn"] != "inside")
            before, former = len(Model.asked), processes("wait")
            send(text)
            sent = time.monotonic_ns()
            at = wait("wake", lambda: next((a for a in Model.asked[before:] if "unread message" in a[1]), None))
            assert at[2], f"the tool is not offered: {at}"
            wait("reading", lambda: unread() == 0)
            new = wait("waiter after the turn", lambda: [p for p in processes("wait") if p not in former])
            return (at[0] - sent) / 1e6, new

        # The first one meets a client that has just begun.
        for number in range(1 + WAKES):
            took, waiter = wakes_by_mail(f"job {number}")
            wakes.append(took)
        wakes = wakes[1:]
        wait("its hook's wake verified", lambda: session()["wake"] == "hook: verified")
        tried = json.loads(run(env, BRIDGE, "-c", f"{CREDENTIALS}/work.a.toml", "--json", "doctor", "wake"))
        assert tried["woken"] and tried["way"].startswith("hook"), tried
        wait("waiter after the trial", lambda: [p for p in processes("wait") if p not in waiter])
        # No hook waits, and then one that hears nothing: the server takes the next way.
        wakes_by_server = []
        for number in range(WAKES_BY_SERVER):
            wait("idleness", lambda: session()["turn"] != "inside")
            signal(processes("wait"), 9)
            wakes_by_server.append(wakes_by_mail(f"without a hook {number}")[0])
        wait("the server's wake verified", lambda: session()["wake"] == "claude-inbox: verified")
        wait("idleness", lambda: session()["turn"] != "inside")
        signal(processes("wait"), 19)
        deaf, _ = wakes_by_mail("with a deaf hook")
        # What was read is not announced again.
        announced = [a for a in Model.asked if "unread message" in a[1] and "tool_result" not in a[1]]
        assert len(announced) == WAKES + WAKES_BY_SERVER + 3, announced
        # A turn that its user breaks off is over, though the client calls no hook then.
        wait("idleness", lambda: session()["turn"] != "inside")
        screen = lambda: run(env, *tmux, "capture-pane", "-p", "-t", "agent")
        run(env, *tmux, "send-keys", "-t", "agent", "ponder this")
        wait("draft", lambda: "ponder this" in screen())
        pondered = lambda: any("ponder this" in a[1] for a in Model.asked)
        wait("turn", lambda: pondered() or run(env, *tmux, "send-keys", "-t", "agent", "Enter"))
        wait("turn in the store", lambda: session()["turn"] == "inside")
        begun = time.monotonic()
        run(env, *tmux, "send-keys", "-t", "agent", "Escape")
        wait("end of the broken turn", lambda: session()["turn"] != "inside")
        broken = time.monotonic() - begun
        wakes_by_mail("after the break")
        Model.goes_on.set()
    except BaseException:
        print(run(env, *tmux, "capture-pane", "-p", "-t", "agent"), file=sys.stderr)
        print([(a[1][:300], a[2]) for a in Model.asked], file=sys.stderr)
        raise
    finally:
        os.kill(pane, 9)
    # What was stopped ends as well, once it may.
    signal(processes("wait"), 18)
    wait("end of what it started", lambda: not processes("wait") and not processes("mcp"))
    print(json.dumps({"hook": figures(wakes), "server": figures(wakes_by_server), "deaf_ms": round(deaf),
                      "broken_s": round(broken, 1)}))


main()
