//! The limits of a door, with times short enough to wait for.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mcp_bridge::api::Sockets;
use mcp_bridge::api::server::{Door, Hub, Limits, bind};
use mcp_bridge::service_manager::KeptSockets;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::ground::{Login, question, read, request};
use crate::common::daemon::{PATIENCE, Pair, Rig, wait_for};

/// A door of this process.
struct Short {
    rig: Rig,
    path: PathBuf,
    ends: CancellationToken,
    /// Without it the door has no store.
    _store: watch::Sender<Option<Arc<mcp_bridge::store::Store>>>,
}

impl Short {
    fn new(limits: Limits) -> Self {
        let rig = Rig::new();
        rig.without_limits();
        let directory = rig.path("short");
        let (store, open) = watch::channel(Some(Arc::new(rig.reopen())));
        let ends = CancellationToken::new();
        let door = Door::new(open, Arc::new(Hub::default()), limits, ends.clone());
        let sockets = Sockets::at(&directory);
        rig.block_on(async {
            let bound = bind(&sockets, [None, None], &mut KeptSockets::default()).expect("bound");
            tokio::spawn(door.serve(bound));
        });
        let path = directory.join("api.sock");
        Self {
            rig,
            path,
            ends,
            _store: store,
        }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream
    }
}

impl Drop for Short {
    fn drop(&mut self) {
        self.ends.cancel();
    }
}

fn login(pair: &Pair) -> Login {
    Login {
        session: pair.b.session.to_string(),
        token: format!("mcpb_{}", pair.b.token.expose()),
    }
}

fn within(time: Duration) -> Limits {
    Limits {
        time,
        ..Limits::default()
    }
}

#[test]
fn stalled_request_is_not_awaited() {
    let short = Short::new(within(Duration::from_millis(500)));
    let pair = short.rig.pair("work");
    let mut silent = short.connect();
    let mut half_head = short.connect();
    half_head
        .write_all(b"POST /v1/send HTTP/1.1\r\nHost")
        .expect("written");
    let whole = request(Some(&login(&pair)), "peek", b"{\"limit\": 10}");
    let mut half_body = short.connect();
    half_body
        .write_all(&whole[..whole.len() - 3])
        .expect("written");
    let said = read(&mut half_body);
    assert_eq!(said.status, 400, "{said:?}");
    assert!(said.text().contains("in time"), "{said:?}");
    // Those two are let go without a word, or with one.
    read(&mut half_head);
    read(&mut silent);
}

#[test]
fn body_of_single_bytes_has_no_more_time() {
    let short = Short::new(within(Duration::from_millis(800)));
    let pair = short.rig.pair("work");
    let body = format!("{{\"limit\": 10{}}}", " ".repeat(50_000));
    let whole = request(Some(&login(&pair)), "peek", body.as_bytes());
    let begin = whole.len() - body.len();
    let mut slow = short.connect();
    slow.write_all(&whole[..begin]).expect("written");
    // One byte for each look at what the daemon says, until it has said something.
    for byte in &whole[begin..] {
        let written = slow.write_all(std::slice::from_ref(byte));
        let mut fds = [rustix::event::PollFd::new(
            &slow,
            rustix::event::PollFlags::IN,
        )];
        let soon = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 2_000_000,
        };
        let ready = rustix::event::poll(&mut fds, Some(&soon)).expect("asked");
        if ready > 0 || written.is_err() {
            break;
        }
    }
    let said = read(&mut slow);
    assert_eq!(said.status, 400, "{said:?}");
    assert!(said.text().contains("in time"), "{said:?}");
}

#[test]
fn a_reader_that_stands_still_loses_its_connection() {
    let short = Short::new(within(Duration::from_secs(2)));
    let pair = short.rig.pair("work");
    let text = "x".repeat(20_000);
    for _ in 0..200 {
        short.rig.send(&pair.a, &text);
    }
    let peek = request(Some(&login(&pair)), "peek", b"{\"limit\": 1000}");
    let mut good = short.connect();
    good.write_all(&peek).expect("asked");
    let all = read(&mut good).body.len();
    assert!(all > 900_000, "{all}");
    let mut still = short.connect();
    still.write_all(&peek).expect("asked");
    let mut first = [0; 100];
    still.read_exact(&mut first).expect("it answers");
    // It ends on the daemon's side, although nothing more is read here.
    wait_for("the end of the connection", || {
        let mut fds = [rustix::event::PollFd::new(
            &still,
            rustix::event::PollFlags::empty(),
        )];
        rustix::event::poll(&mut fds, Some(&rustix::event::Timespec::default())).expect("asked");
        let hung_up = rustix::event::PollFlags::HUP | rustix::event::PollFlags::ERR;
        fds[0].revents().intersects(hung_up).then_some(())
    });
    assert!(read(&mut still).body.len() < all / 2, "it was waited for");
}

#[test]
fn connection_over_the_limit_gets_an_error() {
    let limits = Limits {
        connections: 5,
        ..Limits::default()
    };
    let short = Short::new(limits);
    let mut taken: Vec<UnixStream> = (0..5).map(|_| short.connect()).collect();
    let mut more = short.connect();
    let said = read(&mut more);
    assert_eq!(said.status, 429, "{said:?}");
    taken.pop();
    wait_for("a place", || {
        let mut again = short.connect();
        // It may be turned away before it has asked.
        let _ = again.write_all(&question(None, "health"));
        (read(&mut again).status == 200).then_some(())
    });
}
