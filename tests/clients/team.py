"""A whole team, without an account: a real Claude Code gives six tasks to two real Codex
workers, one of which is killed within its second.

    unshare -npf --mount-proc --kill-child python3 team.py BRIDGE CLAUDE CODEX DIRECTORY

Everything happens in DIRECTORY, in a network namespace that has only loopback, and in a
process namespace that ends with this driver. The daemons, the team and the clients' files
are those of our commands, with their defaults. Each step waits for what it leads to. The
last line is a JSON object of figures.
"""

import glob
import http.server
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time

BRIDGE, CLAUDE, CODEX, HOME = sys.argv[1:5]
PATIENCE = 90
TASKS = 6
TMUX = ["tmux", "-L", "test"]
WORKERS = ["backend-1", "backend-2"]
SURVIVOR, VICTIM = WORKERS
TOLD = re.compile(r"\d unread message")
TREES = {name: f"{HOME}/{name}" for name in ["boss", *WORKERS]}


class Model(http.server.BaseHTTPRequestHandler):
    """The models of all three. The orchestrator's makes the tasks when it is asked to, and
    reads its mail when it is told of some; a worker's reads its mail and does the task."""

    protocol_version = "HTTP/1.1"
    # What each was told: (who, what is new to it, the tool that it called).
    asked = []
    # The victim has its second task, and is dead.
    has_second, is_dead = threading.Event(), threading.Event()
    taken = {name: 0 for name in WORKERS}

    def log_message(self, *_):
        pass

    def reply(self, kind, body):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            try:
                self.wfile.write(body)
            except OSError:
                pass  # It was killed.

    def do_GET(self):
        self.reply("application/json", b"{}")

    do_HEAD = do_GET

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path.startswith("/v1/responses"):
            self.worker(json.loads(raw))
        elif self.path.startswith("/v1/messages") and "count_tokens" not in self.path:
            self.orchestrator(json.loads(raw))
        else:
            self.reply("application/json", b'{"input_tokens": 1}')

    def events(self, events):
        lines = (f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n" for kind, data in events)
        self.reply("text/event-stream", "".join(lines).encode())

    def orchestrator(self, request):
        at = time.monotonic_ns()
        turns = [m for m in request.get("messages", []) if m["role"] == "user"]
        new = json.dumps(turns[-1]["content"]) if turns else ""
        call = None
        # A hook may tell of mail beside what a tool answered.
        if TOLD.search(new):
            call = "check_messages", {}
        elif "tool_result" not in new and "hand it out" in new:
            call = "create_tasks", {"tasks": [{"role": "backend", "title": f"part {n}"} for n in range(1, TASKS + 1)]}
        names = [tool.get("name", "") for tool in request.get("tools", [])]
        name = next((n for n in names if call and n.endswith(f"__{call[0]}")), None)
        Model.asked.append(("boss", new, name))
        block, delta, stop = {"type": "text", "text": ""}, {"type": "text_delta", "text": "ok"}, "end_turn"
        if name:
            block = {"type": "tool_use", "id": f"toolu_{at}", "name": name, "input": {}}
            delta, stop = {"type": "input_json_delta", "partial_json": json.dumps(call[1])}, "tool_use"
        message = {"id": f"msg_{at}", "type": "message", "role": "assistant", "model": "scripted", "content": [],
                   "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
        if not request.get("stream"):
            message.update(content=[{"type": "text", "text": "ok"}], stop_reason="end_turn")
            return self.reply("application/json", json.dumps(message).encode())
        self.events([("message_start", {"message": message}),
                     ("content_block_start", {"index": 0, "content_block": block}),
                     ("content_block_delta", {"index": 0, "delta": delta}),
                     ("content_block_stop", {"index": 0}),
                     ("message_delta", {"delta": {"stop_reason": stop, "stop_sequence": None},
                                        "usage": {"output_tokens": 1}}),
                     ("message_stop", {})])

    def worker(self, request):
        at = time.monotonic_ns()
        items = request["input"]
        own = [n for n, one in enumerate(items) if one.get("role") == "assistant" or one["type"] == "function_call"]
        new = json.dumps(items[own[-1] + 1 if own else 0:])
        everything = json.dumps(items)
        me = next((name for name in WORKERS if TREES[name] in everything), None)
        call = None
        task = re.search(r"task done (\d+) --fence (\d+)", new)
        if not request.get("tools"):
            pass  # For the conversation's title.
        elif task and "function_call_output" in new:
            Model.taken[me] += 1
            if me == VICTIM and Model.taken[me] == 2:
                Model.has_second.set()
                Model.is_dead.wait(PATIENCE)
            # The other one waits for that, so that there is a second one for the victim.
            if me == SURVIVOR and Model.taken[me] == 2:
                Model.is_dead.wait(PATIENCE)
            number, fence = map(int, task.groups())
            call = "complete_task", {"task_id": number, "fence": fence, "result": f"part {number} by {me}"}
        elif TOLD.search(new):
            call = "check_messages", {}
        if request.get("tools"):
            Model.asked.append((me, new, call and call[0]))
        if call:
            space = next(s["name"] for s in request["tools"] if call[0] in [t["name"] for t in s.get("tools", [])])
            item = {"type": "function_call", "id": f"fc_{at}", "call_id": f"call_{at}", "name": call[0],
                    "namespace": space, "arguments": json.dumps(call[1])}
        else:
            text = {"type": "output_text", "text": "ok", "annotations": []}
            item = {"type": "message", "id": f"msg_{at}", "role": "assistant", "content": [text]}
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2,
                 "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        self.events([("response.created", {"response": {"id": f"resp_{at}"}}),
                     ("response.output_item.done", {"output_index": 0, "item": item}),
                     ("response.completed", {"response": {"id": f"resp_{at}", "usage": usage}})])


def run(*command, tree="boss"):
    done = subprocess.run(command, env=ENV, cwd=TREES[tree], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, (command, done)
    return done.stdout + done.stderr


def wait(what, look):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"no {what}")


def rows(query):
    store = sqlite3.connect(f"file:{HOME}/bridge.db?mode=ro", uri=True, timeout=PATIENCE)
    try:
        return store.execute(query).fetchall()
    finally:
        store.close()


def prepare(port):
    for tree in TREES.values():
        os.makedirs(tree)
    trusted = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
    with open(f"{HOME}/.claude.json", "w") as file:
        json.dump({"hasCompletedOnboarding": True, "theme": "dark", "projects": {TREES["boss"]: trusted},
                   "customApiKeyResponses": {"approved": ["sk-ant-fake"], "rejected": []}}, file)
    os.makedirs(f"{HOME}/.codex")
    with open(f"{HOME}/.codex/config.toml", "w") as file:
        file.write(f"""model = "scripted"
model_provider = "scripted"
approval_policy = "never"
check_for_update_on_startup = false

[model_providers.scripted]
name = "scripted"
base_url = "http://127.0.0.1:{port}/v1"
wire_api = "responses"

[features]
plugins = false

[analytics]
enabled = false
""" + "".join(f'\n[projects."{TREES[name]}"]\ntrust_level = "trusted"\n' for name in WORKERS))
    # The package from which it starts its shared server: else it makes a copy of 400 MB.
    package = glob.glob(f"{os.path.dirname(os.path.realpath(CODEX))}/../../codex-*/vendor/*")[0]
    version = json.load(open(f"{package}/codex-package.json"))["version"]
    release = f"{HOME}/.codex/packages/app-server-daemon/releases/{version}-{os.path.basename(package)}"
    os.makedirs(os.path.dirname(release))
    if subprocess.run(["cp", "-al", package, release], capture_output=True).returncode == 0:
        os.symlink("bin/codex", f"{release}/codex")


def trust():
    """The hooks of Codex, as its user does on the screen: each by its hash."""
    server = subprocess.Popen([CODEX, "app-server"], env=ENV, cwd=TREES[SURVIVOR], text=True, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def call(method, **params):
        server.stdin.write(json.dumps({"id": method, "method": method, "params": params}) + "\n")
        server.stdin.flush()
        return next(one for one in map(json.loads, server.stdout) if one.get("id") == method)["result"]

    call("initialize", clientInfo={"name": "test", "version": "1"}, capabilities={"experimentalApi": True})
    listed, = call("hooks/list", cwds=[TREES[SURVIVOR]])["data"]
    state = {one["key"]: {"trusted_hash": one["currentHash"]} for one in listed["hooks"]}
    call("config/batchWrite", edits=[{"keyPath": "hooks.state", "mergeStrategy": "upsert", "value": state}])
    server.stdin.close()
    server.wait(PATIENCE)


def screen(name, *command):
    run(*TMUX, "new-session", "-d", "-x", "150", "-y", "50", "-s", name, "-c", TREES[name], *command)


def text(name):
    return run(*TMUX, "capture-pane", "-p", "-t", name)


def say(name, words):
    """One turn of the user's."""
    before = len(Model.asked)
    run(*TMUX, "send-keys", "-t", name, words)
    wait("draft", lambda: words in text(name))
    # Enter within a burst of keys is part of what is pasted.
    wait("turn", lambda: any(words in new for _, new, _ in Model.asked[before:])
         or (run(*TMUX, "send-keys", "-t", name, "Enter"), time.sleep(0.2)) and None)


def kill(name):
    """The client with all of its processes, as a machine's memory killer would; what
    these started besides lives on."""
    pane = int(run(*TMUX, "list-panes", "-F", "#{pane_pid}", "-t", name))
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pane)], capture_output=True, text=True).stdout
    for pid in [pane, *map(int, listed.split())]:
        os.kill(pid, 9)


def daemon(role):
    return subprocess.Popen([f"{os.path.dirname(BRIDGE)}/mcp-bridged", "--config",
                             f"{HOME}/.config/mcp-bridge/{role}.toml"], env=ENV, stderr=open(f"{HOME}/{role}.log", "w"))


def play():
    made = json.loads(run(BRIDGE, "--json", "team", "new", "backend", "--workers", "2", "--client", "claude"))
    assert len(made["join"]) == 2, made
    for name in WORKERS:
        run(BRIDGE, "join", f"{HOME}/.local/state/mcp-bridge/credentials/{name}.toml", tree=name)
    run(BRIDGE, "setup", "codex", "--user")
    trust()
    daemons = [daemon(role) for role in ["worker", "orchestrator"]]
    wait("daemons", lambda: run(BRIDGE, "status").count("mcp-bridged") >= 2 or
         all("ready: " in open(f"{HOME}/{role}.log").read() for role in ["worker", "orchestrator"]))

    screen("boss", CLAUDE)
    screen(SURVIVOR, CODEX)
    screen(VICTIM, CODEX, "--no-daemon")
    for name in WORKERS:
        wait(f"prompt of {name}", lambda: "scripted default" in text(name))
        say(name, "hello")
    wait("Claude's prompt", lambda: "❯" in text("boss") or "> " in text("boss"))
    say("boss", "hand it out")
    wait("six tasks", lambda: rows("SELECT count(*) FROM bridge_task") == [(TASKS,)])
    made_at = time.monotonic()
    wait("the victim's second task", Model.has_second.is_set)
    kill(VICTIM)
    killed = time.monotonic()
    moved = wait("move", lambda: rows("SELECT task_id FROM bridge_task WHERE fence > 1"))
    moved_after = time.monotonic() - killed
    Model.is_dead.set()
    done = "SELECT count(*) FROM bridge_task WHERE state = 'done'"
    wait("six tasks done", lambda: rows(done) == [(TASKS,)])
    took = time.monotonic() - made_at
    # Each has one effect, and the one that moved has it of the survivor.
    ended = rows("SELECT task_id, count(*) FROM bridge_task_history WHERE event = 'done' GROUP BY task_id")
    assert ended == [(number, 1) for number in range(1, TASKS + 1)], ended
    assert len(moved) == 1, moved
    results = dict(rows("SELECT task_id, result FROM bridge_task"))
    assert results[moved[0][0]].endswith(SURVIVOR), results
    by_victim = [n for n, result in results.items() if result.endswith(VICTIM)]
    assert len(by_victim) == 1, results
    # The orchestrator was woken, and read of all six.
    heard = lambda: json.dumps([new for who, new, _ in Model.asked if who == "boss"])
    wait("news of all six at the orchestrator", lambda: all(text in heard() for text in results.values()))
    wait("an orchestrator that read all", lambda: rows(
        "SELECT count(*) FROM messages WHERE to_session = 'a' AND read = 0") == [(0,)])
    state = json.loads(run(BRIDGE, "status", "--json"))
    lives = {one.get("label"): one for one in state["sessions"] if one["session"] == "b"}
    assert len(lives) == 2, lives
    for one in daemons:
        one.terminate()
    codes = [one.wait(PATIENCE) for one in daemons]
    assert codes == [0, 0], codes
    return {"tasks": TASKS, "moved": moved[0][0], "moved_after_ms": round(moved_after * 1000),
            "all_done_after_s": round(took, 1)}


def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ENV.update(ANTHROPIC_BASE_URL=f"http://127.0.0.1:{server.server_address[1]}", ANTHROPIC_API_KEY="sk-ant-fake")
    prepare(server.server_address[1])
    try:
        figures = play()
    except BaseException:
        for name in TREES:
            print(subprocess.run([*TMUX, "capture-pane", "-p", "-t", name], env=ENV, capture_output=True,
                                 text=True).stdout, file=sys.stderr)
        print([(who, new[-300:], tool) for who, new, tool in Model.asked[-12:]], file=sys.stderr)
        for log in glob.glob(f"{HOME}/*.log"):
            print(open(log).read()[-4000:], file=sys.stderr)
        raise
    finally:
        # Codex's sockets stand elsewhere, and only links to them here.
        for link in filter(os.path.islink, glob.glob(f"{HOME}/.codex/*/*.sock")):
            for file in [os.readlink(link), f"{os.readlink(link)}.lock"]:
                if os.path.exists(file):
                    os.remove(file)
    print(json.dumps(figures))


ENV = {"PATH": f"{os.path.dirname(BRIDGE)}:{os.environ['PATH']}", "HOME": HOME, "TERM": "xterm-256color",
       "LANG": "C.UTF-8", "TMUX_TMPDIR": HOME, "MCP_BRIDGE_STORE": f"{HOME}/bridge.db", "ENABLE_TOOL_SEARCH": "false",
       "XDG_RUNTIME_DIR": f"{HOME}/run",
       # A loaded machine is slower than a user would stand.
       "MCP_BRIDGE_HOOK_PATIENCE": "9s"}
os.makedirs(f"{HOME}/run", mode=0o700)
main()
