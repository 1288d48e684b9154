//! `[api]` of the configuration, with the daemon that reads it.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::ground::{
    Answer, Case, Ground, Login, Socket, conversation, new_conversation, question, request,
};
use crate::common::daemon::{PATIENCE, Rig, wait_for};

/// Writes a request on a connection that goes on, and reads its answer.
fn kept(stream: &mut UnixStream, login: &Login, name: &str, body: &[u8]) -> Answer {
    let whole = request(Some(login), name, body);
    let whole = String::from_utf8(whole).expect("text");
    let whole = whole.replace("Connection: close\r\n", "");
    stream.write_all(whole.as_bytes()).expect("asked");
    let mut all = Vec::new();
    let mut part = [0; 4096];
    loop {
        let count = stream.read(&mut part).expect("an answer");
        all.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&all);
        let length = text.split_once("content-length: ").and_then(|(_, rest)| {
            let (head, body) = rest.split_once("\r\n\r\n")?;
            let length: usize = head.lines().next()?.parse().ok()?;
            (body.len() >= length).then(|| body.to_owned())
        });
        if let Some(body) = length {
            return Answer {
                status: text[9..12].parse().expect("a status"),
                head: text.into_owned(),
                body: body.into_bytes(),
            };
        }
        assert!(count > 0, "it ends: {text}");
    }
}

impl Ground {
    /// Reloads with these keys of `[api]`.
    #[track_caller]
    fn reload(&self, keys: &str) {
        self.rig.config("worker", &format!("[api]\n{keys}\n"));
        let reload = self.daemon.reload().last_reload.expect("a reload");
        assert_eq!((reload.error, reload.needs_restart), (None, vec![]));
    }
}

fn long(length: usize) -> Vec<u8> {
    let message = json!({ "message": "x".repeat(30_000) });
    let messages = vec![message; length / 30_000 + 1];
    json!({ "messages": messages }).to_string().into_bytes()
}

#[test]
fn new_limits_hold_for_old_and_new_connections() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let mut old = ground.connect(Socket::Api);
    let body = long(100_000);
    assert_eq!(kept(&mut old, &case.a, "send", &body).status, 200);
    ground.reload("max_body = 65536");
    let mut new = ground.connect(Socket::Api);
    for stream in [&mut old, &mut new] {
        let said = kept(stream, &case.a, "send", &body);
        assert_eq!(said.status, 413, "{}", said.text());
        assert!(said.text().contains("64.0 KiB"), "{}", said.text());
    }
    ground.reload("");
    assert_eq!(
        ground
            .send(Socket::Api, &request(Some(&case.a), "send", &body))
            .status,
        200
    );
    ground.ends_sound(&["mcpb_"]);
}

#[test]
fn new_time_limit_holds_for_an_old_connection() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let mut old = ground.connect(Socket::Api);
    assert_eq!(kept(&mut old, &case.b, "peek", b"{}").status, 200);
    ground.reload("time_limit = \"1s\"");
    let begun = Instant::now();
    let whole = request(Some(&case.b), "peek", b"{\"limit\": 10}");
    old.write_all(&whole[..whole.len() - 3]).expect("written");
    let mut said = String::new();
    // Reset or ended is the same here.
    let _ = old.read_to_string(&mut said);
    assert!(said.contains("in time"), "{said}");
    let took = begun.elapsed();
    assert!(
        took < Duration::from_secs(25),
        "the old limit holds: {took:?}"
    );
    ground.ends_sound(&["mcpb_"]);
}

#[test]
fn new_allowances_hold_from_the_next_request_on() {
    let ground = Ground::new();
    let create = || {
        let (_, _, wanted) = new_conversation();
        let body = json!({ "conversations": [wanted] });
        ground.ask(Socket::Api, None, "conversations/create", &body)
    };
    create().granted();
    ground.reload("conversations_per_hour = 0\ntasks_per_hour = 0");
    let refused = create();
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(
        refused.text().contains("0 conversations an hour")
            && refused
                .text()
                .contains("[api] in the daemon's configuration"),
        "{}",
        refused.text()
    );
    let (_, a, _) = conversation(&ground);
    let task = json!({ "tasks": [{ "role": "worker", "title": "one" }] });
    let refused = ground.ask(Socket::Api, Some(&a), "tasks/add", &task);
    assert_eq!(refused.status, 429, "{}", refused.text());
    // An operator has no such limit.
    ground.order("tasks/add", &task);
    ground.reload("conversations_per_hour = 2\ntasks_per_hour = 1");
    create().granted();
    assert_eq!(create().status, 429, "two within an hour");
    ground.act(&a, "tasks/add", &task);
    ground.ends_sound(&["mcpb_"]);
}

#[test]
fn lower_number_of_connections_turns_new_ones_away() {
    let ground = Ground::new();
    ground.reload("connections = 2");
    let mut kept: Vec<UnixStream> = (0..2).map(|_| ground.connect(Socket::Api)).collect();
    wait_for("a connection too many", || {
        let refused = ground.get(Socket::Api, None, "health");
        (refused.status == 429).then_some(())
    });
    ground.reload("connections = 3");
    wait_for("a place", || {
        (ground.get(Socket::Api, None, "health").status == 200).then_some(())
    });
    kept.clear();
    ground.ends_sound(&[]);
}

#[test]
fn a_reload_closes_the_door_and_opens_it() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let mut follower = ground.connect(Socket::Api);
    let wanted = json!({ "sessions": [{
        "conversation": case.id, "session": "b", "token": case.b.token,
    }] });
    let asked = request(None, "follow", wanted.to_string().as_bytes());
    follower.write_all(&asked).expect("asked");
    let mut first = [0; 12];
    follower.read_exact(&mut first).expect("it begins");
    ground.reload("enabled = false");
    // In force: nothing answers any more, and nothing is left lying about.
    for socket in [Socket::Api, Socket::Admin] {
        let refused = UnixStream::connect(ground.socket(socket)).expect_err("closed");
        assert_eq!(refused.kind(), ErrorKind::NotFound);
    }
    let mut rest = String::new();
    follower.read_to_string(&mut rest).expect("it ends");
    assert!(rest.contains("{\"ended\":"), "{rest}");
    ground.reload("enabled = true");
    ground.act(&case.b, "peek", &json!({}));
    ground.ends_sound(&["mcpb_"]);
}

#[test]
fn a_daemon_without_its_door_does_all_else() {
    let rig = Rig::new();
    let pair = rig.pair("work");
    let text = format!(
        "[api]\nenabled = false\n{}{}",
        crate::common::daemon::QUICK,
        crate::common::daemon::session("work", "\"none\"")
    );
    let daemon = rig.worker(&text);
    rig.goes_on(&pair.b.session);
    let socket = rig.path("worker.state/api.sock");
    assert!(UnixStream::connect(socket).is_err());
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    said.never("listening at");
}

#[test]
fn failed_sockets_are_named_and_tried_again() {
    let rig = Rig::new();
    std::fs::write(rig.path("worker.state"), "in the way").expect("written");
    let mut daemon = rig.worker("");
    daemon.says("this daemon has no sockets, so no program can use its store: ");
    daemon.shows("the trouble", |state| {
        let mut troubles = state.duties.iter().filter_map(|duty| duty.trouble.as_ref());
        troubles.any(|why| why.contains("worker.state"))
    });
    std::fs::remove_file(rig.path("worker.state")).expect("removed");
    // Sooner than by itself.
    daemon.reload();
    let mut stream = UnixStream::connect(rig.path("worker.state/api.sock")).expect("open");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(&question(None, "health")).expect("asked");
    assert_eq!(super::ground::read(&mut stream).status, 200);
    let (code, said) = daemon.finish();
    assert_eq!(code, Some(0));
    said.only_once("event=\"door-not-open\"");
}

#[test]
fn wrong_limits_are_refused_before_the_daemon_starts() {
    let rig = Rig::new();
    for (keys, why) in [
        (
            "connections = 0",
            "api.connections: 0 is out of range; choose from 1 to 65536",
        ),
        (
            "max_body = 10",
            "api.max_body: 10 is out of range; choose from 65536 to ",
        ),
        (
            "time_limit = \"2m\"",
            "api.time_limit: 2m is out of range; choose from 1s to 1m",
        ),
        (
            "tasks_per_hour = -1",
            "api.tasks_per_hour: -1 is out of range",
        ),
        (
            "enabled = \"no\"",
            "api.enabled: must be true or false, not text",
        ),
        (
            "conections = 5",
            "api.conections: unknown key; did you mean `connections`?",
        ),
    ] {
        let config = rig.config("worker", &format!("[api]\n{keys}\n"));
        for check in [&["--check"][..], &[]] {
            let mut command: Command = rig.command(&config);
            let output = command.args(check).output().expect("it ran");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(78), "{keys}: {said}");
            assert!(said.contains(why), "{keys}: {said}");
        }
    }
    // At a reload the old ones go on.
    let ground = Ground::new();
    ground.rig.config("worker", "[api]\nconnections = 0\n");
    let refused = ground.daemon.reload().last_reload.expect("a reload").error;
    assert!(refused.is_some_and(|why| why.contains("api.connections")));
    ground.answers();
}
