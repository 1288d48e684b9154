//! How long our own part takes, apart from any client's: from the end of a send to the last
//! byte that a client is handed, a hook as a whole process, a call of a tool.
//!
//! The full form needs a machine that does nothing else: `tests/soak agents`.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use mcp_bridge::bridge::Bridge;
use mcp_bridge::model::message::Draft;
use serde_json::json;

use crate::common::client::Client;
use crate::common::daemon::{PATIENCE, Pair, Rig, full};
use crate::turns::{Waiter, bridge, door, file, hook, looks_like_claude};

/// Milliseconds, the smallest first.
struct Times(Vec<f64>);

impl Times {
    fn new(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    fn at(&self, part: f64) -> f64 {
        let place = (self.0.len() as f64 * part) as usize;
        self.0[place.min(self.0.len() - 1)]
    }

    /// Prints it. Within these, where nothing else runs; and within many times as much
    /// where the tests are each other's load, and programs not optimised.
    #[track_caller]
    fn within(&self, what: &str, p50: f64, p99: f64) {
        let (half, most) = (self.at(0.5), self.at(0.99));
        let count = self.0.len();
        println!("{what}: {count} times, p50 {half:.1} ms, p99 {most:.1} ms (goals {p50}, {p99})");
        let room = if full() { 1.0 } else { 50.0 };
        assert!(
            half <= p50 * room && most <= p99 * room,
            "{what}: {half}, {most}"
        );
    }
}

fn count() -> usize {
    if full() { 200 } else { 10 }
}

/// The time a client's machine takes to be idle again: none of what is measured.
fn rest() {
    std::thread::park_timeout(Duration::from_millis(150));
}

/// Sends as a face does, and returns when the send has returned.
fn send(rig: &Rig, pair: &Pair, through_door: bool, text: &str) -> Instant {
    let draft = [Draft::text(text.parse().expect("a body"))];
    if through_door {
        let bridge = Bridge::through(&rig.path("worker.state/api.sock"));
        let sent = rig.block_on(bridge.send(&pair.a, &draft)).expect("sent");
        assert_eq!(sent.len(), 1);
    } else {
        rig.send(&pair.a, text);
    }
    Instant::now()
}

fn way(through_door: bool) -> &'static str {
    match through_door {
        true => "a daemon",
        false => "no daemon",
    }
}

fn since(sent: Instant) -> f64 {
    Instant::now().saturating_duration_since(sent).as_secs_f64() * 1_000.0
}

/// From the end of a send to the end of the waiter, all of whose words were read.
fn by_hook(through_door: bool) {
    let rig = Rig::new();
    rig.without_limits();
    let pair = rig.pair("one");
    let _worker = through_door.then(|| rig.worker(""));
    let store = if through_door { door(&rig) } else { file(&rig) };
    let times = (0..count()).map(|n| {
        let mut waiter = Waiter::arm(&rig, "one", &store);
        let mut words = waiter.0.stderr.take().expect("piped");
        rest();
        let sent = send(&rig, &pair, through_door, &format!("mail {n}"));
        let mut text = String::new();
        words.read_to_string(&mut text).expect("words");
        // Its words have ended: so does it, and a look now and then would be measured, too.
        let code = waiter.0.wait().expect("our child").code();
        let took = since(sent);
        assert!(
            code == Some(2) && text.contains("unread message"),
            "{code:?}: {text}"
        );
        assert_eq!(rig.fetch(&pair.b).len(), 1);
        took
    });
    let times = Times::new(times.collect());
    let what = format!("send to the end of the hook waiter, {}", way(through_door));
    times.within(&what, 10.0, 50.0);
}

/// From the end of a send to the last byte at the client's inbox.
fn by_inbox(through_door: bool) {
    let rig = Rig::new();
    rig.without_limits();
    let pair = rig.pair("one");
    let _worker = through_door.then(|| rig.worker(""));
    let store = if through_door { door(&rig) } else { file(&rig) };
    looks_like_claude(&rig, "idle");
    let listener = UnixListener::bind(rig.path("inbox")).expect("bound");
    let (heard, hears) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let lines: Vec<String> = BufReader::new(stream)
                .lines()
                .map_while(Result::ok)
                .collect();
            if heard.send((Instant::now(), lines)).is_err() {
                return;
            }
        }
    });
    let mut client = Client::start(bridge(&rig, "one", &store, &["mcp"]));
    client.greet("2025-11-25", "claude-code");
    let wake = |text: String| {
        rest();
        let sent = send(&rig, &pair, through_door, &text);
        let (at, lines) = hears.recv_timeout(PATIENCE).expect("a wake");
        let last = lines.last().expect("a line");
        assert!(last.contains("unread message"), "{last}");
        assert_eq!(rig.fetch(&pair.b).len(), 1);
        at.saturating_duration_since(sent).as_secs_f64() * 1_000.0
    };
    // The first is late: at its start it leaves its client alone.
    wake("hello".into());
    let times = (0..count()).map(|n| wake(format!("mail {n}")));
    let times = Times::new(times.collect());
    let what = format!("send to the last byte at the inbox, {}", way(through_door));
    times.within(&what, 10.0, 50.0);
}

#[test]
fn share_of_the_hook_waiter_through_a_daemon() {
    by_hook(true);
}

#[test]
fn share_of_the_hook_waiter_alone() {
    by_hook(false);
}

#[test]
fn share_of_the_inbox_through_a_daemon() {
    by_inbox(true);
}

#[test]
fn share_of_the_inbox_alone() {
    by_inbox(false);
}

/// A hook as its client runs it, with the time that hooks have by default.
fn one_hook(rig: &Rig, store: &str, event: &str) -> f64 {
    let mut command: Command = bridge(rig, "one", store, &["hook"]);
    command.env_remove("MCP_BRIDGE_HOOK_PATIENCE");
    let input = json!({ "hook_event_name": event, "session_id": "s", "cwd": "/" }).to_string();
    let begun = Instant::now();
    let mut hook = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a hook");
    let mut pipe = hook.stdin.take().expect("piped");
    pipe.write_all(input.as_bytes()).expect("written");
    drop(pipe);
    assert!(hook.wait().expect("it ends").success());
    since(begun)
}

fn hooks(rig: &Rig, store: &str, until: impl Fn(usize) -> bool) -> Times {
    let mut times = Vec::new();
    while !until(times.len()) {
        let event = ["UserPromptSubmit", "Stop"][times.len() % 2];
        times.push(one_hook(rig, store, event));
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Times::new(times)
}

#[test]
fn share_of_a_hook() {
    let rig = Rig::new();
    let _pair = rig.pair("one");
    let enough = |done| done >= count();
    let alone = hooks(&rig, &file(&rig), enough);
    let _worker = rig.worker("");
    let through = hooks(&rig, &door(&rig), enough);
    through.within("a hook, through a daemon", 6.0, 50.0);
    alone.within("a hook, no daemon", 10.0, 50.0);
}

#[test]
fn share_of_a_hook_while_the_store_is_locked() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let worker = rig.worker("");
    hook(&rig, "one", &file(&rig), "SessionStart");
    let writer = rig.foreign();
    let long = Duration::from_secs(if full() { 60 } else { 3 });
    for (way, store) in [("no daemon", file(&rig)), ("a daemon", door(&rig))] {
        writer.execute_batch("BEGIN IMMEDIATE").expect("locked");
        let begun = Instant::now();
        let times = hooks(&rig, &store, |_| begun.elapsed() > long);
        let last = if times.0.len() % 2 == 1 {
            "inside"
        } else {
            "outside"
        };
        writer.execute_batch("ROLLBACK").expect("unlocked");
        times.within(
            &format!("a hook while the store is locked, {way}"),
            50.0,
            50.0,
        );
        // The turn that is true now is said when the store is there again.
        crate::common::daemon::wait_for("the last turn to be said", || {
            let turn = rig.view(&pair.b.session).turn.as_str() == last;
            turn.then_some(())
        });
    }
    assert_eq!(worker.stop(), Some(0));
}

#[test]
fn share_of_a_tool_beside_ten_busy_agents() {
    let rig = Rig::new();
    rig.without_limits();
    let pair = rig.pair("one");
    let _worker = rig.worker("");
    let store = door(&rig);
    let serve = |name: &str| {
        let mut client = Client::start(bridge(&rig, name, &store, &["mcp"]));
        client.greet("2025-11-25", "test");
        client
    };
    let is_over = Arc::new(AtomicBool::default());
    let busy: Vec<_> = (0..10)
        .map(|n| {
            let name = format!("busy-{n}");
            rig.pair(&name);
            let (mut client, is_over) = (serve(&name), Arc::clone(&is_over));
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    client.text("send_to_partner", json!({ "message": "on it" }));
                    client.text("check_messages", json!({}));
                    std::thread::park_timeout(Duration::from_millis(500));
                }
            })
        })
        .collect();
    let mut client = serve("one");
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for n in 0..count() {
        rest();
        let begun = Instant::now();
        client.text("check_messages", json!({}));
        reads.push(since(begun));
        let begun = Instant::now();
        client.text("send_to_partner", json!({ "message": format!("mail {n}") }));
        writes.push(since(begun));
    }
    is_over.store(true, Ordering::Relaxed);
    for one in busy {
        one.join().expect("it went on");
    }
    assert_eq!(rig.fetch(&pair.a).len(), count());
    Times::new(reads).within("a tool that reads, beside ten busy agents", 5.0, 5.0);
    // With the time of its fsync, which is the disk's.
    Times::new(writes).within("a tool that writes, beside ten busy agents", 15.0, 50.0);
}
