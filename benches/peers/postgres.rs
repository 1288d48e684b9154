//! A table of PostgreSQL: one statement inserts the row and notifies, and the listener
//! fetches the row. Statements are prepared; `synchronous_commit` is on.

use std::io::{BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::process::Signal;

use crate::reader::{self, Job};
use crate::server::{self, Server};
use crate::{Made, Writer};

const USER: &str = "bench";

/// What a message is kept as, with nothing that would slow it down.
const TABLE: &str = "CREATE TABLE messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, conversation text NOT NULL,
    sender text NOT NULL, recipient text NOT NULL, message text NOT NULL, metadata text,
    sent_at timestamptz NOT NULL DEFAULT now(), read boolean NOT NULL DEFAULT false)";

/// One statement is one transaction and one round trip.
const SEND: &str = "WITH sent AS (INSERT INTO messages
        (conversation, sender, recipient, message, metadata)
        VALUES ('conv_0123456789abcdef', 'a', 'b', $1, '{}') RETURNING id)
    SELECT pg_notify('messages', id::text) FROM sent";

const FETCH: &str = "SELECT message, id, conversation, sender, recipient, metadata, sent_at
    FROM messages WHERE id = $1";

struct Table {
    // Closed before the server ends.
    connection: Connection,
    socket: PathBuf,
    _server: Server,
}

/// Where Debian has the programs, the newest version first.
fn programs() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let versions = versions.into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

pub(crate) fn row_and_notify(directory: &Path) -> Made {
    let programs = programs();
    let find = |name| server::find(name, &programs);
    let (Some(initdb), Some(postgres)) = (find("initdb"), find("postgres")) else {
        return Ok(Err(
            "there is no initdb or no postgres: apt-get install postgresql".into(),
        ));
    };
    let directory = directory.join("postgres");
    server::directory(&directory)?;
    let data = directory.join("data");
    let mut init = server::command(&initdb, &directory);
    init.args(["--auth=trust", "--no-sync", "--username", USER, "--pgdata"]);
    init.arg(&data);
    server::run(init)?;
    let mut command = server::command(&postgres, &directory);
    let sockets = directory.display();
    command.arg("-D").arg(&data);
    for setting in [
        "listen_addresses=".to_owned(),
        format!("unix_socket_directories={sockets}"),
        "fsync=on".into(),
        "synchronous_commit=on".into(),
    ] {
        command.args(["-c", &setting]);
    }
    let socket = directory.join(".s.PGSQL.5432");
    // At once, with the processes that it started: nothing in there is kept.
    let server = Server::start(command, &socket, Signal::QUIT)?;
    let mut connection = Connection::open(&socket)?;
    connection.run(TABLE)?;
    connection.prepare("send", SEND)?;
    Ok(Ok(Box::new(Table {
        connection,
        socket,
        _server: server,
    })))
}

impl Writer for Table {
    fn send(&mut self, text: &str) -> anyhow::Result<()> {
        self.connection.execute("send", text)?;
        Ok(())
    }

    fn job(&self) -> Job {
        Job::Postgres(self.socket.clone())
    }
}

pub(crate) fn read(socket: &Path) -> anyhow::Result<()> {
    let mut connection = Connection::open(socket)?;
    connection.prepare("fetch", FETCH)?;
    connection.run("LISTEN messages")?;
    reader::ready()?;
    loop {
        let id = connection.notification()?;
        let text = connection.execute("fetch", &id)?;
        reader::has(&text.context("no such row")?)?;
    }
}

/// The protocol of version 3, as far as it is needed here.
struct Connection {
    stream: BufReader<UnixStream>,
    /// What was notified while an answer was read.
    notified: Vec<String>,
}

impl Connection {
    fn open(socket: &Path) -> anyhow::Result<Self> {
        // The socket may be there before it is served.
        loop {
            let stream = BufReader::new(UnixStream::connect(socket)?);
            let mut connection = Self {
                stream,
                notified: Vec::new(),
            };
            let parameters = format!("user\0{USER}\0database\0postgres\0\0");
            let mut startup = vec![0, 3, 0, 0];
            startup.extend_from_slice(parameters.as_bytes());
            connection.write(&framed(None, &startup)?)?;
            match connection.answer() {
                // "the database system is starting up"
                Err(error) if error.to_string().contains("57P03") => {
                    std::thread::park_timeout(std::time::Duration::from_millis(10));
                }
                started => return started.map(|_| connection),
            }
        }
    }

    /// Runs a statement whose answer does not matter.
    fn run(&mut self, sql: &str) -> anyhow::Result<()> {
        self.write(&framed(Some(b'Q'), format!("{sql}\0").as_bytes())?)?;
        self.answer().map(drop)
    }

    fn prepare(&mut self, name: &str, sql: &str) -> anyhow::Result<()> {
        let parse = format!("{name}\0{sql}\0\0\0");
        let mut request = framed(Some(b'P'), parse.as_bytes())?;
        request.extend(framed(Some(b'S'), &[])?);
        self.write(&request)?;
        self.answer().map(drop)
    }

    /// Runs a prepared statement with one value; the first column of its last row.
    fn execute(&mut self, name: &str, value: &str) -> anyhow::Result<Option<String>> {
        let mut bind = format!("\0{name}\0").into_bytes();
        // No formats, one value, no formats of results: all is text.
        bind.extend_from_slice(&[0, 0, 0, 1]);
        bind.extend_from_slice(&u32::try_from(value.len())?.to_be_bytes());
        bind.extend_from_slice(value.as_bytes());
        bind.extend_from_slice(&[0, 0]);
        let mut request = framed(Some(b'B'), &bind)?;
        request.extend(framed(Some(b'E'), &[0, 0, 0, 0, 0])?);
        request.extend(framed(Some(b'S'), &[])?);
        self.write(&request)?;
        self.answer()
    }

    /// The next notification's words.
    fn notification(&mut self) -> anyhow::Result<String> {
        while self.notified.is_empty() {
            let (kind, body) = self.message()?;
            self.note(kind, &body)?;
        }
        Ok(self.notified.remove(0))
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }

    /// Reads until the server waits for the next request; the first column of the last
    /// row that it sent.
    fn answer(&mut self) -> anyhow::Result<Option<String>> {
        let mut found = None;
        loop {
            match self.message()? {
                (b'Z', _) => return Ok(found),
                (b'D', body) => {
                    let length = body.get(2..6).context("half a row")?;
                    let length = u32::from_be_bytes(length.try_into()?);
                    let end = 6 + usize::try_from(length)?;
                    let column = body.get(6..end).unwrap_or_default();
                    found = Some(String::from_utf8(column.to_vec())?);
                }
                (kind, body) => self.note(kind, &body)?,
            }
        }
    }

    /// Notes a notification; an error ends it.
    fn note(&mut self, kind: u8, body: &[u8]) -> anyhow::Result<()> {
        match kind {
            b'A' => {
                // Behind the process's number: the channel, and the words.
                let texts = body.get(4..).context("half a notification")?;
                let words = texts.split(|byte| *byte == 0).nth(1);
                let words = words.context("half a notification")?.to_vec();
                self.notified.push(String::from_utf8(words)?);
            }
            b'E' => {
                let text = String::from_utf8_lossy(body).replace('\0', " ");
                anyhow::bail!("PostgreSQL says: {text}");
            }
            _ => {}
        }
        Ok(())
    }

    /// A message's kind and what is in it.
    fn message(&mut self) -> anyhow::Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes(length))?;
        let mut body = vec![0; length.saturating_sub(4)];
        self.stream.read_exact(&mut body)?;
        Ok((kind, body))
    }
}

/// A message: its kind, its length, what is in it.
fn framed(kind: Option<u8>, body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut message: Vec<u8> = kind.into_iter().collect();
    let length = u32::try_from(body.len() + 4)?;
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(body);
    Ok(message)
}
