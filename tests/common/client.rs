//! A client of the MCP server, by the protocol's own lines.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::needless_pass_by_value,
    reason = "each test program uses its part; without its files a test has nothing to say"
)]

use std::io::Write as _;
use std::process::{ChildStdin, Command, Stdio};

use serde_json::{Value, json};

use super::scratch::Running;

/// A server, and the client that speaks to it.
pub(crate) struct Client {
    pub(crate) server: Running,
    pub(crate) input: Option<ChildStdin>,
    asked: u64,
}

impl Client {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped());
        Self::of_running(Running::lines(command))
    }

    pub(crate) fn of_running(mut server: Running) -> Self {
        let input = server.child.stdin.take();
        let asked = 0;
        Self {
            server,
            input,
            asked,
        }
    }

    pub(crate) fn shake_hands(&mut self, revision: &str) -> Value {
        self.greet(revision, "test")
    }

    pub(crate) fn greet(&mut self, revision: &str, name: &str) -> Value {
        self.try_greet(revision, name).expect("an answer")
    }

    /// The same with a server that may be killed meanwhile.
    pub(crate) fn try_greet(&mut self, revision: &str, name: &str) -> Option<Value> {
        let answer = self.try_ask(
            "initialize",
            json!({ "protocolVersion": revision, "capabilities": {},
                    "clientInfo": { "name": name, "version": "1" } }),
        );
        self.try_write("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}")?;
        answer
    }

    pub(crate) fn write(&mut self, line: &str) {
        self.try_write(line).expect("written");
    }

    fn try_write(&mut self, line: &str) -> Option<()> {
        let input = self.input.as_mut().expect("open");
        writeln!(input, "{line}").and_then(|()| input.flush()).ok()
    }

    pub(crate) fn begin(&mut self, method: &str, params: Value) -> u64 {
        self.try_begin(method, params).expect("written")
    }

    fn try_begin(&mut self, method: &str, params: Value) -> Option<u64> {
        self.asked += 1;
        let id = self.asked;
        let ask = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.try_write(&ask.to_string())?;
        Some(id)
    }

    /// The answer to a request; what comes in between is left out.
    pub(crate) fn answer(&mut self, id: u64) -> Value {
        self.try_answer(id).expect("an answer")
    }

    fn try_answer(&mut self, id: u64) -> Option<Value> {
        loop {
            let line = self.server.next()?;
            // The last line of a server that was killed may be half of one.
            let line: Value = serde_json::from_str(&line).ok()?;
            if line["id"] == id {
                return Some(line);
            }
        }
    }

    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Value {
        self.try_ask(method, params).expect("an answer")
    }

    fn try_ask(&mut self, method: &str, params: Value) -> Option<Value> {
        let id = self.try_begin(method, params)?;
        self.try_answer(id)
    }

    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.try_call(tool, arguments).expect("an answer")
    }

    /// What a tool answers; nothing where the server ended first.
    pub(crate) fn try_call(&mut self, tool: &str, arguments: Value) -> Option<Value> {
        let call = json!({ "name": tool, "arguments": arguments });
        self.try_ask("tools/call", call)
            .map(|answer| answer["result"].clone())
    }

    /// The text of a call that succeeds.
    pub(crate) fn text(&mut self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments);
        assert_eq!(result["isError"], false, "{result}");
        words(&result)
    }

    /// The text of a call that is refused.
    pub(crate) fn refusal(&mut self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments);
        assert_eq!(result["isError"], true, "{result}");
        words(&result)
    }
}

/// The text of an answer.
pub(crate) fn words(result: &Value) -> String {
    result["content"][0]["text"]
        .as_str()
        .expect("a text")
        .to_owned()
}
