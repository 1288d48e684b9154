//! What an operator reads when the configuration is wrong, beside what they
//! wrote; and what the daemon gets when it is right.

use std::fs;
use std::path::Path;

use crate::common::etc::{Etc, agents, proof_says, says, secs, without_adapters, worker_says};
use insta::assert_snapshot;
use mcp_bridge::config::{
    AdapterSettings, ExecSettings, FileMode, FileSettings, ProofSettings, WatchMode, restart_keys,
};

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
    assert_snapshot!(etc.says(&[]), @"<dir>/worker.d/10.toml: a link to a missing file; correct or remove it");

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
fn sessions_that_are_kept_in_no_known_way() {
    assert_snapshot!(worker_says("sessions = \"locla\""), @r#"<dir>/worker.toml: sessions: unknown value "locla"; did you mean `local`?"#);
    assert_snapshot!(worker_says("sessions = \"all\""), @r#"<dir>/worker.toml: sessions: unknown value "all"; it is `listed` or `local`"#);
}

#[test]
fn an_unknown_key() {
    assert_snapshot!(worker_says("[heartbeat]\nintervall = \"5s\""), @"<dir>/worker.toml: heartbeat.intervall: unknown key; did you mean `interval`?");
    assert_snapshot!(worker_says("[heartbeat]\ncolour = 1"), @"<dir>/worker.toml: heartbeat.colour: unknown key; the keys known here are `interval`, `ttl`, `renew_conversations`, `renew_for` and `mirror_interval`");
    assert_snapshot!(worker_says("[hartbeat]\n"), @"<dir>/worker.toml: hartbeat: unknown key; did you mean `heartbeat`?");
    assert_snapshot!(worker_says("[wake.exec]\noutput-limit = 1"), @"<dir>/worker.toml: wake.exec.output-limit: unknown key; did you mean `output_limit`?");
    assert_snapshot!(worker_says("[message_watch]\npoll = \"1s\""), @"<dir>/worker.toml: message_watch.poll: unknown key; did you mean `poll_interval`?");
    assert_snapshot!(worker_says("\"a b\" = 1"), @r#"<dir>/worker.toml: "a b": unknown key; the keys known here are `role`, `sessions`, `store`, `log`, `service`, `api`, `heartbeat`, `message_watch`, `wake`, `alert`, `watchdog`, `reassignment`, `housekeeping` and `session`"#);

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
    assert_snapshot!(worker_says("[log]\nlevel = 2.5"), @"<dir>/worker.toml: log.level: must be text in quotes, not a decimal number");
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
    assert_snapshot!(worker_says("[store]\nurl = \"postgres://me:hunter2@db/bridge\""), @"<dir>/worker.toml: store.url: this version stores in SQLite only, not in PostgreSQL; write an absolute path: /DIR/bridge.db, or sqlite:/DIR/bridge.db");
    assert_snapshot!(worker_says("[store]\nurl = \"mysql://me:hunter2@db/bridge\""), @"<dir>/worker.toml: store.url: this version stores in SQLite only; write an absolute path: /DIR/bridge.db, or sqlite:/DIR/bridge.db");
    assert_snapshot!(worker_says("[store]\nurl = \"sqlite://\""), @"<dir>/worker.toml: store.url: names no file; write an absolute path: /DIR/bridge.db, or sqlite:/DIR/bridge.db");
    assert_snapshot!(worker_says("[store]\nurl = \"sqlite::memory:\""), @"<dir>/worker.toml: store.url: a database in memory cannot be shared with the agents; write an absolute path: /DIR/bridge.db, or sqlite:/DIR/bridge.db");
    for relative in ["bridge.db", "sqlite:bridge.db", "~/bridge.db", "./a:b.db"] {
        let said = worker_says(&format!("[store]\nurl = \"{relative}\""));
        assert_eq!(
            said,
            "<dir>/worker.toml: store.url: a relative path has another meaning for a service; write an absolute path: /DIR/bridge.db, or sqlite:/DIR/bridge.db"
        );
    }
    assert_snapshot!(worker_says("[log]\nlevel = \"*=debug\""), @r#"<dir>/worker.toml: log.level: "*=debug" is not a log filter; write a level, or a filter such as `mcp_bridge=debug,info`"#);
    assert_snapshot!(worker_says("[log]\nlevel = \"mcp_bridge[duty=debug\""), @r#"<dir>/worker.toml: log.level: "mcp_bridge[duty=debug" is not a log filter; write a level, or a filter such as `mcp_bridge=debug,info`"#);
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
    assert_snapshot!(worker_says(&(none("a.toml") + &none("./a.toml"))), @"<dir>/worker.toml: session 2: credentials: <dir>/./a.toml is used by session 1 already; give each session its own file");
    let etc = Etc::worker(&format!("role = \"worker\"\n{}", none("a.toml")))
        .file("worker.d/10.toml", none("b.toml") + &none("a.toml"));
    assert_snapshot!(etc.says(&[]), @"<dir>/worker.d/10.toml: session 2: credentials: <dir>/a.toml is used by <dir>/worker.toml: session 1 already; give each session its own file");
}

#[test]
fn a_proof() {
    assert_snapshot!(proof_says("{ pid = 1, pid_file = \"/run/agent.pid\" }"), @"<dir>/worker.toml: session 1: proof: `pid` and `pid_file` are both set; keep one of them");
    assert_snapshot!(proof_says("{}"), @r#"
    <dir>/worker.toml: session 1: proof: names no proof; write one of: proof = "none", proof = { pid = 4121 },
      proof = { pid_file = "/run/agent.pid" } or proof = { exec = ["pgrep", "-f", "agent"] }
    "#);
    assert_snapshot!(proof_says("\"pid\""), @r#"
    <dir>/worker.toml: session 1: proof: "pid" is not a proof; write one of: proof = "none", proof = { pid = 4121 },
      proof = { pid_file = "/run/agent.pid" } or proof = { exec = ["pgrep", "-f", "agent"] }
    "#);
    assert_snapshot!(proof_says("4121"), @r#"<dir>/worker.toml: session 1: proof: must be "none" or a table with one of pid, pid_file, exec, not a number"#);
    assert_snapshot!(proof_says("{ pid = 0 }"), @"<dir>/worker.toml: session 1: proof.pid: 0 is not a process id; choose from 1 to 2147483647");
    assert_snapshot!(proof_says("{ pid_file = \"agent.pid\" }"), @r#"<dir>/worker.toml: session 1: proof.pid_file: "agent.pid" is not an absolute path; begin it with /"#);
    assert_snapshot!(proof_says("{ exec = [] }"), @r#"<dir>/worker.toml: session 1: proof.exec: the command is empty; name a program and its arguments, such as ["/usr/local/bin/nudge", "arg"]"#);
    assert_snapshot!(proof_says("{ exec = [\"true\"], timeout = \"0s\" }"), @"<dir>/worker.toml: session 1: proof.timeout: 0s is out of range; choose from 100ms to 1m");
    assert_snapshot!(proof_says("{ pid = 7, timeout = \"5s\" }"), @"<dir>/worker.toml: session 1: proof.timeout: belongs to a proof by `exec`; remove it");
}

#[test]
fn a_wake() {
    assert_snapshot!(worker_says("[wake]\norder = [\"exce\"]"), @r#"<dir>/worker.toml: wake.order: unknown adapter "exce"; did you mean `exec`?"#);
    let unknown = worker_says("[wake]\norder = [\"tmux\"]");
    assert_snapshot!(without_adapters(&unknown, "wake.order"), @r#"<dir>/worker.toml: wake.order: unknown adapter "tmux"; the adapters are ADAPTERS"#);
    assert_snapshot!(worker_says("[wake]\norder = [\"exec\", \"file\"]"), @r#"
        <dir>/worker.toml: wake.order: names `exec`, which is not configured; add [wake.exec] with command = ["/usr/local/bin/nudge"]
        <dir>/worker.toml: wake.order: names `file`, which is not configured; add [wake.file] with path = "/run/agent/inbox"
        "#);
    assert_snapshot!(worker_says("[wake.exec]\ncommand = []"), @r#"<dir>/worker.toml: wake.exec.command: the command is empty; name a program and its arguments, such as ["/usr/local/bin/nudge", "arg"]"#);
    assert_snapshot!(worker_says("[wake.exec]\ncommand = [\"\", \"x\"]"), @r#"<dir>/worker.toml: wake.exec.command: the command is empty; name a program and its arguments, such as ["/usr/local/bin/nudge", "arg"]"#);
    assert_snapshot!(worker_says("[wake.exec]\noutput_limit = 2000000"), @"<dir>/worker.toml: wake.exec.output_limit: 2000000 is out of range; choose from 0 to 1048576 bytes");
    assert_snapshot!(worker_says("[wake.file]\nmode = \"apend\""), @r#"<dir>/worker.toml: wake.file.mode: unknown value "apend"; did you mean `append`?"#);
    let exec = "[wake]\norder = [\"exec\", \"exec\"]\n[wake.exec]\ncommand = [\"nudge\"]\n";
    assert_snapshot!(worker_says(exec), @"<dir>/worker.toml: wake.order: names `exec` twice; remove one");

    // A session's own key is the session's fault; a global one is reported once.
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
    assert_snapshot!(says("MCP_BRIDGE__HEARTBEAT_INTERVAL", "5s"), @"MCP_BRIDGE__HEARTBEAT_INTERVAL: heartbeat_interval: unknown key; write two underscores between section and key: MCP_BRIDGE__HEARTBEAT__INTERVAL");
    assert_snapshot!(says("MCP_BRIDGE__HEARTBEAT__TTL", "1s"), @"MCP_BRIDGE__HEARTBEAT__TTL: heartbeat.ttl: 1s is too short; it must be at least 3 x interval (5s by default): 15s");
    assert_snapshot!(says("MCP_BRIDGE__WAKE__ORDER", "exec"), @r#"MCP_BRIDGE__WAKE__ORDER: wake.order: must be a list such as ["exec"], not text"#);
    assert_snapshot!(says("MCP_BRIDGE__SESSION__0__PROOF", "none"), @"MCP_BRIDGE__SESSION__0__PROOF: session: must be a list of tables, each headed [[session]], not a table");
    let unknown = says("MCP_BRIDGE__WAKE", "{ exec_command = 1 }");
    assert_snapshot!(without_adapters(&unknown, "wake.order"), @"MCP_BRIDGE__WAKE: wake.exec_command: unknown key; the keys known here are `order`, `text`, `verify_within`, `backoff`, `backoff_max`, ADAPTERS");
}

#[test]
fn several_errors_are_reported_together() {
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
fn a_store_whose_url_stands_in_a_file() {
    let with = |content: &[u8]| {
        Etc::worker("role = \"worker\"\nstore.url_file = \"store.url\"")
            .file("credentials/store.url", content)
    };
    let etc = with(b"sqlite:/srv/hunter2.db\n");
    let settings = etc.settings(&[]);
    assert_eq!(
        settings.store.url.as_deref(),
        Some("sqlite:/srv/hunter2.db")
    );
    assert_eq!(
        settings.store.url_file,
        Some(etc.path("credentials/store.url"))
    );
    let shown = format!("{settings:?}");
    assert!(
        shown.contains("store.url") && !shown.contains("hunter2"),
        "{shown}"
    );

    assert_snapshot!(with(b"postgres://me:hunter2@db/bridge").says(&[]), @"<dir>/worker.toml: store.url_file: <dir>/credentials/store.url: this version stores in SQLite only, not in PostgreSQL; write an absolute path: /DIR/bridge.db, or sqlite:/DIR/bridge.db");
    assert_snapshot!(with(b"hunter2://hunter2").says(&[]), @"<dir>/worker.toml: store.url_file: <dir>/credentials/store.url: this version stores in SQLite only; write an absolute path: /DIR/bridge.db, or sqlite:/DIR/bridge.db");
    assert_snapshot!(with(b" \n").says(&[]), @"<dir>/worker.toml: store.url_file: <dir>/credentials/store.url: names no file; write an absolute path: /DIR/bridge.db, or sqlite:/DIR/bridge.db");
    assert_snapshot!(with(b"/srv/hunter2\xff").says(&[]), @"<dir>/worker.toml: store.url_file: <dir>/credentials/store.url: is not UTF-8 text");
    assert_snapshot!(with(&[b'x'; 70_000]).says(&[]), @"<dir>/worker.toml: store.url_file: <dir>/credentials/store.url: is too long for a URL or a key");
    assert_snapshot!(worker_says("[store]\nurl_file = \"store.url\""), @"<dir>/worker.toml: store.url_file: <dir>/store.url: No such file or directory (os error 2)");
    assert_snapshot!(worker_says("[store]\nurl_file = \"\""), @"<dir>/worker.toml: store.url_file: is empty; name a file, or remove the key");
    assert_snapshot!(worker_says("[store]\nurl = \"/hunter2\"\nurl_file = \"store.url\""), @"<dir>/worker.toml: store.url: both `url` and `url_file` are set; keep one of them");
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
                url_file: None,
                accepted_schema: None,
            },
            log: LogSettings {
                level: "info",
            },
            service: ServiceSettings {
                state_file: None,
                shutdown_grace: 4s,
            },
            api: ApiSettings {
                enabled: true,
                connections: 4096,
                connections_per_user: 1024,
                max_body: 4194304,
                time_limit: 30s,
                conversations_per_hour: 200,
                tasks_per_hour: 2000,
                stored_mib_per_day: 1024,
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
                local: None,
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
    let etc = Etc::worker(FULL).file("run/backend-3.toml", "");
    let directory = etc.path("run");
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
    assert_eq!(three.credentials, etc.path("run/backend-3.toml"));
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
