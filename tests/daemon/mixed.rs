//! Our daemons and agents of ours beside agents of the Python bridge, each with a
//! real MCP server (the `mcp` package), all on one database: nothing is lost, no
//! agent that works is called dead, and each one that stops is found.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "without its programs a test has nothing to say; it prints its figures"
)]

use crate::common::python;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::daemon::{Daemon, PATIENCE, full};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Between two rounds of an agent: a message, and a look at its mail.
const PACE: Duration = Duration::from_millis(50);

/// An MCP server as a client has it: its process, and requests one by one.
struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<std::process::ChildStdout>,
    next: u64,
}

impl Server {
    fn start(python: &Path, database: &Path, older: bool) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/mcp_server.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(database)
            .args(older.then_some("--older"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut server = Self {
            child,
            input,
            output,
            next: 0,
        };
        let client = json!({"name": "a test", "version": "1"});
        server.request(
            "initialize",
            &json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}),
        );
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        writeln!(server.input, "{ready}").expect("it listens");
        server
    }

    fn request(&mut self, method: &str, params: &Value) -> Value {
        self.next += 1;
        let request =
            json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params});
        writeln!(self.input, "{request}").expect("it listens");
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("an answer");
            assert_ne!(read, 0, "the server ended");
            let answer: Value = serde_json::from_str(&line).expect("JSON");
            if answer["id"] == self.next {
                return answer["result"].clone();
            }
        }
    }

    /// A tool's text.
    fn call(&mut self, tool: &str, arguments: &Value) -> String {
        let result = self.request("tools/call", &json!({"name": tool, "arguments": arguments}));
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        assert_ne!(result["isError"], true, "{tool}: {text}");
        text.to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How an agent reaches its session.
enum Way {
    /// By the Python bridge's tools; conversation, side and token in each call.
    Theirs(Server, Value),
    /// By our command line, with a file of credentials.
    Ours(Cli, String),
}

/// Our command line on the shared database.
#[derive(Clone)]
struct Cli {
    home: PathBuf,
    database: PathBuf,
}

impl Cli {
    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
            .args(arguments)
            .env_clear()
            .env("HOME", &self.home)
            .env("MCP_BRIDGE_STORE", &self.database)
            .current_dir(&self.home)
            .output()
            .expect("mcp-bridge");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(arguments)).expect("JSON")
    }
}

impl Way {
    fn send(&mut self, text: &str) {
        match self {
            Self::Theirs(server, session) => {
                let mut arguments = session.clone();
                arguments["message"] = text.into();
                server.call("send_to_partner", &arguments);
            }
            Self::Ours(cli, file) => {
                cli.run(&["-c", file, "send", text]);
            }
        }
    }

    fn check(&mut self) -> Vec<String> {
        match self {
            Self::Theirs(server, session) => {
                let text = server.call("check_messages", session);
                serde_json::from_str(&text).expect("JSON")
            }
            Self::Ours(cli, file) => cli.json(&["-c", file, "check", "--limit", "1000", "--json"])
                ["messages"]
                .as_array()
                .expect("messages")
                .iter()
                .map(|message| message["message"].as_str().expect("a text").to_owned())
                .collect(),
        }
    }

    fn status(&mut self) {
        if let Self::Theirs(server, session) = self {
            let mut arguments = session.clone();
            arguments["status"] = "working".into();
            server.call("update_my_status", &arguments);
        }
    }
}

/// What an agent did, for the checker.
#[derive(Default)]
struct Log {
    sent: u64,
    read: Vec<String>,
    last: Option<Instant>,
}

/// An agent that works until it is stopped, and then reads what is left.
struct Agent {
    /// `conv_.../b`.
    session: String,
    partner: String,
    log: Arc<Mutex<Log>>,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<Way>>,
    /// Once it has stopped.
    way: Option<Way>,
}

impl Agent {
    fn start(mut way: Way, conversation: &str, side: &str) -> Self {
        let other = if side == "a" { "b" } else { "a" };
        let (log, stops) = <(Arc<Mutex<Log>>, Arc<AtomicBool>)>::default();
        let (of, stop, name) = (Arc::clone(&log), Arc::clone(&stops), side.to_owned());
        let work = move || {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                way.send(&format!("{name} {number}"));
                number += 1;
                let read = way.check();
                if number % 20 == 0 {
                    way.status();
                }
                let mut log = of.lock().expect("whole");
                log.sent = number;
                log.read.extend(read);
                log.last = Some(Instant::now());
                drop(log);
                std::thread::park_timeout(PACE);
            }
            way
        };
        Self {
            session: format!("{conversation}/{side}"),
            partner: format!("{conversation}/{other}"),
            log,
            stops,
            thread: Some(std::thread::spawn(work)),
            way: None,
        }
    }

    /// No further call of this agent; returns when its last one ended. Its
    /// process goes on: silence is all there is to see.
    fn stop(&mut self) -> Instant {
        self.stops.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            self.way = Some(thread.join().expect("ended"));
        }
        self.log.lock().expect("whole").last.expect("it worked")
    }
}

fn private(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .expect("made");
    file.write_all(text.as_bytes()).expect("written");
}

struct Site {
    home: TempDir,
    cli: Cli,
}

impl Site {
    fn daemon(&self, role: &str, more: &str) -> Daemon {
        let config = self.home.path().join(format!("{role}.conf.toml"));
        let text = format!(
            "role = {role:?}\n[store]\nurl = {:?}\n[service]\nstate_file = {:?}\n{more}",
            self.cli.database,
            self.home.path().join(format!("{role}.state.json")),
        );
        std::fs::write(&config, text).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-bridged"));
        command
            .arg("--config")
            .arg(&config)
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let mut daemon = Daemon::start(&mut command, &config);
        daemon.ready();
        daemon
    }

    /// Sessions with an alert of this kind, or of any.
    fn alerts(&self, kind: Option<&str>) -> Vec<String> {
        let all = self.cli.json(&["alert", "list", "--all", "--json"]);
        let rows = all.as_array().expect("a list").iter();
        rows.filter(|row| kind.is_none_or(|kind| row["kind"] == kind))
            .map(ToString::to_string)
            .collect()
    }
}

fn mixed(older: bool) {
    let Some(python) = python::made("mcp") else {
        return;
    };
    let (time, ttl) = if full() {
        (Duration::from_secs(600), Duration::from_secs(300))
    } else {
        (Duration::from_secs(15), Duration::from_secs(8))
    };
    let home = tempfile::tempdir().expect("a directory");
    let database = home.path().join("bridge.db");
    let cli = Cli {
        home: home.path().to_owned(),
        database: database.clone(),
    };
    let site = Site { home, cli };
    let server = || Server::start(&python, &database, older);
    // Eight of theirs: three pairs, and two that talk to agents of ours.
    let mut agents = Vec::new();
    let mut first = server();
    let made: Vec<Value> = (0..5)
        .map(|_| {
            let roles = json!({"my_role": "planner", "partner_role": "builder"});
            let text = first.call("create_conversation", &roles);
            serde_json::from_str(&text).expect("JSON")
        })
        .collect();
    drop(first);
    site.cli.run(&["store", "init"]);
    site.cli.run(&["store", "limits", "--off"]);
    let settings = format!("[watchdog]\ndefault_ttl = \"{}s\"\n", ttl.as_secs());
    let mut orchestrator = site.daemon("orchestrator", &settings);
    let mut sessions = String::new();
    for (number, made) in made.iter().enumerate() {
        let text = |key: &str| made[key].as_str().expect("text");
        for side in ["a", "b"] {
            let ours = (number, side) == (3, "b") || (number, side) == (4, "a");
            let way = if ours {
                let file = format!("{number}.{side}.toml");
                let path = site.home.path().join(&file);
                private(
                    &path,
                    &format!(
                        "store = {database:?}\n[[session]]\nconversation = {:?}\nsession = {side:?}\ntoken = {:?}\n",
                        text("id"),
                        text(side)
                    ),
                );
                sessions += &format!(
                    "[[session]]\ncredentials = {path:?}\nproof = {{ pid = {} }}\n",
                    std::process::id()
                );
                Way::Ours(site.cli.clone(), file)
            } else {
                let session =
                    json!({"conversation_id": text("id"), "session_id": side, "token": text(side)});
                Way::Theirs(server(), session)
            };
            agents.push(Agent::start(way, text("id"), side));
        }
    }
    let mut worker = site.daemon("worker", &sessions);
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::thread::park_timeout(Duration::from_millis(200));
        assert!(orchestrator.is_running() && worker.is_running());
    }
    assert_eq!(site.alerts(None), [""; 0], "all of them work");

    // One of two that only talk to each other, and one whose partner is ours.
    let mut found = Vec::new();
    for at in [0, 6] {
        let last = agents[at].stop();
        found.push((agents[at].session.clone(), last));
    }
    let limit = ttl + Duration::from_secs(5);
    for (session, last) in &found {
        let id = session.split('/').next().expect("an id");
        let patience = Instant::now() + ttl + PATIENCE;
        let seen = loop {
            let lost = site.alerts(Some("lost"));
            if lost.iter().any(|row| row.contains(id)) {
                break last.elapsed();
            }
            assert!(
                Instant::now() < patience,
                "{session} is not found: {lost:?}"
            );
            std::thread::park_timeout(Duration::from_millis(100));
        };
        println!("{session} stopped, found after {:.1} s", seen.as_secs_f64());
        assert!(seen <= limit, "{session}: {seen:?}");
    }
    let lost = site.alerts(Some("lost"));
    assert_eq!(lost.len(), found.len(), "and no other: {lost:?}");

    // All stop; what is left is read by each.
    let mut ways: HashMap<String, Way> = HashMap::new();
    for agent in &mut agents {
        agent.stop();
        ways.extend(agent.way.take().map(|way| (agent.session.clone(), way)));
    }
    let mut total = 0;
    for agent in &agents {
        let way = ways.get_mut(&agent.session).expect("its way");
        let mut read = std::mem::take(&mut agent.log.lock().expect("whole").read);
        loop {
            let more = way.check();
            if more.is_empty() {
                break;
            }
            read.extend(more);
        }
        let partner = agents.iter().find(|other| other.session == agent.partner);
        let partner = partner.expect("it has one");
        let sent = partner.log.lock().expect("whole").sent;
        let side = partner.session.rsplit('/').next().expect("a side");
        let all: Vec<String> = (0..sent).map(|number| format!("{side} {number}")).collect();
        assert_eq!(read.len(), all.len(), "{}: lost or twice", agent.session);
        assert!(read == all, "{}: out of order", agent.session);
        total += sent;
    }
    println!("{total} messages of 10 agents in {time:?}: 0 lost, 0 twice, 0 out of order");
    assert!(total > 100, "{total}");
    let check = site.cli.run(&["store", "check"]);
    assert!(check.contains("ok: "), "{check}");
}

#[test]
fn agents_of_both_bridges_work_side_by_side() {
    mixed(false);
}

#[test]
fn an_older_database_is_shared_as_well() {
    mixed(true);
}
