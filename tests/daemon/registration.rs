//! Clients that register, and daemons that keep their sessions without a word about them
//! in their configuration.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use mcp_bridge::model::process::ProcessId;
use mcp_bridge::model::session::{Life, ProofKind};
use mcp_bridge::store::Registration;
use mcp_bridge::{clock, host, liveness};

use crate::common::daemon::{LOCAL, Pair, Rig, session, wait_for};

/// A client of one session: a process that starts our MCP server and speaks to it.
struct Client(Child);

impl Client {
    /// One that finds the store as `store` says.
    fn start(rig: &Rig, name: &str, store: &str) -> Self {
        Self::start_by(rig, name, store, &["sh"])
    }

    /// The same behind another program.
    fn start_by(rig: &Rig, name: &str, store: &str, by: &[&str]) -> Self {
        let mut command = Command::new(by[0]);
        command
            .args(&by[1..])
            .args(["-c", "exec 3<&0; \"$0\" mcp <&3 3<&- >/dev/null & wait"])
            .arg(env!("CARGO_BIN_EXE_mcp-bridge"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", rig.path(""))
            .env("MCP_BRIDGE_STORE", store)
            .env("MCP_BRIDGE_CREDENTIALS", rig.path(&format!("{name}.toml")))
            .current_dir(rig.path(""))
            .stdin(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let input = child.stdin.as_mut().expect("piped");
        for line in [
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"claude-code","version":"2.1.332"}}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        ] {
            writeln!(input, "{line}").expect("written");
        }
        Self(child)
    }

    fn pid(&self) -> i64 {
        self.0.id().into()
    }

    /// As `kill -9` ends it; what it started lives on.
    fn kill(mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("ended");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn door(rig: &Rig) -> String {
    format!("unix:{}", rig.path("worker.state/api.sock").display())
}

fn file(rig: &Rig) -> String {
    rig.path("bridge.db").display().to_string()
}

/// Waits until the session lives by its client's process.
#[track_caller]
fn is_kept(rig: &Rig, pair: &Pair, client: &Client) {
    wait_for("the session to live by its client", || {
        let view = rig.view(&pair.b.session);
        let beat = view.heartbeat.as_ref()?;
        let by_process = beat.proof == ProofKind::Process && beat.exited_at.is_none();
        let mine = view.pid == Some(client.pid()) && view.life(clock::now()) == Life::Alive;
        (by_process && mine).then_some(())
    });
}

fn command(rig: &Rig, arguments: &[&str]) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
        .args(arguments)
        .env_clear()
        .env("HOME", rig.path(""))
        .env("MCP_BRIDGE_STORE", file(rig))
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The session that has the only task.
fn owner(rig: &Rig) -> Option<String> {
    let found = rig.foreign().query_row(
        "SELECT owner_conversation || '/' || owner_session FROM bridge_task",
        [],
        |row| row.get(0),
    );
    found.expect("a task")
}

/// What `status` says of the agent's session.
fn agents_view(rig: &Rig) -> serde_json::Value {
    let status = command(rig, &["status", "--json"]);
    let sessions = status["sessions"].as_array().expect("sessions").clone();
    let mut sessions = sessions.into_iter();
    sessions.find(|one| one["session"] == "b").expect("its own")
}

#[test]
fn client_without_a_daemon_is_asked_for_by_status() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    rig.write_credentials("partner", &[&pair.a]);
    let client = Client::start(&rig, "one", &file(&rig));
    let view = || agents_view(&rig);
    wait_for("its registration", || {
        (view()["client_runs"] == true).then_some(())
    });
    // An idle agent makes no call, and is there none the less.
    let raw = rig.foreign();
    for old in [
        "UPDATE bridge_heartbeat SET beat_ms = beat_ms - 3600000",
        "UPDATE bridge_session SET activity_ms = activity_ms - 3600000",
    ] {
        raw.execute(old, []).expect("older");
    }
    assert_eq!(view()["state"], "idle");

    // One whose client has ended is not, although its name was used since.
    client.kill();
    let act = |credentials: &str, words: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
            .arg("-c")
            .arg(rig.path(credentials))
            .args(words)
            .env_clear()
            .env("HOME", rig.path(""))
            .env("MCP_BRIDGE_STORE", file(&rig))
            .output()
            .expect("it runs")
    };
    assert!(act("one.toml", &["send", "by hand"]).status.success());
    wait_for("its end", || (view()["state"] == "exited").then_some(()));
    let output = act("partner.toml", &["doctor", "wake"]);
    let page = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{page}");
    assert!(page.contains("claude-code 2.1.332"), "{page}");
    assert!(page.contains("has ended"), "{page}");
    let sent = act("partner.toml", &["send", "for later"]);
    assert!(sent.status.success(), "{sent:?}");
    let note = String::from_utf8_lossy(&sent.stderr);
    let words = "one/b's client has exited; it reads this when it runs again";
    assert_eq!(note.trim(), words);
}

#[test]
fn client_that_is_stopped_is_named_at_once() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    rig.write_credentials("partner", &[&pair.a]);
    let client = Client::start(&rig, "one", &file(&rig));
    let state = || {
        let own = agents_view(&rig);
        (own["client_runs"] == true).then(|| own["state"].clone())
    };
    wait_for("its registration", &state);
    let pid = i32::try_from(client.pid()).ok().and_then(Pid::from_raw);
    let pid = pid.expect("a process id");
    kill_process(pid, Signal::STOP).expect("stopped");
    wait_for("the stop", || (state()? == "stopped").then_some(()));
    let act = |words: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
            .arg("-c")
            .arg(rig.path("partner.toml"))
            .args(words)
            .env_clear()
            .env("HOME", rig.path(""))
            .env("MCP_BRIDGE_STORE", file(&rig))
            .output()
            .expect("it runs")
    };
    let output = act(&["doctor", "wake"]);
    let page = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{page}");
    for words in [
        "is stopped (Ctrl-Z",
        &format!("kill -CONT {}", client.pid()),
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    // Nothing was sent, and nothing was awaited.
    assert!(!page.contains("sent"), "{page}");
    let sent = act(&["send", "for later"]);
    let note = String::from_utf8_lossy(&sent.stderr);
    assert_eq!(
        note.trim(),
        "one/b's client is stopped; it reads this when it goes on"
    );
    kill_process(pid, Signal::CONT).expect("continued");
    wait_for("it to go on", || (state()? != "stopped").then_some(()));
    let sent = act(&["send", "for now"]);
    assert!(sent.status.success() && sent.stderr.is_empty(), "{sent:?}");
}

#[test]
fn task_of_a_killed_client_moves() {
    let rig = Rig::new();
    let pairs = [rig.pair("one"), rig.pair("two")];
    let mut worker = rig.worker(LOCAL);
    let mut watchdog = rig.daemon(&rig.config_of("orchestrator", "watchdog", ""));
    watchdog.ready();
    let door = door(&rig);
    let mut clients: Vec<Option<Client>> = ["one", "two"]
        .map(|name| Some(Client::start(&rig, name, &door)))
        .into();
    for (pair, client) in pairs.iter().zip(&clients) {
        is_kept(&rig, pair, client.as_ref().expect("it runs"));
    }
    let said = worker.says("keeps one/b");
    assert!(said.contains("client claude-code 2.1.332"), "{said}");
    let shown = rig.view(&pairs[0].b.session).client;
    assert_eq!(shown.as_deref(), Some("claude-code 2.1.332"));

    command(
        &rig,
        &["task", "add", "--role", "backend", "--title", "x", "--json"],
    );
    let first = wait_for("an owner", || owner(&rig));
    let place = pairs
        .iter()
        .position(|pair| pair.b.session.to_string() == first);
    let place = place.expect("one of them");
    clients[place].take().expect("it runs").kill();
    rig.becomes(&pairs[place].b.session, Life::Exited);
    let other = pairs[1 - place].b.session.to_string();
    wait_for("the task to move", || {
        (owner(&rig) == Some(other.clone())).then_some(())
    });

    // It comes back as another process, of which the configuration knows as little.
    let again = Client::start(&rig, ["one", "two"][place], &door);
    is_kept(&rig, &pairs[place], &again);

    // A daemon that is killed and started again loses no session.
    worker.kill();
    let _worker = rig.worker(LOCAL);
    is_kept(&rig, &pairs[place], &again);
    for pair in &pairs {
        rig.goes_on(&pair.b.session);
    }
}

#[test]
fn daemon_keeps_a_client_registered_before_its_start() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let client = Client::start(&rig, "one", &file(&rig));
    wait_for("the client to be registered", || {
        (rig.view(&pair.b.session).pid == Some(client.pid())).then_some(())
    });
    let worker = rig.worker(LOCAL);
    is_kept(&rig, &pair, &client);
    // What happens while no daemon looks is found by the next one.
    worker.kill();
    client.kill();
    let worker = rig.worker(LOCAL);
    rig.becomes(&pair.b.session, Life::Exited);
    // A daemon without that setting leaves it alone.
    let again = Client::start(&rig, "one", &file(&rig));
    is_kept(&rig, &pair, &again);
    assert_eq!(worker.stop(), Some(0));
    let before = rig.beats(&pair.b.session);
    let _other = rig.worker("");
    assert_eq!(rig.beats(&pair.b.session), before);
}

#[test]
fn a_configured_session_keeps_its_own_proof() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let other = rig.pair("two");
    let text = format!("{LOCAL}{}", session("one", "\"none\""));
    let _worker = rig.worker(&text);
    let _client = Client::start(&rig, "one", &door(&rig));
    let second = Client::start(&rig, "two", &door(&rig));
    is_kept(&rig, &other, &second);
    wait_for("the client to be registered", || {
        rig.view(&pair.b.session).client
    });
    rig.goes_on(&pair.b.session);
    let beat = rig.view(&pair.b.session).heartbeat.expect("a heartbeat");
    assert_eq!(beat.proof, ProofKind::None);
}

/// A registration as the store has it, of any author.
fn registration(process: Option<ProcessId>) -> Registration {
    let boot = host::boot();
    Registration {
        client: "claude-code".into(),
        version: None,
        boot_id: boot.id,
        pid_ns: boot.pid_ns,
        process,
        uid: host::caller().uid,
        directory: None,
    }
}

#[test]
fn a_process_that_proves_nothing_keeps_no_session() {
    let rig = Rig::new();
    let _worker = rig.worker(LOCAL);
    let own = liveness::own().expect("a process");
    let reused = ProcessId {
        start: own.start - 1,
        ..own
    };
    let of_another_user = Registration {
        uid: host::caller().uid + 1,
        ..registration(Some(own))
    };
    let elsewhere = Registration {
        boot_id: "another".into(),
        ..registration(Some(own))
    };
    let contained = Registration {
        pid_ns: host::boot().pid_ns + 1,
        ..registration(Some(own))
    };
    let each = [
        registration(Some(reused)),
        registration(None),
        of_another_user,
        elsewhere,
        contained,
    ];
    let mut pairs = Vec::new();
    for (number, registration) in each.into_iter().enumerate() {
        let pair = rig.pair(&format!("no-{number}"));
        let now = clock::now();
        let registered = rig.store.register_agent(&pair.b, registration, now);
        rig.block_on(registered).expect("registered");
        pairs.push(pair);
    }
    let good = rig.pair("good");
    let registered = registration(Some(own));
    let registered = rig.store.register_agent(&good.b, registered, clock::now());
    rig.block_on(registered).expect("registered");
    rig.becomes(&good.b.session, Life::Alive);
    rig.goes_on(&good.b.session);
    for pair in &pairs {
        let view = rig.view(&pair.b.session);
        assert_eq!(view.heartbeat, None, "{}", pair.name);
    }
    // It is let go when its client says that no process is its own.
    let registered = rig
        .store
        .register_agent(&good.b, registration(None), clock::now());
    rig.block_on(registered).expect("registered");
    wait_for("the session to be let go", || {
        let beat = rig.view(&good.b.session).heartbeat?;
        beat.released.then_some(())
    });
}

/// A process of another user's, until it is dropped; where this is no root, root's first.
struct Stranger(Option<Child>, ProcessId);

impl Stranger {
    fn start() -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self(None, liveness::of(1).expect("the first process"));
        }
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--clear-groups", "--"])
            .args(["sh", "-c", "echo; exec sleep 1000"])
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("setpriv");
        // It says so as another user, or not at all.
        let said = child.stdout.as_mut().expect("piped").read_exact(&mut [0]);
        let pid = i32::try_from(child.id()).expect("a pid");
        let process = liveness::of(pid).expect("it runs");
        let stranger = Self(Some(child), process);
        said.expect("another user's process");
        stranger
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn row_of_another_users_process_keeps_no_session() {
    let stranger = Stranger::start();
    let rig = Rig::new();
    let [forged, honest] = [rig.pair("forged"), rig.pair("honest")];
    let own = liveness::own().expect("a process");
    // Past the door, where no daemon checks what is written.
    for (pair, process) in [(&forged, stranger.1), (&honest, own)] {
        let row = registration(Some(process));
        let registered = rig.store.register_agent(&pair.b, row, clock::now());
        rig.block_on(registered).expect("registered");
    }
    let mut worker = rig.worker(LOCAL);
    worker.says("is registered with a wrong process");
    rig.becomes(&honest.b.session, Life::Alive);
    rig.goes_on(&honest.b.session);
    assert_eq!(rig.view(&forged.b.session).heartbeat, None);

    // One that was kept is let go when its row names such a process.
    let row = registration(Some(stranger.1));
    let registered = rig.store.register_agent(&honest.b, row, clock::now());
    rig.block_on(registered).expect("registered");
    wait_for("the session to be let go", || {
        let beat = rig.view(&honest.b.session).heartbeat?;
        beat.released.then_some(())
    });
}

#[test]
fn client_in_a_container_lives_by_its_ttl() {
    let rig = Rig::new();
    let unshare = ["unshare", "--pid", "--fork", "--mount-proc", "sh"];
    let tried = Command::new(unshare[0])
        .args(&unshare[1..])
        .args(["-c", "true"])
        .output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        return;
    }
    let pair = rig.pair("one");
    let _worker = rig.worker(LOCAL);
    // The first process of a container is no parent in it; the second one is.
    let inner = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "sh",
        "-c",
        "sh \"$@\"; true",
        "sh",
    ];
    let _client = Client::start_by(&rig, "one", &door(&rig), &inner);
    wait_for("the client to be registered", || {
        rig.view(&pair.b.session).client
    });
    let seen = rig.view(&pair.b.session);
    assert_eq!((seen.pid, seen.heartbeat), (None, None));
}

#[test]
fn client_s_session_is_woken_as_all_are() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let said = rig.path("said");
    let script = format!(
        "printf '%s' \"$MCP_BRIDGE_WAKE_TEXT<$MCP_BRIDGE_CREDENTIALS>\" > {0}.new; mv {0}.new {0}",
        said.display()
    );
    let nudge = rig.script("nudge", &script);
    let wake = format!(
        "{LOCAL}[wake]\norder = [\"exec\"]\nexec.command = [\"{}\"]\n",
        nudge.display()
    );
    let _worker = rig.worker(&wake);
    let client = Client::start(&rig, "one", &door(&rig));
    is_kept(&rig, &pair, &client);
    rig.send(&pair.a, "hello");
    let text = wait_for("the wake", || {
        std::fs::read_to_string(Path::new(&said)).ok()
    });
    // Where its credentials are, only the client knows.
    assert!(
        text.contains("1 unread message") && text.ends_with("<>"),
        "{text}"
    );
}

#[test]
fn agent_that_no_way_wakes_is_alerted_of() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let often = format!("{LOCAL}[message_watch]\npoll_interval = \"200ms\"\n");
    let mut worker = rig.worker(&often);
    // It has no hook, and no inbox.
    let client = Client::start(&rig, "one", &door(&rig));
    let process = liveness::of(client.pid().try_into().expect("a pid"));
    let note = json!({ "sessionId": "its own", "peerProtocol": 1,
        "procStart": process.expect("it runs").start.to_string() });
    let notes = rig.path(".claude/sessions");
    std::fs::create_dir_all(&notes).expect("a directory");
    let path = notes.join(format!("{}.json", client.pid()));
    std::fs::write(path, note.to_string()).expect("written");
    is_kept(&rig, &pair, &client);
    rig.send(&pair.a, "hello");
    let said = worker.says("wake-list-spent: one/b: no adapter woke one/b");
    assert!(said.contains("no hook of the client waits"), "{said}");
    assert!(said.contains("claude-inbox: "), "{said}");
    let alerts = || command(&rig, &["alert", "list", "--json"]).to_string();
    wait_for("the alert", || {
        alerts().contains("wake-list-spent").then_some(())
    });
    // A reading ends it.
    rig.fetch(&pair.b);
    worker.says("one/b fetched its messages without a wake");
    worker.finish().1.only_once("wake-list-spent: one/b");
}

#[test]
fn two_agents_in_one_directory_are_reported() {
    let rig = Rig::new();
    let pairs = [rig.pair("one"), rig.pair("two")];
    let worker = rig.worker(LOCAL);
    let clients = ["one", "two"].map(|name| Client::start(&rig, name, &door(&rig)));
    for (pair, client) in pairs.iter().zip(&clients) {
        is_kept(&rig, pair, client);
    }
    let directory = rig.path("").canonicalize().expect("a directory");
    let told = |sessions: &[mcp_bridge::duties::SessionState]| -> Vec<String> {
        let each = sessions.iter().filter_map(|one| one.beside.clone());
        each.collect()
    };
    let state = worker.shows("the two", |state| told(&state.sessions).len() == 1);
    let text = told(&state.sessions).concat();
    let place = format!("works in {}, too", directory.display());
    assert!(text.contains(&place), "{text}");
    let output = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"))
        .args(["doctor", "--config"])
        .arg(rig.path("worker.conf.toml"))
        .env_clear()
        .env("HOME", rig.path(""))
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(&place), "{said}");
    // Which is over with one of them.
    let [first, _second] = clients;
    first.kill();
    worker.shows("the other alone", |state| told(&state.sessions).is_empty());
}

#[test]
fn client_is_heard_of_before_the_next_round() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let slow = "[heartbeat]\ninterval = \"5m\"\nttl = \"1h\"\n";
    let _worker = rig.worker(&format!("{LOCAL}{slow}"));
    let client = Client::start(&rig, "one", &door(&rig));
    is_kept(&rig, &pair, &client);
    // Also one that registers past the door.
    let other = rig.pair("two");
    let second = Client::start(&rig, "two", &file(&rig));
    is_kept(&rig, &other, &second);
}
