"""Drives a real Claude Code through what a single wake does not show.

    unshare -n python3 claude_cases.py BRIDGE CLAUDE DIRECTORY CASE

Everything happens in DIRECTORY and in a network namespace that has only loopback.
Each step waits for what it leads to.
"""

import json
import os
import signal
import subprocess
import sys
import threading

import scripted
from scripted import wait

BRIDGE, CLAUDE, HOME, CASE = sys.argv[1:5]
PATIENCE = 60
TREE, CREDENTIALS = f"{HOME}/tree", f"{HOME}/credentials"
HELPS = "look around"


class Model(scripted.Model):
    """Calls the tools of its script, one for each turn. What the agent's helper does has
    steps of its own."""

    # What the agent was asked, and what its helper was.
    asked, helped = [], []
    script = []
    # The agent reads its mail when it hears that there is some.
    reads = True
    # The helper's answer to its first request, and to its second one, wait for these.
    begins, ends = threading.Event(), threading.Event()

    def do_POST(self):
        request = self.asked_for()
        if not self.path.startswith("/v1/messages") or "count_tokens" in self.path:
            return self.reply("application/json", b'{"input_tokens": 1}')
        turns = request.get("messages", [])
        own = [n for n, turn in enumerate(turns) if turn["role"] == "assistant"]
        # What the client adds behind the model's last answer.
        new = json.dumps([turn["content"] for turn in turns[own[-1] + 1 if own else 0:]])
        tools = [tool.get("name", "") for tool in request.get("tools", [])]
        if HELPS in json.dumps(turns[:1]):
            Model.helped.append(new)
            if "tool_result" in new:
                Model.ends.wait(PATIENCE)
                return self.answer_claude(request, None)
            Model.begins.wait(PATIENCE)
            return self.answer_claude(request, ("mcp__bridge__check_messages", {}))
        call = None
        if tools and "tool_result" not in new:
            if "unread message" in new and Model.reads:
                call = ("mcp__bridge__check_messages", {})
            elif Model.script and Model.script[0][0] in tools:
                call = Model.script.pop(0)
        Model.asked.append(new)
        self.answer_claude(request, call)


def run(*command, code=0):
    done = subprocess.run(command, env=ENV, cwd=TREE, capture_output=True, text=True, timeout=PATIENCE * 2)
    assert done.returncode == code, (command, done)
    return done.stdout


def as_a(*words, code=0):
    return run(BRIDGE, "-c", f"{CREDENTIALS}/work.a.toml", *words, code=code)


def session():
    status = json.loads(run(BRIDGE, "status", "--json"))
    return next(one for one in status["sessions"] if one["session"] == "b")


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


TMUX = ["tmux", "-L", "test"]


def screen():
    return run(*TMUX, "capture-pane", "-p", "-t", "agent")


def say(text):
    run(*TMUX, "send-keys", "-t", "agent", text)
    wait("draft", lambda: text in screen())
    # Once, if that is heard: another one would answer what the client asks next.
    while not any(text in asked for asked in Model.asked):
        run(*TMUX, "send-keys", "-t", "agent", "Enter")
        try:
            wait("turn", lambda: any(text in asked for asked in Model.asked), 10)
        except AssertionError:
            assert text in screen(), "the draft is gone"


def start(*words, **settings):
    """The client, joined and set up. Returns its process."""
    os.makedirs(f"{HOME}/.claude")
    with open(f"{HOME}/.claude/settings.json", "w") as file:
        json.dump(settings, file)
    run(BRIDGE, "setup", "claude")
    run(*TMUX, "new-session", "-d", "-x", "150", "-y", "50", "-s", "agent", CLAUDE, *words)
    pane = int(run(*TMUX, "list-panes", "-F", "#{pane_pid}", "-t", "agent"))
    wait("waiter", lambda: processes("wait"))
    wait("server", lambda: processes("mcp"))
    return pane


def without_a_hook():
    wait("idleness", lambda: session()["turn"] != "inside")
    for pid in processes("wait"):
        os.kill(pid, signal.SIGKILL)
    wait("end of the waiters", lambda: not processes("wait"))


def is_held(reason, remedy):
    """The mail stays unread, and both views say why."""
    without_a_hook()
    before = len(Model.asked)
    as_a("send", "hello")
    wait("end of the wake", lambda: "held: " in (session()["wake"] or ""))
    wake = session()["wake"]
    assert ": spent" in wake and reason in wake, wake
    assert "held: " in run(BRIDGE, "status")
    tried = as_a("doctor", "wake", code=1)
    assert "held: " in tried and reason in tried and remedy in tried, tried
    assert session()["unread"] == 2 and len(Model.asked) == before, Model.asked
    # Its hook wakes it even if the client holds something back: that is a way of the
    # user's own.
    say("go on")
    wait("reading", lambda: session()["unread"] == 0)
    wait("waiter after the turn", lambda: processes("wait"))
    as_a("send", "and again")
    wait("reading by the hook", lambda: session()["unread"] == 0)


def held():
    """What other sessions say is held back by a setting of the user's."""
    yield start(crossSessionInbound="hold")
    is_held("crossSessionInbound", "as the reason says")


def bypasses():
    """The client asks its user for no permission."""
    ENV["IS_SANDBOX"] = "1"
    yield start("--dangerously-skip-permissions", skipDangerousModePermissionPrompt=True)
    say("hello")
    is_held("without permission prompts", "as the reason says")


def asks():
    """The client asks its user for a permission."""
    yield start("--permission-mode", "default")
    Model.script = [("Bash", {"command": f"touch {HOME}/file", "description": "please"})]
    say("do it")
    wait("question", lambda: "Do you want" in screen())
    wait("waiting session", lambda: session()["reported"] == "waiting")
    tried = as_a("doctor", "wake", "--for", "3s", code=1)
    assert "held: the client waits for its user" in tried, tried
    assert "screen of the client" in tried and session()["unread"] == 1, tried
    run(*TMUX, "send-keys", "-t", "agent", "Enter")
    wait("command", lambda: os.path.exists(f"{HOME}/file"))
    wait("reading", lambda: session()["unread"] == 0)
    wait("end of the wait", lambda: session()["reported"] != "waiting")


def told(what, words="unread message"):
    """The agent hears of it, and its turn ends."""
    before = len(Model.asked)
    what()
    wait(f"telling of {words}", lambda: any(words in asked for asked in Model.asked[before:]))
    wait("end of that turn", lambda: session()["turn"] == "outside")


def helper():
    """A helper works in the background, reads mail, and ends."""
    yield start("--permission-mode", "default", "--allowedTools", "Agent")
    Model.script = [("Agent", {"description": "look", "prompt": HELPS, "subagent_type": "general-purpose"})]
    say("begin")
    wait("helper", lambda: Model.helped)
    # The agent's turn is over, and its helper goes on: it is woken meanwhile.
    wait("end of the agent's turn", lambda: session()["turn"] == "outside")
    wait("waiter", lambda: processes("wait"))
    told(lambda: as_a("send", "for the agent"))
    wait("reading by the agent", lambda: session()["unread"] == 0)
    # What the helper reads, the session has read.
    Model.reads = False
    wait("waiter", lambda: processes("wait"))
    told(lambda: as_a("send", "for the first reader"))
    before = session()["activity_at"]
    Model.begins.set()
    wait("reading by the helper", lambda: session()["unread"] == 0)
    wait("the helper's next request", lambda: len(Model.helped) == 2)
    assert "for the first reader" in Model.helped[1], Model.helped
    # It is at work. That is the agent's activity, and no turn of it: mail wakes it.
    assert session()["turn"] == "outside" and session()["activity_at"] > before, session()
    wait("verified wake", lambda: session()["wake"].endswith(": verified"))
    Model.reads = True
    wait("waiter", lambda: processes("wait"))
    told(lambda: as_a("send", "and again"))
    wait("reading beside the helper", lambda: session()["unread"] == 0)
    # Its end is no end of the agent's turn, and mail does not make it go on.
    Model.reads = False
    wait("waiter", lambda: processes("wait"))
    told(lambda: as_a("send", "at the end"))
    told(Model.ends.set, "background-task event")
    assert len(Model.helped) == 2 and session()["unread"] == 1, (Model.helped, session())


def main():
    os.makedirs(TREE)
    trusted = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
    with open(f"{HOME}/.claude.json", "w") as file:
        json.dump({"hasCompletedOnboarding": True, "theme": "dark", "projects": {TREE: trusted},
                   "bypassPermissionsModeAccepted": True,
                   "customApiKeyResponses": {"approved": ["sk-ant-fake"], "rejected": []}}, file)
    run(BRIDGE, "conversation", "new", "--label", "work", "--out", CREDENTIALS)
    run(BRIDGE, "join", f"{CREDENTIALS}/work.b.toml")
    case = globals()[CASE]()
    pane = next(case)
    try:
        next(case, None)
    except BaseException:
        print(screen(), file=sys.stderr)
        print(session(), [asked[-300:] for asked in Model.asked][-8:], Model.helped, file=sys.stderr)
        raise
    finally:
        os.kill(pane, signal.SIGKILL)
    wait("end of what it started", lambda: not processes("wait") and not processes("mcp"))
    print("{}")


PORT = scripted.serve(Model)
ENV = {"PATH": f"{os.path.dirname(BRIDGE)}:{os.environ['PATH']}", "HOME": HOME, "TERM": "xterm-256color",
       "LANG": "C.UTF-8", "TMUX_TMPDIR": HOME, "MCP_BRIDGE_STORE": f"{HOME}/bridge.db", "ENABLE_TOOL_SEARCH": "false",
       "MCP_BRIDGE_WAKES_PER_HOUR": "1000",
       # Else a hook of a busy machine says later what a step waits for.
       "MCP_BRIDGE_HOOK_PATIENCE": "10s",
       "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{PORT}", "ANTHROPIC_API_KEY": "sk-ant-fake"}
main()
