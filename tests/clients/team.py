"""A whole team, without an account: a real Claude Code gives six tasks to two real Codex
workers, one of which is killed within its second.

    unshare -npf --mount-proc --kill-child python3 team.py BRIDGE CLAUDE CODEX DIRECTORY

Everything happens in DIRECTORY, in a network namespace that has only loopback, and in a
process namespace that ends with this driver. The daemons, the team and the clients' files
are those of our commands, with their defaults. Each step waits for what it leads to. The
last line is a JSON object of figures.
"""

import functools
import glob
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time

import scripted
from scripted import called, news, said

BRIDGE, CLAUDE, CODEX, HOME = sys.argv[1:5]
PATIENCE = 90
wait = functools.partial(scripted.wait, patience=PATIENCE)
TASKS = 6
TMUX = ["tmux", "-L", "test"]
WORKERS = ["backend-1", "backend-2"]
SURVIVOR, VICTIM = WORKERS
TOLD = re.compile(r"\d unread message")
TREES = {name: f"{HOME}/{name}" for name in ["boss", *WORKERS]}


class Model(scripted.Model):
    """The models of all three. The orchestrator's makes the tasks when it is asked to, and
    reads its mail when it hears of some; a worker's reads its mail and does the task."""

    # What each got: (who, what is new to it, the tool that it called).
    asked = []
    # The victim has its second task, and is dead.
    has_second, is_dead = threading.Event(), threading.Event()
    taken = {name: 0 for name in WORKERS}

    def do_POST(self):
        request = self.asked_for()
        if self.path.startswith("/v1/responses"):
            self.worker(request)
        elif self.path.startswith("/v1/messages") and "count_tokens" not in self.path:
            self.orchestrator(request)
        else:
            self.reply("application/json", b'{"input_tokens": 1}')

    def orchestrator(self, request):
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
        self.answer_claude(request, name and (name, call[1]))

    def worker(self, request):
        new, everything = news(request["input"]), json.dumps(request["input"])
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
        self.answer_codex(called(request, *call) if call else said())


def run(*command, tree="boss"):
    done = subprocess.run(command, env=ENV, cwd=TREES[tree], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, (command, done)
    return done.stdout + done.stderr


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
    scripted.configure_codex(f"{HOME}/.codex", port, [TREES[name] for name in WORKERS])
    scripted.share_codex(CODEX, f"{HOME}/.codex")


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
    server = scripted.AppServer(CODEX, ENV, TREES[SURVIVOR])
    server.trust()
    server.end()
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
    port = scripted.serve(Model)
    ENV.update(ANTHROPIC_BASE_URL=f"http://127.0.0.1:{port}", ANTHROPIC_API_KEY="sk-ant-fake")
    prepare(port)
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
        scripted.remove_sockets(f"{HOME}/.codex")
    print(json.dumps(figures))


ENV = {"PATH": f"{os.path.dirname(BRIDGE)}:{os.environ['PATH']}", "HOME": HOME, "TERM": "xterm-256color",
       "LANG": "C.UTF-8", "TMUX_TMPDIR": HOME, "MCP_BRIDGE_STORE": f"{HOME}/bridge.db", "ENABLE_TOOL_SEARCH": "false",
       "XDG_RUNTIME_DIR": f"{HOME}/run",
       # A loaded machine is slower than a user would stand.
       "MCP_BRIDGE_HOOK_PATIENCE": "9s"}
os.makedirs(f"{HOME}/run", mode=0o700)
main()
