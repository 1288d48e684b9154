//! Whose agent lives, and how the daemon knows: proofs, credentials, owners.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot make its files has nothing to say; what it measured, it prints"
)]

use std::process::Command;

use crate::common::daemon::{Agent, QUICK, Rig, is_alive, session, wait_for};
use crate::common::scratch::Running;
use mcp_bridge::clock;
use mcp_bridge::model::session::Life;
use rustix::process::Signal;

fn by_file(rig: &Rig, name: &str) -> String {
    let file = rig.path(&format!("{name}.pid"));
    session(name, &format!("{{ pid_file = \"{}\" }}", file.display()))
}

fn by_probe(name: &str, script: &std::path::Path, timeout: &str) -> String {
    let proof = format!(
        "{{ exec = [\"{}\"], timeout = \"{timeout}\" }}",
        script.display()
    );
    session(name, &proof)
}

/// The next round would come in minutes, so only the event can tell.
const RARE: &str = "[heartbeat]\ninterval = \"5m\"\nttl = \"15m\"\n";

#[test]
fn agents_end_is_noticed_at_once() {
    let rig = Rig::new();
    let (one, two) = (rig.pair("one"), rig.pair("two"));
    let mut first = Agent::with_file(&rig, "one.pid");
    let second = Agent::start();
    let by_number = session("two", &format!("{{ pid = {} }}", second.0.id()));
    let mut daemon = rig.worker(&format!("{RARE}{}{by_number}", by_file(&rig, "one")));
    rig.becomes(&one.b.session, Life::Alive);
    rig.becomes(&two.b.session, Life::Alive);
    first.end();
    daemon.says("the agent of one/b has ended");
    rig.becomes(&one.b.session, Life::Exited);
    // Killed and not waited for: a zombie has a number and no life.
    second.signal(Signal::KILL);
    daemon.says("the agent of two/b has ended");
    rig.becomes(&two.b.session, Life::Exited);
    let state = daemon.shows("both exits", |s| s.status.contains("2 exited"));
    assert!(
        state.status.contains("0 sessions alive"),
        "{}",
        state.status
    );
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    said.only_once("the agent of one/b has ended");
}

#[test]
fn agent_that_was_started_again_is_alive_again() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let mut agent = Agent::with_file(&rig, "one.pid");
    let mut daemon = rig.worker(&format!("{QUICK}{}", by_file(&rig, "one")));
    rig.becomes(&pair.b.session, Life::Alive);
    for life in 1..=3 {
        agent.end();
        daemon.says_times("the agent of one/b has ended", life);
        rig.becomes(&pair.b.session, Life::Exited);
        agent = Agent::with_file(&rig, "one.pid");
        rig.becomes(&pair.b.session, Life::Alive);
    }
    rig.goes_on(&pair.b.session);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn end_during_an_outage_is_noticed_afterwards() {
    let rig = Rig::new();
    let names = ["ended", "tidy", "number", "again", "same"];
    let pairs = names.map(|name| rig.pair(name));
    let mut agents = names.map(|name| Agent::with_file(&rig, &format!("{name}.pid")));
    let sessions: String = names.iter().map(|name| by_file(&rig, name)).collect();
    // By silence it would be noticed in minutes.
    let daemon = rig.worker(&format!("{RARE}{sessions}"));
    for pair in &pairs {
        rig.becomes(&pair.b.session, Life::Alive);
        rig.send(&pair.a, "in its hand");
        assert_eq!(rig.fetch(&pair.b), ["in its hand"]);
    }
    assert_eq!(daemon.stop(), Some(0));
    for agent in &mut agents[..2] {
        agent.end();
    }
    std::fs::remove_file(rig.path("tidy.pid")).expect("removed");
    // As if another process had the number by now.
    let number = &pairs[2].b.session.conversation;
    rig.foreign()
        .execute(
            "UPDATE bridge_heartbeat SET pid_start = pid_start - 1 WHERE conversation_id = ?1",
            [number.as_str()],
        )
        .expect("set");
    let file = std::fs::File::options()
        .write(true)
        .open(rig.path("number.pid"));
    let file = file.expect("there");
    let written = file.metadata().expect("known").modified().expect("a time");
    let before = written - std::time::Duration::from_secs(3_600);
    file.set_modified(before).expect("set");
    agents[3].end();
    agents[3] = Agent::with_file(&rig, "again.pid");
    let mut daemon = rig.worker(&format!("{RARE}{sessions}"));
    for (name, pair) in names.iter().zip(&pairs).take(3) {
        daemon.says(&format!("the agent of {name}/b has ended"));
        rig.becomes(&pair.b.session, Life::Exited);
    }
    for pair in &pairs[3..] {
        rig.becomes(&pair.b.session, Life::Alive);
    }
    // The successor of a session that ended gets what that had not acknowledged.
    for pair in &pairs[..4] {
        assert_eq!(rig.fetch(&pair.b), ["in its hand"]);
    }
    assert!(rig.fetch(&pairs[4].b).is_empty());
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    said.never("again/b has ended");
    said.never("same/b has ended");
}

#[test]
fn mail_of_an_ended_agent_reaches_a_waiting_program() {
    let rig = Rig::new();
    let (pair, other) = (rig.pair("one"), rig.pair("two"));
    rig.write_credentials("both", &[&pair.b, &other.b]);
    let mut agent = Agent::with_file(&rig, "one.pid");
    let daemon = rig.worker(&format!("{RARE}{}", by_file(&rig, "one")));
    rig.becomes(&pair.b.session, Life::Alive);
    rig.send(&pair.a, "in its hand");
    assert_eq!(rig.fetch(&pair.b), ["in its hand"]);
    let mut watch = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"));
    let door = format!("unix:{}", rig.path("worker.state/api.sock").display());
    watch
        .args(["watch", "--json"])
        .env("MCP_BRIDGE_STORE", door)
        .env("MCP_BRIDGE_CREDENTIALS", rig.path("both.toml"))
        .env("HOME", rig.path(""))
        .current_dir(rig.path(""));
    let mut watch = Running::lines(watch);
    rig.send(&other.a, "new");
    assert_eq!(watch.json()["message"], "new");
    // No message comes now, and a look at everything only in minutes.
    agent.end();
    assert_eq!(watch.json()["message"], "in its hand");
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn end_before_the_first_heartbeat_counts_for_the_last_agent() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let mut agent = Agent::with_file(&rig, "one.pid");
    let mut daemon = rig.worker(&format!("{RARE}{}", by_file(&rig, "one")));
    rig.becomes(&pair.b.session, Life::Alive);
    // As if its own first heartbeat had failed: the last is of an earlier life.
    let set = "UPDATE bridge_heartbeat SET daemon_epoch = daemon_epoch - 1";
    rig.foreign().execute(set, []).expect("set");
    agent.end();
    daemon.says("the agent of one/b has ended");
    rig.becomes(&pair.b.session, Life::Exited);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_stopped_agent_is_alive() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let agent = Agent::with_file(&rig, "one.pid");
    let daemon = rig.worker(&format!("{QUICK}{}", by_file(&rig, "one")));
    agent.signal(Signal::STOP);
    rig.goes_on(&pair.b.session);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn bad_proof_is_reported_once_and_stops_no_other() {
    let rig = Rig::new();
    let names = ["missing", "garbage", "directory", "dead"];
    let pairs = names.map(|name| rig.pair(name));
    let well = rig.pair("well");
    let (agent, mut dead) = (Agent::start(), Agent::start());
    dead.end();
    std::fs::write(rig.path("garbage.pid"), "none of your business").expect("written");
    std::fs::create_dir(rig.path("directory.pid")).expect("made");
    dead.write_file(&rig, "dead.pid");

    let sessions: String = names.iter().map(|name| by_file(&rig, name)).collect();
    let mut daemon = rig.worker(&format!("{QUICK}{sessions}{}", session("well", "\"none\"")));
    for (name, why) in [
        ("missing", "No such file"),
        ("garbage", "contains no process id"),
        ("directory", "this is a directory, not a file"),
        ("dead", "there is no process"),
    ] {
        let line = daemon.says(&format!("no heartbeat for {name}/b: "));
        assert!(line.contains(why), "{line}");
    }
    daemon.shows("four", |s| s.status.contains("1 session alive, 4 unproven"));
    rig.goes_on(&well.b.session);
    for pair in &pairs {
        assert_eq!(rig.beats(&pair.b.session), 0);
    }
    std::fs::remove_dir(rig.path("directory.pid")).expect("removed");
    for (name, pair) in names.iter().zip(&pairs) {
        agent.write_file(&rig, &format!("{name}.pid"));
        rig.becomes(&pair.b.session, Life::Alive);
        daemon.says(&format!("{name}/b is alive"));
    }
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    // The directory was no file for a moment.
    for name in names.iter().filter(|name| **name != "directory") {
        said.only_once(&format!("no heartbeat for {name}/b: "));
    }
}

#[test]
fn hanging_probe_delays_no_other_session() {
    let rig = Rig::new();
    let (one, two) = (rig.pair("one"), rig.pair("two"));
    let flag = rig.path("flag");
    let probe = rig.script("probe", &format!("test -e {}", flag.display()));
    let asked = rig.path("asked");
    let hang = rig.script(
        "hang",
        &format!("echo $$ >> {}\nexec sleep 1000", asked.display()),
    );
    let mut daemon = rig.worker(&format!(
        "{QUICK}{}{}",
        by_probe("one", &probe, "30s"),
        by_probe("two", &hang, "300ms")
    ));
    daemon.says("no heartbeat for one/b: the probe failed: exit status: 1");
    std::fs::write(&flag, "").expect("written");
    rig.becomes(&one.b.session, Life::Alive);
    // A round is not held up by the other one.
    rig.goes_on(&one.b.session);
    daemon.says("no heartbeat for two/b: the probe did not end within 300ms and was killed");
    assert_eq!(rig.beats(&two.b.session), 0);
    std::fs::remove_file(&flag).expect("removed");
    daemon.says_times("no heartbeat for one/b: the probe failed", 2);
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    said.never("not answered");
    for pid in std::fs::read_to_string(&asked).expect("asked").lines() {
        wait_for("the end of the probe", || (!is_alive(pid)).then_some(()));
    }
}

#[test]
fn probe_is_asked_once_an_interval() {
    let rig = Rig::new();
    let (_one, two) = (rig.pair("one"), rig.pair("two"));
    let asked = rig.path("asked");
    let probe = rig.script("probe", &format!("echo >> {}", asked.display()));
    let mut agent = Agent::with_file(&rig, "two.pid");
    let daemon = rig.worker(&format!(
        "{RARE}{}{}",
        by_probe("one", &probe, "30s"),
        by_file(&rig, "two")
    ));
    rig.becomes(&two.b.session, Life::Alive);
    daemon.shows("the probe's answer", |s| {
        s.status.contains("2 sessions alive")
    });
    agent.end();
    rig.becomes(&two.b.session, Life::Exited);
    for _ in 0..5 {
        daemon.reload();
    }
    assert_eq!(daemon.stop(), Some(0));
    let asked = std::fs::read_to_string(asked).expect("asked");
    assert_eq!(asked.lines().count(), 1);
}

#[test]
fn shared_table_gets_the_time_and_keeps_its_words() {
    let rig = Rig::new();
    let (one, two) = (rig.pair("one"), rig.pair("two"));
    let table = rig.foreign();
    let old = "2025-11-13T16:02:45.123456";
    table
        .execute(
            "INSERT INTO session_status (conversation_id, session_id, status, last_heartbeat)
             VALUES (?1, 'b', 'working', ?2)",
            [one.id.as_str(), old],
        )
        .expect("written");
    let row = |id: &str| -> Option<(String, String)> {
        let sql = "SELECT status, last_heartbeat FROM session_status
                   WHERE conversation_id = ?1 AND session_id = 'b'";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        table.query_row(sql, [id], read).ok()
    };
    let sessions = session("one", "\"none\"") + &session("two", "\"none\"");
    let daemon = rig.worker(&format!("{QUICK}mirror_interval = \"1s\"\n{sessions}"));
    let (status, first) = wait_for("the mirror", || {
        row(one.id.as_str()).filter(|(_, time)| time != old)
    });
    assert_eq!(
        (status.as_str(), first.len()),
        ("working", old.len()),
        "{first}"
    );
    let (status, _) = row(two.id.as_str()).expect("a new row");
    assert_eq!(status, "active");
    // It goes on, and much more rarely than the heartbeat.
    let beats = rig.beats(&one.b.session);
    wait_for("the next copy", || {
        row(one.id.as_str()).filter(|(_, time)| *time > first)
    });
    assert!(rig.beats(&one.b.session) > beats + 2);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn kept_conversation_expires_only_by_setting() {
    let rig = Rig::new();
    let (one, end) = (
        rig.pair("one"),
        clock::now() + jiff::SignedDuration::from_mins(5),
    );
    let text = end.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    let set = || {
        rig.foreign()
            .execute(
                "UPDATE conversations SET expires_at = ?1",
                [text.strftime("%Y-%m-%dT%H:%M:%S.000000").to_string()],
            )
            .expect("set")
    };
    set();
    let left = || rig.view(&one.b.session).expires_at.expect("an end") - clock::now();
    let text = session("one", "\"none\"");
    let daemon = rig.worker(&format!("{QUICK}renew_conversations = false\n{text}"));
    rig.goes_on(&one.b.session);
    assert!(left().get_seconds() + left().get_minutes() * 60 <= 300);
    rig.config("worker", &format!("{QUICK}renew_for = \"2h\"\n{text}"));
    assert_eq!(daemon.reload().last_reload.expect("one").error, None);
    wait_for("the renewal", || {
        (left().total(jiff::Unit::Minute).expect("a span") > 100.0).then_some(())
    });
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn expired_conversation_is_taken_when_renewed() {
    let rig = Rig::new();
    let (one, two) = (rig.pair("one"), rig.pair("two"));
    rig.foreign()
        .execute(
            "UPDATE conversations SET expires_at = '2025-11-13T16:02:45.123456' WHERE id = ?1",
            [one.id.as_str()],
        )
        .expect("set");
    let sessions = session("one", "\"none\"") + &session("two", "\"none\"");
    let mut daemon = rig.worker(&format!("{QUICK}{sessions}"));
    daemon.says("expired at 2025-11-13T16:02:45Z");
    daemon.says(&format!(
        "mcp-bridge --store {} conversation renew {} --for 3h",
        rig.path("bridge.db").display(),
        one.id
    ));
    let refused = |s: &mcp_bridge::supervisor::StateFile| {
        s.status.contains("1 session alive, 1 refused")
            && s.duties.iter().any(|d| d.trouble.is_some())
    };
    daemon.shows("the refusal", refused);
    rig.goes_on(&two.b.session);
    let later = clock::now() + jiff::SignedDuration::from_hours(1);
    let renewed = rig.store.renew_conversation(&one.id, later, clock::now());
    rig.block_on(renewed).expect("renewed");
    daemon.says("credentials are valid again");
    rig.becomes(&one.b.session, Life::Alive);
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    said.only_once("expired at");
}

/// Ends a conversation in a moment, and waits until it has.
fn expire(rig: &Rig, id: &mcp_bridge::model::ConversationId) {
    let end = clock::now() + jiff::SignedDuration::from_millis(20);
    let text = mcp_bridge::model::timestamp::to_text(end);
    let set = "UPDATE conversations SET expires_at = ?2 WHERE id = ?1";
    let changed = rig.foreign().execute(set, [id.as_str(), text.as_str()]);
    assert_eq!(changed.expect("set"), 1);
    wait_for("its end", || (clock::now() > end).then_some(()));
}

#[test]
fn conversation_goes_on_after_a_suspend_or_outage() {
    let rig = Rig::new();
    let names = ["one", "gone", "strange"];
    let [one, gone, strange] = names.map(|name| rig.pair(name));
    let agent = Agent::with_file(&rig, "one.pid");
    let mut other = Agent::with_file(&rig, "gone.pid");
    let both = by_file(&rig, "one") + &by_file(&rig, "gone");
    let text = format!("{QUICK}{both}");
    let mut daemon = rig.worker(&format!("{RARE}{both}"));
    rig.becomes(&one.b.session, Life::Alive);
    rig.becomes(&gone.b.session, Life::Alive);
    let left = || rig.view(&one.b.session).expires_at.expect("an end") - clock::now();
    let renewed = || (left().total(jiff::Unit::Hour).expect("a span") > 2.0).then_some(());
    // As when the machine sleeps: the end is past before the next round.
    expire(&rig, &one.id);
    rig.config("worker", &text);
    daemon.reload();
    daemon.says("expired while no daemon could renew it; its agent is alive, so it was renewed");
    wait_for("the renewal", renewed);
    rig.goes_on(&one.b.session);
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    said.never("renew it:");

    // The daemon is down: one agent calls in meanwhile, one ends, and one was
    // never known to it.
    other.end();
    let boot = mcp_bridge::host::boot();
    let minute = std::time::Duration::from_secs(60);
    let now = clock::now();
    let call = rig.store.call_in(&one.b, minute, None, &boot, now);
    rig.block_on(call).expect("called");
    for pair in [&one, &gone, &strange] {
        expire(&rig, &pair.id);
    }
    let text = text + &session("strange", "\"none\"");
    let mut daemon = rig.worker(&text);
    daemon.says("its agent is alive");
    wait_for("the renewal", renewed);
    rig.goes_on(&one.b.session);
    for pair in [&gone, &strange] {
        daemon.says(&format!("conversation {} expired at", pair.id));
    }
    daemon.shows("two", |s| s.status.contains("1 session alive, 2 refused"));
    // An end that was set on purpose holds.
    let close = rig.store.close_conversation(&one.id, clock::now());
    rig.block_on(close).expect("closed");
    daemon.says(&format!("conversation {} was closed", one.id));
    assert_eq!(daemon.stop(), Some(0));
    drop(agent);
}

#[test]
fn expired_conversation_without_renewal_stays_expired() {
    let rig = Rig::new();
    let one = rig.pair("one");
    let text = session("one", "\"none\"");
    let mut daemon = rig.worker(&format!("{QUICK}renew_conversations = false\n{text}"));
    rig.becomes(&one.b.session, Life::Alive);
    expire(&rig, &one.id);
    daemon.says(&format!("conversation {} expired at", one.id));
    rig.config("worker", &format!("{QUICK}{text}"));
    daemon.reload();
    daemon.says("its agent is alive");
    rig.goes_on(&one.b.session);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn invalid_credentials_are_taken_once_they_hold() {
    let rig = Rig::new();
    let names = ["missing", "open", "malformed", "wrong", "elsewhere"];
    let pairs = names.map(|name| rig.pair(name));
    let good = rig.pair("good");
    std::fs::remove_file(rig.path("missing.toml")).expect("removed");
    let mode = |mode| {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(rig.path("open.toml"), mode).expect("set");
    };
    mode(0o644);
    let token = pairs[2].b.token.expose().to_owned();
    let half = format!(
        "[[session]]\nconversation = \"{}\"\ntoken = \"{token}",
        pairs[2].id
    );
    std::fs::write(rig.path("malformed.toml"), half).expect("written");
    rig.write_credentials("wrong", &[&with_token_of(&pairs[3].b, &good.b)]);
    let nowhere = "conv_00000000000000aa/b".parse().expect("a session");
    rig.write_credentials(
        "elsewhere",
        &[&mcp_bridge::store::Caller {
            session: nowhere,
            token: good.b.token.clone(),
        }],
    );
    let all: String = names
        .iter()
        .chain(&["good"])
        .map(|name| session(name, "\"none\""))
        .collect();
    let mut daemon = rig.worker(&format!("{QUICK}{all}"));
    for why in [
        "missing.toml: there is no such file",
        "open.toml: other users may read this file (mode 644)",
        "malformed.toml: ",
        "the token for conv_",
        "conversation conv_00000000000000aa does not exist",
    ] {
        daemon.says(why);
    }
    daemon.shows("five", |s| s.status.contains("1 session alive, 5 refused"));
    rig.goes_on(&good.b.session);
    mode(0o600);
    for (name, pair) in names.iter().zip(&pairs) {
        if *name != "open" {
            rig.write_credentials(name, &[&pair.b]);
        }
        rig.becomes(&pair.b.session, Life::Alive);
    }
    daemon.shows("all", |s| s.status.contains("6 sessions alive;"));
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    said.only_once("open.toml: other users may read");
    for caller in pairs.iter().flat_map(|pair| [&pair.a, &pair.b]) {
        said.never(caller.token.expose());
    }
}

#[test]
fn session_with_a_new_token_is_kept() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let mut daemon = rig.worker(&format!("{QUICK}{}", session("one", "\"none\"")));
    rig.becomes(&pair.b.session, Life::Alive);
    let new = mcp_bridge::store::Caller {
        session: pair.b.session.clone(),
        token: mcp_bridge::model::token::Token::generate(&pair.b.session, &[7; 32]),
    };
    let old = Some(&pair.b.token);
    let rekey = rig
        .store
        .rekey_session(&new.session, old, &new.token, clock::now());
    rig.block_on(rekey).expect("rekeyed");
    daemon.says(&format!("the token for {} is wrong", new.session));
    daemon.shows("none", |s| s.status.contains("1 refused"));
    rig.write_credentials("one", &[&new]);
    daemon.says("credentials are valid again");
    rig.goes_on(&new.session);
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    said.never(new.token.expose());
}

fn with_token_of(
    session: &mcp_bridge::store::Caller,
    token: &mcp_bridge::store::Caller,
) -> mcp_bridge::store::Caller {
    mcp_bridge::store::Caller {
        session: session.session.clone(),
        token: token.token.clone(),
    }
}

#[test]
fn agent_may_hold_several_sessions_and_change_which() {
    let rig = Rig::new();
    let pairs = ["one", "two", "three"].map(|name| rig.pair_without_file(name));
    let [one, two, three] = &pairs;
    rig.write_credentials("agent", &[&one.b, &two.b]);
    let mut agent = Agent::with_file(&rig, "agent.pid");
    let mut daemon = rig.worker(&format!("{QUICK}{}", by_file(&rig, "agent")));
    rig.becomes(&one.b.session, Life::Alive);
    rig.becomes(&two.b.session, Life::Alive);
    // Written again while it runs: one is taken out, another one comes in.
    rig.write_credentials("agent", &[&two.b, &three.b]);
    rig.becomes(&three.b.session, Life::Alive);
    daemon.says("released 1 session");
    let let_go = rig.view(&one.b.session).heartbeat.expect("a heartbeat");
    assert!(let_go.released && let_go.exited_at.is_none());
    // Gone: what was read from it holds on, also over a reload.
    std::fs::remove_file(rig.path("agent.toml")).expect("removed");
    daemon.says("agent.toml: there is no such file");
    assert_eq!(daemon.reload().generation, 2);
    rig.goes_on(&two.b.session);
    agent.end();
    for session in [&two.b.session, &three.b.session] {
        rig.becomes(session, Life::Exited);
    }
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn session_in_two_files_has_the_first_agent() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    rig.write_credentials("two", &[&pair.b]);
    let (mut first, second) = (
        Agent::with_file(&rig, "one.pid"),
        Agent::with_file(&rig, "two.pid"),
    );
    let files = by_file(&rig, "one") + &by_file(&rig, "two");
    let mut daemon = rig.worker(&format!("{QUICK}{files}"));
    daemon.says("two.toml; the first is used");
    daemon.shows("one", |s| s.status.contains("1 session alive, 1 refused"));
    first.end();
    rig.becomes(&pair.b.session, Life::Exited);
    // The other agent's life does not bring it back.
    let beats = rig.beats(&pair.b.session);
    for _ in 0..3 {
        daemon.reload();
    }
    assert_eq!(rig.beats(&pair.b.session), beats);
    drop(second);
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    said.only_once("has ended");
    said.only_once("the first is used");
}

#[test]
fn two_daemons_take_turns_with_one_session() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let text = format!("{QUICK}{}", session("one", "\"none\""));
    let start = |name: &str| {
        let mut daemon = rig.daemon(&rig.config(name, &text));
        daemon.ready();
        daemon
    };
    let owner = start("first");
    rig.becomes(&pair.b.session, Life::Alive);
    let mut other = start("second");
    let line = other.says("keeps this session already; only one daemon can keep a session");
    // A user's own, who may share the store with the machine's.
    assert!(line.contains("/first.conf keeps"), "{line}");
    other.shows("it", |s| {
        s.status.contains("0 sessions alive, 1 kept elsewhere")
    });
    rig.goes_on(&pair.b.session);
    let daemon = |of: &Rig| of.view(&pair.b.session).heartbeat.and_then(|h| h.daemon);
    assert!(daemon(&rig).is_some_and(|name| name.contains("first")));
    assert_eq!(owner.stop(), Some(0));
    wait_for("the other to take over", || {
        daemon(&rig).filter(|name| name.contains("second"))
    });
    rig.goes_on(&pair.b.session);
    other.says("one/b is alive");
    let (code, said) = other.finish();
    assert_eq!(code, Some(0));
    said.only_once("keeps this session");
    said.only_once("one/b is alive");
}

#[test]
fn second_daemon_of_a_name_is_refused_by_pid() {
    let rig = Rig::new();
    let config = rig.config("worker", "");
    let mut first = rig.daemon(&config);
    first.ready();
    let mut second = rig.daemon(&config);
    assert_eq!(second.wait(), Some(1));
    second.says(&format!(
        "another mcp-bridged runs as `worker.conf` (pid {})",
        first.child.id()
    ));
    assert!(first.is_running());
    // A lock that a dead one left behind is no lock, and its number no pid.
    first.kill();
    let mut third = rig.daemon(&config);
    third.ready();
    let mut fourth = rig.daemon(&config);
    assert_eq!(fourth.wait(), Some(1));
    fourth.says(&format!("(pid {})", third.child.id()));
    assert_eq!(third.stop(), Some(0));
}
