//! The daemon as a service: what it tells its manager, reloads, stops, logs.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot make its files has nothing to say; what it measured, it prints"
)]

use crate::common::daemon as rig;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::daemon::{Agent, Daemon, PATIENCE, QUICK, Rig, full, session, wait_for};
use mcp_bridge::model::session::Life;
use rustix::process::Signal;

/// A service manager's end of the notification socket.
struct Manager {
    socket: UnixDatagram,
    told: Vec<String>,
}

impl Manager {
    fn new(rig: &Rig) -> Self {
        let socket = UnixDatagram::bind(rig.path("notify")).expect("bound");
        Self {
            socket,
            told: Vec::new(),
        }
    }

    fn start(rig: &Rig, config: &Path, watchdog: Option<&str>) -> Daemon {
        let mut command = rig.command(config);
        command.env("NOTIFY_SOCKET", rig.path("notify"));
        if let Some(microseconds) = watchdog {
            command.env("WATCHDOG_USEC", microseconds);
        }
        Daemon::start(&mut command, config)
    }

    /// The next notification; `None` after the time given.
    fn next(&mut self, patience: Duration) -> Option<String> {
        // None at all would be no time-out.
        let patience = patience.max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(patience)).expect("set");
        let mut buffer = [0; 8192];
        let length = self.socket.recv(&mut buffer).ok()?;
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        self.told.push(text.clone());
        Some(text)
    }

    /// Waits for a notification with this line beginning, pings aside.
    #[track_caller]
    fn hears(&mut self, what: &str) -> String {
        let end = Instant::now() + PATIENCE;
        while let Some(told) = self.next(end.saturating_duration_since(Instant::now())) {
            if told.lines().any(|line| line.starts_with(what)) {
                return told;
            }
        }
        panic!("never told `{what}`: {:#?}", self.told);
    }

    /// The same of what was reported already, too: it is reported once.
    #[track_caller]
    fn has_heard(&mut self, what: &str) {
        let heard = |told: &String| told.lines().any(|line| line.starts_with(what));
        if !self.told.iter().any(heard) {
            self.hears(what);
        }
    }
}

#[test]
fn service_manager_hears_of_each_step() {
    let rig = Rig::new();
    rig.pair("one");
    let text = format!("{QUICK}{}", session("one", "\"none\""));
    let config = rig.config("worker", &text);
    let mut manager = Manager::new(&rig);
    let daemon = Manager::start(&rig, &config, Some("3000000"));
    let ready = manager.hears("READY=1");
    assert!(ready.contains("STATUS=worker: "), "{ready}");
    // Every duty has had a round by then.
    let state = daemon.state().expect("a state");
    assert_eq!(state.duties.len(), 5);
    for _ in 0..2 {
        manager.hears("WATCHDOG=1");
    }
    manager.has_heard("STATUS=worker: 1 session alive; 0 unread; store ok (sqlite, ");

    daemon.signal(Signal::HUP);
    let reloading = manager.hears("RELOADING=1");
    let since = reloading
        .lines()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="))
        .and_then(|time| time.parse::<u64>().ok())
        .expect("a time");
    assert!(since > 0 && since <= mcp_bridge::clock::monotonic_nanos() / 1000);
    manager.hears("READY=1");
    assert_eq!(daemon.state().expect("a state").generation, 2);

    rig.config("worker", "no_such_key = 1\n");
    daemon.signal(Signal::HUP);
    manager.hears("RELOADING=1");
    let ready = manager.hears("READY=1");
    assert!(ready.contains("reload refused: "), "{ready}");
    assert!(ready.contains("no_such_key"), "{ready}");

    let (code, _) = daemon.finish();
    assert_eq!(code, Some(0));
    let stopping = manager.hears("STOPPING=1");
    // 4 s of grace, what comes after it, and a little for the service manager.
    assert!(
        stopping.contains("EXTEND_TIMEOUT_USEC=9700000"),
        "{stopping}"
    );
    let wrong = manager.told.iter().filter(|told| told.contains("READY=1"));
    assert_eq!(wrong.count(), 3, "{:#?}", manager.told);
}

#[test]
fn readiness_does_not_wait_for_the_store() {
    let rig = Rig::new();
    let mut manager = Manager::new(&rig);
    let config = rig.path("worker.conf.toml");
    std::fs::write(
        &config,
        format!(
            "role = \"worker\"\n[store]\nurl = \"{0}/nowhere/bridge.db\"\n\
             [service]\nstate_file = \"{0}/worker.state.json\"\n",
            rig.dir.path().display()
        ),
    )
    .expect("written");
    let daemon = Manager::start(&rig, &config, None);
    let ready = manager.hears("READY=1");
    assert!(
        ready.contains("STATUS=worker: waiting for the store "),
        "{ready}"
    );
    assert_eq!(daemon.stop(), Some(0));
    manager.hears("STOPPING=1");
    let pings = manager.told.iter().filter(|told| told.contains("WATCHDOG"));
    assert_eq!(pings.count(), 0, "they were not asked for");
}

#[test]
fn deaf_service_manager_holds_up_nothing() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let config = rig.config("worker", &format!("{QUICK}{}", session("one", "\"none\"")));
    // Bound, and never read: a send on a full socket blocks.
    let _deaf = Manager::new(&rig);
    let daemon = Manager::start(&rig, &config, Some("100000"));
    rig.becomes(&pair.b.session, Life::Alive);
    for _ in 0..20 {
        daemon.reload();
    }
    rig.goes_on(&pair.b.session);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn stopped_process_is_silent_until_continued() {
    let rig = Rig::new();
    let config = rig.config("worker", "");
    let mut manager = Manager::new(&rig);
    let mut daemon = Manager::start(&rig, &config, Some("300000"));
    manager.hears("WATCHDOG=1");
    daemon.signal(Signal::STOP);
    wait_for("it to stand still", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.child.id())).ok()?;
        stat.contains(") T ").then_some(())
    });
    // What it had sent before; then nothing.
    while manager.next(Duration::from_millis(1)).is_some() {}
    assert_eq!(manager.next(Duration::from_millis(600)), None);
    daemon.signal(Signal::CONT);
    manager.hears("WATCHDOG=1");
    assert!(daemon.is_running());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn reload_takes_what_is_right_and_keeps_what_works() {
    let rig = Rig::new();
    let (one, two) = (rig.pair("one"), rig.pair("two"));
    let mut agent = Agent::with_file(&rig, "one.pid");
    let file = rig.path("one.pid");
    let first = session("one", &format!("{{ pid_file = \"{}\" }}", file.display()));
    // Rounds are rare: what happens comes from the reload.
    let rare = "[heartbeat]\ninterval = \"5m\"\nttl = \"15m\"\n";
    let mut daemon = rig.worker(&format!("{rare}{first}"));
    rig.becomes(&one.b.session, Life::Alive);
    // The file is gone: only a process that stays watched is known.
    std::fs::remove_file(&file).expect("removed");

    let both = format!("{rare}{first}{}", session("two", "\"none\""));
    rig.config("worker", &both);
    let state = daemon.reload();
    assert_eq!(state.generation, 2);
    let last = state.last_reload.expect("a reload");
    assert_eq!((last.error, last.needs_restart), (None, Vec::new()));
    rig.becomes(&two.b.session, Life::Alive);

    rig.config("worker", &both.replace("5m", "5 parsecs"));
    let state = daemon.reload();
    assert_eq!(state.generation, 2, "the old ones go on");
    let why = state.last_reload.and_then(|last| last.error).expect("why");
    assert!(
        why.contains("heartbeat.interval") && why.contains("parsecs"),
        "{why}"
    );
    assert!(
        state.status.contains("reload refused: "),
        "{}",
        state.status
    );
    daemon.says("the old settings stay active: ");

    rig.config("worker", &format!("[log]\nlevel = \"debug\"\n{both}"));
    let state = daemon.reload();
    assert_eq!(state.generation, 3);
    assert!(!state.status.contains("refused"), "{}", state.status);
    let last = state.last_reload.expect("a reload");
    assert_eq!(last.needs_restart, ["log.level"]);
    daemon.says("log.level changed: this needs a restart");
    // It still does when the next reload brings no news of it, and not when it
    // is as it was at the start.
    let last = daemon.reload().last_reload.expect("a reload");
    assert_eq!(last.needs_restart, ["log.level"]);
    rig.config("worker", &both);
    let last = daemon.reload().last_reload.expect("a reload");
    assert_eq!(last.needs_restart, [""; 0]);

    agent.end();
    daemon.says("the agent of one/b has ended");
    rig.becomes(&one.b.session, Life::Exited);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn reload_finds_a_daemon_with_a_moved_state_file() {
    let rig = Rig::new();
    let (one, two) = (rig.pair("one"), rig.pair("two"));
    let config = rig.path("moved.toml");
    let write = |more: &str| {
        let store = rig.path("bridge.db");
        let text = format!(
            "role = \"worker\"\n[store]\nurl = \"{}\"\n{QUICK}{}{more}",
            store.display(),
            session("one", "\"none\"")
        );
        std::fs::write(&config, text).expect("written");
    };
    let command = || {
        let mut command = rig.command(&config);
        command.env("XDG_RUNTIME_DIR", rig.dir.path());
        command
    };
    write("");
    let mut daemon = Daemon::start(&mut command(), &config);
    daemon.says("ready: ");
    rig.becomes(&one.b.session, Life::Alive);
    let elsewhere = rig.path("elsewhere.json");
    write(&format!(
        "{}[service]\nstate_file = \"{}\"\n",
        session("two", "\"none\""),
        elsewhere.display()
    ));
    let asked = command().arg("--reload").output();
    let asked = asked.expect("it runs");
    let said = String::from_utf8_lossy(&asked.stdout);
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    assert!(
        said.contains("but service.state_file: this needs a restart"),
        "{said}"
    );
    rig.becomes(&two.b.session, Life::Alive);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn thirty_reloads_under_load_lose_nothing() {
    let rig = Rig::new();
    rig.without_limits();
    let pair = rig.pair("one");
    let inbox = rig.path("inbox");
    let text = |number: usize| {
        format!(
            "[heartbeat]\ninterval = \"{}ms\"\nttl = \"5s\"\n[wake]\norder = [\"file\"]\n\
             verify_within = \"10m\"\n[wake.file]\npath = \"{}\"\n{}",
            100 + number,
            inbox.display(),
            session("one", "\"none\"")
        )
    };
    let mut daemon = rig.worker(&text(0));
    rig.becomes(&pair.b.session, Life::Alive);
    let sent = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut sent = 0;
            while !rig.path("enough").exists() {
                rig.send(&pair.a, "a message");
                sent += 1;
                if sent % 3 == 0 {
                    rig.fetch(&pair.b);
                }
            }
            sent
        });
        for number in 1..=30 {
            rig.config("worker", &text(number));
            let state = daemon.reload();
            assert_eq!(state.generation, number as u64 + 1);
            let error = state.last_reload.and_then(|last| last.error);
            assert_eq!(error, None);
        }
        std::fs::write(rig.path("enough"), "").expect("written");
        load.join().expect("sent")
    });
    rig.fetch(&pair.b);
    // It still listens.
    let before = std::fs::read_to_string(&inbox).map_or(0, |text| text.lines().count());
    rig.last_wake(&pair.b.session, "verified");
    rig.send(&pair.a, "the last one");
    wait_for("the wake", || {
        let now = std::fs::read_to_string(&inbox).expect("written");
        (now.lines().count() > before).then_some(())
    });
    println!("{sent} messages during 30 reloads");
    assert!(daemon.is_running());
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    assert_eq!(said.count("the new settings are active"), 30);
}

#[test]
fn a_stop_drains_and_lets_the_sessions_go() {
    let rig = Rig::new();
    rig.without_limits();
    let pair = rig.pair("one");
    let script = rig.script("hang", "echo $$ > hanging.pid; exec sleep 1000");
    let text = format!(
        "{QUICK}[wake]\norder = [\"exec\"]\n[wake.exec]\ncommand = [\"{}\"]\ntimeout = \"5m\"\n{}",
        script.display(),
        session("one", "\"none\"")
    );
    let config = rig.config("worker", &text);
    let mut command = rig.command(&config);
    command.current_dir(rig.dir.path());
    let mut daemon = Daemon::start(&mut command, &config);
    daemon.ready();
    rig.becomes(&pair.b.session, Life::Alive);
    // Under load, with a command that does not end.
    let started = Instant::now();
    let (code, said) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !rig.path("enough").exists() {
                rig.send(&pair.a, "a message");
            }
        });
        let pid = wait_for("the command", || {
            std::fs::read_to_string(rig.path("hanging.pid"))
                .ok()
                .filter(|pid| pid.ends_with('\n'))
        });
        let ended = daemon.finish();
        std::fs::write(rig.path("enough"), "").expect("written");
        wait_for("the end of the command", || {
            (!rig::is_alive(&pid)).then_some(())
        });
        ended
    });
    println!("stopped under load after {:?}", started.elapsed());
    assert_eq!(code, Some(0));
    said.never("did not finish");
    let beat = rig.view(&pair.b.session).heartbeat.expect("a heartbeat");
    assert!(beat.released && beat.exited_at.is_none());
    let daemons = rig.store.daemons();
    let daemons = rig.block_on(daemons).expect("listed");
    assert!(daemons[0].stopped_at.is_some());
    assert!(!rig.path("worker.state.json").exists());
}

#[test]
fn second_signal_stops_without_grace() {
    let rig = Rig::new();
    rig.pair("one");
    let text = |grace: &str| {
        // The rig's own table, continued.
        format!(
            "shutdown_grace = \"{grace}\"\n{QUICK}{}",
            session("one", "\"none\"")
        )
    };
    // A store that does not let go keeps the round from ending.
    let writer = rig.foreign();
    let words = [
        "duties did not finish within 100ms: ending them",
        "second signal: ending at once",
    ];
    for (grace, signals, words) in [
        ("100ms", 1, Some(words[0])),
        ("1m", 2, Some(words[1])),
        // As it is by default: as long as a call of the store may take, so that
        // either comes first.
        ("4s", 1, None),
    ] {
        let mut daemon = rig.worker(&text(grace));
        daemon.shows("its session", |s| s.status.contains("1 session alive"));
        writer.execute_batch("BEGIN IMMEDIATE").expect("locked");
        let begun = Instant::now();
        for _ in 0..signals {
            daemon.signal(Signal::TERM);
            daemon.says("stopping");
        }
        let code = daemon.wait();
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        if let Some(words) = words {
            assert_eq!(code, Some(1));
            daemon.says(words);
        }
        writer.execute_batch("ROLLBACK").expect("let go");
    }
}

#[test]
fn exit_codes_and_words_for_a_wrong_start() {
    let rig = Rig::new();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_mcp-bridged"))
            .args(arguments)
            .env("HOME", rig.dir.path())
            .env("NO_COLOR", "1")
            .output()
            .expect("run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let file = |text: &str| {
        let path = rig.path("try.toml");
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("text").to_owned()
    };
    let (code, _, err) = run(&[]);
    assert_eq!(code, Some(2));
    assert!(err.contains("--config"), "{err}");

    let good = rig.config("good", &session("one", "\"none\""));
    let (code, out, err) = run(&["--config", good.to_str().expect("text"), "--check"]);
    assert_eq!(code, Some(0));
    // Its credentials may come later, and are missed until then.
    assert!(
        err.starts_with("warning: ") && err.contains("one.toml: there is no such file"),
        "{err}"
    );
    assert!(
        out.contains("ok: ") && out.contains("role worker, 1 session, store "),
        "{out}"
    );
    assert!(
        !rig.path("good.state.json").exists(),
        "a check starts nothing"
    );

    for (text, words) in [
        ("role = \"wroker\"\n", &["wroker", "worker"][..]),
        (
            "role = \"worker\"\n[heartbaet]\ninterval = \"5s\"\n",
            &["heartbaet"],
        ),
        (
            "role = \"worker\"\n[heartbeat]\ninterval = 5\n",
            &["heartbeat.interval"],
        ),
        (
            "role = \"worker\"\n[heartbeat]\ninterval = \"soon\"\n",
            &["heartbeat.interval", "soon"],
        ),
        ("role = \"worker\n", &["try.toml"]),
        (
            "role = \"worker\"\n[[session]]\nproof = \"none\"\n[[session]]\ncredentials = \"x\"\n",
            &["credentials", "proof"],
        ),
    ] {
        let path = file(text);
        for check in [&["--check"][..], &[]] {
            let mut arguments = vec!["--config", path.as_str()];
            arguments.extend_from_slice(check);
            let (code, out, err) = run(&arguments);
            assert_eq!((code, out.as_str()), (Some(78), ""), "{text}: {err}");
            for word in words {
                assert!(err.contains(word), "{word} in {err}");
            }
        }
    }
    let (code, _, err) = run(&["--config", "/nowhere/worker.toml"]);
    assert_eq!(code, Some(78));
    assert!(err.contains("/nowhere/worker.toml"), "{err}");
    let (code, _, err) = run(&["--config", rig.dir.path().to_str().expect("text")]);
    assert_eq!(code, Some(78), "{err}");
    let url = "role = \"worker\"\n[store]\nurl = \"postgres://user:hunter2@host/db\"\n";
    let (code, _, err) = run(&["--config", &file(url)]);
    assert_eq!(code, Some(78), "{err}");
    assert!(!err.contains("hunter2"), "{err}");
    for check in [&["--check"][..], &[]] {
        let output = Command::new(env!("CARGO_BIN_EXE_mcp-bridged"))
            .arg("--config")
            .arg(&good)
            .args(check)
            .env("HOME", rig.dir.path())
            .env("NO_COLOR", "1")
            .env("MCP_BRIDGE_STORE", "postgres://user:hunter2@host/db")
            .output()
            .expect("run");
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{err}");
        assert!(err.contains("error: MCP_BRIDGE_STORE: "), "{err}");
        assert!(err.contains("only SQLite is supported"), "{err}");
        assert!(!err.contains("hunter2"), "{err}");
    }
}

/// A journal's socket, and how to start a program that finds it at its place, in
/// a name space of its own; `None` where this user may not make one.
fn behind_a_journal(rig: &Rig) -> Option<(UnixDatagram, Vec<String>)> {
    let journal = UnixDatagram::bind(rig.path("journal")).expect("bound");
    // stderr goes to a socket, too, and its number is what systemd would name.
    let script = format!(
        "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
         touch /run/systemd/journal/socket && \
         mount --bind {} /run/systemd/journal/socket && \
         JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec \"$@\"",
        rig.path("journal").display()
    );
    let wrapper = [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        &script,
        "sh",
    ];
    let tried = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg("true")
        .stderr(Stdio::null())
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        println!("skipped: this user may not make a mount name space");
        return None;
    }
    Some((journal, wrapper.map(str::to_owned).to_vec()))
}

#[test]
fn journal_that_stands_still_holds_up_no_duty() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let Some((journal, wrapper)) = behind_a_journal(&rig) else {
        return;
    };
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    std::fs::write(rig.path("one.pid"), "").expect("written");
    let mut agent = Agent::with_file(&rig, "one.pid");
    let proof = format!("{{ pid = {} }}", agent.0.id());
    let trace = "[log]\nlevel = \"trace\"\n";
    let text = format!("{QUICK}{trace}{}", session("one", &proof));
    let config = rig.config("worker", &text);
    let mut daemon = Daemon::start(&mut rig.command_behind(&wrapper, &config), &config);
    // Its socket holds no more than a few records, and nothing reads them.
    rig.becomes(&pair.b.session, Life::Alive);
    agent.end();
    rig.becomes(&pair.b.session, Life::Exited);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    // Those that the socket held are whole.
    journal.set_nonblocking(true).expect("set");
    let mut buffer = vec![0; 1 << 18];
    let length = journal.recv(&mut buffer).expect("an entry");
    let first = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(first.contains("MCP_ROLE=worker"), "{first}");
}

/// What `daemon 2>&1 | less` leads to, and a terminal that was stopped.
#[test]
fn pipe_that_nothing_reads_holds_up_no_duty() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    std::fs::write(rig.path("one.pid"), "").expect("written");
    let mut agent = Agent::with_file(&rig, "one.pid");
    let proof = format!("{{ pid = {} }}", agent.0.id());
    let trace = "[log]\nlevel = \"trace\"\n";
    let text = format!("{QUICK}{trace}{}", session("one", &proof));
    let config = rig.config("worker", &text);
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    rustix::io::ioctl_fionbio(&writer, true).expect("set");
    while writer.write(&[b'.'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).expect("set");
    let mut daemon = Daemon::start_into(&mut rig.command(&config), &config, writer.into());
    rig.becomes(&pair.b.session, Life::Alive);
    agent.end();
    rig.becomes(&pair.b.session, Life::Exited);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    drop(reader);
}

#[test]
fn the_journal_gets_fields() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let Some((journal, wrapper)) = behind_a_journal(&rig) else {
        return;
    };
    let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    std::fs::write(rig.path("one.pid"), "").expect("written");
    let mut agent = Agent::with_file(&rig, "one.pid");
    let proof = format!("{{ pid = {} }}", agent.0.id());
    let text = format!("{QUICK}{}", session("one", &proof));
    let config = rig.config("worker", &text);
    let mut daemon = Daemon::start(&mut rig.command_behind(&wrapper, &config), &config);
    rig.becomes(&pair.b.session, Life::Alive);
    agent.end();
    journal.set_read_timeout(Some(PATIENCE)).expect("set");
    let mut buffer = [0; 65536];
    let entry = loop {
        let length = journal.recv(&mut buffer).expect("an entry");
        let entry = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if entry.contains("session-exited") {
            break entry;
        }
    };
    // A field is NAME=VALUE, or NAME, a length in eight bytes, and the value.
    for field in [
        ("MESSAGE", "the agent of one/b has ended"),
        ("MCP_EVENT", "session-exited"),
        ("MESSAGE_ID", "a6394cae5bb84b7ca2791736f31d879b"),
        ("MCP_ROLE", "worker"),
        ("MCP_DUTY", "heartbeat"),
        ("MCP_SESSION", &pair.b.session.to_string()),
        ("MCP_CONVERSATION", pair.id.as_str()),
        ("PRIORITY", "4"),
    ] {
        let (name, value) = field;
        let found = entry.split(name).skip(1).any(|rest| {
            rest.strip_prefix('=')
                .or_else(|| rest.strip_prefix('\n').and_then(|rest| rest.get(8..)))
                .is_some_and(|rest| rest.starts_with(value))
        });
        assert!(found, "{name}={value} in {entry:?}");
    }
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(), Some(0));
    assert_eq!(daemon.log, Vec::<String>::new(), "nothing twice");
}

/// Everything that may go wrong at once, and then a search for what must not
/// stand anywhere.
#[test]
fn neither_tokens_nor_messages_show_anywhere() {
    let rig = Rig::new();
    let body = "the-body-of-a-message";
    let (one, two, three) = (rig.pair("one"), rig.pair("two"), rig.pair("three"));
    let dump = rig.path("dump");
    let script = rig.script(
        "dump",
        &format!(
            "{{ tr '\\0' '\\n' < /proc/$$/environ; tr '\\0' ' ' < /proc/$$/cmdline; cat; }} >> {0}\n\
             echo done >> {0}.done; exit 1",
            dump.display()
        ),
    );
    let inbox = rig.path("inbox");
    std::fs::write(
        rig.path("malformed.toml"),
        format!(
            "[[session]]\nconversation = \"{}\"\nsession = \"b\"\ntoken = \"{}\nx",
            three.id,
            three.b.token.expose()
        ),
    )
    .expect("written");
    rig.write_credentials(
        "wrong",
        &[&mcp_bridge::store::Caller {
            session: three.b.session.clone(),
            token: two.a.token.clone(),
        }],
    );
    let text = format!(
        "[log]\nlevel = \"trace\"\n{QUICK}[wake]\norder = [\"exec\", \"file\"]\n\
         verify_within = \"100ms\"\nbackoff = \"100ms\"\n[wake.exec]\ncommand = [\"{}\"]\n\
         [wake.file]\npath = \"{}\"\n{}{}{}{}",
        script.display(),
        inbox.display(),
        session("one", "\"none\""),
        session("two", "\"none\""),
        session("malformed", "\"none\""),
        session("wrong", "\"none\""),
    );
    let daemon = rig.worker(&text);
    rig.send(&one.a, body);
    rig.send(&two.a, body);
    wait_for("two rounds of wakes", || {
        let text = std::fs::read_to_string(&inbox).ok()?;
        (text.lines().count() >= 4).then_some(())
    });
    daemon.reload();
    rig.config("worker", &format!("{text}\nnonsense = 1\n"));
    daemon.reload();
    assert_eq!(rig.fetch(&one.b), [body]);
    // Whether a wake was waiting for it at that moment or not.
    daemon.shows("one left", |s| s.status.contains("1 unread"));
    let pid = daemon.child.id();
    let of_proc = |name: &str| {
        String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/{name}")).expect("read"))
            .into_owned()
    };
    let mut places = vec![
        ("command line", of_proc("cmdline")),
        ("environment", of_proc("environ")),
        ("name", of_proc("comm")),
        ("state", format!("{:?}", daemon.state())),
    ];
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    assert!(said.0.len() > 50, "trace is a lot");
    places.push(("log", said.0.join("\n")));
    for name in ["dump", "inbox"] {
        places.push((name, std::fs::read_to_string(rig.path(name)).expect("read")));
    }
    for pair in [&one, &two, &three] {
        for caller in [&pair.a, &pair.b] {
            let token = caller.token.expose();
            for (place, text) in &places {
                assert!(!text.contains(token), "a token in the {place}");
                assert!(!text.contains(body), "a message in the {place}");
            }
            let reasons: String = rig
                .wakes(&caller.session)
                .into_iter()
                .map(|row| row.reason)
                .collect();
            assert!(!reasons.contains(token) && !reasons.contains(body));
        }
    }
}

/// Ticks of processor time that a process has used.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().expect("a number"))
        .sum()
}

/// What it costs: printed, and nothing asserted of it.
#[test]
fn figures() {
    let rig = Rig::new();
    let agent = Agent::with_file(&rig, "agent.pid");
    let mut text = String::new();
    let mut pairs = Vec::new();
    for number in 0..100 {
        let name = format!("s{number}");
        pairs.push(rig.pair(&name));
        let proof = format!("{{ pid = {} }}", agent.0.id());
        text.push_str(&session(&name, &proof));
    }
    let config = rig.config("worker", &text);
    let mut manager = Manager::new(&rig);
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let started = Instant::now();
            let daemon = Manager::start(&rig, &config, None);
            manager.hears("READY=1");
            let took = started.elapsed();
            assert_eq!(daemon.stop(), Some(0));
            took
        })
        .collect();
    times.sort();
    println!(
        "ready with 100 sessions: p50 {:?}, max {:?} of {}",
        times[times.len() / 2],
        times[times.len() - 1],
        times.len()
    );

    let daemon = Manager::start(&rig, &config, None);
    daemon.shows("all alive", |s| s.status.contains("100 sessions alive"));
    let span = Duration::from_secs(if full() { 120 } else { 5 });
    let (before, started) = (ticks(daemon.child.id()), Instant::now());
    // A span of idling is what is measured.
    std::thread::park_timeout(span);
    let used = ticks(daemon.child.id()) - before;
    println!(
        "idle with 100 sessions: {:.3} % of a core over {:?}, RSS {:.1} MiB (anonymous {:.1} MiB), {} threads",
        used as f64 * 100.0
            / rustix::param::clock_ticks_per_second() as f64
            / started.elapsed().as_secs_f64(),
        started.elapsed(),
        daemon.status("VmRSS") as f64 / 1024.0,
        daemon.status("RssAnon") as f64 / 1024.0,
        daemon.status("Threads"),
    );
    let reloads = if full() { 500 } else { 20 };
    let mut memory = Vec::new();
    for number in 0..reloads {
        daemon.reload();
        if number % (reloads / 4) == 0 || number + 1 == reloads {
            memory.push(daemon.status("RssAnon"));
        }
    }
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", daemon.child.id()))
        .expect("listed")
        .count();
    println!("over {reloads} reloads: anonymous KiB {memory:?}, {descriptors} descriptors");
    assert_eq!(daemon.stop(), Some(0));
}
