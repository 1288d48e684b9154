//! A call that reaches the daemon long after its program gave it up.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use super::{Daemon, command, common};
use crate::common::scratch::{PATIENCE, Scratch, wait_until};

/// What the hooks say of a turn.
const HELD: &[u8] = b"POST /v1/heartbeat ";

/// A way to the daemon that keeps the first of these calls back, until it is let go.
struct Detour {
    socket: PathBuf,
    let_go: mpsc::Sender<()>,
    answered: mpsc::Receiver<()>,
}

impl Detour {
    fn new(scratch: &Scratch) -> Self {
        std::fs::create_dir(scratch.path("detour")).expect("made");
        let socket = scratch.path("detour/api.sock");
        let to = scratch.path("run/mcp-bridge/door/api.sock");
        let listener = UnixListener::bind(&socket).expect("bound");
        let (let_go, gone) = mpsc::channel();
        let (answers, answered) = mpsc::channel();
        thread::spawn(move || {
            let hold = Arc::new(Mutex::new(Some((gone, answers))));
            for stream in listener.incoming().map_while(Result::ok) {
                let (hold, to) = (Arc::clone(&hold), to.clone());
                thread::spawn(move || pass(&stream, &to, &hold));
            }
        });
        Self {
            socket,
            let_go,
            answered,
        }
    }

    fn hook(&self, scratch: &Scratch, event: &str, patience: &str) {
        let mut command = command(scratch, Some("work.b"), &["hook"]);
        command
            .env(
                "MCP_BRIDGE_STORE",
                format!("unix:{}", self.socket.display()),
            )
            .env("MCP_BRIDGE_HOOK_PATIENCE", patience);
        let event = format!(r#"{{"hook_event_name":"{event}","session_id":"s"}}"#);
        let ran = scratch.outcome_with_input(command, event.as_bytes()).ok();
        assert_eq!(ran.err, "");
    }
}

/// Lets the call go, and hears that it was answered.
type Hold = (mpsc::Receiver<()>, mpsc::Sender<()>);

/// Passes on what comes, in both directions.
fn pass(client: &UnixStream, to: &Path, hold: &Mutex<Option<Hold>>) {
    let daemon = UnixStream::connect(to).expect("it answers");
    let (mut back, mut from) = (client, daemon.try_clone().expect("cloned"));
    thread::scope(|threads| {
        let (says, said) = mpsc::channel();
        threads.spawn(move || {
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut part) {
                // The client may have gone.
                let _ = back.write_all(&part[..length]);
                let _ = says.send(());
            }
        });
        let (mut client, mut part) = (client, [0; 4096]);
        while let Ok(length @ 1..) = client.read(&mut part) {
            let is_call = part.starts_with(HELD);
            let held = is_call
                .then(|| hold.lock().expect("whole").take())
                .flatten();
            if let Some((gone, _)) = &held {
                gone.recv_timeout(PATIENCE).expect("let go");
                said.try_iter().for_each(drop);
            }
            (&daemon).write_all(&part[..length]).expect("it reads");
            if let Some((_, answers)) = held {
                said.recv_timeout(PATIENCE).expect("an answer");
                answers.send(()).expect("awaited");
            }
        }
        let _ = daemon.shutdown(std::net::Shutdown::Both);
    });
}

#[test]
fn late_word_of_a_turn_is_not_the_last() {
    let scratch = Scratch::with_conversation();
    let _daemon = Daemon::start(&scratch);
    let detour = Detour::new(&scratch);
    let turn = || {
        let store = rusqlite::Connection::open(scratch.store()).expect("the store");
        store.busy_timeout(common::PATIENCE).expect("set");
        let turn = "SELECT coalesce(max(turn), '') FROM bridge_session WHERE session_id = 'b'";
        store
            .query_row(turn, [], |row| row.get::<_, String>(0))
            .expect("a session")
    };
    // It gives up, and a process of its own says it in its place.
    detour.hook(&scratch, "UserPromptSubmit", "3s");
    wait_until("the begin of the turn is known", || turn() == "inside");
    detour.hook(&scratch, "Stop", "30s");
    assert_eq!(turn(), "outside");
    detour.let_go.send(()).expect("it is held");
    let answer = detour.answered.recv_timeout(PATIENCE);
    answer.expect("the daemon answers the late call");
    assert_eq!(turn(), "outside");
}
