"""Drives a real opencode against a model of our own, without an account.

    unshare -npf --mount-proc --kill-child python3 opencode.py BRIDGE OPENCODE DIRECTORY CASE

Everything happens in DIRECTORY, in a network namespace that has only loopback, and in a
process namespace that ends with this driver. Each step waits for what it leads to. The
last line is a JSON object of figures.
"""

import base64
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import scripted
from scripted import figures, wait

BRIDGE, OPENCODE, HOME, CASE = sys.argv[1:5]
PATIENCE = 150
FULL = os.environ.get("MCP_BRIDGE_TEST_FULL") == "1"
WAKES = 200 if FULL else 3
TREE, CREDENTIALS, PASSWORD = f"{HOME}/tree", f"{HOME}/credentials", "of-a-test"
TMUX = ["tmux", "-L", "test"]


class Model(scripted.Model):
    """Calls the tools of its script, one a request, and check_messages when it hears
    that messages wait. Else it says ok."""

    script = []
    # (nanoseconds, the newest turn, the tool that was called)
    asked = []
    # While this is not set it answers nothing.
    answers = threading.Event()
    answers.set()

    def do_POST(self):
        at, request = time.monotonic_ns(), self.asked_for()
        turns = [m for m in request.get("messages", []) if m["role"] == "user"]
        turn = json.dumps(turns[-1]["content"]) if turns else ""
        tools = [tool.get("name", "") for tool in request.get("tools", [])]
        # One without tools is for the session's title.
        if not tools:
            return self.answer_claude(request, None)
        call = Model.script.pop(0) if Model.script else None
        if not call and "unread message" in turn and "tool_result" not in turn:
            call = ("check_messages", {})
        Model.asked.append((at, turn, call and call[0]))
        Model.answers.wait(PATIENCE)
        if call:
            name, = [tool for tool in tools if tool in (f"bridge_{call[0]}", call[0])]
            call = (name, call[1])
        self.answer_claude(request, call)


def run(*command, tree=TREE, **more):
    done = subprocess.run(command, env={**ENV, **more}, cwd=tree, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, (command, done)
    return done.stdout + done.stderr


def bridge(*words, side="a"):
    return run(BRIDGE, "-c", f"{CREDENTIALS}/work.{side}.toml", *words)


def prepare(port):
    os.makedirs(TREE)
    scripted.configure_opencode(f"{HOME}/.config/opencode", port)
    run(BRIDGE, "conversation", "new", "--label", "work", "--out", CREDENTIALS)
    run(BRIDGE, "store", "limits", "--per-minute", "0", "--per-hour", "0", "--per-day", "0")
    run(BRIDGE, "join", f"{CREDENTIALS}/work.b.toml")


WORK = [("check_messages", {}), ("send_to_partner", {"message": "hello"}), ("claim_task", {}),
        ("complete_task", {"task_id": 1, "fence": 1, "result": "done"})]


def programmed(scope):
    """`opencode run`: the tools, and nothing that it says of them."""
    said = run(BRIDGE, "setup", "opencode", scope)
    assert "opencode --port 0" in said, said
    listed = run(OPENCODE, "mcp", "list")
    assert "bridge" in listed and "connected" in listed, listed
    bridge("send", "job 1")
    bridge("task", "add", "--role", "worker", "--title", "Port")
    Model.script = list(WORK)
    said = run(OPENCODE, "run", "do it")
    # It writes over its screen what it does not know about a tool.
    assert "unknown format" not in listed + said, said
    for tool, _ in WORK:
        assert f"bridge_{tool}" in said, said
    assert "hello" in bridge("check")
    tasks = bridge("task", "list", "--all", "--json")
    assert '"done"' in tasks, tasks
    assert unread() == 0
    run(BRIDGE, "setup", "opencode", scope, "--remove")
    listed = run(OPENCODE, "mcp", "list")
    assert "connected" not in listed, listed
    return {}


class Screen:
    """A session of the client on a screen."""

    def __init__(self, name, *options):
        self.name = name
        # tmux would end with its last session, this moment perhaps.
        lasts = [";", "set", "-g", "exit-empty", "off"]
        run(*TMUX, "new-session", "-d", "-x", "150", "-y", "50", "-s", name, "-c", TREE, OPENCODE, *options, *lasts)
        self.pid = int(run(*TMUX, "list-panes", "-F", "#{pane_pid}", "-t", name))
        wait("prompt of the client", lambda: "Ask anything" in self.text())
        wait("server", lambda: servers(self.pid))

    def text(self):
        return run(*TMUX, "capture-pane", "-p", "-t", self.name)

    def press(self, key):
        run(*TMUX, "send-keys", "-t", self.name, key)

    def begin(self, words):
        """A turn of the user's."""
        before = len(Model.asked)
        run(*TMUX, "send-keys", "-t", self.name, words)
        wait("draft", lambda: words in self.text())
        # Enter within a burst of keys may be part of what is pasted.
        wait("turn", lambda: any(words in turn for _, turn, _ in Model.asked[before:]) or self.press("Enter"))

    def say(self, words):
        """The same, to its end."""
        self.begin(words)
        idle(self)

    def kill(self):
        os.kill(self.pid, 9)
        wait("end of the server", lambda: not servers(self.pid))


def servers(parent):
    """Ours that this process started."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, of = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[:2]
            words = open(f"/proc/{pid}/cmdline", "rb").read().decode().split("\0")
        except OSError:
            continue
        if state != "Z" and int(of) == parent and words[:2] == [BRIDGE, "mcp"]:
            found.append(int(pid))
    return found


def session(side="b"):
    status = json.loads(run(BRIDGE, "status", "--json"))
    return next(one for one in status["sessions"] if one["session"] == side)


def unread(side="b"):
    return session(side)["unread"]


def woken(text):
    """Sends, and returns after how many milliseconds the client's model heard of it."""
    before = len(Model.asked)
    bridge("send", text)
    sent = time.monotonic_ns()
    at, _, tool = wait("wake", lambda: next((a for a in Model.asked[before:] if "unread message" in a[1]), None))
    assert tool, "the tool was not called"
    wait("reading", lambda: unread() == 0)
    return (at - sent) / 1e6


def announced():
    return [a for a in Model.asked if "unread message" in a[1] and "tool_result" not in a[1]]


def idle(screen):
    """Its screen says so a while before or after its server."""
    wait("idle client", lambda: not ask(screen, f"/session/status?directory={TREE}"))


def on_screen():
    """An idle session is woken by its server, and none that an earlier client left."""
    run(BRIDGE, "setup", "opencode")
    screen = Screen("agent", "--port", "0")
    # It has no session yet, and no turn is begun in its user's name.
    bridge("send", "before the first prompt")
    screen.say("hello")
    wait("reading", lambda: unread() == 0)
    wakes = []
    for number in range(WAKES):
        idle(screen)
        wakes.append(woken(f"job {number}"))
    # What was read is not announced again.
    assert len(announced()) == 1 + WAKES, announced()
    wait("end of the wake", lambda: session()["wake"] == "opencode-server: verified")
    idle(screen)
    tried = json.loads(bridge("--json", "doctor", "wake"))
    assert tried["woken"] and tried["way"].startswith("opencode-server"), tried
    screen.kill()
    # A new one shows none of the sessions before it, and has its own from its first prompt on.
    again = Screen("again", "--port", "0")
    before = len(announced())
    bridge("send", "to the next")
    again.say("good day")
    wait("reading", lambda: unread() == 0)
    of = {words for words in ["hello", "good day"] for one in opencode_sessions(again)
          if any("unread" in text for text in one) and any(words == text for text in one)}
    assert of == {"hello", "good day"}, of
    return {"wakes": figures(wakes)}


def busy():
    """No text comes into a turn: it comes when that is over, or was broken off."""
    run(BRIDGE, "setup", "opencode")
    screen = Screen("agent", "--port", "0")
    screen.say("hello")
    for words, end in [("long work", lambda: None), ("longer work", lambda: screen.press("Escape"))]:
        before = len(announced())
        Model.answers.clear()
        screen.begin(words)
        # No hook says so: its server was asked.
        wait("turn in the store", lambda: session()["turn"] == "inside")
        looks = looked(screen)
        bridge("send", "job")
        wait("looks at the client", lambda: looked(screen) >= looks + 3)
        told = [text for one in opencode_sessions(screen) for text in one if "unread message" in text]
        assert len(told) == before, told
        wait("end of the turn", lambda: "esc interrupt" not in screen.text() or end() or Model.answers.set())
        Model.answers.set()
        wait("reading", lambda: unread() == 0)
        assert len(announced()) == before + 1, announced()
        wait("end of the turn in the store", lambda: session()["turn"] == "outside")
        idle(screen)
    return {}


def asks():
    """Its questions to its user are seen: no hook says so, its server is asked."""
    run(BRIDGE, "setup", "opencode")
    with open(f"{TREE}/opencode.json") as file:
        settings = json.load(file)
    settings["permission"] = {"bash": "ask"}
    with open(f"{TREE}/opencode.json", "w") as file:
        json.dump(settings, file)
    screen = Screen("agent", "--port", "0")
    screen.say("hello")
    Model.script = [("bash", {"command": "touch file", "description": "a file"})]
    screen.begin("do it")
    wait("question", lambda: "Permission required" in screen.text())
    wait("waiting session", lambda: session()["reported"] == "waiting")
    assert session()["turn"] == "inside", session()
    # The message is not read meanwhile, and doctor says why.
    tried = subprocess.run([BRIDGE, "-c", f"{CREDENTIALS}/work.a.toml", "doctor", "wake", "--timeout", "5s"],
                           env=ENV, cwd=TREE, capture_output=True, text=True, timeout=PATIENCE)
    assert tried.returncode == 1 and "waits for its user" in tried.stdout, tried
    assert not announced(), announced()
    wait("command", lambda: os.path.exists(f"{TREE}/file") or screen.press("Enter"))
    wait("work", lambda: session()["reported"] == "working")
    wait("reading", lambda: unread() == 0)
    question = {"question": "Which one?", "header": "Which",
                "options": [{"label": "left", "description": "left"}, {"label": "right", "description": "right"}]}
    idle(screen)
    Model.script = [("question", {"questions": [question]})]
    screen.begin("ask me")
    wait("question", lambda: "Which one?" in screen.text())
    wait("waiting session", lambda: session()["reported"] == "waiting")
    wait("work", lambda: session()["reported"] == "working" or screen.press("Enter"))
    return {}


def addresses(state):
    """Of connections in a state of /proc/net/tcp: (own port, the other's)."""
    port = lambda word: int(word.rpartition(":")[2], 16)
    rows = [line.split()[1:4] for line in open("/proc/net/tcp").readlines()[1:]]
    return [(port(own), port(other)) for own, other, is_in in rows if is_in == state]


def port_of(screen):
    """Where the client's server listens."""
    inodes = set()
    for fd in os.listdir(f"/proc/{screen.pid}/fd"):
        try:
            inodes.add(os.readlink(f"/proc/{screen.pid}/fd/{fd}"))
        except FileNotFoundError:
            pass  # It was closed meanwhile.
    rows = [line.split() for line in open("/proc/net/tcp").readlines()[1:]]
    port, = [int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]
    return port


def looked(screen):
    """How many connections to the client's server were closed within a minute."""
    at = port_of(screen)
    return sum(other == at for _, other in addresses("06"))


def ask(screen, path):
    """Its server."""
    secret = base64.b64encode(f"opencode:{PASSWORD}".encode()).decode()
    request = urllib.request.Request(f"http://127.0.0.1:{port_of(screen)}{path}")
    request.add_header("Authorization", f"Basic {secret}")
    return json.load(urllib.request.urlopen(request, timeout=PATIENCE))


def opencode_sessions(screen):
    """The texts of each session that its server has."""
    sessions = [one["id"] for one in ask(screen, f"/session?directory={TREE}")]
    return [[part["text"] for message in ask(screen, f"/session/{one}/message?directory={TREE}")
             if message["info"]["role"] == "user" for part in message["parts"] if part["type"] == "text"]
            for one in sessions]


def unwoken(*words, screen="agent", options=(), change=lambda settings: None):
    """A client that is not woken, and whose session's status says these words of it."""
    with open(f"{TREE}/opencode.json") as file:
        settings = json.load(file)
    change(settings)
    with open(f"{TREE}/opencode.json", "w") as file:
        json.dump(settings, file)
    client = Screen(screen, *options)
    bridge("send", f"to {screen}")
    wait(f"reason of {screen}", lambda: all(word in (session()["wake"] or "") for word in words))
    client.kill()
    bridge("check", side="b")


def alone():
    """It says why it wakes nothing: no server, one beyond this machine, another password.
    What listens in the client's place hears nothing."""
    run(BRIDGE, "setup", "opencode")
    heard = []
    stranger = socket.create_server(("127.0.0.1", 4096))
    hears = lambda: [heard.append(stranger.accept()) for _ in iter(int, 1)]
    threading.Thread(target=hears, daemon=True).start()
    unwoken("opencode --port 0")
    assert not heard, heard
    run("ip", "address", "add", "192.0.2.1/32", "dev", "lo")
    unwoken("192.0.2.1", "not only on this machine", screen="afar", options=("--hostname", "192.0.2.1"))
    assert not heard, heard

    def other(settings):
        settings["mcp"]["bridge"]["environment"] = {"OPENCODE_SERVER_PASSWORD": "another"}
    unwoken("OPENCODE_SERVER_PASSWORD", screen="locked", options=("--port", "0"), change=other)
    assert not heard and not announced(), (heard, announced())
    return {}


def ends():
    """Its life is that of its process: a daemon sees its end at once."""
    with open(f"{HOME}/worker.toml", "w") as file:
        file.write('role = "worker"\nsessions = "local"\n')
    daemon = subprocess.Popen([f"{os.path.dirname(BRIDGE)}/mcp-bridged", "--config", f"{HOME}/worker.toml"], env=ENV,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run(BRIDGE, "setup", "opencode")
    screen = Screen("agent", "--port", "0")
    wait("sign of life", lambda: session()["heartbeat"])
    screen.say("hello")
    through_daemon = woken("job")
    screen.kill()
    wait("end of the session", lambda: session()["state"] == "exited")
    daemon.terminate()
    daemon.wait(PATIENCE)
    return {"woken_ms": round(through_daemon)}


def main():
    prepare(scripted.serve(Model))
    try:
        print(json.dumps({"user": lambda: programmed("--user"), "project": lambda: programmed("--project"),
                          "screen": on_screen, "busy": busy, "asks": asks, "alone": alone, "ends": ends}[CASE]()))
    except BaseException:
        shown = subprocess.run([*TMUX, "capture-pane", "-p", "-t", "agent"], env=ENV, capture_output=True, text=True)
        print(shown.stdout, file=sys.stderr)
        print([(turn[-300:], tool) for _, turn, tool in Model.asked], file=sys.stderr)
        raise


ENV = {"PATH": f"{os.path.dirname(BRIDGE)}:{os.environ['PATH']}", "HOME": HOME, "TERM": "xterm-256color",
       "LANG": "C.UTF-8", "TMUX_TMPDIR": HOME, "MCP_BRIDGE_STORE": f"{HOME}/bridge.db",
       "XDG_RUNTIME_DIR": f"{HOME}/run",
       "MCP_BRIDGE_WAKES_PER_HOUR": "1000", "OPENCODE_SERVER_PASSWORD": PASSWORD,
       # There is no network to fetch them by.
       "OPENCODE_DISABLE_MODELS_FETCH": "1"}
os.makedirs(f"{HOME}/run", mode=0o700)
main()
