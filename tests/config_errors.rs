//! What an operator reads when the configuration is wrong, beside what they
//! wrote; and what the daemon gets when it is right.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot make its files has nothing to say"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use insta::assert_snapshot;
use mcp_bridge::config::{
    AdapterSettings, AgentSettings, AlertAdapterSettings, ConfigError, ExecSettings, FileMode,
    FileSettings, MatchRole, OrchestratorSettings, ProofSettings, RoleSettings, Settings,
    WatchMode, WebhookAddress, WebhookSettings, load, restart_keys,
};
use tempfile::TempDir;

/// A directory that stands for `/etc/mcp-bridge`.
struct Etc(TempDir);

impl Etc {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    /// With a `worker.toml` of this text.
    fn worker(text: &str) -> Self {
        Self::new().file("worker.toml", text)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.path(name);
        let parent = path.parent().expect("a file has a parent");
        fs::create_dir_all(parent).expect("a directory");
        fs::write(&path, text).expect("a file");
        self
    }

    fn load(&self, env: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let env = env
            .iter()
            .map(|(name, text)| ((*name).into(), (*text).into()));
        load(&self.path("worker.toml"), env)
    }

    fn settings(&self, env: &[(&str, &str)]) -> Settings {
        self.load(env).expect("a valid configuration")
    }

    /// What is said, with the directory's name made the same everywhere.
    fn says(&self, env: &[(&str, &str)]) -> String {
        let error = self.load(env).expect_err("a configuration that is refused");
        error
            .to_string()
            .replace(&*self.0.path().to_string_lossy(), "<dir>")
    }
}

/// What is said about a `worker.toml` of this text.
fn says(text: &str) -> String {
    Etc::worker(text).says(&[])
}

/// What is said about these lines in a configuration that is right otherwise.
fn worker_says(text: &str) -> String {
    says(&format!("role = \"worker\"\n{text}"))
}

/// What is said about this proof.
fn proof_says(proof: &str) -> String {
    worker_says(&format!(
        "[[session]]\ncredentials = \"a.toml\"\nproof = {proof}"
    ))
}

/// What is said about these lines in an orchestrator's configuration.
fn orchestrator_says(text: &str) -> String {
    says(&format!("role = \"orchestrator\"\n{text}"))
}

fn agents(settings: &Settings) -> &AgentSettings {
    &settings.agents
}

fn orchestrator(settings: &Settings) -> &OrchestratorSettings {
    match &settings.role {
        RoleSettings::Orchestrator(own) => own,
        RoleSettings::Worker => panic!("the role is worker"),
    }
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_file_that_cannot_be_read() {
    assert_snapshot!(Etc::new().says(&[]), @"<dir>/worker.toml: no such file; create it, or name another one with --config");

    let etc = Etc::new().file("worker.toml/keep", "");
    assert_snapshot!(etc.says(&[]), @"<dir>/worker.toml: is a directory; name a file, such as <dir>/worker.toml/worker.toml");

    let etc = Etc::worker("role = \"worker\"\n").file("worker.d", "");
    assert_snapshot!(etc.says(&[]), @"<dir>/worker.d: is not a directory; drop-ins are the *.toml files in a directory of this name");

    let etc = Etc::worker("role = \"worker\"\n").file("worker.d/10.toml/keep", "");
    assert_snapshot!(etc.says(&[]), @"<dir>/worker.d/10.toml: is a directory; a drop-in is a file");

    assert_snapshot!(
        Etc::new().file("worker.toml", b"role = \"worker\"\n# caf\xe9\n").says(&[]),
        @"<dir>/worker.toml:2: not UTF-8 text; save the file as UTF-8"
    );
}

#[cfg(unix)]
#[test]
fn a_file_that_the_system_refuses() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let etc = Etc::new();
    symlink("worker.toml", etc.path("worker.toml")).expect("a link to itself");
    let said = etc.says(&[]);
    let (said, _number) = said.split_once(" (os error").unwrap_or((&said, ""));
    let loops = "<dir>/worker.toml: cannot be read: Too many levels of symbolic links";
    assert_eq!(said, loops);

    let etc = Etc::worker("role = \"worker\"\n").file("worker.d/10.toml", "");
    fs::remove_file(etc.path("worker.d/10.toml")).expect("a file to remove");
    symlink("nowhere", etc.path("worker.d/10.toml")).expect("a link to nothing");
    assert_snapshot!(etc.says(&[]), @"<dir>/worker.d/10.toml: a link to nothing; mend or remove it");

    let etc = Etc::worker("role = \"worker\"\n");
    let closed = fs::Permissions::from_mode(0o000);
    fs::set_permissions(etc.path("worker.toml"), closed).expect("a mode");
    // Root reads everything.
    if fs::read(etc.path("worker.toml")).is_err() {
        assert_snapshot!(etc.says(&[]), @"<dir>/worker.toml: permission denied; make it readable to the user that mcp-bridged runs as");
    }
}

#[test]
fn a_file_that_is_not_toml() {
    assert_snapshot!(says("role = \"worker\"\n[heartbeat\n"), @"<dir>/worker.toml:2:11: not TOML: unclosed table, expected `]`");
    assert_snapshot!(says("role = worker\n"), @"<dir>/worker.toml:1:8: not TOML: string values must be quoted, expected literal string");
    assert_snapshot!(says("role = \"worker\"\nrole = \"worker\"\n"), @"<dir>/worker.toml:2:1: not TOML: duplicate key");

    // The parser's own message would show the line, and with it the password.
    assert_snapshot!(says("[store]\nurl = postgres://me:hunter2@db/bridge"), @"<dir>/worker.toml:2:7: not TOML: string values must be quoted, expected literal string");

    // Every file is parsed before a key is looked at.
    let etc = Etc::worker("rôle = 1").file("worker.d/10.toml", "[log]\nlevel = \"info");
    assert_snapshot!(etc.says(&[]), @r#"
        <dir>/worker.toml:1:2: not TOML: invalid unquoted key, expected letters, numbers, `-`, `_`
        <dir>/worker.d/10.toml:2:14: not TOML: invalid basic string, expected `"`
        "#);
}

#[test]
fn an_unknown_key() {
    assert_snapshot!(worker_says("[heartbeat]\nintervall = \"5s\""), @"<dir>/worker.toml: heartbeat.intervall: unknown key; did you mean `interval`?");
    assert_snapshot!(worker_says("[heartbeat]\ncolour = 1"), @"<dir>/worker.toml: heartbeat.colour: unknown key; the keys known here are `interval`, `ttl`, `renew_conversations`, `renew_for` and `mirror_interval`");
    assert_snapshot!(worker_says("[hartbeat]\n"), @"<dir>/worker.toml: hartbeat: unknown key; did you mean `heartbeat`?");
    assert_snapshot!(worker_says("[wake.exec]\noutput-limit = 1"), @"<dir>/worker.toml: wake.exec.output-limit: unknown key; did you mean `output_limit`?");
    assert_snapshot!(worker_says("[message_watch]\npoll = \"1s\""), @"<dir>/worker.toml: message_watch.poll: unknown key; did you mean `poll_interval`?");
    assert_snapshot!(worker_says("\"a b\" = 1"), @r#"<dir>/worker.toml: "a b": unknown key; the keys known here are `role`, `store`, `log`, `service`, `heartbeat`, `message_watch`, `wake`, `alert`, `watchdog`, `reassignment`, `housekeeping` and `session`"#);

    let first = "[[session]]\ncredentials = \"a.toml\"\nproof = \"none\"\n";
    let second = |text: &str| worker_says(&format!("{first}[[session]]\n{text}"));
    assert_snapshot!(second("profo = \"none\""), @"<dir>/worker.toml: session 2: profo: unknown key; did you mean `proof`?");
    assert_snapshot!(second("[session.wake.file]\npaht = \"/run/x\""), @"<dir>/worker.toml: session 2: wake.file.paht: unknown key; did you mean `path`?");
    assert_snapshot!(proof_says("{ pidfile = \"/run/agent.pid\" }"), @"<dir>/worker.toml: session 1: proof.pidfile: unknown key; did you mean `pid_file`?");
}

#[test]
fn a_wrong_type() {
    assert_snapshot!(worker_says("[heartbeat]\ninterval = 5"), @r#"<dir>/worker.toml: heartbeat.interval: must be a duration such as "5s", not a number"#);
    assert_snapshot!(worker_says("[heartbeat]\nrenew_conversations = 1"), @"<dir>/worker.toml: heartbeat.renew_conversations: must be true or false, not a number");
    assert_snapshot!(worker_says("[log]\nlevel = 2.5"), @"<dir>/worker.toml: log.level: must be text in quotes, not a number with a fraction");
    assert_snapshot!(worker_says("[wake]\norder = \"exec\""), @r#"<dir>/worker.toml: wake.order: must be a list such as ["exec"], not text"#);
    assert_snapshot!(worker_says("[wake.exec]\ncommand = [\"nudge\", 1]"), @"<dir>/worker.toml: wake.exec.command item 2: must be text in quotes, not a number");
    assert_snapshot!(worker_says("[wake.exec]\noutput_limit = \"4k\""), @"<dir>/worker.toml: wake.exec.output_limit: must be a whole number, not text");
    assert_snapshot!(worker_says("log = [\"debug\"]"), @"<dir>/worker.toml: log: must be a table, not a list");
    assert_snapshot!(worker_says("[session]\nproof = \"none\""), @"<dir>/worker.toml: session: must be a list of tables, each headed [[session]], not a table");
    assert_snapshot!(worker_says("session = [\"a.toml\"]"), @"<dir>/worker.toml: session 1: must be a table, not text");
    assert_snapshot!(worker_says("[message_watch]\nmode = 1"), @"<dir>/worker.toml: message_watch.mode: must be text in quotes, not a number");
    // A value of the wrong type may be a secret.
    assert_snapshot!(worker_says("store = \"postgres://me:hunter2@db/bridge\""), @"<dir>/worker.toml: store: must be a table, not text");
}

#[test]
fn a_duration() {
    assert_snapshot!(worker_says("[heartbeat]\ninterval = \"5 parsecs\""), @r#"<dir>/worker.toml: heartbeat.interval: "5 parsecs" is not a duration; one looks like "500ms", "5s", "2m" or "3h""#);
    assert_snapshot!(worker_says("[heartbeat]\ninterval = \"5\""), @r#"<dir>/worker.toml: heartbeat.interval: "5" is not a duration; one looks like "500ms", "5s", "2m" or "3h""#);
    assert_snapshot!(worker_says("[heartbeat]\nttl = \"18446744073709551615s 1000ms\""), @r#"<dir>/worker.toml: heartbeat.ttl: "18446744073709551615s 1000ms" is not a duration; one looks like "500ms", "5s", "2m" or "3h""#);
    assert_snapshot!(worker_says("[heartbeat]\ninterval = \"0s\""), @"<dir>/worker.toml: heartbeat.interval: 0s is out of range; choose from 100ms to 5m");
    assert_snapshot!(worker_says("[message_watch]\npoll_interval = \"0ms\""), @"<dir>/worker.toml: message_watch.poll_interval: 0s is out of range; choose from 100ms to 10m");
    assert_snapshot!(worker_says("[service]\nshutdown_grace = \"2m\""), @"<dir>/worker.toml: service.shutdown_grace: 2m is out of range; choose from 100ms to 1m");
    assert_snapshot!(worker_says("[heartbeat]\nmirror_interval = \"2m\""), @"<dir>/worker.toml: heartbeat.mirror_interval: 2m is out of range; choose from 1s to 1m 30s");
}

#[test]
fn durations_that_do_not_go_together() {
    assert_snapshot!(worker_says("[heartbeat]\nttl = \"10s\""), @"<dir>/worker.toml: heartbeat.ttl: 10s is too short; it must be at least 3 x interval (5s by default): 15s");
    assert_snapshot!(worker_says("[heartbeat]\ninterval = \"4s\"\nttl = \"10s\""), @"<dir>/worker.toml: heartbeat.ttl: 10s is too short; it must be at least 3 x interval (4s): 12s");
    assert_snapshot!(worker_says("[heartbeat]\ninterval = \"10s\""), @"<dir>/worker.toml: heartbeat.interval: 10s is too long for the ttl, 20s by default, which must be at least 3 x interval; set heartbeat.ttl to 30s or more");
    assert_snapshot!(worker_says("[heartbeat]\nttl = \"10m\"\nrenew_for = \"5m\""), @"<dir>/worker.toml: heartbeat.renew_for: renew_for (5m) must not be below ttl (10m); raise renew_for");
    assert_snapshot!(worker_says("[wake]\nbackoff = \"20m\""), @"<dir>/worker.toml: wake.backoff: backoff_max (15m) must not be below backoff (20m); raise backoff_max");
    // Nothing is held against the default that stands in for a wrong value.
    assert_snapshot!(worker_says("[heartbeat]\ninterval = \"0s\"\nttl = \"10s\""), @"<dir>/worker.toml: heartbeat.interval: 0s is out of range; choose from 100ms to 5m");
    let etc = Etc::worker("role = \"worker\"\n[heartbeat]\nttl = \"20s\"");
    assert_snapshot!(etc.says(&[("MCP_BRIDGE__HEARTBEAT__INTERVAL", "7s")]), @"<dir>/worker.toml: heartbeat.ttl: 20s is too short; it must be at least 3 x interval (7s from MCP_BRIDGE__HEARTBEAT__INTERVAL): 21s");
}

#[test]
fn a_role() {
    assert_snapshot!(says(""), @r#"<dir>/worker.toml: role: missing; write role = "worker" or role = "orchestrator" above the first table"#);
    assert_snapshot!(says("role = \"orchestrate\""), @r#"<dir>/worker.toml: role: unknown role "orchestrate"; did you mean `orchestrator`?"#);
    assert_snapshot!(says("role = \"wroker\""), @r#"<dir>/worker.toml: role: unknown role "wroker"; did you mean `worker`?"#);
    assert_snapshot!(says("role = \"chef\""), @r#"<dir>/worker.toml: role: unknown role "chef"; `role` must be `worker` or `orchestrator`"#);
}

#[test]
fn a_store_and_a_log() {
    assert_snapshot!(worker_says("[store]\nurl = \"postgres://me:hunter2@db/bridge\""), @"<dir>/worker.toml: store.url: this version stores in SQLite only, not in PostgreSQL; write a path, or sqlite:/var/lib/mcp-bridge/bridge.db");
    assert_snapshot!(worker_says("[store]\nurl = \"mysql://me:hunter2@db/bridge\""), @"<dir>/worker.toml: store.url: this version stores in SQLite only; write a path, or sqlite:/var/lib/mcp-bridge/bridge.db");
    assert_snapshot!(worker_says("[store]\nurl = \"sqlite://\""), @"<dir>/worker.toml: store.url: names no file; write a path, or sqlite:/var/lib/mcp-bridge/bridge.db");
    assert_snapshot!(worker_says("[store]\nurl = \"sqlite::memory:\""), @"<dir>/worker.toml: store.url: a database in memory cannot be shared with the agents; write a path, or sqlite:/var/lib/mcp-bridge/bridge.db");
    assert_snapshot!(worker_says("[log]\nlevel = \"inof\""), @r#"<dir>/worker.toml: log.level: unknown level "inof"; did you mean `info`?"#);
    assert_snapshot!(worker_says("[log]\nlevel = \"mcp_bridge=loud,info\""), @r#"<dir>/worker.toml: log.level: unknown level "loud"; it is `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `mcp_bridge=debug,info`"#);
    assert_snapshot!(worker_says("[service]\nstate_file = \"~/state.json\""), @r#"<dir>/worker.toml: service.state_file: "~/state.json" is not an absolute path; begin it with /"#);
}

#[test]
fn a_session() {
    assert_snapshot!(worker_says("[[session]]\nproof = \"none\""), @r#"<dir>/worker.toml: session 1: credentials: missing; name the session's file: credentials = "backend-1.toml""#);
    assert_snapshot!(worker_says("[[session]]\ncredentials = \"a.toml\""), @r#"
        <dir>/worker.toml: session 1: proof: missing; write one of: proof = "none", proof = { pid = 4121 },
          proof = { pid_file = "/run/agent.pid" } or proof = { exec = ["pgrep", "-f", "agent"] }
        "#);
    assert_snapshot!(worker_says("[[session]]"), @r#"
        <dir>/worker.toml: session 1: credentials: missing; name the session's file: credentials = "backend-1.toml"
        <dir>/worker.toml: session 1: proof: missing; write one of: proof = "none", proof = { pid = 4121 },
          proof = { pid_file = "/run/agent.pid" } or proof = { exec = ["pgrep", "-f", "agent"] }
        "#);
    let none = |name: &str| format!("[[session]]\ncredentials = {name:?}\nproof = \"none\"\n");
    assert_snapshot!(worker_says(&(none("a.toml") + &none("./a.toml"))), @"<dir>/worker.toml: session 2: credentials: <dir>/./a.toml is taken by session 1; give each session a file of its own");
    let etc = Etc::worker(&format!("role = \"worker\"\n{}", none("a.toml")))
        .file("worker.d/10.toml", none("b.toml") + &none("a.toml"));
    assert_snapshot!(etc.says(&[]), @"<dir>/worker.d/10.toml: session 2: credentials: <dir>/a.toml is taken by <dir>/worker.toml: session 1; give each session a file of its own");
}

#[test]
fn a_proof() {
    assert_snapshot!(proof_says("{ pid = 1, pid_file = \"/run/agent.pid\" }"), @"<dir>/worker.toml: session 1: proof: `pid` and `pid_file` at once; keep one of them");
    assert_snapshot!(proof_says("{}"), @r#"
        <dir>/worker.toml: session 1: proof: names no way; write one of: proof = "none", proof = { pid = 4121 },
          proof = { pid_file = "/run/agent.pid" } or proof = { exec = ["pgrep", "-f", "agent"] }
        "#);
    assert_snapshot!(proof_says("\"pid\""), @r#"
        <dir>/worker.toml: session 1: proof: "pid" proves nothing; write one of: proof = "none", proof = { pid = 4121 },
          proof = { pid_file = "/run/agent.pid" } or proof = { exec = ["pgrep", "-f", "agent"] }
        "#);
    assert_snapshot!(proof_says("4121"), @r#"<dir>/worker.toml: session 1: proof: must be "none" or a table with one of pid, pid_file, exec, not a number"#);
    assert_snapshot!(proof_says("{ pid = 0 }"), @"<dir>/worker.toml: session 1: proof.pid: 0 is no process id; choose from 1 to 2147483647");
    assert_snapshot!(proof_says("{ pid_file = \"agent.pid\" }"), @r#"<dir>/worker.toml: session 1: proof.pid_file: "agent.pid" is not an absolute path; begin it with /"#);
    assert_snapshot!(proof_says("{ exec = [] }"), @r#"<dir>/worker.toml: session 1: proof.exec: the command is empty; name a program and its arguments, such as ["/usr/local/bin/nudge", "arg"]"#);
    assert_snapshot!(proof_says("{ exec = [\"true\"], timeout = \"0s\" }"), @"<dir>/worker.toml: session 1: proof.timeout: 0s is out of range; choose from 100ms to 1m");
    assert_snapshot!(proof_says("{ pid = 7, timeout = \"5s\" }"), @"<dir>/worker.toml: session 1: proof.timeout: belongs to a proof by `exec`; take it out");
}

#[test]
fn a_wake() {
    assert_snapshot!(worker_says("[wake]\norder = [\"exce\"]"), @r#"<dir>/worker.toml: wake.order: unknown adapter "exce"; did you mean `exec`?"#);
    assert_snapshot!(worker_says("[wake]\norder = [\"tmux\"]"), @r#"<dir>/worker.toml: wake.order: unknown adapter "tmux"; the adapters are `exec` and `file`"#);
    assert_snapshot!(worker_says("[wake]\norder = [\"exec\", \"file\"]"), @r#"
        <dir>/worker.toml: wake.order: names `exec`, which is not configured; add [wake.exec] with command = ["/usr/local/bin/nudge"]
        <dir>/worker.toml: wake.order: names `file`, which is not configured; add [wake.file] with path = "/run/agent/inbox"
        "#);
    assert_snapshot!(worker_says("[wake.exec]\ncommand = []"), @r#"<dir>/worker.toml: wake.exec.command: the command is empty; name a program and its arguments, such as ["/usr/local/bin/nudge", "arg"]"#);
    assert_snapshot!(worker_says("[wake.exec]\ncommand = [\"\", \"x\"]"), @r#"<dir>/worker.toml: wake.exec.command: the command is empty; name a program and its arguments, such as ["/usr/local/bin/nudge", "arg"]"#);
    assert_snapshot!(worker_says("[wake.exec]\noutput_limit = 2000000"), @"<dir>/worker.toml: wake.exec.output_limit: 2000000 is out of range; choose from 0 to 1048576 bytes");
    assert_snapshot!(worker_says("[wake.file]\nmode = \"apend\""), @r#"<dir>/worker.toml: wake.file.mode: unknown value "apend"; did you mean `append`?"#);
    let exec = "[wake]\norder = [\"exec\", \"exec\"]\n[wake.exec]\ncommand = [\"nudge\"]\n";
    assert_snapshot!(worker_says(exec), @"<dir>/worker.toml: wake.order: names `exec` twice; take one out");

    // A session's own key is the session's fault; a global one is told once.
    let session = "[[session]]\ncredentials = \"a.toml\"\nproof = \"none\"\n";
    let own = format!("{session}[session.wake]\norder = [\"file\"]\nbackoff = \"20m\"\n");
    assert_snapshot!(worker_says(&own), @r#"
        <dir>/worker.toml: session 1: wake.backoff: backoff_max (15m) must not be below backoff (20m); raise backoff_max
        <dir>/worker.toml: session 1: wake.order: names `file`, which is not configured; add [wake.file] with path = "/run/agent/inbox"
        "#);
    let global = format!("[wake]\nbackoff = \"0s\"\n{session}");
    assert_snapshot!(worker_says(&global), @"<dir>/worker.toml: wake.backoff: 0s is out of range; choose from 100ms to 1h");
}

#[test]
fn what_belongs_to_the_other_role() {
    assert_snapshot!(worker_says("[watchdog]\nidle_after = \"1m\"\n[housekeeping]\n"), @r#"
        <dir>/worker.toml: watchdog: belongs to the role `orchestrator`; take it out, or write role = "orchestrator"
        <dir>/worker.toml: housekeeping: belongs to the role `orchestrator`; take it out, or write role = "orchestrator"
        "#);
    assert_snapshot!(orchestrator_says("[alert]\nno_leader_after = \"1m\""), @r#"<dir>/worker.toml: alert.no_leader_after: belongs to the role `worker`; take it out, or write role = "worker""#);
    let etc = Etc::worker("role = \"worker\"");
    assert_snapshot!(etc.says(&[("MCP_BRIDGE__REASSIGNMENT__CAPACITY", "2")]), @r#"MCP_BRIDGE__REASSIGNMENT__CAPACITY: reassignment: belongs to the role `orchestrator`; take it out, or write role = "orchestrator""#);
    // Which role is meant is open: only that is said.
    assert_snapshot!(says("[watchdog]\nidle_after = \"1m\""), @r#"<dir>/worker.toml: role: missing; write role = "worker" or role = "orchestrator" above the first table"#);
}

#[test]
fn a_watchdog() {
    let says = |keys: &str| orchestrator_says(&format!("[watchdog]\n{keys}"));
    assert_snapshot!(says("check_intervall = \"1s\""), @"<dir>/worker.toml: watchdog.check_intervall: unknown key; did you mean `check_interval`?");
    assert_snapshot!(says("check_interval = \"11s\"\ndefault_ttl = \"0s\"\ncorrelated_hosts = 0\ncorrelated_percent = 101\ncorrelated_hold = \"25h\"\nleader_ttl = \"61s\""), @r#"
        <dir>/worker.toml: watchdog.check_interval: 11s is out of range; choose from 100ms to 10s
        <dir>/worker.toml: watchdog.default_ttl: 0s is out of range; choose from 1s to 1day
        <dir>/worker.toml: watchdog.correlated_hold: 1day 1h is out of range; choose from 0s to 1day
        <dir>/worker.toml: watchdog.leader_ttl: 1m 1s is out of range; choose from 1s to 1m
        <dir>/worker.toml: watchdog.correlated_hosts: 0 is out of range; choose from 1 to 10000
        <dir>/worker.toml: watchdog.correlated_percent: 101 is out of range; choose from 1 to 100
        "#);
    assert_snapshot!(says("stalled_after = \"30s\""), @"<dir>/worker.toml: watchdog.stalled_after: stalled_after (30s) must not be below idle_after (1m); raise stalled_after");
    assert_snapshot!(says("idle_after = \"3m\""), @"<dir>/worker.toml: watchdog.idle_after: stalled_after (2m) must not be below idle_after (3m); raise stalled_after");
    assert_snapshot!(says("leader_ttl = \"2s\""), @"<dir>/worker.toml: watchdog.leader_ttl: leader_ttl (2s) must be at least 3 x check_interval (1s); raise it to 3s");
    assert_snapshot!(says("check_interval = \"4s\""), @"<dir>/worker.toml: watchdog.check_interval: leader_ttl (10s) must be at least 3 x check_interval (4s); raise it to 12s");
}

#[test]
fn a_reassignment_and_housekeeping() {
    assert_snapshot!(orchestrator_says("[reassignment]\ncapacity = 0\nmatch_role = \"smae\"\nmoves_per_second = -1\nmax_losses = 5000000000\nlosses_within = \"1s\""), @r#"
        <dir>/worker.toml: reassignment.capacity: 0 is out of range; choose from 1 to 100
        <dir>/worker.toml: reassignment.match_role: unknown value "smae"; did you mean `same`?
        <dir>/worker.toml: reassignment.moves_per_second: -1 is out of range; choose from 1 to 10000
        <dir>/worker.toml: reassignment.max_losses: 5000000000 is out of range; choose from 1 to 100
        <dir>/worker.toml: reassignment.losses_within: 1s is out of range; choose from 1m to 1year
        "#);
    assert_snapshot!(orchestrator_says("[housekeeping]\ninterval = \"0s\"\nkeep_audit = \"0s\"\nkeep_messages = \"11years\""), @r#"
        <dir>/worker.toml: housekeeping.keep_messages: 11years is out of range; choose from 1m to 10years
        <dir>/worker.toml: housekeeping.keep_audit: 0s is out of range; choose from 1m to 10years
        <dir>/worker.toml: housekeeping.interval: 0s is out of range; choose from 1s to 1day
        "#);
    assert_snapshot!(orchestrator_says("[housekeeping]\nkeep_forever = true"), @"<dir>/worker.toml: housekeeping.keep_forever: unknown key; the keys known here are `interval`, `keep_messages`, `keep_audit`, `keep_tasks` and `keep_alerts`");
}

#[test]
fn an_alert() {
    assert_snapshot!(worker_says("[alert]\norder = [\"webhok\", \"pager\"]"), @r#"
        <dir>/worker.toml: alert.order: unknown adapter "webhok"; did you mean `webhook`?
        <dir>/worker.toml: alert.order: unknown adapter "pager"; the adapters are `exec` and `webhook`
        "#);
    assert_snapshot!(worker_says("[alert]\norder = [\"exec\", \"webhook\"]"), @r#"
        <dir>/worker.toml: alert.order: names `exec`, which is not configured; add [alert.exec] with command = ["/usr/local/bin/page-me"]
        <dir>/worker.toml: alert.order: names `webhook`, which is not configured; add [alert.webhook] with url_file = "webhook.url" or url = "https://host/path"
        "#);
    let exec = "[alert]\norder = [\"exec\", \"exec\"]\n[alert.exec]\ncommand = [\"page\"]";
    assert_snapshot!(worker_says(exec), @"<dir>/worker.toml: alert.order: names `exec` twice; take one out");
    assert_snapshot!(worker_says("[alert.exec]\ncommand = []\ntimeout = \"6m\""), @r#"
        <dir>/worker.toml: alert.exec.timeout: 6m is out of range; choose from 100ms to 5m
        <dir>/worker.toml: alert.exec.command: the command is empty; name a program and its arguments, such as ["/usr/local/bin/nudge", "arg"]
        "#);
    assert_snapshot!(worker_says("[alert]\nremind_after = \"2d\""), @"<dir>/worker.toml: alert.remind_after: remind_max (1day) must not be below remind_after (2days); raise remind_max");
    assert_snapshot!(worker_says("[alert]\nremind_max = \"10m\""), @"<dir>/worker.toml: alert.remind_max: remind_max (10m) must not be below remind_after (1h); raise remind_max");
    assert_snapshot!(worker_says("[alert]\nremind_after = \"1s\"\nno_leader_after = \"2h\""), @r#"
        <dir>/worker.toml: alert.remind_after: 1s is out of range; choose from 10s to 7days
        <dir>/worker.toml: alert.no_leader_after: 2h is out of range; choose from 1s to 1h
        "#);
}

#[test]
fn a_webhook_whose_url_is_never_quoted() {
    let says = |keys: &str| worker_says(&format!("[alert.webhook]\n{keys}"));
    assert_snapshot!(says("url = \"ftp://hooks.example.com/hunter2\""), @"<dir>/worker.toml: alert.webhook.url: must begin with https:// or http://");
    assert_snapshot!(says("url = \"https://hooks.example.com/hunter2 x\""), @"<dir>/worker.toml: alert.webhook.url: is not a URL; write https://host/path, with %20 for a space");
    assert_snapshot!(says("url = \"\""), @"<dir>/worker.toml: alert.webhook.url: is empty; write https://host/path");
    assert_snapshot!(says("url = [\"https://hooks.example.com/hunter2\"]"), @"<dir>/worker.toml: alert.webhook.url: must be text in quotes, not a list");
    assert_snapshot!(worker_says("[alert]\nwebhook = \"https://hooks.example.com/hunter2\""), @"<dir>/worker.toml: alert.webhook: must be a table, not text");
    assert_snapshot!(says("url = \"https://h/hunter2\"\nurl_file = \"u\""), @"<dir>/worker.toml: alert.webhook.url: `url` and `url_file` at once; keep one of them");
    assert_snapshot!(says("url_file = \"\"\nsecret_file = \"\"\ntimeout = \"2m\"\ntries = 21\nbackoff = \"1ms\""), @r#"
        <dir>/worker.toml: alert.webhook.timeout: 2m is out of range; choose from 100ms to 1m
        <dir>/worker.toml: alert.webhook.tries: 21 is out of range; choose from 1 to 20
        <dir>/worker.toml: alert.webhook.backoff: 1ms is out of range; choose from 100ms to 10m
        <dir>/worker.toml: alert.webhook.secret_file: is empty; name a file, or take the key out
        <dir>/worker.toml: alert.webhook.url_file: is empty; name a file, or take the key out
        "#);

    let etc = Etc::worker(
        "role = \"worker\"\n[alert]\norder = [\"webhook\"]\n[alert.webhook]\nurl = \"https://me:hunter2@hooks.example.com/hunter2\"",
    );
    let settings = etc.settings(&[]);
    assert_eq!(settings.alert.adapters[0].name(), "webhook");
    let shown = format!("{settings:?}");
    assert!(
        !shown.contains("hunter2") && shown.contains("hooks.example.com"),
        "{shown}"
    );
}

#[test]
fn the_source_of_a_bad_key_is_named() {
    let etc = Etc::worker("role = \"worker\"\n[heartbeat]\ninterval = \"5s\"\n")
        .file("worker.d/10-fast.toml", "[heartbeat]\ninterval = \"1ms\"\n")
        .file("worker.d/20-wake.toml", "[wake]\nordr = []\n");
    assert_snapshot!(etc.says(&[]), @"<dir>/worker.d/20-wake.toml: wake.ordr: unknown key; did you mean `order`?");
    fs::remove_file(etc.path("worker.d/20-wake.toml")).expect("a file to remove");
    assert_snapshot!(etc.says(&[]), @"<dir>/worker.d/10-fast.toml: heartbeat.interval: 1ms is out of range; choose from 100ms to 5m");

    let etc = Etc::worker("role = \"worker\"\n");
    let says = |name: &str, text: &str| etc.says(&[(name, text)]);
    assert_snapshot!(says("MCP_BRIDGE__HEARTBEAT__INTERVALL", "5s"), @"MCP_BRIDGE__HEARTBEAT__INTERVALL: heartbeat.intervall: unknown key; did you mean `interval`?");
    assert_snapshot!(says("MCP_BRIDGE__HEARTBEAT_INTERVAL", "5s"), @"MCP_BRIDGE__HEARTBEAT_INTERVAL: heartbeat_interval: unknown key; two underscores part section and key: MCP_BRIDGE__HEARTBEAT__INTERVAL");
    assert_snapshot!(says("MCP_BRIDGE__HEARTBEAT__TTL", "1s"), @"MCP_BRIDGE__HEARTBEAT__TTL: heartbeat.ttl: 1s is too short; it must be at least 3 x interval (5s by default): 15s");
    assert_snapshot!(says("MCP_BRIDGE__WAKE__ORDER", "exec"), @r#"MCP_BRIDGE__WAKE__ORDER: wake.order: must be a list such as ["exec"], not text"#);
    assert_snapshot!(says("MCP_BRIDGE__SESSION__0__PROOF", "none"), @"MCP_BRIDGE__SESSION__0__PROOF: session: must be a list of tables, each headed [[session]], not a table");
    assert_snapshot!(says("MCP_BRIDGE__WAKE", "{ exec_command = 1 }"), @"MCP_BRIDGE__WAKE: wake.exec_command: unknown key; the keys known here are `order`, `verify_within`, `backoff`, `backoff_max`, `exec` and `file`");
}

#[test]
fn several_errors_are_told_together() {
    let etc = Etc::worker(
        "rol = 1\n[heartbeat]\ninterval = 5\n[[session]]\nproof = 1\n[[session]]\nproff = 1\n",
    );
    assert_snapshot!(etc.says(&[]), @r#"
        <dir>/worker.toml: heartbeat.interval: must be a duration such as "5s", not a number
        <dir>/worker.toml: rol: unknown key; did you mean `role`?
        <dir>/worker.toml: session 1: proof: must be "none" or a table with one of pid, pid_file, exec, not a number
        <dir>/worker.toml: session 2: proff: unknown key; did you mean `proof`?
        "#);

    let etc = Etc::worker("[heartbeat]\ninterval = \"0s\"\n[[session]]\n");
    assert_snapshot!(etc.says(&[]), @r#"
        <dir>/worker.toml: role: missing; write role = "worker" or role = "orchestrator" above the first table
        <dir>/worker.toml: heartbeat.interval: 0s is out of range; choose from 100ms to 5m
        <dir>/worker.toml: session 1: credentials: missing; name the session's file: credentials = "backend-1.toml"
        <dir>/worker.toml: session 1: proof: missing; write one of: proof = "none", proof = { pid = 4121 },
          proof = { pid_file = "/run/agent.pid" } or proof = { exec = ["pgrep", "-f", "agent"] }
        "#);
    let error = etc.load(&[]).expect_err("a configuration that is refused");
    assert_eq!(error.each().count(), 4);
}

#[test]
fn the_defaults() {
    let etc = Etc::worker("role = \"worker\"");
    let settings = etc.settings(&[]);
    assert_eq!(settings.source, etc.path("worker.toml"));
    let shown = format!("{settings:#?}").replace(&*etc.0.path().to_string_lossy(), "<dir>");
    assert_snapshot!(shown, @r#"
        Settings {
            source: "<dir>/worker.toml",
            instance: "worker",
            store: StoreSettings {
                url: None,
            },
            log: LogSettings {
                level: "info",
            },
            service: ServiceSettings {
                state_file: None,
                shutdown_grace: 4s,
            },
            agents: AgentSettings {
                heartbeat: HeartbeatSettings {
                    interval: 5s,
                    ttl: 20s,
                    renew_conversations: true,
                    renew_for: 10800s,
                    mirror_interval: 60s,
                },
                message_watch: MessageWatchSettings {
                    mode: Events,
                    poll_interval: 30s,
                },
                sessions: [],
            },
            alert: AlertSettings {
                adapters: [],
                remind_after: 3600s,
                remind_max: 86400s,
                no_leader_after: 60s,
            },
            role: Worker,
        }
        "#);
}

#[test]
fn the_defaults_of_an_orchestrator() {
    let etc = Etc::worker("role = \"orchestrator\"");
    let settings = etc.settings(&[]);
    let worker = Etc::worker("role = \"worker\"").settings(&[]);
    assert_eq!(settings.agents, worker.agents);
    assert_eq!(settings.alert, worker.alert);
    assert_snapshot!(format!("{:#?}", settings.role), @r#"
    Orchestrator(
        OrchestratorSettings {
            watchdog: WatchdogSettings {
                check_interval: 1s,
                default_ttl: 300s,
                idle_after: 60s,
                stalled_after: 120s,
                revoke_after: 300s,
                starting_for: 120s,
                correlated_hosts: 3,
                correlated_percent: 55,
                correlated_hold: 300s,
                leader_ttl: 10s,
            },
            reassignment: ReassignmentSettings {
                capacity: 1,
                match_role: Same,
                moves_per_second: 50,
                max_losses: 3,
                losses_within: 259200s,
            },
            housekeeping: HousekeepingSettings {
                interval: 3600s,
                keep_messages: 2592000s,
                keep_audit: 7776000s,
                keep_tasks: 2592000s,
                keep_alerts: 2592000s,
            },
        },
    )
    "#);
}

const FULL: &str = r#"
    role = "worker"
    [store]
    url = "sqlite:/var/lib/mcp-bridge/bridge.db"
    [log]
    level = "mcp_bridge=debug,info"
    [service]
    state_file = "/run/mcp-bridge/worker.json"
    shutdown_grace = "10s"
    [heartbeat]
    interval = "1s"
    ttl = "4s"
    renew_conversations = false
    renew_for = "1h 30m"
    mirror_interval = "30s"
    [message_watch]
    mode = "poll"
    poll_interval = "500ms"
    [wake]
    order = ["file", "exec"]
    verify_within = "5s"
    backoff = "1s"
    backoff_max = "1m"
    [wake.exec]
    command = ["nudge", "--now"]
    timeout = "3s"
    output_limit = 0
    [wake.file]
    path = "/run/x/inbox"
    mode = "touch"

    [[session]]
    credentials = "backend-1.toml"
    proof = { pid = 4121 }

    [[session]]
    credentials = "/srv/backend-2.toml"
    proof = { pid_file = "/run/agent.pid" }
    [session.wake]
    order = ["exec"]
    backoff_max = "2m"
    [session.wake.exec]
    timeout = "7s"

    [[session]]
    credentials = "backend-3.toml"
    proof = { exec = ["pgrep", "-f", "x"], timeout = "2s" }
    wake = { order = [] }

    [[session]]
    credentials = "backend-4.toml"
    proof = "none"
"#;

#[test]
fn a_full_file() {
    let etc = Etc::worker(FULL).file("credentials/backend-3.toml", "");
    let directory = etc.path("credentials");
    let settings = etc.settings(&[("CREDENTIALS_DIRECTORY", &directory.to_string_lossy())]);
    assert_eq!(settings.instance, "worker");
    assert_eq!(settings.role.name(), "worker");
    assert_eq!(settings.log.level, "mcp_bridge=debug,info");
    assert_eq!(settings.service.shutdown_grace, secs(10));

    let kept = agents(&settings);
    assert!(!kept.heartbeat.renew_conversations);
    assert_eq!(kept.heartbeat.renew_for, secs(90 * 60));
    assert_eq!(kept.message_watch.mode, WatchMode::Poll);

    let [one, two, three, four] = kept.sessions.as_slice() else {
        panic!("four sessions, not {}", kept.sessions.len());
    };
    assert_eq!(one.credentials, etc.path("backend-1.toml"));
    assert_eq!(two.credentials, Path::new("/srv/backend-2.toml"));
    assert_eq!(three.credentials, etc.path("credentials/backend-3.toml"));
    assert_eq!(one.proof, ProofSettings::Pid(4121));
    assert_eq!(two.proof, ProofSettings::PidFile("/run/agent.pid".into()));
    let command = ["pgrep", "-f", "x"].map(String::from).to_vec();
    let timeout = secs(2);
    assert_eq!(three.proof, ProofSettings::Exec { command, timeout });
    assert_eq!(four.proof, ProofSettings::None);

    let exec = |timeout| {
        let command = ["nudge", "--now"].map(String::from).to_vec();
        let output_limit = 0;
        AdapterSettings::Exec(ExecSettings {
            command,
            timeout,
            output_limit,
        })
    };
    let file = AdapterSettings::File(FileSettings {
        path: "/run/x/inbox".into(),
        mode: FileMode::Touch,
    });
    assert_eq!(one.wake.adapters, [file, exec(secs(3))]);
    assert_eq!(two.wake.adapters, [exec(secs(7))]);
    assert_eq!(two.wake.backoff_max, secs(120));
    assert_eq!(two.wake.backoff, one.wake.backoff);
    assert!(three.wake.adapters.is_empty());
    assert_eq!(four.wake, one.wake);
}

#[test]
fn a_full_orchestrator() {
    let text = r#"
        role = "orchestrator"
        [alert]
        order = ["webhook", "exec"]
        remind_after = "10m"
        remind_max = "2h"
        [alert.exec]
        command = ["page-me", "now"]
        timeout = "3s"
        [alert.webhook]
        url_file = "webhook.url"
        secret_file = "/srv/webhook.key"
        timeout = "2s"
        tries = 3
        backoff = "500ms"
        [watchdog]
        check_interval = "500ms"
        correlated_hosts = 10
        correlated_hold = "0s"
        leader_ttl = "3s"
        [reassignment]
        capacity = 4
        match_role = "any"
        losses_within = "24h"
        [housekeeping]
        interval = "10m"
        keep_audit = "10years"
        [[session]]
        credentials = "boss.toml"
        proof = "none"
    "#;
    let etc = Etc::worker(text).file("credentials/webhook.url", "");
    let directory = etc.path("credentials");
    let settings = etc.settings(&[("CREDENTIALS_DIRECTORY", &directory.to_string_lossy())]);
    assert_eq!(settings.role.name(), "orchestrator");
    assert_eq!(agents(&settings).sessions.len(), 1);
    let webhook = WebhookSettings {
        address: WebhookAddress::File(etc.path("credentials/webhook.url")),
        secret_file: Some("/srv/webhook.key".into()),
        timeout: secs(2),
        tries: 3,
        backoff: Duration::from_millis(500),
    };
    let exec = ExecSettings {
        command: ["page-me", "now"].map(String::from).to_vec(),
        timeout: secs(3),
        output_limit: 4096,
    };
    let adapters = [
        AlertAdapterSettings::Webhook(webhook),
        AlertAdapterSettings::Exec(exec),
    ];
    assert_eq!(settings.alert.adapters, adapters);
    assert_eq!(settings.alert.remind_after, secs(600));
    let own = orchestrator(&settings);
    assert_eq!(own.watchdog.check_interval, Duration::from_millis(500));
    assert_eq!(own.watchdog.correlated_hosts, 10);
    assert_eq!(own.watchdog.correlated_hold, secs(0));
    assert_eq!(own.reassignment.capacity, 4);
    assert_eq!(own.reassignment.match_role, MatchRole::Any);
    assert_eq!(own.reassignment.losses_within, secs(24 * 3600));
    assert_eq!(own.housekeeping.interval, secs(600));
    assert_eq!(own.housekeeping.keep_audit, secs(315_576_000));
}

#[test]
fn a_later_source_wins_and_sessions_add_up() {
    let session = |n: u8| format!("[[session]]\ncredentials = \"{n}.toml\"\nproof = \"none\"\n");
    let etc = Etc::worker(&format!(
        "role = \"worker\"\n[heartbeat]\ninterval = \"1s\"\nttl = \"30s\"\n[wake]\norder = [\"exec\"]\n{}",
        session(1)
    ))
    .file("worker.d/20.toml", "[heartbeat]\ninterval = \"3s\"\n[wake]\norder = [\"file\"]\n[wake.file]\npath = \"/run/b\"\n")
    .file("worker.d/10.toml", format!("[heartbeat]\ninterval = \"2s\"\nrenew_for = \"2h\"\n{}", session(2)))
    .file("worker.d/30.toml.bak", "[heartbeat]\ninterval = \"9s\"\n")
    .file("worker.d/.40.toml", "[heartbeat]\ninterval = \"9s\"\n")
    .file("other.d/10.toml", "[heartbeat]\ninterval = \"9s\"\n");

    let settings = etc.settings(&[]);
    let heartbeat = &agents(&settings).heartbeat;
    assert_eq!(heartbeat.interval, secs(3));
    assert_eq!(heartbeat.ttl, secs(30));
    assert_eq!(heartbeat.renew_for, secs(2 * 3600));
    let sessions = &agents(&settings).sessions;
    let names: Vec<_> = sessions
        .iter()
        .map(|session| &session.credentials)
        .collect();
    assert_eq!(names, [&etc.path("1.toml"), &etc.path("2.toml")]);
    assert_eq!(sessions[0].wake.adapters.len(), 1);
    assert_eq!(sessions[0].wake.adapters[0].name(), "file");

    let settings = etc.settings(&[
        ("MCP_BRIDGE__HEARTBEAT__INTERVAL", "4s"),
        ("MCP_BRIDGE__HEARTBEAT__RENEW_CONVERSATIONS", "false"),
        ("MCP_BRIDGE__WAKE__ORDER", "[exec]"),
        ("MCP_BRIDGE__WAKE__EXEC__COMMAND", r#"["nudge", "now"]"#),
        ("MCP_BRIDGE_HEARTBEAT_TTL", "not ours"),
        ("HOME", "/root"),
    ]);
    let changed = agents(&settings);
    assert_eq!(changed.heartbeat.interval, secs(4));
    assert!(!changed.heartbeat.renew_conversations);
    assert_eq!(changed.sessions[1].wake.adapters[0].name(), "exec");
}

#[test]
fn a_reload_knows_what_changed() {
    let etc = Etc::worker(FULL);
    // The same directory with another text, as a reload finds it.
    let load = |text: &str| {
        fs::write(etc.path("worker.toml"), text).expect("a file");
        etc.settings(&[])
    };
    let settings = load(FULL);
    assert_eq!(settings, load(&format!("# a comment\n{FULL}")));

    let live = load(&FULL.replace("interval = \"1s\"", "interval = \"1200ms\""));
    assert_ne!(settings, live);
    assert!(restart_keys(&settings, &live).is_empty());

    let restart = FULL
        .replace("bridge.db", "other.db")
        .replace("mcp_bridge=debug,info", "warn")
        .replace("worker.json", "other.json");
    let keys = restart_keys(&settings, &load(&restart));
    assert_eq!(keys, ["store.url", "log.level", "service.state_file"]);

    // Duties are started for a role; what they go by is applied while they run.
    let orchestrator = load("role = \"orchestrator\"");
    let keys = restart_keys(&load("role = \"worker\""), &orchestrator);
    assert_eq!(keys, ["role"]);
    let other = load(
        "role = \"orchestrator\"\n[watchdog]\nleader_ttl = \"5s\"\n[alert]\nremind_after = \"5m\"",
    );
    assert_ne!(orchestrator, other);
    assert!(restart_keys(&orchestrator, &other).is_empty());
}
