//! The journal's own protocol: a datagram of fields to journald's socket
//! (systemd.io/JOURNAL_NATIVE_PROTOCOL).

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use super::queue::Sink;

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// More of one value is cut off ...
const LONGEST_VALUE: usize = 32 * 1024;
/// ... and more of all: a datagram that is too long is refused whole.
const LONGEST_RECORD: usize = 128 * 1024;

/// A record, field by field.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Record(Vec<u8>);

impl Record {
    /// Adds a field. A value with a line's end in it is given with its length,
    /// so that no text makes a field of its own.
    pub(crate) fn field(&mut self, name: &str, value: &str) {
        let room = LONGEST_RECORD.saturating_sub(self.0.len());
        let value = &value[..value.floor_char_boundary(LONGEST_VALUE.min(room))];
        self.0.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            self.0.push(b'\n');
            self.0
                .extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }

    /// Adds the fields of another one.
    pub(super) fn extend(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// As it is sent.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// The socket, and where it is reached.
pub(super) struct Socket {
    socket: UnixDatagram,
    path: PathBuf,
    role: &'static str,
    /// Records that it refused, not yet reported.
    refused: u64,
}

impl Socket {
    /// # Errors
    /// If no journal listens there.
    pub(super) fn connect(path: &Path, role: &'static str) -> io::Result<Self> {
        UnixDatagram::unbound()?.connect(path)?;
        Ok(Self {
            socket: UnixDatagram::unbound()?,
            path: path.to_owned(),
            role,
            refused: 0,
        })
    }

    fn send(&self, record: &[u8]) -> bool {
        // By its path each time: the socket may have been made anew.
        self.socket.send_to(record, &self.path).is_ok()
    }
}

impl Sink for Socket {
    fn write(&mut self, record: &[u8]) {
        if self.refused > 0 && self.send(&self.missing(self.refused)) {
            self.refused = 0;
        }
        if !self.send(record) {
            self.refused += 1;
        }
    }

    fn missing(&self, count: u64) -> Vec<u8> {
        let mut record = Record::default();
        record.field("MESSAGE", &super::missing(count));
        record.field("PRIORITY", "4");
        record.field("SYSLOG_IDENTIFIER", super::IDENTIFIER);
        record.field("MCP_ROLE", self.role);
        record.field("MCP_EVENT", super::MISSING);
        record.field("MCP_COUNT", &count.to_string());
        record.into_bytes()
    }
}

/// Reads a datagram as journald does.
#[cfg(test)]
pub(crate) fn fields(mut rest: &[u8]) -> std::collections::BTreeMap<String, String> {
    let mut fields = std::collections::BTreeMap::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    while !rest.is_empty() {
        let end = rest.iter().position(|b| *b == b'\n').expect("a line");
        let line = text(&rest[..end]);
        rest = &rest[end + 1..];
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => {
                let (length, after) = rest.split_at(8);
                let length = u64::from_le_bytes(length.try_into().expect("8 bytes"));
                let (value, after) = after.split_at(usize::try_from(length).expect("small"));
                assert_eq!(after[0], b'\n');
                rest = &after[1..];
                (line, text(value))
            }
        };
        assert!(fields.insert(name.clone(), value).is_none(), "{name} twice");
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_short_enough_for_a_datagram() {
        let mut record = Record::default();
        for number in 0..20 {
            record.field(&format!("F{number}"), &"ä".repeat(LONGEST_VALUE));
        }
        let record = record.into_bytes();
        assert!(record.len() < LONGEST_RECORD + 1_024, "{}", record.len());
        let fields = fields(&record);
        assert_eq!(fields["F0"], "ä".repeat(LONGEST_VALUE / 2));
        assert_eq!(fields["F19"], "");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let _reader = UnixDatagram::bind(&path).expect("a socket");
        let socket = Socket::connect(&path, "worker").expect("connected");
        assert!(socket.send(&record));
    }

    #[test]
    fn refused_records_are_counted_and_reported() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let reader = UnixDatagram::bind(&path).expect("a socket");
        let mut socket = Socket::connect(&path, "worker").expect("connected");
        drop(reader);
        std::fs::remove_file(&path).expect("removed");
        socket.write(b"A=1\n");
        socket.write(b"A=2\n");
        let reader = UnixDatagram::bind(&path).expect("a socket");
        socket.write(b"A=3\n");
        let next = || {
            let mut datagram = [0; 1024];
            let length = reader.recv(&mut datagram).expect("received");
            fields(&datagram[..length])
        };
        let told = next();
        assert_eq!(
            (&*told["MCP_EVENT"], &*told["MCP_COUNT"]),
            ("log-missing", "2")
        );
        assert_eq!(next()["A"], "3");
    }
}
