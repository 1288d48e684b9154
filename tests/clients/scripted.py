"""What the drivers of real clients share: a model of our own that each of them can talk
to, and what a client needs to run without an account."""

import glob
import http.server
import json
import os
import subprocess
import threading
import time


class Model(http.server.BaseHTTPRequestHandler):
    """The model's side of a client. A driver's own says what it answers."""

    protocol_version = "HTTP/1.1"

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
                pass  # The client was killed, or its user interrupted it.

    def do_GET(self):
        self.reply("application/json", b"{}")

    do_HEAD = do_GET

    def asked_for(self):
        return json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")

    def events(self, events):
        lines = (f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n" for kind, data in events)
        self.reply("text/event-stream", "".join(lines).encode())

    def answer_claude(self, request, call):
        """Calls a tool, (name, arguments), or says ok."""
        at = time.monotonic_ns()
        block, delta, stop = {"type": "text", "text": ""}, {"type": "text_delta", "text": "ok"}, "end_turn"
        if call:
            block = {"type": "tool_use", "id": f"toolu_{at}", "name": call[0], "input": {}}
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

    def answer_codex(self, item):
        """Says or calls what an item of [`said`] and [`called`] is."""
        name = f"resp_{time.monotonic_ns()}"
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2,
                 "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        self.events([("response.created", {"response": {"id": name}}),
                     ("response.output_item.done", {"output_index": 0, "item": item}),
                     ("response.completed", {"response": {"id": name, "usage": usage}})])


def said():
    text = {"type": "output_text", "text": "ok", "annotations": []}
    return {"type": "message", "id": f"msg_{time.monotonic_ns()}", "role": "assistant", "content": [text]}


def called(request, name, arguments):
    at = time.monotonic_ns()
    item = {"type": "function_call", "id": f"fc_{at}", "call_id": f"call_{at}", "name": name,
            "arguments": json.dumps(arguments)}
    # Those of a server stand in its namespace, and the client's own in none.
    spaces = [s["name"] for s in request["tools"] if name in [tool["name"] for tool in s.get("tools", [])]]
    assert spaces or name == "exec_command", f"the client does not offer {name}"
    return {**item, "namespace": spaces[0]} if spaces else item


def news(items):
    """What Codex adds behind the model's last answer."""
    own = [n for n, item in enumerate(items) if item.get("role") == "assistant" or item["type"] == "function_call"]
    return json.dumps(items[own[-1] + 1 if own else 0:])


def serve(model):
    """Answers on loopback, the namespace's only interface. Returns the port."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def wait(what, look, patience=60):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"no {what}")


def figures(wakes):
    """Milliseconds from the end of the send to the client's request of its model."""
    wakes = sorted(wakes)
    at = lambda part: round(wakes[min(len(wakes) - 1, int(len(wakes) * part))])
    return {"wakes": len(wakes), "p50": at(0.5), "p99": at(0.99), "max": round(wakes[-1])}


def configure_opencode(home, port):
    """Its configuration: our model, and nothing that it would get from elsewhere."""
    os.makedirs(home)
    provider = {"npm": "@ai-sdk/anthropic", "models": {"scripted": {"name": "scripted"}},
                "options": {"baseURL": f"http://127.0.0.1:{port}/v1", "apiKey": "fake"}}
    with open(f"{home}/opencode.json", "w") as file:
        json.dump({"model": "scripted/scripted", "autoupdate": False, "share": "disabled",
                   "provider": {"scripted": provider}}, file)


def configure_codex(home, port, trees):
    """Its configuration: our model, and directories that it trusts."""
    os.makedirs(home)
    with open(f"{home}/config.toml", "w") as file:
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
""" + "".join(f'\n[projects."{tree}"]\ntrust_level = "trusted"\n' for tree in trees))


def share_codex(codex, home):
    """The package from which it starts its shared server: else it makes a copy of 400 MB."""
    package = glob.glob(f"{os.path.dirname(os.path.realpath(codex))}/../../codex-*/vendor/*")[0]
    version = json.load(open(f"{package}/codex-package.json"))["version"]
    release = f"{home}/packages/app-server-daemon/releases/{version}-{os.path.basename(package)}"
    os.makedirs(os.path.dirname(release))
    if subprocess.run(["cp", "-al", package, release], capture_output=True).returncode == 0:
        os.symlink("bin/codex", f"{release}/codex")


def remove_sockets(home):
    """Codex's stand elsewhere, and only links to them here."""
    for link in filter(os.path.islink, glob.glob(f"{home}/*/*.sock")):
        for file in [os.readlink(link), f"{os.readlink(link)}.lock"]:
            if os.path.exists(file):
                os.remove(file)


class AppServer:
    """Codex's own interface for programs, for a directory that it trusts."""

    def __init__(self, codex, env, tree):
        self.tree = tree
        self.process = subprocess.Popen([codex, "app-server"], env=env, cwd=tree, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.call("initialize", clientInfo={"name": "test", "version": "1"}, capabilities={"experimentalApi": True})

    def call(self, method, **params):
        self.process.stdin.write(json.dumps({"id": method, "method": method, "params": params}) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            answer = json.loads(line)
            if answer.get("id") == method:
                return answer["result"]
        raise AssertionError(f"{method}: no answer")

    def hooks(self):
        listed, = self.call("hooks/list", cwds=[self.tree])["data"]
        assert not listed["warnings"] and not listed["errors"], listed
        return [hook for hook in listed["hooks"] if "mcp-bridge" in hook["command"]]

    def trust(self):
        """As its user does on the screen: each hook by its hash."""
        state = {hook["key"]: {"trusted_hash": hook["currentHash"]} for hook in self.hooks()}
        edit = {"keyPath": "hooks.state", "mergeStrategy": "upsert", "value": state}
        self.call("config/batchWrite", edits=[edit])

    def end(self):
        self.process.stdin.close()
        self.process.wait(60)
