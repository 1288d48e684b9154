//! A listener awaits the ring of a writer of ours that is in the middle of a commit.
//! One that is killed there rings no more, and leaves no listener deaf.

#![cfg(target_os = "linux")]
#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

use crate::common::store as common;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use mcp_bridge::doorbell::Mode;
use mcp_bridge::model::SessionKey;
use mcp_bridge::model::token::Token;
use mcp_bridge::store::sqlite::Create;
use mcp_bridge::store::{Arrival, Caller};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::again::{child, report, reported, told};
use crate::common::store::{PATIENCE, Scratch, at, draft, unlimited};

/// A listener that hears by nothing but the question to the database, four times a
/// second, hears later than this: one commit follows the other.
const PROMPT: Duration = Duration::from_millis(60);

/// A child: gets `path conversation/side`, its token on standard input; sends one
/// message after the other.
#[test]
fn child_that_sends() {
    let Some(told) = told() else { return };
    let (path, session) = told.split_once(' ').expect("two words");
    let mut token = String::new();
    std::io::stdin().read_line(&mut token).expect("a token");
    let caller = Caller {
        session: session.parse().expect("a session"),
        token: Token::parse(&token).expect("a token"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let store = common::open(path.as_ref(), Create::No).await;
        loop {
            let sent = store.send(&caller, &[draft("ours")], at(1)).await;
            sent.expect("sent");
        }
    });
}

/// A child: gets `path conversation/side`; commits a message to that session for each
/// line that it reads, and rings nothing.
#[test]
fn child_that_rings_nothing() {
    let Some(told) = told() else { return };
    let (path, to) = told.split_once(' ').expect("two words");
    let to: SessionKey = to.parse().expect("a session");
    let raw = rusqlite::Connection::open(path).expect("a connection");
    raw.busy_timeout(PATIENCE).expect("set");
    for line in std::io::stdin().lines() {
        line.expect("a line");
        let insert = "INSERT INTO messages
                (conversation_id, from_session, to_session, message, timestamp)
            VALUES (?1, ?2, ?3, 'foreign', '2025-11-13T02:13:20')";
        let (from, conversation) = (to.side.other(), to.conversation.as_str());
        raw.execute(insert, [conversation, from.as_str(), to.side.as_str()])
            .expect("committed");
        report(&raw.last_insert_rowid().to_string());
    }
}

/// A writer of ours.
fn writer(path: &Path, caller: &Caller) -> Child {
    let told = format!("{} {}", path.display(), caller.session);
    let mut process = child(&[], module_path!(), "child_that_sends", &told)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a writer");
    let mut input = process.stdin.take().expect("piped");
    writeln!(input, "{}", caller.token.expose()).expect("it listens");
    process
}

/// Stops the process while it has SQLite's lock and has given its word that it
/// rings.
fn stop_in_its_turn(process: &Child, bell: &Path) {
    let pid = Pid::from_child(process);
    let inode = std::fs::metadata(bell).expect("a bell").ino();
    let word = format!(" {} ", pid.as_raw_nonzero());
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        kill_process(pid, Signal::STOP).expect("stopped");
        let state = format!("/proc/{}/status", pid.as_raw_nonzero());
        let is_stopped = |state: &str| state.contains("State:\tT");
        while !is_stopped(&std::fs::read_to_string(&state).expect("alive")) {
            std::thread::yield_now();
        }
        let locks = std::fs::read_to_string("/proc/locks").expect("readable");
        let has_word = |line: &str| {
            line.contains("POSIX") && line.contains(&word) && line.contains(&format!(":{inode} "))
        };
        if locks.lines().any(has_word) {
            return;
        }
        kill_process(pid, Signal::CONT).expect("goes on");
        std::thread::yield_now();
    }
    panic!("it gives no word");
}

/// A writer of another program.
struct Foreign {
    process: Child,
    orders: ChildStdin,
    committed: Receiver<i64>,
}

impl Foreign {
    fn spawn(path: &Path, to: &SessionKey) -> Self {
        let told = format!("{} {to}", path.display());
        let mut process = child(&[], module_path!(), "child_that_rings_nothing", &told)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a writer");
        let orders = process.stdin.take().expect("piped");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let (tell, committed) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some(id) = reported(&line) {
                    let _ = tell.send(id.parse().expect("an id"));
                }
            }
        });
        Self {
            process,
            orders,
            committed,
        }
    }

    /// How long it takes from the order to commit until the commit is heard.
    fn heard_after(&mut self, heard: &Receiver<Arrival>) -> Duration {
        let begun = Instant::now();
        writeln!(self.orders, "commit").expect("it listens");
        let id = self.committed.recv_timeout(PATIENCE).expect("committed");
        while heard.recv_timeout(PATIENCE).expect("heard").id.0 < id {}
        begun.elapsed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer_killed_in_its_turn_leaves_no_listener_deaf() {
    let scratch = Scratch::new();
    let store = scratch.make().await;
    unlimited(&store).await;
    let pair = common::pair(&store, at(0)).await;
    let (tell, heard) = channel();
    let on_ring = Box::new(move |look: &mut dyn mcp_bridge::store::Look| {
        for arrival in look
            .arrivals(&std::collections::HashSet::new())
            .expect("a healthy store")
        {
            let _ = tell.send(arrival);
        }
    });
    let _bell = store.doorbell(Mode::Events, on_ring).expect("mounted");
    let mut foreign = Foreign::spawn(&scratch.path(), &pair.b.session);
    for _ in 0..3 {
        let mut ours = writer(&scratch.path(), &pair.a);
        heard.recv_timeout(PATIENCE).expect("its first message");
        stop_in_its_turn(&ours, &scratch.beside("-bell"));
        ours.kill().expect("killed");
        ours.wait().expect("it ends");
        // Each of these in a row, as soon as the machine has the time.
        let (mut prompt, end) = (0, Instant::now() + PATIENCE);
        while prompt < 10 {
            assert!(Instant::now() < end, "the listener is deaf");
            prompt = match foreign.heard_after(&heard) <= PROMPT {
                true => prompt + 1,
                false => 0,
            };
        }
    }
    foreign.process.kill().expect("killed");
    foreign.process.wait().expect("it ends");
}
