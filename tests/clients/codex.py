"""Drives a real Codex against a model of our own, without an account.

    unshare -npf --mount-proc --kill-child python3 codex.py BRIDGE CODEX DIRECTORY CASE

Everything happens in DIRECTORY, in a network namespace that has only loopback, and in a
process namespace that ends with this driver. Each step waits for what it leads to. The
last line is a JSON object of figures.
"""

import glob
import json
import os
import subprocess
import sys
import threading
import time

import scripted
from scripted import called, news, said, wait

BRIDGE, CODEX, HOME, CASE = sys.argv[1:5]
PATIENCE = 60
CONFIG, CREDENTIALS = f"{HOME}/.codex", f"{HOME}/credentials"
TMUX = ["tmux", "-L", "test"]


class Model(scripted.Model):
    """Calls the tools of its script, one a request, and check_messages when it hears
    that messages wait. Else it says ok."""

    script = []
    # What is in the prompt of a helper, and not in its agent's. It sends a message, and
    # ends when it may.
    helps = "lend a hand"
    helper = threading.Event()
    # (nanoseconds, what is new to the model, the answer)
    asked = []
    # While this is not set it answers nothing.
    answers = threading.Event()
    answers.set()

    def do_POST(self):
        at = time.monotonic_ns()
        if not self.path.startswith("/v1/responses"):
            self.asked_for()
            return self.reply("application/json", b"{}")
        request = self.asked_for()
        new = news(request["input"])
        everything = json.dumps(request["input"])
        if Model.helps in everything and "delegate" not in everything and request.get("tools"):
            if "function_call_output" not in new:
                return self.answer_codex(called(request, "send_to_partner", {"message": "from a helper"}))
            Model.helper.wait(PATIENCE)
            return self.answer_codex(said())
        call = Model.script.pop(0) if Model.script and request.get("tools") else None
        if not call and request.get("tools") and "unread message" in new and "function_call_output" not in new:
            call = ("check_messages", {})
        item = called(request, *call) if call else said()
        # One without tools is for the conversation's title.
        if request.get("tools"):
            Model.asked.append((at, new, call and call[0]))
        Model.answers.wait(PATIENCE)
        self.answer_codex(item)


def run(*command, tree="tree"):
    done = subprocess.run(command, env=ENV, cwd=f"{HOME}/{tree}", stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, (command, done)
    return done.stdout + done.stderr


def bridge(*words, side="a"):
    return run(BRIDGE, "-c", f"{CREDENTIALS}/work.{side}.toml", *words)


def prepare(port):
    os.makedirs(f"{HOME}/tree")
    scripted.configure_codex(CONFIG, port, [f"{HOME}/tree"])
    run(BRIDGE, "conversation", "new", "--label", "work", "--out", CREDENTIALS)
    run(BRIDGE, "join", f"{CREDENTIALS}/work.b.toml")


def app_server():
    return scripted.AppServer(CODEX, ENV, f"{HOME}/tree")


WORK = [("check_messages", {}), ("send_to_partner", {"message": "hello"}), ("claim_task", {}),
        ("complete_task", {"task_id": 1, "fence": 1, "result": "done"})]


def turn():
    return run(CODEX, "exec", "--skip-git-repo-check", "do it")


def programmed(scope):
    """`codex exec`: the tools, and the hooks before and after they are trusted."""
    run(BRIDGE, "setup", "codex", scope)
    listed = run(CODEX, "mcp", "list")
    assert "bridge" in listed and "enabled" in listed, listed
    bridge("send", "job 1")
    bridge("task", "add", "--role", "worker", "--title", "Port")
    Model.script = list(WORK)
    said = turn()
    for tool, _ in WORK:
        assert f"bridge/{tool} (completed)" in said, said
    # Untrusted hooks do not run, and nothing is said of them.
    assert "hook:" not in said, said
    assert "hello" in bridge("check")
    tasks = bridge("task", "list", "--all", "--json")
    assert '"done"' in tasks, tasks

    server = app_server()
    names = sorted(hook["eventName"] for hook in server.hooks())
    assert names == ["interrupt", "permissionRequest", "postToolUse", "sessionStart", "stop", "userPromptSubmit"], names
    assert {hook["trustStatus"] for hook in server.hooks()} == {"untrusted"}
    server.trust()
    assert {hook["trustStatus"] for hook in server.hooks()} == {"trusted"}
    server.end()

    # Mail from before the turn stands in what the client tells its model at first. Mail
    # that comes within it makes the agent go on.
    bridge("send", "job 2")
    before = len(Model.asked)
    Model.script = [("send_to_partner", {"message": "to myself"}), ("check_messages", {})]
    said = turn()
    for event in ["SessionStart", "UserPromptSubmit", "PostToolUse", "Stop"]:
        assert f"hook: {event} Completed" in said, said
    first = Model.asked[before][1]
    assert "you are work/b" in first and "1 unread message for work/b" in first, first[-3000:]


class Screen:
    """A session of the client on a screen."""

    def __init__(self, name, *options, tree="tree"):
        self.name = name
        run(*TMUX, "new-session", "-d", "-x", "150", "-y", "50", "-s", name, "-c", f"{HOME}/{tree}", CODEX, *options)
        wait("prompt of the client", lambda: "scripted default" in self.text())

    def text(self):
        return run(*TMUX, "capture-pane", "-p", "-t", self.name)

    def say(self, words):
        """One turn of the user's."""
        before = len(Model.asked)
        run(*TMUX, "send-keys", "-t", self.name, words)
        wait("draft", lambda: f"› {words}" in self.text())
        # Enter within a burst of keys is part of what is pasted.
        wait("turn", lambda: any(words in new for _, new, _ in Model.asked[before:])
             or self.press("Enter"))

    def press(self, key):
        run(*TMUX, "send-keys", "-t", self.name, key)

    def kill(self):
        """The client, and not what it started."""
        pane = int(run(*TMUX, "list-panes", "-F", "#{pane_pid}", "-t", self.name))
        for pid in [pane, *children(pane)]:
            os.kill(pid, 9)


def processes():
    """Those that run: process -> (parent, arguments)."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, parent = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[:2]
            words = open(f"/proc/{pid}/cmdline", "rb").read().decode().split("\0")
        except OSError:
            continue
        if state != "Z":
            found[int(pid)] = int(parent), words
    return found


def children(pid):
    return [child for child, (parent, _) in processes().items() if parent == pid]


def servers():
    """Our servers: process -> its parent."""
    return {pid: parent for pid, (parent, words) in processes().items() if words[:2] == [BRIDGE, "mcp"]}


def screens(hooks=True):
    """What a client on a screen needs: its hooks are trusted, or not there."""
    scripted.share_codex(CODEX, CONFIG)
    run(BRIDGE, "setup", "codex", "--user")
    if not hooks:
        return os.remove(f"{CONFIG}/hooks.json")
    server = app_server()
    server.trust()
    server.end()


def tree(name):
    """Another directory that the client trusts."""
    os.makedirs(f"{HOME}/{name}")
    with open(f"{CONFIG}/config.toml", "a") as file:
        file.write(f'\n[projects."{HOME}/{name}"]\ntrust_level = "trusted"\n')
    return name


def session(side="b"):
    status = json.loads(run(BRIDGE, "status", "--json"))
    return next(one for one in status["sessions"] if one["session"] == side)


def unread(side="b"):
    return session(side)["unread"]


def woken(send, side="b"):
    """Sends, and returns after how many milliseconds the client's model heard of it."""
    before = len(Model.asked)
    send()
    sent = time.monotonic_ns()
    at, _, tool = wait("wake", lambda: next((a for a in Model.asked[before:] if "unread message" in a[1]), None))
    assert tool, "the tool was not called"
    wait("reading", lambda: unread(side) == 0)
    return round((at - sent) / 1e6)


def on_screen():
    """An idle session is woken by the app server, and a session alone by the command."""
    screens()
    screen = Screen("agent")
    screen.say("hello")
    wait("idle client", lambda: session()["turn"] == "outside")
    wakes = [woken(lambda: bridge("send", f"job {number}")) for number in range(4)]
    # What was read is not announced again.
    assert len(announced()) == 4, announced()
    wait("end of the wake", lambda: session()["wake"] == "codex-app-server: verified")
    screen.kill()
    run(CODEX, "app-server", "daemon", "stop")
    wait("end of the server", lambda: not servers())
    alone = Screen("alone", "--no-daemon")
    alone.say("good day")
    # Until then its hooks tell it.
    wait("idle client", lambda: session()["turn"] == "outside")
    late = woken(lambda: bridge("send", "job"))
    wait("end of the wake", lambda: session()["wake"] == "codex-queue: verified")
    return {"wakes_ms": wakes, "alone_ms": late}


def announced():
    return [a for a in Model.asked if "unread message" in a[1] and "function_call_output" not in a[1]]


def busy():
    """No text comes into a turn, and none late. After an interruption the client holds
    its queue: the user's next prompt tells of the mail, once."""
    screens()
    screen = Screen("agent")
    screen.say("hello")
    wait("idle client", lambda: session()["turn"] == "outside")
    Model.answers.clear()
    screen.say("long work")
    bridge("send", "job 1")
    wait("end of the draft", lambda: "esc to interrupt" in screen.text())
    wait("interruption", lambda: "interrupted" in screen.text() or screen.press("Escape"))
    Model.answers.set()
    wait("end of the wake", lambda: "its user interrupted" in (session()["wake"] or ""))
    assert unread() == 1 and not announced(), announced()
    screen.say("go on")
    wait("reading", lambda: unread() == 0)
    # A text that was left in the queue would come before the next wake.
    woken(lambda: bridge("send", "job 2"))
    assert len(announced()) == 2, announced()
    return {}


def asks():
    """Without hooks the client's own word says that it lives, and waits."""
    screens(hooks=False)
    with open(f"{CONFIG}/config.toml") as file:
        text = file.read()
    with open(f"{CONFIG}/config.toml", "w") as file:
        file.write(text.replace('"never"', '"on-request"', 1))
    screen = Screen("agent")
    # A call tells which thread it is.
    Model.script = [("check_messages", {})]
    screen.say("hello")
    wait("call", lambda: session()["activity_at"])
    wait("end of the turn", lambda: "• ok" in screen.text())
    Model.script = [("exec_command", {"cmd": f"touch {HOME}/file", "justification": "please",
                                      "sandbox_permissions": "require_escalated"})]
    screen.say("do it")
    wait("question", lambda: "please" in screen.text())
    wait("waiting session", lambda: session()["reported"] == "waiting")
    bridge("send", "job")
    screen.press("y")
    wait("command", lambda: os.path.exists(f"{HOME}/file"))
    # It was woken when it was idle again.
    wait("reading", lambda: unread() == 0)
    wait("work", lambda: session()["reported"] == "working")
    # It does nothing, and lives. The first sign may say that its wait is over.
    for _ in range(2):
        idle = session()
        wait("sign of life", lambda: session()["heartbeat"]["seq"] > idle["heartbeat"]["seq"])
    assert session()["activity_at"] == idle["activity_at"], idle
    return {}


def early():
    """Mail that was there before the session's first prompt begins its first turn."""
    screens()
    bridge("send", "job 1")
    first = woken(lambda: Screen("agent"))
    wait("end of the wake", lambda: session()["wake"] == "codex-app-server: verified")
    # And mail that comes while its user has said nothing.
    run(BRIDGE, "join", f"{CREDENTIALS}/work.a.toml", tree=tree("other"))
    Screen("second", tree="other")
    wait("sign of life", lambda: session("a")["heartbeat"])
    second = woken(lambda: bridge("send", "job 2", side="b"), side="a")
    return {"woken_after_start_ms": first, "before_a_prompt_ms": second}


def helper():
    """A helper has a server of its own, and acts for the same session."""
    screens()
    screen = Screen("agent")
    Model.script = [("spawn_agent", {"message": Model.helps})]
    screen.say("delegate it")
    wait("message of the helper", lambda: "from a helper" in bridge("check"))
    wait("second server", lambda: len(servers()) == 2)
    # The agent has ended its turn, and its helper works.
    wait("idle client", lambda: session()["turn"] == "outside")
    woken(lambda: bridge("send", "job"))
    wait("idle client", lambda: session()["turn"] == "outside")
    # Of two servers one has woken it.
    assert len(announced()) == 1, announced()
    status = json.loads(run(BRIDGE, "status", "--json"))
    assert [one["session"] for one in status["sessions"]] == ["a", "b"], status
    Model.helper.set()
    # Its screen is closed, and it goes on without one.
    client = session()["client"]
    assert "no screen" not in client, client
    screen.kill()
    wait("session without a screen", lambda: session()["client"] == f"{client}, no screen")
    woken(lambda: bridge("send", "to no screen"))
    Screen("again")
    wait("screen", lambda: session()["client"] == client)
    return {}


def killed():
    """The process of all sessions is killed within a turn."""
    screens()
    screen = Screen("agent")
    screen.say("hello")
    wait("idle client", lambda: session()["turn"] == "outside")
    Model.answers.clear()
    screen.say("long work")
    wait("turn", lambda: session()["turn"] == "inside")
    shared, = set(servers().values())
    at = time.monotonic()
    os.kill(shared, 9)
    wait("end of the turn", lambda: session()["turn"] == "outside")
    noticed = time.monotonic() - at
    assert session()["heartbeat"]["ttl_seconds"] == 30, session()
    Model.answers.set()
    # Started again it lives as before.
    run(CODEX, "app-server", "daemon", "start")
    wait("sign of life", lambda: session()["heartbeat"]["ttl_seconds"] == 300)
    return {"noticed_ms": round(noticed * 1000)}


def archived():
    """The user archives a session: the process of all sessions goes on."""
    screens()
    screen = Screen("agent")
    screen.say("hello")
    wait("idle client", lambda: session()["turn"] == "outside")
    shared, = set(servers().values())
    rollout, = glob.glob(f"{CONFIG}/sessions/**/rollout-*.jsonl", recursive=True)
    screen.kill()
    run(CODEX, "archive", "--remote", "unix://", rollout.removesuffix(".jsonl")[-36:])
    wait("end of the server", lambda: not servers())
    wait("last word", lambda: session()["heartbeat"]["ttl_seconds"] == 30)
    assert shared in processes()


def ends():
    """What becomes of our servers when the client's processes are killed."""
    screens()
    # A session without the shared server: ours ends with it.
    alone = Screen("alone", "--no-daemon")
    wait("server", servers)
    alone.kill()
    wait("end of the server", lambda: not servers())

    run(BRIDGE, "join", f"{CREDENTIALS}/work.a.toml", tree=tree("other"))
    first, second = Screen("first"), Screen("second", tree="other")
    first.say("hello")
    second.say("good day")
    shared, = set(wait("servers", lambda: len(servers()) == 2 and servers()).values())
    assert "app-server" in processes()[shared][1], processes()[shared]
    # The conversation of a client that was killed goes on without a screen.
    second.kill()
    woken(lambda: bridge("send", "to an empty screen", side="b"), side="a")
    assert len(servers()) == 2, servers()
    # The shared server's end is that of all, and its successor has them again.
    os.kill(shared, 9)
    wait("end of the servers", lambda: not servers())
    assert "exited" not in [session(side)["state"] for side in "ab"]
    run(CODEX, "app-server", "daemon", "start")
    wait("server again", servers)
    again = woken(lambda: bridge("send", "job"))
    return {"woken_after_restart_ms": again}


def main():
    prepare(scripted.serve(Model))
    try:
        figures = {"user": lambda: programmed("--user"), "project": lambda: programmed("--project"),
                   "screen": on_screen, "busy": busy, "asks": asks, "early": early, "helper": helper,
                   "killed": killed, "archived": archived, "ends": ends}[CASE]()
    except BaseException:
        print([(a[1][-300:], a[2]) for a in Model.asked[-4:]], file=sys.stderr)
        print(session("b"), file=sys.stderr)
        raise
    finally:
        scripted.remove_sockets(CONFIG)
    print(json.dumps(figures or {}))


ENV = {"PATH": f"{os.path.dirname(BRIDGE)}:{os.environ['PATH']}", "HOME": HOME, "TERM": "xterm-256color",
       "LANG": "C.UTF-8", "TMUX_TMPDIR": HOME, "MCP_BRIDGE_STORE": f"{HOME}/bridge.db",
       # A loaded machine is slower than a user would stand.
       "MCP_BRIDGE_HOOK_PATIENCE": "9s"}
main()
