//! An HTTP server on loopback that gives prepared answers, in order, and keeps the
//! requests.

#![allow(
    dead_code,
    clippy::expect_used,
    reason = "each test program uses its part; without its server a test has nothing to say"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longer than anything takes on the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What one request gets. Without one left, the connection is closed unread.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Status(u16),
    Redirect(u16, String),
    /// Nothing, until the server is dropped.
    Silence,
    /// A head without an end, a byte now and then.
    Drip,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// By its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} twice");
        value
    }
}

#[derive(Debug, Default)]
struct Shared {
    requests: Mutex<Vec<Request>>,
    open: Mutex<Vec<TcpStream>>,
    over: AtomicBool,
}

pub(crate) struct Server {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared::default());
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || serve(&listener, answers, &shared))
        };
        Self {
            port,
            shared,
            thread: Some(thread),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Those that came in full.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().expect("no panic").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        for stream in self.shared.open.lock().expect("no panic").drain(..) {
            // Closed already is as good.
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes it from its wait for the next one.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, answers: Vec<Answer>, shared: &Arc<Shared>) {
    let mut answers = answers.into_iter();
    for stream in listener.incoming().map_while(Result::ok) {
        if shared.over.load(Ordering::SeqCst) {
            return;
        }
        // A client of another protocol gets no answer.
        let Some(request) = read(&stream) else {
            continue;
        };
        shared.requests.lock().expect("no panic").push(request);
        if let Some(answer) = answers.next() {
            give(stream, &answer, shared);
        }
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    // TLS begins with a byte that no method has, and may go on without a line.
    if !reader.fill_buf().ok()?.first()?.is_ascii_uppercase() {
        return None;
    }
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut lines = lines.into_iter();
    let line = lines.next()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_lowercase(), value.trim().to_owned()))
        })
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length")?;
    let mut body = vec![0; length.1.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        line,
        headers,
        body,
    })
}

fn give(mut stream: TcpStream, answer: &Answer, shared: &Arc<Shared>) {
    let head = |status: u16, more: &str| {
        format!("HTTP/1.1 {status} Because\r\nContent-Length: 0\r\nConnection: close\r\n{more}\r\n")
    };
    let text = match answer {
        Answer::Status(status) => head(*status, ""),
        Answer::Redirect(status, to) => head(*status, &format!("Location: {to}\r\n")),
        Answer::Silence => {
            shared.open.lock().expect("no panic").push(stream);
            return;
        }
        Answer::Drip => {
            std::thread::spawn(move || {
                let mut sent = stream.write_all(b"HTTP/1.1 200 Because\r\nX-Drip: ");
                while sent.is_ok() {
                    std::thread::park_timeout(Duration::from_millis(20));
                    sent = stream.write_all(b"x");
                }
            });
            return;
        }
    };
    // A client that has gone is the test's to notice.
    let _ = stream.write_all(text.as_bytes());
}
