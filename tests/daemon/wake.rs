//! How an agent is made to look, and what happens when it does not.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot make its files has nothing to say; what it measured, it prints"
)]

use crate::common::daemon as rig;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::daemon::{Agent, Daemon, QUICK, Rig, full, is_alive, session, wait_for};
use mcp_bridge::model::MessageId;
use mcp_bridge::model::health::Turn;
use mcp_bridge::model::session::Life;
use mcp_bridge::model::wake::WakeOutcome;
use mcp_bridge::store::WakeClaim;
use mcp_bridge::{clock, host};
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

fn exec(script: &Path) -> String {
    format!(
        "[session.wake.exec]\ncommand = [\"{}\"]\n",
        script.display()
    )
}

fn file(path: &Path) -> String {
    format!("[session.wake.file]\npath = \"{}\"\n", path.display())
}

/// A session without proof that is woken so.
fn woken(name: &str, keys: &str, adapters: &str) -> String {
    format!(
        "{}[session.wake]\n{keys}\n{adapters}",
        session(name, "\"none\"")
    )
}

/// A session that is woken by lines in `NAME.inbox`.
fn by_file(rig: &Rig, name: &str, keys: &str) -> String {
    let keys = format!("order = [\"file\"]\n{keys}");
    woken(name, &keys, &file(&rig.path(&format!("{name}.inbox"))))
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

#[track_caller]
fn has_lines(path: &Path, count: usize) {
    wait_for(&format!("{count} lines in {}", path.display()), || {
        (lines(path) >= count).then_some(())
    });
}

fn inbox(rig: &Rig, name: &str) -> std::path::PathBuf {
    rig.path(&format!("{name}.inbox"))
}

#[test]
fn command_gets_a_pointer_and_proves_by_fetch() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let dir = rig.dir.path().display();
    let bridge = env!("CARGO_BIN_EXE_mcp-bridge");
    let script = rig.script(
        "nudge",
        &format!(
            "cat > {dir}/stdin\nenv > {dir}/environment\ntr '\\0' ' ' < /proc/$$/cmdline > {dir}/arguments\n\
             {bridge} check > {dir}/checked.new 2>&1 && mv {dir}/checked.new {dir}/checked"
        ),
    );
    let text = woken("one", "order = [\"exec\"]", &exec(&script));
    let config = rig.config("worker", &text);
    let mut command = rig.command(&config);
    command
        .env("MCP_BRIDGE_TOKEN", "of another agent")
        .env("MCP_BRIDGE__LOG__LEVEL", "info")
        .env("NOTIFY_SOCKET", rig.path("nobody"));
    let mut daemon = Daemon::start(&mut command, &config);
    daemon.ready();
    rig.send(&pair.a, "the secret plan");
    let read = |name: &str| std::fs::read_to_string(rig.path(name)).expect("written");
    wait_for("the fetch", || rig.path("checked").exists().then_some(()));
    assert!(
        read("checked").contains("the secret plan"),
        "{}",
        read("checked")
    );
    daemon.says("looked");
    assert_eq!(rig.last_wake(&pair.b.session, "verified").adapter, "exec");
    assert_eq!(
        rig.view(&pair.b.session).wake.as_deref(),
        Some("exec: verified")
    );

    let pointer: Value = serde_json::from_str(&read("stdin")).expect("JSON");
    for (key, value) in [
        ("event", "messages".into()),
        ("conversation", pair.id.as_str().into()),
        ("session", "b".into()),
        ("label", "one".into()),
        ("unread", Value::from(1)),
    ] {
        assert_eq!(pointer[key], value, "{key}");
    }
    let environment = read("environment");
    for line in [
        format!("MCP_BRIDGE_WAKE_CONVERSATION={}", pair.id),
        "MCP_BRIDGE_WAKE_SESSION=b".into(),
        "MCP_BRIDGE_WAKE_LABEL=one".into(),
        "MCP_BRIDGE_WAKE_UNREAD=1".into(),
        format!("MCP_BRIDGE_CREDENTIALS={}", rig.path("one.toml").display()),
        format!("MCP_BRIDGE_STORE={}", rig.path("bridge.db").display()),
    ] {
        assert!(
            environment.lines().any(|l| l == line),
            "{line} in {environment}"
        );
    }
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    for told in [
        read("stdin"),
        environment,
        read("arguments"),
        said.0.join("\n"),
    ] {
        for secret in [
            "secret plan",
            pair.a.token.expose(),
            pair.b.token.expose(),
            "of another agent",
            "NOTIFY_SOCKET",
            "MCP_BRIDGE__",
        ] {
            assert!(!told.contains(secret), "{secret} in {told}");
        }
    }
}

#[test]
fn wake_command_is_not_confined_as_the_store_is() {
    let (rig, outside) = (Rig::new(), tempfile::tempdir().expect("a directory"));
    let status = outside.path().join("status");
    let script = format!(
        "cat /proc/self/status > {0}.part && mv {0}.part {0}",
        status.display()
    );
    let text = woken(
        "one",
        "order = [\"exec\"]",
        &exec(&rig.script("one", &script)),
    );
    let pair = rig.pair("one");
    let daemon = rig.worker(&text);
    rig.send(&pair.a, "hello");
    let said = wait_for("a file that the command writes outside the store", || {
        std::fs::read_to_string(&status).ok()
    });
    let line = |text: &str, name: &str| -> Option<String> {
        text.lines()
            .find(|line| line.starts_with(name))
            .map(str::to_owned)
    };
    let ours = std::fs::read_to_string("/proc/self/status").expect("readable");
    for name in ["Uid:", "Groups:", "NoNewPrivs:"] {
        assert_eq!(line(&said, name), line(&ours, name));
    }
    drop(daemon);
}

#[test]
fn failing_command_is_named_and_the_next_tried() {
    let rig = Rig::new();
    let dir = rig.dir.path().display().to_string();
    let scripts = [
        ("missing", String::new(), "was not found"),
        (
            "fails",
            "echo it went wrong >&2; exit 3".into(),
            "failed: exit status: 3; it said: it went wrong",
        ),
        (
            "hangs",
            format!("sleep 1000 & echo $! > {dir}/child; wait"),
            "did not end within 1s and was killed",
        ),
        (
            "floods",
            "yes flooded | head -c 100000000; exit 1".into(),
            "it said: flooded flooded",
        ),
        ("dies", "kill -SEGV $$".into(), "failed: signal: 11"),
    ];
    let mut text = String::new();
    let pairs = scripts.each_ref().map(|(name, script, _)| {
        let path = match *name {
            "missing" => rig.path("nowhere"),
            _ => rig.script(name, script),
        };
        let limit = if *name == "hangs" { "1s" } else { "5m" };
        let adapters = format!(
            "{}timeout = \"{limit}\"\n{}",
            exec(&path),
            file(&inbox(&rig, name))
        );
        let keys = "order = [\"exec\", \"file\"]\nverify_within = \"10m\"";
        text.push_str(&woken(name, keys, &adapters));
        rig.pair(name)
    });
    let mut daemon = rig.worker(&text);
    for pair in &pairs {
        rig.send(&pair.a, "hello");
    }
    for ((name, _, why), pair) in scripts.iter().zip(&pairs) {
        has_lines(&inbox(&rig, name), 1);
        let rows = rig.wakes(&pair.b.session);
        assert_eq!(
            (rows[0].adapter.as_str(), rows.len()),
            ("exec", 2),
            "{rows:?}"
        );
        assert_eq!(rows[0].outcome.as_deref(), Some("unverified"), "{rows:?}");
        assert!(rows[0].reason.contains(why), "{rows:?}");
        assert!(rows[0].reason.len() < 700, "{} bytes", rows[0].reason.len());
        assert_eq!(
            (rows[1].adapter.as_str(), &rows[1].outcome),
            ("file", &None)
        );
        let line = daemon.says(&format!("exec did not wake {}", pair.name));
        assert!(line.contains(why) && line.len() < 1200, "{line}");
        assert_eq!(rig.view(&pair.b.session).unread, 1, "nothing is lost");
        assert_eq!(rig.fetch(&pair.b), ["hello"]);
        assert_eq!(rig.last_wake(&pair.b.session, "verified").adapter, "file");
    }
    let child = std::fs::read_to_string(rig.path("child")).expect("written");
    wait_for("the end of the hanging command's child", || {
        (!is_alive(&child)).then_some(())
    });
    let peak = daemon.status("VmHWM");
    assert!(peak < 150_000, "{peak} KiB: the flood was not kept out");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn output_of_a_command_is_logged_without_mail() {
    let rig = Rig::new();
    let bridge = env!("CARGO_BIN_EXE_mcp-bridge");
    let scripts = [
        ("talks", "echo sent a nudge; echo to the pane".to_owned()),
        ("hangs", "echo no pane of that name; sleep 1000".to_owned()),
        ("fetches", format!("{bridge} check")),
        ("fails", format!("{bridge} check; exit 3")),
        ("peeks", format!("{bridge} check --peek")),
        ("watches", format!("{bridge} watch | head -n 1; exit 3")),
        ("floods", "yes yyy | head -c 100000".to_owned()),
    ];
    let mut text = String::new();
    let pairs = scripts.each_ref().map(|(name, script)| {
        let limit = if *name == "hangs" { "500ms" } else { "5m" };
        let adapters = format!(
            "{}timeout = \"{limit}\"\noutput_limit = 1000\n",
            exec(&rig.script(name, script))
        );
        let keys = "order = [\"exec\"]\nverify_within = \"10m\"";
        text.push_str(&woken(name, keys, &adapters));
        rig.pair(name)
    });
    let mut daemon = rig.worker(&text);
    for pair in &pairs {
        rig.send(&pair.a, "the secret plan");
    }
    let [talks, hangs, fetches, _, peeks, watches, floods] = &pairs;
    let said = |pair: &rig::Pair, what: &str| format!("woke {} said: {what}", pair.name);
    let line = daemon.says(&said(talks, "sent a nudge to the pane"));
    assert!(line.contains("event=\"wake-output\""), "{line}");
    daemon.says("within 500ms and was killed; it said: no pane of that name");
    for pair in [fetches, peeks] {
        daemon.says(&said(pair, "(not shown"));
    }
    let row = rig.last_wake(&watches.b.session, "spent");
    assert!(row.reason.contains("(not shown"), "{row:?}");
    let line = daemon.says(&said(floods, "yyy yyy"));
    assert!((1000..1500).contains(&line.len()), "{} bytes", line.len());
    let row = rig.last_wake(&hangs.b.session, "spent");
    assert!(row.reason.ends_with("no pane of that name"), "{row:?}");
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    said.never("secret plan");
}

#[test]
fn every_way_is_retried_and_the_log_stays_short() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let runs = rig.path("runs");
    let script = rig.script("nudge", &format!("echo >> {}", runs.display()));
    let keys = "order = [\"exec\", \"file\"]\nverify_within = \"100ms\"\n\
                backoff = \"100ms\"\nbackoff_max = \"200ms\"";
    let adapters = exec(&script) + &file(&inbox(&rig, "one"));
    let mut daemon = rig.worker(&woken("one", keys, &adapters));
    rig.send(&pair.a, "hello");
    has_lines(&inbox(&rig, "one"), 5);
    has_lines(&runs, 5);
    daemon.says("it did not fetch within 100ms; trying the next adapter");
    daemon.says("it did not fetch within 100ms; no adapter is left");
    let rows = rig.wakes(&pair.b.session);
    assert_eq!(rows[0].outcome.as_deref(), Some("unverified"), "{rows:?}");
    assert_eq!(rows[1].outcome.as_deref(), Some("spent"), "{rows:?}");
    assert_eq!(rig.fetch(&pair.b), ["hello"]);
    daemon.says("looked");
    // What comes after is announced again, whether the fetch fell into a wake or into a
    // pause.
    let before = lines(&inbox(&rig, "one"));
    rig.send(&pair.a, "again");
    has_lines(&inbox(&rig, "one"), before + 2);
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    let spent = said.count("no adapter is left");
    assert!(spent <= 2, "once each time: {spent}");
    assert!(said.count("waking") <= 5, "{}", said.0.join("\n"));
}

#[test]
fn a_hundred_messages_are_one_wake() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let daemon = rig.worker(&by_file(&rig, "one", "verify_within = \"10m\""));
    let inbox = inbox(&rig, "one");
    rig.without_limits();
    rig.send(&pair.a, "0");
    has_lines(&inbox, 1);
    for number in 1..100 {
        rig.send(&pair.a, &number.to_string());
    }
    daemon.shows("all of them", |s| {
        s.status.contains("100 unread, 1 session woken")
    });
    assert_eq!(rig.fetch(&pair.b).len(), 100);
    rig.last_wake(&pair.b.session, "verified");
    assert_eq!(lines(&inbox), 1);
    // The mark of the wake is the newest message at its time.
    rig.send(&pair.a, "100");
    has_lines(&inbox, 2);
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    assert_eq!(said.count("waking"), 2);
}

#[test]
fn agent_of_many_sessions_is_called_once() {
    let rig = Rig::new();
    let pairs: Vec<_> = (0..10)
        .map(|number| rig.pair_without_file(&format!("team-{number}")))
        .collect();
    let callers: Vec<_> = pairs.iter().map(|pair| &pair.b).collect();
    rig.write_credentials("team", &callers);
    let daemon = rig.worker(&by_file(&rig, "team", "verify_within = \"10m\""));
    let inbox = inbox(&rig, "team");
    for pair in &pairs {
        rig.send(&pair.a, "done");
    }
    daemon.shows("all of them", |s| {
        s.status.contains("10 unread, 1 session woken")
    });
    for pair in &pairs {
        assert_eq!(rig.fetch(&pair.b), ["done"]);
    }
    daemon.shows("none of them", |s| s.status.contains("0 unread"));
    assert_eq!(lines(&inbox), 1);
    // What it left is called for as soon as it has looked at the other.
    rig.send(&pairs[0].a, "again");
    has_lines(&inbox, 2);
    rig.send(&pairs[1].a, "again");
    daemon.shows("both", |s| s.status.contains("2 unread, 1 session woken"));
    assert_eq!(lines(&inbox), 2);
    assert_eq!(rig.fetch(&pairs[0].b), ["again"]);
    has_lines(&inbox, 3);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn neglected_session_holds_up_no_other() {
    let rig = Rig::new();
    let (ignored, other) = (rig.pair_without_file("one"), rig.pair_without_file("two"));
    rig.write_credentials("team", &[&ignored.b, &other.b]);
    let keys = "verify_within = \"200ms\"\nbackoff = \"1h\"\nbackoff_max = \"1h\"";
    let mut daemon = rig.worker(&by_file(&rig, "team", keys));
    rig.send(&ignored.a, "unread");
    has_lines(&inbox(&rig, "team"), 1);
    rig.send(&other.a, "hello");
    daemon.says(&format!("file did not wake {}", ignored.name));
    has_lines(&inbox(&rig, "team"), 2);
    rig.last_wake(&other.b.session, "spent");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn mail_read_before_the_wake_wakes_no_agent() {
    let rig = Rig::new();
    let (one, two) = (rig.pair("one"), rig.pair("two"));
    let text = by_file(&rig, "one", "") + &by_file(&rig, "two", "");
    let daemon = rig.worker(&text);
    // Until it listens: what it does not see at all proves nothing.
    rig.send(&one.a, "first");
    has_lines(&inbox(&rig, "one"), 1);
    rig.fetch(&one.b);
    rig.last_wake(&one.b.session, "verified");
    daemon.pause(&rig);
    rig.send(&one.a, "second");
    assert_eq!(rig.fetch(&one.b), ["second"]);
    rig.send(&two.a, "third");
    daemon.signal(Signal::CONT);
    has_lines(&inbox(&rig, "two"), 1);
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(lines(&inbox(&rig, "one")), 1);
}

/// Calls in as `mcp-bridge heartbeat` does.
fn call_in(rig: &Rig, caller: &mcp_bridge::store::Caller, turn: Option<Turn>) {
    let (minute, boot) = (Duration::from_secs(60), host::boot());
    let call = rig.store.call_in(caller, minute, turn, &boot, clock::now());
    rig.block_on(call).expect("called");
}

#[test]
fn only_a_fetch_is_evidence_not_heartbeats() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let runs = rig.path("runs");
    let script = rig.script("nudge", &format!("echo >> {}", runs.display()));
    let keys = "order = [\"exec\", \"file\"]\nverify_within = \"100ms\"\n\
                backoff = \"100ms\"\nbackoff_max = \"1h\"";
    let adapters = exec(&script) + &file(&inbox(&rig, "one"));
    let daemon = rig.worker(&woken("one", keys, &adapters));
    rig.send(&pair.a, "hello");
    // All ways, twice over, however often the agent calls.
    wait_for("the second round", || {
        call_in(&rig, &pair.b, None);
        (lines(&inbox(&rig, "one")) >= 2).then_some(())
    });
    let rows = rig.wakes(&pair.b.session);
    let outcomes: Vec<Option<&str>> = rows.iter().map(|row| row.outcome.as_deref()).collect();
    assert_eq!(
        outcomes[..2],
        [Some("unverified"), Some("spent")],
        "{rows:?}"
    );
    assert!(!outcomes.contains(&Some("verified")), "{rows:?}");
    assert_eq!(rig.fetch(&pair.b), ["hello"]);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn wake_of_a_busy_agent_stays_open() {
    let rig = Rig::new();
    let (one, other) = (rig.pair("one"), rig.pair("other"));
    let runs = rig.path("runs");
    let script = rig.script("nudge", &format!("echo >> {}", runs.display()));
    let keys = |longest: &str| {
        format!(
            "order = [\"exec\", \"file\"]\nverify_within = \"200ms\"\n\
             backoff = \"100ms\"\nbackoff_max = \"{longest}\""
        )
    };
    let ways = exec(&script) + &file(&inbox(&rig, "one"));
    let beat = by_file(
        &rig,
        "other",
        "verify_within = \"200ms\"\nbackoff = \"100ms\"\nbackoff_max = \"200ms\"",
    );
    let daemon = rig.worker(&(woken("one", &keys("1h"), &ways) + &beat));
    call_in(&rig, &one.b, Some(Turn::Inside));
    rig.send(&one.a, "hello");
    has_lines(&runs, 1);
    // The other session is tried as often: it tells the time.
    rig.send(&other.a, "tick");
    has_lines(&inbox(&rig, "other"), 6);
    assert_eq!((lines(&runs), lines(&inbox(&rig, "one"))), (1, 0));
    assert_eq!(rig.wakes(&one.b.session)[0].outcome, None, "still open");
    // Its turn ends, and it has not fetched.
    call_in(&rig, &one.b, Some(Turn::Outside));
    has_lines(&inbox(&rig, "one"), 1);
    let rows = rig.wakes(&one.b.session);
    assert_eq!(rows[0].outcome.as_deref(), Some("unverified"), "{rows:?}");
    assert_eq!(rig.fetch(&one.b), ["hello"]);
    // However busy: not for ever.
    rig.config("worker", &(woken("one", &keys("300ms"), &ways) + &beat));
    daemon.reload();
    call_in(&rig, &one.b, Some(Turn::Inside));
    let (ran, got) = (lines(&runs), lines(&inbox(&rig, "one")));
    rig.send(&one.a, "again");
    has_lines(&runs, ran + 1);
    has_lines(&inbox(&rig, "one"), got + 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn successor_is_woken_instead_of_an_ended_agent() {
    let rig = Rig::new();
    let (one, other) = (rig.pair("one"), rig.pair("other"));
    let keys = "order = [\"file\"]\nverify_within = \"200ms\"\nbackoff = \"100ms\"\n\
                backoff_max = \"200ms\"";
    let pid_file = rig.path("one.pid");
    let proven = format!(
        "{}[session.wake]\n{keys}\n{}",
        session(
            "one",
            &format!("{{ pid_file = \"{}\" }}", pid_file.display())
        ),
        file(&inbox(&rig, "one"))
    );
    let beat = woken("other", keys, &file(&inbox(&rig, "other")));
    let text = format!("{QUICK}{proven}{beat}");
    let mut agent = Agent::with_file(&rig, "one.pid");
    let mut daemon = rig.worker(&text);
    rig.becomes(&one.b.session, Life::Alive);
    rig.send(&one.a, "to the first");
    has_lines(&inbox(&rig, "one"), 1);
    agent.end();
    daemon.says("has ended");
    // The status may be of before the message.
    wait_for("its wake to end", || {
        let rows = rig.wakes(&one.b.session);
        let ended = rows.iter().all(|row| row.outcome.is_some());
        (ended && !rows.is_empty()).then_some(())
    });
    daemon.shows("its mail to have no reader", |s| {
        s.status.contains("0 unread")
    });
    let before = lines(&inbox(&rig, "one"));
    // The other session is tried as often: it tells the time.
    rig.send(&other.a, "tick");
    rig.send(&one.a, "to none");
    has_lines(&inbox(&rig, "other"), 4);
    assert_eq!(lines(&inbox(&rig, "one")), before);
    // Neither does a daemon that was started later, from what the store says.
    assert_eq!(daemon.stop(), Some(0));
    let daemon = rig.worker(&text);
    let ticks = lines(&inbox(&rig, "other"));
    has_lines(&inbox(&rig, "other"), ticks + 4);
    assert_eq!(lines(&inbox(&rig, "one")), before);
    let _successor = Agent::with_file(&rig, "one.pid");
    has_lines(&inbox(&rig, "one"), before + 1);
    assert_eq!(rig.fetch(&one.b), ["to the first", "to none"]);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_file_is_appended_to_or_touched() {
    let rig = Rig::new();
    let (one, two) = (rig.pair("one"), rig.pair("two"));
    let touched = inbox(&rig, "two");
    std::fs::write(&touched, "a draft").expect("written");
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let open = std::fs::File::options().write(true).open(&touched);
    open.and_then(|file| file.set_modified(long_ago))
        .expect("set");
    let text = by_file(&rig, "one", "") + &by_file(&rig, "two", "") + "mode = \"touch\"\n";
    let daemon = rig.worker(&text);
    rig.send(&one.a, "hello");
    rig.send(&two.a, "hello");
    has_lines(&inbox(&rig, "one"), 1);
    let line = std::fs::read_to_string(inbox(&rig, "one")).expect("written");
    let pointer: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(pointer["conversation"], one.id.as_str());
    assert!(!line.contains("hello"));
    wait_for("a new time", || {
        let now = std::fs::metadata(&touched).and_then(|meta| meta.modified());
        (now.expect("a time") > long_ago).then_some(())
    });
    assert_eq!(std::fs::read_to_string(&touched).expect("there"), "a draft");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn mail_during_a_kill_wakes_afterwards() {
    let rig = Rig::new();
    let (one, two) = (rig.pair("one"), rig.pair("two"));
    let keys = "verify_within = \"10m\"";
    let text = by_file(&rig, "one", keys) + &by_file(&rig, "two", keys);
    let daemon = rig.worker(&text);
    rig.send(&one.a, "before");
    has_lines(&inbox(&rig, "one"), 1);
    // In the middle of a wake, whose lease holds for another twenty minutes.
    daemon.kill();
    rig.send(&two.a, "meanwhile");
    let daemon = rig.worker(&text);
    has_lines(&inbox(&rig, "two"), 1);
    has_lines(&inbox(&rig, "one"), 2);
    assert_eq!(rig.fetch(&one.b), ["before"]);
    rig.last_wake(&one.b.session, "verified");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn stopped_daemon_leaves_no_wake_open() {
    let rig = Rig::new();
    let (one, two) = (rig.pair("one"), rig.pair("two"));
    let keys = "verify_within = \"10m\"";
    let both = by_file(&rig, "one", keys) + &by_file(&rig, "two", keys);
    let mut daemon = rig.worker(&both);
    rig.send(&one.a, "hello");
    rig.send(&two.a, "hello");
    has_lines(&inbox(&rig, "one"), 1);
    has_lines(&inbox(&rig, "two"), 1);
    rig.config("worker", &by_file(&rig, "two", keys));
    daemon.reload();
    let row = rig.last_wake(&one.b.session, "abandoned");
    assert!(row.reason.contains("not kept here"), "{row:?}");
    daemon.says("released 1 session");
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(
        rig.wakes(&two.b.session)[0].outcome.as_deref(),
        Some("abandoned")
    );
    // Another daemon need not wait for the lease.
    let config = rig.config("other", &both);
    let mut other = rig.daemon(&config);
    other.ready();
    has_lines(&inbox(&rig, "one"), 2);
    has_lines(&inbox(&rig, "two"), 2);
    assert_eq!(other.stop(), Some(0));
}

#[test]
fn wake_claimed_by_another_does_not_use_up_ours() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let runs = rig.path("runs");
    let script = rig.script("nudge", &format!("echo >> {}", runs.display()));
    let keys = "order = [\"exec\", \"file\"]\nverify_within = \"200ms\"\nbackoff = \"1h\"\n\
                backoff_max = \"1h\"";
    let adapters = exec(&script) + &file(&inbox(&rig, "one"));
    let boot = host::boot();
    let claim = |lease| {
        let claim = WakeClaim {
            session: &pair.b.session,
            mark: MessageId(1),
            adapter: "hook",
            claimant: "a waiter",
            lease,
            boot: &boot,
        };
        rig.block_on(rig.store.claim_wake(&claim, clock::now()))
            .expect("claimed")
            .expect("ours")
    };
    rig.send(&pair.a, "hello");
    let waiter = claim(Duration::from_secs(3600));
    let daemon = rig.worker(&woken("one", keys, &adapters));
    // Several times `verify_within`, measured by another clock than ours: another
    // session that is tried as often.
    daemon.shows("the mail", |s| s.status.contains("1 unread"));
    let other = rig.pair("other");
    let clock_text = by_file(
        &rig,
        "other",
        "verify_within = \"200ms\"\nbackoff = \"200ms\"",
    );
    let all = format!("{}{clock_text}", woken("one", keys, &adapters));
    rig.config("worker", &all);
    daemon.reload();
    rig.send(&other.a, "tick");
    has_lines(&inbox(&rig, "other"), 4);
    assert_eq!((lines(&runs), lines(&inbox(&rig, "one"))), (0, 0));
    let end = mcp_bridge::store::WakeEnd {
        outcome: WakeOutcome::Spent,
        reason: None,
    };
    rig.block_on(rig.store.end_wake(&waiter, &end, clock::now()))
        .expect("ended");
    // The first of our list comes first.
    has_lines(&runs, 1);
    has_lines(&inbox(&rig, "one"), 1);
    let adapters: Vec<String> = rig
        .wakes(&pair.b.session)
        .into_iter()
        .map(|row| row.adapter)
        .collect();
    assert_eq!(adapters, ["hook", "exec", "file"]);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn command_that_still_runs_is_not_started_again() {
    let rig = Rig::new();
    let (one, other) = (rig.pair("one"), rig.pair("other"));
    let (runs, gate) = (rig.path("runs"), rig.path("gate"));
    let script = rig.script(
        "nudge",
        &format!(
            "echo >> {}\nwhile ! test -e {}; do sleep 0.02; done\nexit 7",
            runs.display(),
            gate.display()
        ),
    );
    let keys = "order = [\"exec\", \"file\"]\nverify_within = \"100ms\"\nbackoff = \"100ms\"\n\
                backoff_max = \"100ms\"";
    let adapters = format!(
        "{}timeout = \"5m\"\n{}",
        exec(&script),
        file(&inbox(&rig, "one"))
    );
    let beat = "verify_within = \"100ms\"\nbackoff = \"100ms\"\nbackoff_max = \"100ms\"";
    let text = woken("one", keys, &adapters) + &by_file(&rig, "other", beat);
    let daemon = rig.worker(&text);
    rig.send(&one.a, "hello");
    has_lines(&inbox(&rig, "one"), 1);
    // The other session is tried as often: it tells the time.
    rig.send(&other.a, "tick");
    has_lines(&inbox(&rig, "other"), 6);
    assert_eq!(lines(&runs), 1, "a second one beside it");
    std::fs::write(&gate, "").expect("written");
    has_lines(&runs, 2);
    has_lines(&inbox(&rig, "one"), 2);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn late_result_is_not_blamed_on_the_next_way() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let gate = rig.path("gate");
    let script = rig.script(
        "nudge",
        &format!(
            "while ! test -e {}; do sleep 0.02; done\nexit 7",
            gate.display()
        ),
    );
    let keys = "order = [\"exec\", \"file\"]\nverify_within = \"1s\"";
    let adapters = format!(
        "{}timeout = \"5m\"\n{}",
        exec(&script),
        file(&inbox(&rig, "one"))
    );
    let daemon = rig.worker(&woken("one", keys, &adapters));
    rig.send(&pair.a, "hello");
    has_lines(&inbox(&rig, "one"), 1);
    // The command fails now, while the other one has its time.
    std::fs::write(&gate, "").expect("written");
    let row = rig.last_wake(&pair.b.session, "spent");
    assert_eq!(row.adapter, "file");
    assert_eq!(row.reason, "it did not fetch within 1s");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn reload_of_the_list_keeps_a_running_wake() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let script = rig.script("nudge", "true");
    let keys = "verify_within = \"10m\"";
    let both = exec(&script) + &file(&inbox(&rig, "one"));
    let order = |order: &str| woken("one", &format!("order = [{order}]\n{keys}"), &both);
    let mut daemon = rig.worker(&order("\"exec\", \"file\""));
    rig.send(&pair.a, "hello");
    daemon.says("waking");
    wait_for("the wake", || {
        (!rig.wakes(&pair.b.session).is_empty()).then_some(())
    });
    rig.config("worker", &order("\"file\""));
    assert_eq!(daemon.reload().generation, 2);
    assert_eq!(rig.fetch(&pair.b), ["hello"]);
    assert_eq!(rig.last_wake(&pair.b.session, "verified").adapter, "exec");
    let line = daemon.says("looked");
    assert!(line.contains("adapter=\"exec\""), "{line}");
    rig.send(&pair.a, "hello again");
    has_lines(&inbox(&rig, "one"), 1);
    // A list that becomes empty in the middle of a wake.
    rig.config("worker", &order(""));
    daemon.reload();
    daemon.shows("the mail", |s| s.status.contains("1 unread"));
    rig.config("worker", &order("\"file\""));
    daemon.reload();
    assert_eq!(rig.fetch(&pair.b), ["hello again"]);
    rig.last_wake(&pair.b.session, "verified");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn database_is_polled_without_file_events() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let text = format!(
        "[message_watch]\nmode = \"poll\"\npoll_interval = \"10m\"\n{}",
        by_file(&rig, "one", "")
    );
    let daemon = rig.worker(&text);
    // Before it is ready it would be found by the first look.
    daemon.shows("its session", |s| s.status.contains("1 session alive"));
    rig.send(&pair.a, "hello");
    has_lines(&inbox(&rig, "one"), 1);
    rig.fetch(&pair.b);
    rig.last_wake(&pair.b.session, "verified");
    // And back to events, while it runs.
    rig.config("worker", &by_file(&rig, "one", ""));
    daemon.reload();
    rig.send(&pair.a, "hello");
    has_lines(&inbox(&rig, "one"), 2);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_writer_that_rings_no_bell_wakes_too() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let text = by_file(&rig, "one", "");
    let daemon = rig.worker(&format!("[message_watch]\npoll_interval = \"10m\"\n{text}"));
    daemon.shows("its session", |s| s.status.contains("1 session alive"));
    let script = "import sqlite3, sys, datetime\n\
        c = sqlite3.connect(sys.argv[1], timeout=60)\n\
        c.execute('INSERT INTO messages (conversation_id, from_session, to_session, message,'\n\
        ' metadata, timestamp) VALUES (?,?,?,?,?,?)', (sys.argv[2], 'a', 'b', 'hello', '{}',\n\
        datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None).isoformat()))\n\
        c.commit()\n";
    let status = Command::new("python3")
        .args(["-c", script])
        .arg(rig.path("bridge.db"))
        .arg(pair.id.as_str())
        .stdin(Stdio::null())
        .status();
    assert!(status.expect("python3").success());
    has_lines(&inbox(&rig, "one"), 1);
    assert_eq!(rig.fetch(&pair.b), ["hello"]);
    rig.last_wake(&pair.b.session, "verified");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn daemon_without_inotify_warns_and_wakes() {
    // A user namespace has a limit of its own: no other user's is touched.
    let none_left = "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$@\"";
    let wrapper = [
        "unshare",
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        none_left,
        "sh",
    ];
    let tried = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg("true")
        .stderr(Stdio::null())
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        println!("skipped: this user may not make a user namespace with a limit of its own");
        return;
    }
    let rig = Rig::new();
    let pair = rig.pair("one");
    let text = by_file(&rig, "one", "");
    let config = rig.config(
        "worker",
        &format!("[message_watch]\npoll_interval = \"10m\"\n{text}"),
    );
    let mut daemon = Daemon::start(&mut rig.command_behind(&wrapper, &config), &config);
    daemon.ready();
    let line = daemon.says("no file events: polling the database every 5 ms instead");
    assert!(line.contains("fs.inotify.max_user_instances"), "{line}");
    daemon.shows("its session", |s| s.status.contains("1 session alive"));
    rig.send(&pair.a, "hello");
    has_lines(&inbox(&rig, "one"), 1);
    rig.fetch(&pair.b);
    rig.last_wake(&pair.b.session, "verified");
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    said.only_once("no file events");
}

#[test]
fn unread_pipe_delays_neither_wakes_nor_stop() {
    let rig = Rig::new();
    let (one, two) = (rig.pair("one"), rig.pair("two"));
    let pipe = inbox(&rig, "one");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    let mut daemon = rig.worker(&(by_file(&rig, "one", "") + &by_file(&rig, "two", "")));
    rig.send(&one.a, "hello");
    rig.send(&two.a, "hello");
    let line = daemon.says(&format!("file did not wake {}", one.name));
    assert!(line.contains("one.inbox"), "{line}");
    has_lines(&inbox(&rig, "two"), 1);
    assert_eq!(daemon.stop(), Some(0));
}

/// Sends to each session in turn, and lets the daemon die at any moment.
#[test]
fn all_mail_leads_to_a_wake_through_kills() {
    let rig = Rig::new();
    let cycles = if full() { 1000 } else { 50 };
    let names = ["one", "two", "three"];
    let pairs = names.map(|name| rig.pair(name));
    rig.without_limits();
    let bridge = env!("CARGO_BIN_EXE_mcp-bridge");
    let scripts = names.map(|name| {
        let got = rig.path(&format!("{name}.got"));
        rig.script(
            &format!("{name}.sh"),
            &format!("{bridge} check --json >> {}", got.display()),
        )
    });
    let text: String = names
        .iter()
        .zip(&scripts)
        .map(|(name, script)| {
            woken(
                name,
                "order = [\"exec\"]\nverify_within = \"5s\"\nbackoff = \"100ms\"",
                &exec(script),
            )
        })
        .collect();
    let config = rig.config("worker", &text);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut sent = 0;
    let mut readiness = Vec::with_capacity(cycles);
    for _ in 0..cycles {
        let started = std::time::Instant::now();
        let mut daemon = rig.daemon(&config);
        if random.u8(..4) == 0 {
            // Before it is ready, too.
            std::thread::park_timeout(Duration::from_micros(random.u64(..30_000)));
        } else {
            daemon.ready();
            readiness.push(started.elapsed());
        }
        for _ in 0..random.usize(..4) {
            let pair = random.choice(&pairs).expect("one");
            rig.send(&pair.a, &format!("message {sent};"));
            sent += 1;
        }
        std::thread::park_timeout(Duration::from_micros(random.u64(..20_000)));
        daemon.kill();
    }
    let mut daemon = rig.daemon(&config);
    daemon.ready();
    wait_for("all mail to be read", || {
        let unread: u64 = pairs
            .iter()
            .map(|pair| rig.view(&pair.b.session).unread)
            .sum();
        (unread == 0).then_some(())
    });
    for pair in &pairs {
        wait_for("the wakes to be settled", || {
            let rows = rig.wakes(&pair.b.session);
            rows.iter().all(|row| row.outcome.is_some()).then_some(())
        });
    }
    assert_eq!(daemon.stop(), Some(0));
    let got: String = names
        .iter()
        .filter_map(|name| std::fs::read_to_string(rig.path(&format!("{name}.got"))).ok())
        .collect();
    // A command that was killed with its daemon may have fetched and not
    // written: it is handed out again at the next fetch, or was read.
    let seen = (0..sent)
        .filter(|n| got.contains(&format!("message {n};")))
        .count();
    let read: i64 = rig
        .foreign()
        .query_row("SELECT count(*) FROM messages WHERE read = 1", [], |row| {
            row.get(0)
        })
        .expect("counted");
    assert_eq!(read, sent);
    readiness.sort();
    println!(
        "{cycles} kills, {sent} messages, {seen} printed by their readers; ready again p50 {:?} max {:?}",
        readiness[readiness.len() / 2],
        readiness.last().expect("one"),
    );
    let check: String = rig
        .foreign()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("checked");
    assert_eq!(check, "ok");
}
