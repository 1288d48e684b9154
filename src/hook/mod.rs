//! Hooks: what an agent's client calls when something happens in it, and what it says
//! to its agent in return.
//!
//! A hook stands in the way of every turn, so it is quick, and it never fails: what cannot
//! be written to the store at once is kept (`session::notes`) and said later, in order, by
//! the next hook or by a process of its own (`saying`). What an event means is decided in
//! `plan`; `wait` is the hook that wakes an idle client.

mod answer;
mod event;
mod helper;
mod plan;
mod saying;
mod wait;

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;

use crate::exit::Exit;
use crate::session::Access;
use event::Call;

/// More than any event has bytes: clients cut the output of tools before.
const MOST_BYTES: u64 = 4 << 20;

/// What is read of it at a time.
const PART: usize = 64 << 10;

/// How long the client may take to write its event. One on a machine that is overloaded
/// was seen to take more than half a second: the end of its turn was never heard of, and it
/// got no mail any more.
const INPUT: Duration = Duration::from_secs(5);

/// The name of an event as a client wrote it. For `fuzz/`.
#[doc(hidden)]
#[must_use]
pub fn event_of(input: &[u8], argument: Option<&str>) -> String {
    let call = Call::read(input, argument);
    plan::Plan::of(&call);
    call.name
}

/// Does what the arguments say: `wait`, `flush`, `codex-notify JSON`, or an event whose
/// JSON is on standard input. The client never hears of a failure.
pub fn run(access: &Access, words: &[String]) -> Exit {
    match words.first().map(String::as_str) {
        Some("wait") => wait::run(access, &Call::read(&input(), None)),
        Some("flush") => saying::flush(access),
        Some(name @ "codex-notify") => {
            let json = words.get(1).map_or("", String::as_str);
            respond(access, &Call::read(json.as_bytes(), Some(name)))
        }
        name if std::io::stdin().is_terminal() && name.is_none() => {
            tell("an agent's client calls this command with JSON on standard input; see --help");
            Exit::Usage
        }
        name => respond(access, &Call::read(&input(), name)),
    }
}

fn respond(access: &Access, call: &Call) -> Exit {
    match block_on(answer::answer(access, call)) {
        Ok(Some(json)) => {
            // A client that went away needs no answer.
            let _ = writeln!(std::io::stdout(), "{json}");
        }
        Ok(None) => {}
        Err(error) => tell(&error.to_string()),
    }
    Exit::Success
}

/// What the client wrote, until it closes its pipe, or leaves it open behind a whole event.
fn input() -> Vec<u8> {
    let (send, receive) = mpsc::channel();
    let reader = std::thread::Builder::new().spawn(move || {
        let mut input = std::io::stdin().take(MOST_BYTES);
        let mut part = vec![0; PART];
        while let Ok(length @ 1..) = input.read(&mut part) {
            // It is waited for no more.
            if send.send(part[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut bytes = Vec::new();
    let until = Instant::now() + INPUT;
    while reader.is_ok() && !is_whole(&bytes) {
        let left = until.saturating_duration_since(Instant::now());
        let Ok(part) = receive.recv_timeout(left) else {
            break;
        };
        bytes.extend(part);
    }
    bytes
}

fn is_whole(json: &[u8]) -> bool {
    json.trim_ascii_end().ends_with(b"}") && serde_json::from_slice::<IgnoredAny>(json).is_ok()
}

/// On standard error, which clients show only to a user who looks for it.
fn tell(text: &str) {
    let text = crate::text::shown::shown_lines(text);
    let _ = writeln!(std::io::stderr(), "mcp-bridge hook: {text}");
}

/// Runs it on this thread. What it leaves running on others ends with the program.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}
