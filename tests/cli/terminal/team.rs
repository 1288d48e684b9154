//! A team at work: conversations, a worker daemon that keeps their `b` sides,
//! and an orchestrator.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::common::scratch::{Ran, Running, Scratch, wait_until};

/// Rounds in quick succession: these tests wait for the next one.
const QUICK: &str = "[heartbeat]\ninterval = \"100ms\"\nttl = \"10s\"\n";

/// A team in a directory of its own.
pub(crate) struct Team {
    pub(crate) scratch: Scratch,
    worker: Option<Running>,
    orchestrator: Option<Running>,
    /// Processes that stand for the agents.
    agents: Vec<Running>,
}

impl Team {
    /// `team-1` to `team-N` of the role `backend`; no daemon runs.
    pub(crate) fn new(count: usize) -> Self {
        let scratch = Scratch::new();
        let many = count.to_string();
        scratch.conversation(&["--label", "team", "--count", &many, "--role-b", "backend"]);
        Self {
            scratch,
            worker: None,
            orchestrator: None,
            agents: Vec::new(),
        }
    }

    /// With daemons for all of them.
    pub(crate) fn at_work(count: usize) -> Self {
        let mut team = Self::new(count);
        let mut sessions = String::new();
        for n in 1..=count {
            let agent = Running::unread(team.scratch.program("sleep").arg("1000"));
            let file = team.scratch.credentials(&format!("team-{n}.b"));
            sessions.push_str(&format!(
                "[[session]]\ncredentials = \"{}\"\nproof = {{ pid = {} }}\n",
                file.display(),
                agent.child.id()
            ));
            team.agents.push(agent);
        }
        team.worker = Some(team.daemon("worker", &format!("{QUICK}{sessions}")));
        wait_until("all are kept alive", || {
            team.scratch.number("SELECT count(*) FROM bridge_heartbeat")
                == i64::try_from(count).expect("a few")
        });
        team.start_orchestrator();
        team
    }

    pub(crate) fn start_orchestrator(&mut self) {
        let watch = "[watchdog]\ncheck_interval = \"100ms\"\n";
        self.orchestrator = Some(self.daemon("orchestrator", watch));
        wait_until("a leader", || self.status()["leader"]["acts"] == true);
    }

    /// The agent of `team-N` ends.
    pub(crate) fn kill_agent(&mut self, number: usize) {
        let agent = &mut self.agents[number - 1];
        agent.signal(Signal::KILL);
        agent.end();
    }

    /// A clean stop: the lead is given back.
    pub(crate) fn stop_orchestrator(&mut self) {
        let mut daemon = self.orchestrator.take().expect("it runs");
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.end(), Some(0));
    }

    /// Its end without a word.
    pub(crate) fn kill_orchestrator(&mut self) {
        drop(self.orchestrator.take().expect("it runs"));
    }

    fn daemon(&self, role: &str, text: &str) -> Running {
        let config = self.scratch.path(&format!("{role}.toml"));
        let all = format!(
            "role = \"{role}\"\n[store]\nurl = \"{}\"\n[service]\nstate_file = \"{}\"\n{text}",
            self.scratch.store().display(),
            self.scratch.path(&format!("{role}.state")).display(),
        );
        std::fs::write(&config, all).expect("written");
        let mut command = self.scratch.program(env!("CARGO_BIN_EXE_mcp-bridged"));
        command.arg("--config").arg(&config);
        let log = std::fs::File::create(self.scratch.path(&format!("{role}.log")));
        Running::unread(command.stderr(Stdio::from(log.expect("a file"))))
    }

    /// Runs `mcp-bridge` without credentials.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.scratch.run(args)
    }

    /// Runs it for the `b` side of `team-N`.
    pub(crate) fn worker(&self, number: usize, args: &[&str]) -> Ran {
        self.scratch.run_as(&format!("team-{number}.b"), args)
    }

    /// Runs it for all `a` sides.
    pub(crate) fn boss(&self, args: &[&str]) -> Ran {
        self.scratch.run_as("team.orchestrator", args)
    }

    pub(crate) fn status(&self) -> Value {
        self.run(&["status", "--json"]).ok().json()
    }

    /// `status` of one side of `team-N`.
    pub(crate) fn session(&self, number: usize, side: &str) -> Value {
        let label = format!("team-{number}");
        let status = self.status();
        let sessions = status["sessions"].as_array().expect("a list");
        let found = sessions
            .iter()
            .find(|session| session["label"] == *label && session["session"] == *side);
        found.expect("the session").clone()
    }

    pub(crate) fn task(&self, id: &str) -> Value {
        self.run(&["task", "show", id, "--json"]).ok().json()
    }

    /// Adds a task for the role `backend`.
    pub(crate) fn add(&self, title: &str) -> Ran {
        self.run(&["task", "add", "--role", "backend", "--title", title])
            .ok()
    }

    /// The texts of a session's unread messages, read now.
    pub(crate) fn mail(&self, name: &str) -> Vec<String> {
        let read = self.scratch.run_as(name, &["check", "--json"]).ok().json();
        let messages = read["messages"].as_array().expect("a list");
        messages
            .iter()
            .map(|m| m["message"].as_str().expect("a text").to_owned())
            .collect()
    }
}
