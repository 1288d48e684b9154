//! Lines on standard error, through the queue.

use std::io::Write;

use tracing_subscriber::fmt::MakeWriter;

use super::queue::{Queue, Rank, Sink};
use super::stderr::Lines;

/// Standard error itself.
pub(super) struct Stderr;

impl Sink for Stderr {
    fn write(&mut self, record: &[u8]) {
        // Nothing is left to tell it to.
        let _ = std::io::stderr().write_all(record);
    }

    fn missing(&self, count: u64) -> Vec<u8> {
        format!(
            " WARN {} event=\"{}\"\n",
            super::missing(count),
            super::MISSING
        )
        .into_bytes()
    }
}

/// Makes a writer for each record.
pub(super) struct Queued(pub(super) Queue);

/// One record, handed over whole.
pub(super) struct Line<'a> {
    queue: &'a Queue,
    text: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Queued {
    type Writer = Lines<Line<'a>>;

    fn make_writer(&'a self) -> Lines<Line<'a>> {
        Lines(Line {
            queue: &self.0,
            text: Vec::new(),
        })
    }
}

impl Write for Line<'_> {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.text.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let text = std::mem::take(&mut self.text);
        if !text.is_empty() {
            self.queue.push(text, Rank::Ordinary);
        }
    }
}
