//! The process that stands for the clients of many agents, and is their parent: each has a
//! server of the tools and a waiter, which are killed again and again and started anew.
//! Mail goes to all of them meanwhile, each answers, and does the tasks it finds.
//!
//! What came of it is said in one line; then it sits idle until it is killed itself.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use mcp_bridge::liveness;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::common::again;
use crate::common::client::Client;
use crate::common::daemon::PATIENCE;

/// Names the job of this process.
const JOB: &str = "MCP_BRIDGE_TEST_FLEET";

/// Messages that are on their way at the same time.
const UNDER_WAY: usize = 8;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) directory: PathBuf,
    pub(crate) store: String,
    /// The conversation of each agent.
    pub(crate) agents: Vec<String>,
    /// One kill a second.
    pub(crate) kills: u32,
}

/// The result.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) servers_killed: u32,
    pub(crate) waiters_killed: u32,
    pub(crate) messages: usize,
    /// Messages that were handed out again, because their answer was cut.
    pub(crate) again: usize,
    pub(crate) tasks: usize,
    pub(crate) woken_by_hook: u32,
    pub(crate) woken_by_inbox: u32,
    /// What must not be.
    pub(crate) wrong: Vec<String>,
    /// Our processes that run at the end.
    pub(crate) left: Vec<i32>,
}

pub(crate) fn start(job: &Job) -> Child {
    again::itself("agents::crowd", "fleet")
        .env(JOB, serde_json::to_string(job).expect("plain"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a fleet")
}

/// The line of a fleet that is through.
pub(crate) fn outcome(fleet: &mut Child) -> Outcome {
    let lines = BufReader::new(fleet.stdout.take().expect("piped")).lines();
    let said = lines
        .map_while(Result::ok)
        .find_map(|line| serde_json::from_str(line.strip_prefix("@ ")?).ok());
    said.expect("the fleet's outcome")
}

/// A process that may be killed, while its parent has not seen its end.
#[derive(Default)]
struct Place(Mutex<Option<u32>>);

impl Place {
    fn take(&self, child: &Child) {
        *lock(&self.0) = Some(child.id());
    }

    fn kill(&self) -> bool {
        let pid = lock(&self.0);
        let pid = pid.and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
    }

    /// Whether the child has ended. No kill finds it afterwards.
    fn ended(&self, child: &mut Child) -> Option<ExitStatus> {
        let mut pid = lock(&self.0);
        let status = child.try_wait().expect("our child");
        if status.is_some() {
            *pid = None;
        }
        status
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Fleet {
    job: Job,
    /// One for each agent, and the last for the orchestrator.
    servers: Vec<Place>,
    waiters: Vec<Place>,
    /// Wakes that came by the client's inbox.
    inbox: Vec<AtomicU32>,
    /// Jobs that their agents answered.
    answered: Mutex<HashSet<String>>,
    outcome: Mutex<Outcome>,
    is_over: AtomicBool,
}

/// A client's server of the tools.
struct Server<'a> {
    fleet: &'a Fleet,
    place: usize,
    client: Client,
    /// How often it was started.
    life: u32,
}

impl<'a> Server<'a> {
    fn new(fleet: &'a Fleet, place: usize) -> Self {
        let client = fleet.serve(place);
        Self {
            fleet,
            place,
            client,
            life: 1,
        }
    }

    fn again(&mut self) {
        let place = &self.fleet.servers[self.place];
        let end = Instant::now() + PATIENCE;
        while place.ended(&mut self.client.server.child).is_none() {
            assert!(
                Instant::now() < end,
                "a server that closed its pipe goes on"
            );
            std::thread::park_timeout(Duration::from_millis(1));
        }
        self.client = self.fleet.serve(self.place);
        self.life += 1;
    }

    /// What the tool answers; nothing where the server ended first, and is another now.
    fn call(&mut self, tool: &str, arguments: Value) -> Option<Value> {
        let answer = self.client.try_call(tool, arguments);
        if answer.is_none() {
            self.again();
        }
        answer
    }

    /// Calls until there is an answer.
    fn ask(&mut self, tool: &str, arguments: &Value) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = self.call(tool, arguments.clone()) {
                if answer["isError"] != false {
                    self.fleet.wrong(format!("{tool} {arguments}: {answer}"));
                }
                return answer["structuredContent"].clone();
            }
            assert!(Instant::now() < end, "no answer to {tool}");
        }
    }
}

impl Fleet {
    fn wrong(&self, what: String) {
        lock(&self.outcome).wrong.push(what);
    }

    fn name(&self, place: usize) -> String {
        match place == self.job.agents.len() {
            true => "orchestrator".into(),
            false => format!("agent-{place}"),
        }
    }

    fn command(&self, place: usize, words: &[&str]) -> Command {
        let directory = &self.job.directory;
        let name = self.name(place);
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"));
        command
            .args(words)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", directory)
            .env("MCP_BRIDGE_STORE", &self.job.store)
            .env("MCP_BRIDGE_WAKES_PER_HOUR", "1000000")
            .env(
                "MCP_BRIDGE_CREDENTIALS",
                directory.join(format!("{name}.toml")),
            )
            .env("CLAUDE_PID", std::process::id().to_string())
            .current_dir(directory.join(name));
        command
    }

    fn serve(&self, place: usize) -> Client {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut client = Client::start(self.command(place, &["mcp"]));
            self.servers[place].take(&client.server.child);
            if client.try_greet("2025-11-25", "claude-code").is_some() {
                return client;
            }
            // Killed before it greeted.
            while self.servers[place]
                .ended(&mut client.server.child)
                .is_none()
            {
                std::thread::park_timeout(Duration::from_millis(1));
            }
            assert!(Instant::now() < end, "no server");
        }
    }

    fn arm(&self, place: usize, event: &str) -> Child {
        let mut waiter = self
            .command(place, &["hook", "wait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a waiter");
        self.waiters[place].take(&waiter);
        let input = json!({ "hook_event_name": event, "session_id": "s" }).to_string();
        // One that was killed reads nothing.
        let _ = waiter
            .stdin
            .take()
            .expect("piped")
            .write_all(input.as_bytes());
        waiter
    }

    /// What the hook answers.
    fn hook(&self, place: usize, event: &str) -> Value {
        let mut hook = self
            .command(place, &["hook"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a hook");
        let input = json!({ "hook_event_name": event, "session_id": "s" }).to_string();
        let input = hook
            .stdin
            .take()
            .expect("piped")
            .write_all(input.as_bytes());
        input.expect("it reads");
        let output = hook.wait_with_output().expect("it ends");
        if !output.status.success() {
            self.wrong(format!("the hook for {event} ended with {}", output.status));
        }
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// An agent, until all is over.
    fn live(&self, place: usize) {
        let mut server = Server::new(self, place);
        let mut waiter = self.arm(place, "SessionStart");
        let mut seen = HashMap::new();
        let mut inbox = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            if self.servers[place]
                .ended(&mut server.client.server.child)
                .is_some()
            {
                server.again();
            }
            let by_inbox = self.inbox[place].load(Ordering::Relaxed);
            let ended = self.waiters[place].ended(&mut waiter);
            match ended.map(|status| status.code()) {
                Some(Some(2)) => {
                    lock(&self.outcome).woken_by_hook += 1;
                    self.turn(place, &mut server, &mut seen);
                    waiter = self.arm(place, "Stop");
                }
                // Killed.
                Some(None) => waiter = self.arm(place, "Stop"),
                Some(code) => {
                    self.wrong(format!("the waiter of agent {place} ended with {code:?}"));
                    return;
                }
                None if by_inbox > inbox => {
                    inbox = by_inbox;
                    lock(&self.outcome).woken_by_inbox += 1;
                    self.turn(place, &mut server, &mut seen);
                    // The client arms one at the end of each turn. It replaces the former.
                    let mut former = std::mem::replace(&mut waiter, self.arm(place, "Stop"));
                    former.wait().expect("it ended");
                }
                None => std::thread::park_timeout(Duration::from_millis(5)),
            }
        }
        // Both go on until their client's end.
        std::mem::forget(server);
        std::mem::forget(waiter);
    }

    fn turn(&self, place: usize, server: &mut Server<'_>, seen: &mut HashMap<i64, u32>) {
        self.hook(place, "UserPromptSubmit");
        loop {
            loop {
                let read = server.ask("check_messages", &json!({}));
                let messages = read["messages"].as_array().cloned().unwrap_or_default();
                if messages.is_empty() {
                    break;
                }
                for message in messages {
                    self.does(place, server, &message, seen);
                }
            }
            self.work(server);
            if self.hook(place, "Stop")["decision"] != "block" {
                return;
            }
        }
    }

    /// The effect of a message: its answer.
    fn does(
        &self,
        place: usize,
        server: &mut Server<'_>,
        message: &Value,
        seen: &mut HashMap<i64, u32>,
    ) {
        let id = message["id"].as_i64().expect("an id");
        let text = message["message"].as_str().expect("a text");
        match seen.insert(id, server.life) {
            None => {}
            // Its answer was read, and the server killed before it confirmed that.
            Some(life) if life < server.life => {
                lock(&self.outcome).again += 1;
                return;
            }
            Some(_) => return self.wrong(format!("agent {place} was handed {id} twice")),
        }
        let Some(job) = text.strip_prefix("job ") else {
            return;
        };
        let answer =
            json!({ "message": format!("done {job}"), "client_id": format!("done-{job}") });
        server.ask("send_to_partner", &answer);
        if !lock(&self.answered).insert(job.to_owned()) {
            self.wrong(format!("job {job} was answered twice"));
        }
    }

    /// Does the tasks that wait.
    fn work(&self, server: &mut Server<'_>) {
        loop {
            let life = server.life;
            let claimed = server.ask("claim_task", &json!({}));
            let mut mine = Vec::new();
            if server.life > life {
                // The answer to a claim may have been lost: what is held says it.
                let held = server.ask("list_tasks", &json!({ "state": "leased" }));
                mine.extend(held["tasks"].as_array().cloned().unwrap_or_default());
            } else if !claimed["task"].is_null() {
                mine.push(claimed["task"].clone());
            } else {
                return;
            }
            for task in mine {
                let end =
                    json!({ "task_id": task["id"], "fence": task["fence"], "result": "done" });
                server.ask("complete_task", &end);
            }
        }
    }

    /// Sends jobs and adds tasks while the others are killed, and a last job to each when
    /// that is over. Returns when all of it is done.
    fn orchestrate(&self, until: Instant) {
        let mut server = Server::new(self, self.job.agents.len());
        let (mut jobs, mut tasks) = (0_u64, 0_u64);
        // The job of each agent that is under way.
        let mut busy = BTreeMap::<usize, u64>::new();
        let mut last = 0..self.job.agents.len();
        let mut next = 0;
        let mut moved = Instant::now();
        loop {
            let before = busy.len();
            busy.retain(|_, job| !lock(&self.answered).contains(&job.to_string()));
            if busy.len() < before {
                moved = Instant::now();
            }
            let goes_on = Instant::now() < until;
            let agent = match goes_on {
                true => {
                    next = (next + 1) % self.job.agents.len();
                    Some(next)
                }
                false if busy.is_empty() || !last.is_empty() => last.next(),
                false => None,
            };
            if !goes_on && agent.is_none() && busy.is_empty() {
                break;
            }
            let is_free = |agent: &usize| !busy.contains_key(agent) || !goes_on;
            if let Some(agent) = agent
                .filter(is_free)
                .filter(|_| busy.len() < UNDER_WAY || !goes_on)
            {
                jobs += 1;
                let to = format!("agent-{agent}");
                let job = json!({ "message": format!("job {jobs}"), "to": to,
                                  "client_id": format!("job-{jobs}") });
                server.ask("send_to_partner", &job);
                busy.insert(agent, jobs);
                if jobs % 3 == 0 && goes_on {
                    tasks += 1;
                    let task = json!({ "role": "backend", "title": format!("piece {tasks}"),
                                       "client_id": format!("piece-{tasks}") });
                    server.ask("create_tasks", &json!({ "tasks": [task] }));
                }
            } else {
                std::thread::park_timeout(Duration::from_millis(2));
            }
            if moved.elapsed() > PATIENCE {
                self.wrong(format!("no answer to the jobs {busy:?}"));
                break;
            }
        }
        // With unread mail it would be woken for ever, and none is idle then.
        let mut read = true;
        while read {
            let answers = server.ask("check_messages", &json!({}));
            read = answers["messages"]
                .as_array()
                .is_some_and(|all| !all.is_empty());
        }
        let mut outcome = lock(&self.outcome);
        (outcome.messages, outcome.tasks) = (jobs as usize, tasks as usize);
        std::mem::forget(server);
    }

    fn kill(&self, until: Instant) {
        let mut due = Instant::now();
        while Instant::now() < until {
            due += Duration::from_secs(1);
            std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
            let (places, is_server) = match fastrand::bool() {
                true => (&self.servers, true),
                false => (&self.waiters, false),
            };
            // One that is between two lives is passed over.
            while !places[fastrand::usize(..places.len())].kill() {}
            let mut outcome = lock(&self.outcome);
            match is_server {
                true => outcome.servers_killed += 1,
                false => outcome.waiters_killed += 1,
            }
        }
    }

    /// Reads what comes by the client's inbox.
    fn hear(&self, listener: &UnixListener) {
        for stream in listener.incoming().map_while(Result::ok) {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let places = self.job.agents.iter().position(|id| line.contains(id));
                if let Some(place) = places {
                    self.inbox[place].fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Makes this process look like a Claude Code.
    fn note(&self) -> UnixListener {
        let own = liveness::own().expect("a process");
        let sessions = self.job.directory.join(".claude/sessions");
        std::fs::create_dir_all(&sessions).expect("a directory");
        let socket = self.job.directory.join("inbox");
        let listener = UnixListener::bind(&socket).expect("bound");
        let note = json!({ "sessionId": "s", "procStart": own.start.to_string(),
                           "peerProtocol": 1, "messagingSocketPath": socket });
        let file = sessions.join(format!("{}.json", own.pid));
        std::fs::write(file, note.to_string()).expect("written");
        listener
    }
}

/// The fleet's side.
pub(crate) fn run() {
    let Ok(job) = std::env::var(JOB) else { return };
    let job: Job = serde_json::from_str(&job).expect("a job");
    let count = job.agents.len();
    let places = |count| (0..count).map(|_| Place::default()).collect();
    let fleet: &Fleet = Box::leak(Box::new(Fleet {
        servers: places(count + 1),
        waiters: places(count),
        inbox: (0..count).map(|_| AtomicU32::default()).collect(),
        answered: Mutex::default(),
        outcome: Mutex::default(),
        is_over: AtomicBool::default(),
        job,
    }));
    let listener = fleet.note();
    std::thread::spawn(move || fleet.hear(&listener));
    let until = Instant::now() + Duration::from_secs(fleet.job.kills.into());
    std::thread::scope(|threads| {
        for place in 0..count {
            threads.spawn(move || fleet.live(place));
        }
        threads.spawn(move || fleet.kill(until));
        fleet.orchestrate(until);
        fleet.is_over.store(true, Ordering::Relaxed);
    });
    let mut outcome = lock(&fleet.outcome);
    let each = fleet.servers.iter().chain(&fleet.waiters);
    let pids = each.filter_map(|place| i32::try_from((*lock(&place.0))?).ok());
    outcome.left = pids.collect();
    let line = serde_json::to_string(&*outcome).expect("plain");
    println!("@ {line}");
    loop {
        std::thread::park();
    }
}
