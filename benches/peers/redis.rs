//! A stream of Redis: XADD, and an XREAD that waits. `appendfsync always` answers
//! after the fsync.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::process::Signal;

use crate::reader::{self, Job};
use crate::server::{self, Server};
use crate::{Made, Writer};

struct Stream {
    // Closed before the server ends.
    connection: Connection,
    socket: PathBuf,
    _server: Server,
}

pub(crate) fn stream(directory: &Path) -> Made {
    let Some(program) = server::find("redis-server", &[]) else {
        return Ok(Err(
            "there is no redis-server: apt-get install redis-server".into(),
        ));
    };
    let directory = directory.join("redis");
    server::directory(&directory)?;
    let socket = directory.join("socket");
    let mut command = server::command(&program, &directory);
    command
        .args(["--port", "0", "--unixsocket"])
        .arg(&socket)
        .args(["--appendonly", "yes", "--appendfsync", "always"])
        .args(["--save", "", "--daemonize", "no", "--dir"])
        .arg(&directory);
    let server = Server::start(command, &socket, Signal::TERM)?;
    Ok(Ok(Box::new(Stream {
        connection: Connection::open(&socket)?,
        socket,
        _server: server,
    })))
}

impl Writer for Stream {
    fn send(&mut self, text: &str) -> anyhow::Result<()> {
        let fields = ["from", "a", "to", "b", "text", text];
        let words = [&["XADD", "messages", "*"][..], &fields].concat();
        self.connection.ask(&words)?;
        Ok(())
    }

    fn job(&self) -> Job {
        Job::Redis(self.socket.clone())
    }
}

pub(crate) fn read(socket: &Path) -> anyhow::Result<()> {
    let mut connection = Connection::open(socket)?;
    let mut last = "0".to_owned();
    reader::ready()?;
    loop {
        let words = ["XREAD", "BLOCK", "0", "STREAMS", "messages", &last];
        // For each stream its name and its entries, for each entry its id and fields.
        let streams = connection.ask(&words)?;
        let entries = streams.at(0)?.at(1)?;
        for place in 0..entries.list()?.len() {
            let entry = entries.at(place)?;
            reader::has(entry.at(1)?.at(5)?.text()?)?;
            entry.at(0)?.text()?.clone_into(&mut last);
        }
    }
}

/// An answer.
enum Value {
    Text(String),
    List(Vec<Value>),
    Nothing,
}

impl Value {
    fn list(&self) -> anyhow::Result<&[Value]> {
        match self {
            Self::List(list) => Ok(list),
            _ => anyhow::bail!("this is no list"),
        }
    }

    fn at(&self, place: usize) -> anyhow::Result<&Value> {
        self.list()?.get(place).context("the list is short")
    }

    fn text(&self) -> anyhow::Result<&str> {
        match self {
            Self::Text(text) => Ok(text),
            _ => anyhow::bail!("this is no text"),
        }
    }
}

struct Connection(BufReader<UnixStream>);

impl Connection {
    fn open(socket: &Path) -> anyhow::Result<Self> {
        Ok(Self(BufReader::new(UnixStream::connect(socket)?)))
    }

    fn ask(&mut self, words: &[&str]) -> anyhow::Result<Value> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.0.get_mut().write_all(request.as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).context("the server is gone")?;
        Ok(match kind {
            "+" | ":" => Value::Text(rest.to_owned()),
            "$" => match rest.parse::<usize>() {
                Ok(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.0.read_exact(&mut bytes)?;
                    bytes.truncate(length);
                    Value::Text(String::from_utf8(bytes)?)
                }
                Err(_) => Value::Nothing,
            },
            "*" => match rest.parse::<usize>() {
                Ok(length) => {
                    let values = (0..length).map(|_| self.answer());
                    Value::List(values.collect::<Result<_, _>>()?)
                }
                Err(_) => Value::Nothing,
            },
            _ => anyhow::bail!("Redis says: {line}"),
        })
    }
}
