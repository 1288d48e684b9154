//! What each process of `bench delivery` notes, line by line, before and after it acts.
//! The journal of a killed process stays whole: one write a line, appended.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// One line. Times are [`mcp_bridge::clock::monotonic_nanos`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "did", rename_all = "snake_case")]
pub(super) enum Record {
    /// A process began; what comes before it in its journals was another's.
    Began,
    /// A sender is about to send.
    Intent { pair: u32, seq: u64 },
    /// The store said that it has it.
    Sent {
        pair: u32,
        seq: u64,
        id: i64,
        committed_at: u64,
        /// An earlier process had sent it already, without hearing of it:
        /// `committed_at` is of no use.
        again: bool,
    },
    /// The store refused; the same message is sent again.
    Refused { pair: u32, seq: u64, why: String },
    /// The reader's process was shown that a message is there.
    Seen { id: i64, at: u64 },
    /// The reader has it.
    Got {
        pair: u32,
        seq: u64,
        id: i64,
        at: u64,
        by: Cause,
    },
    /// The store knows that the reader has it: it must not come again.
    Confirmed { pair: u32, seq: u64 },
}

/// What made a reader fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cause {
    /// The doorbell.
    Ring,
    /// The periodic look: the doorbell missed it.
    FullLook,
    /// The last look of all: the doorbell missed it too.
    LastLook,
}

/// An append-only file of records.
pub(super) struct Journal(Mutex<File>);

impl Journal {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        Ok(Self(Mutex::new(file)))
    }

    pub(super) fn note(&self, record: &Record) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).context("writing a journal")
    }
}

/// All records of one journal. A torn last line, of a process that was killed
/// as it wrote, is no record; one that was killed before it began has none.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Record>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.with_context(|| format!("reading {}", path.display()))?,
    };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| {
            serde_json::from_str(line)
                .with_context(|| format!("a line of {}: {line}", path.display()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_no_record() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal");
        assert_eq!(read(&path).expect("read"), [], "it never began");
        let record = Record::Intent { pair: 1, seq: 7 };
        Journal::open(&path)
            .and_then(|journal| journal.note(&record))
            .expect("noted");
        let mut file = OpenOptions::new().append(true).open(&path).expect("there");
        file.write_all(br#"{"did":"intent","pa"#).expect("torn");
        assert_eq!(read(&path).expect("read"), [record]);
    }
}
