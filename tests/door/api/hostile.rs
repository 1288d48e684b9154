//! Clients that mean no good: they cost the daemon little, and other clients nothing.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::ground::{Case, Ground, Login, SECRET_BODY, Socket, read, request};
use crate::common::daemon::wait_for;

#[test]
fn half_requests_delay_no_other() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let whole = request(
        Some(&case.a),
        "send",
        json!({ "messages": [{ "message": SECRET_BODY }] })
            .to_string()
            .as_bytes(),
    );
    let before = ground.order("unread", &json!({ "sessions": [side_b(&case)] }));
    let mut open = Vec::new();
    for length in [1, 20, 100, whole.len() - 1] {
        for which in [Socket::Api, Socket::Admin] {
            let mut stream = ground.connect(which);
            stream.write_all(&whole[..length]).expect("written");
            open.push(stream);
        }
    }
    for _ in 0..300 {
        open.push(ground.connect(Socket::Api));
    }
    ground.answers();
    // One that vanishes in the middle of its body asked for nothing.
    for mut stream in open.drain(..8) {
        stream.flush().expect("flushed");
        drop(stream);
    }
    ground.answers();
    assert_eq!(
        ground.order("unread", &json!({ "sessions": [side_b(&case)] })),
        before
    );
    drop(open);
    ground.ends_sound(&[SECRET_BODY, "mcpb_"]);
}

#[test]
fn client_that_vanishes_before_the_answer_sent_once() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let numbered = |n: u32| json!({ "messages": [{ "message": format!("number {n}"), "client_id": format!("n-{n}") }] });
    for n in 0..50 {
        let bytes = request(Some(&case.a), "send", numbered(n).to_string().as_bytes());
        let mut stream = ground.connect(Socket::Api);
        stream.write_all(&bytes).expect("written");
        drop(stream);
    }
    // It tries again, as it does not know.
    for n in 0..50 {
        ground.act(&case.a, "send", &numbered(n));
    }
    let fetched = ground.act(&case.b, "fetch", &json!({ "limit": 1000 }));
    let mut texts: Vec<&str> = fetched["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .filter_map(|message| message["message"].as_str())
        .filter(|text| text.starts_with("number "))
        .collect();
    texts.sort_unstable();
    let mut wanted: Vec<String> = (0..50).map(|n| format!("number {n}")).collect();
    wanted.sort_unstable();
    assert_eq!(texts, wanted);
    ground.ends_sound(&["number ", "mcpb_"]);
}

const MANY: usize = 3_000;

#[test]
fn subscriber_that_never_reads_is_dropped_and_misses_nothing() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let begin = json!("now");
    let mut good = Follower::new(&ground, &case.b, &begin);
    good.until("caught_up");
    let mut lazy = Follower::new(&ground, &case.b, &begin);
    lazy.until("caught_up");
    let resident = ground.daemon.status("VmRSS");
    let text = "x".repeat(2_000);
    for batch in 0..(MANY / 100) {
        let messages: Vec<Value> = (0..100)
            .map(|n| json!({ "message": format!("{} {text}", batch * 100 + n) }))
            .collect();
        ground.act(&case.a, "send", &json!({ "messages": messages }));
        // The one that reads has each of them meanwhile.
        for _ in 0..100 {
            good.until("message");
        }
    }
    assert_eq!(numbers(&good.messages), (0..MANY).collect::<Vec<_>>());
    let grown = ground.daemon.status("VmRSS").saturating_sub(resident);
    assert!(grown < 64 * 1024, "{grown} KiB more");
    ground.answers();
    // What waited for the lazy one it still gets, and then that it was dropped.
    lazy.until("dropped");
    let got = lazy.messages.len();
    assert!(got < MANY, "it was never behind");
    let last = lazy.messages.last().expect("some")["id"].clone();
    let mut after = serde_json::Map::new();
    after.insert(case.b.session.clone(), last);
    let mut again = Follower::new(&ground, &case.b, &json!({ "after": after }));
    // It may be dropped again, if this machine is slow, and begins again.
    let mut all = std::mem::take(&mut lazy.messages);
    while all.len() < MANY {
        let line = again.line();
        if line.get("message").is_some() {
            all.push(line["message"].clone());
        } else if line.get("dropped").is_some() {
            let last = all.last().expect("some")["id"].clone();
            let mut after = serde_json::Map::new();
            after.insert(case.b.session.clone(), last);
            again = Follower::new(&ground, &case.b, &json!({ "after": after }));
        }
    }
    assert_eq!(numbers(&all), (0..MANY).collect::<Vec<_>>());
    ground.ends_sound(&["xxxx", "mcpb_"]);
}

#[test]
fn reader_of_much_unread_mail_is_not_dropped() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let text = "x".repeat(2_000);
    let send = |from: usize| {
        let messages: Vec<Value> = (from..from + 100)
            .map(|n| json!({ "message": format!("{n} {text}") }))
            .collect();
        ground.act(&case.a, "send", &json!({ "messages": messages }));
    };
    (0..MANY).step_by(100).for_each(send);
    let confirmed = json!({ "fetch": case.fetch });
    ground.act(&case.b, "confirm", &confirmed);
    let mut slow = Follower::new(&ground, &case.b, &json!("unread"));
    // More comes while it reads, and while it does not.
    for batch in 0..10 {
        send(MANY + batch * 100);
        for _ in 0..100 {
            let line = slow.line();
            assert!(line.get("message").is_some(), "{line}");
            slow.messages.push(line["message"].clone());
        }
    }
    while slow.messages.len() < MANY + 1_000 {
        let line = slow.line();
        assert!(
            line.get("dropped").is_none(),
            "after {}",
            slow.messages.len()
        );
        if line.get("message").is_some() {
            slow.messages.push(line["message"].clone());
        }
    }
    let all: Vec<usize> = (0..MANY + 1_000).collect();
    assert_eq!(numbers(&slow.messages), all);
    // From then on it hears of each as it comes.
    send(MANY + 1_000);
    slow.until("message");
    drop(slow);
    ground.ends_sound(&["xxxx", "mcpb_"]);
}

#[test]
fn subscribers_of_a_killed_daemon_go_on() {
    let mut ground = Ground::new();
    let case = Case::new(&ground);
    let mut followers: Vec<Follower> = (0..20)
        .map(|_| Follower::new(&ground, &case.b, &json!("now")))
        .collect();
    for follower in &mut followers {
        follower.until("caught_up");
    }
    let say = |ground: &Ground, text: &str| {
        ground.act(
            &case.a,
            "send",
            &json!({ "messages": [{ "message": text }] }),
        );
    };
    say(&ground, "0 before");
    for follower in &mut followers {
        follower.until("message");
    }
    ground.daemon.signal(Signal::KILL);
    ground.daemon.wait();
    for follower in &mut followers {
        wait_for("the end of the stream", || {
            follower.try_line().is_none().then_some(())
        });
    }
    ground.start_again();
    say(&ground, "1 after");
    let mut after = serde_json::Map::new();
    let last = followers[0].messages[0]["id"].clone();
    after.insert(case.b.session.clone(), last);
    let mut again = Follower::new(&ground, &case.b, &json!({ "after": after }));
    again.until("message");
    assert_eq!(numbers(&again.messages), [1]);
    drop(again);
    ground.ends_sound(&["mcpb_"]);
}

fn side_b(case: &Case) -> Value {
    json!({ "conversation": case.id, "session": "b" })
}

fn numbers(messages: &[Value]) -> Vec<usize> {
    let numbers = messages.iter().map(|message| {
        let text = message["message"].as_str().expect("a text");
        text.split(' ')
            .next()
            .and_then(|n| n.parse().ok())
            .expect("a number")
    });
    numbers.collect()
}

/// A subscription, read as slowly as one likes.
struct Follower {
    lines: BufReader<UnixStream>,
    messages: Vec<Value>,
}

impl Follower {
    fn new(ground: &Ground, login: &Login, begin: &Value) -> Self {
        let (conversation, side) = login.session.split_once('/').expect("a session");
        let session =
            json!({ "conversation": conversation, "session": side, "token": login.token });
        let body = json!({ "sessions": [session], "begin": begin });
        let mut stream = ground.connect(Socket::Api);
        let asked = request(None, "follow", body.to_string().as_bytes());
        stream.write_all(&asked).expect("asked");
        let mut lines = BufReader::new(stream);
        let mut first = String::new();
        lines.read_line(&mut first).expect("a status");
        if !first.contains(" 200 ") {
            panic!("{first} {}", read(lines.get_mut()).text());
        }
        let messages = Vec::new();
        Self { lines, messages }
    }

    /// The next line of JSON; `None` at the end.
    fn try_line(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            match self.lines.read_line(&mut line) {
                Ok(0) | Err(_) => return None,
                Ok(_) if line.starts_with('{') => return serde_json::from_str(&line).ok(),
                // The head, and the lengths between.
                Ok(_) => {}
            }
        }
    }

    #[track_caller]
    fn line(&mut self) -> Value {
        self.try_line().expect("another line")
    }

    /// Reads until a line of this kind; keeps the messages.
    #[track_caller]
    fn until(&mut self, kind: &str) {
        loop {
            let line = self.line();
            if let Some(message) = line.get("message") {
                self.messages.push(message.clone());
            }
            if line.get(kind).is_some() {
                return;
            }
        }
    }
}
