//! More clients than there is room for, and clients that take as much room as they
//! can: they cost what the limits say, and the others are answered.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use super::ground::{Case, Ground, Login, SECRET_BODY, Socket, question, read, request};
use crate::common::daemon::{Agent, Daemon, Pair, QUICK, Rig, full, session, wait_for};

/// The daemon's descriptors, as the system counts them.
fn descriptors(ground: &Ground) -> usize {
    let list = std::fs::read_dir(format!("/proc/{}/fd", ground.daemon.child.id()));
    list.expect("a list").count()
}

/// A ground whose daemon keeps a session.
fn with_session() -> (Ground, Pair, Agent) {
    let ground = Ground::new();
    let pair = ground.rig.pair("kept");
    let agent = Agent::with_file(&ground.rig, "kept.pid");
    let pid = ground.rig.path("kept.pid");
    let proof = format!("{{ pid_file = \"{}\" }}", pid.display());
    let text = format!("{QUICK}{}", session("kept", &proof));
    ground.rig.config("worker", &text);
    ground.daemon.reload();
    ground.rig.goes_on(&pair.b.session);
    (ground, pair, agent)
}

/// As many descriptors as this process may have.
fn most_descriptors() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("raised");
    maximum.map_or(usize::MAX, |most| usize::try_from(most).expect("a size"))
}

/// Asks as another user; `None` where that cannot be tried.
fn as_another_user(ground: &Ground) -> Option<i32> {
    let open = |path: &std::path::Path, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("set");
    };
    open(ground.rig.dir.path(), 0o755);
    open(&ground.socket(Socket::Api), 0o666);
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["curl", "-s", "-f", "-o", "/dev/null", "-m", "10"])
        .arg("--unix-socket")
        .arg(ground.socket(Socket::Api))
        .arg("http://localhost/v1/health")
        .stdout(Stdio::null());
    match rustix::process::geteuid().is_root() {
        true => command.status().ok()?.code(),
        false => None,
    }
}

#[test]
fn ten_thousand_connections_keep_no_other_user_out() {
    let (ground, pair, _agent) = with_session();
    let before = descriptors(&ground);
    // The test has one end of each, and some more.
    let wanted = 10_000.min(most_descriptors().saturating_sub(500));
    if wanted < 10_000 {
        println!("with {wanted} connections: this process may have no more");
    }
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..wanted {
        let mut stream = ground.connect(Socket::Api);
        stream.set_nonblocking(true).expect("set");
        // A client that came too late has read why by the time it asks.
        let mut first = [0; 12];
        match stream.read(&mut first) {
            Ok(12) => {
                assert_eq!(&first, b"HTTP/1.1 429");
                refused += 1;
            }
            _ => open.push(stream),
        }
    }
    wait_for("all to be taken or refused", || {
        open.retain_mut(|stream| {
            let mut first = [0; 12];
            let is_refused = matches!(stream.read(&mut first), Ok(12));
            if is_refused {
                assert_eq!(&first, b"HTTP/1.1 429");
                refused += 1;
            }
            !is_refused
        });
        let begun = Instant::now();
        ground.order("unread", &json!({ "sessions": [] }));
        assert!(begun.elapsed() < Duration::from_secs(10));
        (open.len() <= 4_096).then_some(())
    });
    let held = descriptors(&ground);
    let resident = ground.daemon.status("VmRSS");
    println!(
        "{} open, {refused} refused; the daemon has {held} descriptors, {before} before, and {} MiB",
        open.len(),
        resident / 1024
    );
    assert!(held < 4_096 + 256 + before, "{held} descriptors");
    assert!(resident < 200 * 1024, "{resident} KiB");
    if let Some(code) = as_another_user(&ground) {
        assert_eq!(code, 0, "another user is kept out");
    }
    ground.rig.goes_on(&pair.b.session);
    drop(open);
    wait_for("the end of them", || {
        (descriptors(&ground) < before + 50).then_some(())
    });
    ground.ends_sound(&["mcpb_"]);
}

#[test]
fn two_hundred_connections_take_little() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let peek = request(Some(&case.b), "peek", b"{\"limit\": 10}");
    let peek = String::from_utf8(peek).expect("text");
    let peek = peek.replace("Connection: close\r\n", "");
    let mut open: Vec<UnixStream> = (0..200).map(|_| ground.connect(Socket::Api)).collect();
    for stream in &mut open {
        stream.write_all(peek.as_bytes()).expect("asked");
        let mut first = [0; 12];
        stream.read_exact(&mut first).expect("it answers");
        assert_eq!(&first, b"HTTP/1.1 200");
    }
    let resident = ground.daemon.status("VmRSS");
    println!("200 connections that were used: {} MiB", resident / 1024);
    // The figure is of a release build; this one is larger.
    assert!(resident < 60 * 1024, "{resident} KiB");
    drop(open);
    ground.ends_sound(&[SECRET_BODY, "mcpb_"]);
}

/// A subscription of a session that has begun.
fn following(ground: &Ground, login: &Login) -> UnixStream {
    let mut stream = ground.connect(Socket::Api);
    let asked = request(Some(login), "follow", b"{}");
    stream.write_all(&asked).expect("asked");
    let mut first = [0; 12];
    stream.read_exact(&mut first).expect("it answers");
    assert_eq!(&first, b"HTTP/1.1 200");
    stream
}

/// A hundred readers go so; they are let go of at once.
fn go(leave: impl Fn(&UnixStream)) {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let before = descriptors(&ground);
    let open: Vec<UnixStream> = (0..100).map(|_| following(&ground, &case.b)).collect();
    assert!(descriptors(&ground) >= before + 100);
    open.iter().for_each(leave);
    let begun = Instant::now();
    drop(open);
    wait_for("the end of them", || {
        (descriptors(&ground) < before + 10).then_some(())
    });
    // Half the time after which something is written to a silent stream.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    ground.ends_sound(&[SECRET_BODY, "mcpb_"]);
}

#[test]
fn readers_that_are_gone_are_let_go_at_once() {
    go(|_| {});
}

/// As a client's library drops a connection. The daemon sees the one before the other.
#[test]
fn readers_that_end_their_direction_first_are_let_go() {
    go(|stream| {
        stream.shutdown(Shutdown::Write).expect("its own direction");
        std::thread::park_timeout(Duration::from_millis(2));
    });
}

#[test]
fn a_reader_that_asks_no_more_still_reads() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let mut stream = following(&ground, &case.b);
    stream.shutdown(Shutdown::Write).expect("its own direction");
    let sent = json!({ "messages": [{ "message": "after its last word" }] });
    ground.act(&case.a, "send", &sent);
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("after its last word") {
        let mut more = [0; 4096];
        let length = stream.read(&mut more).expect("it goes on");
        assert!(length > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&more[..length]);
    }
    drop(stream);
    ground.ends_sound(&[SECRET_BODY, "mcpb_"]);
}

/// What a program keeps the daemon from letting go of.
fn grows(ground: &Ground, what: &str, hoard: impl FnOnce() -> Vec<UnixStream>) {
    let before = ground.daemon.status("VmRSS");
    let hoard = hoard();
    // Another user goes on meanwhile.
    for _ in 0..20 {
        let begun = Instant::now();
        ground.order("unread", &json!({ "sessions": [] }));
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
    }
    let grown = ground.daemon.status("VmRSS").saturating_sub(before);
    assert!(grown < 256 * 1024, "{what}: {grown} KiB more");
    drop(hoard);
}

/// Writes what is taken at once.
fn push(mut stream: UnixStream, bytes: &[u8]) -> UnixStream {
    let soon = Some(Duration::from_millis(100));
    stream.set_write_timeout(soon).expect("set");
    // It may be refused before all of it was written.
    let _ = stream.write_all(bytes);
    stream
}

#[test]
fn memory_of_one_users_programs_is_limited() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let each = if full() { 1_000 } else { 150 };
    let body = 4 * 1024 * 1024;
    let half = format!(
        "POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Length: {body}\r\n\r\n{}",
        " ".repeat(body - 1)
    );
    grows(&ground, "bodies that do not end", || {
        let connect = || ground.connect(Socket::Api);
        (0..each)
            .map(|_| push(connect(), half.as_bytes()))
            .collect()
    });
    let text = "x".repeat(40_000);
    let messages: Vec<Value> = (0..100).map(|_| json!({ "message": text })).collect();
    ground.act(&case.a, "send", &json!({ "messages": messages }));
    let peek = request(Some(&case.b), "peek", b"{\"limit\": 1000}");
    grows(&ground, "answers that are not read", || {
        let (hoard, refused): (Vec<_>, Vec<_>) = (0..each)
            .map(|_| {
                let mut stream = push(ground.connect(Socket::Api), &peek);
                let mut first = [0; 12];
                stream.read_exact(&mut first).expect("an answer");
                (stream, first)
            })
            .partition(|(_, first)| first == b"HTTP/1.1 200");
        let is_readable = |(_, first): &(_, [u8; 12])| first == b"HTTP/1.1 429";
        assert!(!refused.is_empty() && refused.iter().all(is_readable));
        hoard.into_iter().map(|(stream, _)| stream).collect()
    });
    let (conversation, side) = case.b.session.split_once('/').expect("a session");
    let body = json!({ "sessions": [
        { "conversation": conversation, "session": side, "token": case.b.token }
    ] });
    let follow = request(None, "follow", body.to_string().as_bytes());
    grows(&ground, "subscriptions that are not read", || {
        let connect = || ground.connect(Socket::Api);
        (0..each).map(|_| push(connect(), &follow)).collect()
    });
    // All of it is given back: one that reads gets everything.
    wait_for("room", || {
        let mut good = ground.connect(Socket::Api);
        good.write_all(&peek).expect("asked");
        let answer = read(&mut good);
        (answer.status == 200 && answer.body.len() > 900_000).then_some(())
    });
    let resident = ground.daemon.status("VmRSS");
    assert!(resident < 600 * 1024, "{resident} KiB");
    let (code, said) = ground.daemon.finish();
    assert_eq!(code, Some(0));
    said.never("panicked");
}

#[test]
fn long_answers_are_made_a_few_at_a_time() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let text = "x".repeat(40_000);
    let messages: Vec<Value> = (0..100).map(|_| json!({ "message": text })).collect();
    ground.act(&case.a, "send", &json!({ "messages": messages }));
    let before = ground.daemon.status("VmRSS");
    let peek = request(Some(&case.b), "peek", b"{\"limit\": 1000}");
    let mut asked: Vec<UnixStream> = (0..400)
        .map(|_| push(ground.connect(Socket::Api), &peek))
        .collect();
    let mut granted = 0;
    for stream in &mut asked {
        let answer = read(stream);
        match answer.status {
            200 => granted += 1,
            429 => {
                assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
                assert!(answer.text().contains("try again in a moment"));
            }
            _ => panic!("{} {}", answer.status, answer.text()),
        }
    }
    assert!(granted > 40, "{granted}");
    let most = ground.daemon.status("VmHWM").saturating_sub(before);
    println!("{granted} granted, at most {} MiB more", most / 1024);
    // 64 MiB wait for their readers, and the rest is being made.
    assert!(most < 160 * 1024, "{most} KiB more");
    ground.ends_sound(&["xxxx", "mcpb_"]);
}

/// A service manager that hears the daemon's notifications.
fn hears_pings(socket: UnixDatagram) -> Arc<Mutex<Vec<Instant>>> {
    let pings = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&pings);
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(length) = socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]);
            if text.lines().any(|line| line == "WATCHDOG=1") {
                heard.lock().expect("one at a time").push(Instant::now());
            }
        }
    });
    pings
}

#[test]
fn the_watchdog_is_fed_under_ten_thousand_connections() {
    let rig = Rig::new();
    rig.without_limits();
    let pair = rig.pair("kept");
    let _agent = Agent::with_file(&rig, "kept.pid");
    let proof = format!("{{ pid_file = \"{}\" }}", rig.path("kept.pid").display());
    let config = rig.config("worker", &format!("{QUICK}{}", session("kept", &proof)));
    let notify = rig.path("notify");
    let pings = hears_pings(UnixDatagram::bind(&notify).expect("bound"));
    let mut command = rig.command(&config);
    // Far above what a loaded machine needs, and what would end the daemon.
    let limit = Duration::from_secs(10);
    command.env("NOTIFY_SOCKET", &notify);
    command.env("WATCHDOG_USEC", limit.as_micros().to_string());
    let mut daemon = Daemon::start(&mut command, &config);
    daemon.says("listening at");
    let ground = Ground { rig, daemon };
    ground.rig.goes_on(&pair.b.session);
    let begun = Instant::now();
    let wanted = 10_000.min(most_descriptors().saturating_sub(500));
    let asked = String::from_utf8(question(None, "conversations")).expect("text");
    let asked = asked.replace("Connection: close\r\n", "");
    let open: Vec<UnixStream> = (0..wanted)
        .map(|n| {
            let mut stream = ground.connect(Socket::Api);
            stream.set_nonblocking(true).expect("set");
            if n % 2 == 0 {
                let _ = stream.write_all(asked.as_bytes());
            }
            stream
        })
        .collect();
    ground.rig.goes_on(&pair.b.session);
    let since = |begun: Instant| {
        let pings = pings.lock().expect("one at a time");
        let later = pings.iter().filter(|ping| **ping > begun);
        later.copied().collect::<Vec<_>>()
    };
    let full = Instant::now();
    wait_for("some pings while all of them are there", || {
        (since(full).len() >= 4).then_some(())
    });
    let all = since(begun);
    let gaps = all.windows(2).map(|two| two[1].duration_since(two[0]));
    let longest = gaps.max().unwrap_or_default();
    println!("{} pings, the longest pause {longest:?}", all.len());
    assert!(longest < limit, "{longest:?} without a ping");
    drop(open);
    ground.ends_sound(&["mcpb_"]);
}
