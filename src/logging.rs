//! Logs: to the journal with fields when a service manager started us, to
//! stderr otherwise.
//!
//! Every record of the journal carries `MCP_ROLE`, and one of a duty
//! `MCP_DUTY`, by a span around the duty's driver. `events` has the words of
//! `MCP_EVENT`; `journal` gives those that have one their `MESSAGE_ID`.
//!
//! No record waits for its reader: between stands a `queue`, for either way.

pub mod events;
mod journal;
mod native;
mod queue;
mod queued;
mod stderr;

use std::io::IsTerminal;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context;
use tracing::{Metadata, Span, error_span};
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::text;

use journal::Journal;
pub(crate) use native::Record;
use native::Socket;
#[cfg(test)]
pub(crate) use native::fields;
use queue::{Queue, Rank};
use queued::{Queued, Stderr};
pub(crate) use stderr::stderr;

/// How long the end of the program waits for its last records to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The journal's `SYSLOG_IDENTIFIER`.
const IDENTIFIER: &str = "mcp-bridged";

/// The event of records that were lost.
const MISSING: &str = "log-missing";

/// The name of the spans around duties.
const DUTY: &str = "duty";

/// What this process is, for the records that do not come through here.
static ROLE: OnceLock<&'static str> = OnceLock::new();

/// The way to the journal, for records that do not come through here.
static JOURNAL: OnceLock<Queue> = OnceLock::new();

/// What is wrong with a filter, if anything.
pub(crate) fn malformed(filter: &str) -> Option<String> {
    let parsed = EnvFilter::builder().parse(filter);
    parsed.err().map(|error| error.to_string())
}

/// Logging that was started. Dropping it waits a moment for the last records.
#[must_use]
pub struct Logging(Queue);

impl Drop for Logging {
    fn drop(&mut self) {
        // What is left then is for a reader that stands still.
        let _ = self.0.flush(LAST_WORDS);
    }
}

/// Starts logging with a level or a filter directive, in the role that every
/// record of the journal carries.
///
/// # Errors
/// If the filter is malformed.
pub fn start(filter: &str, role: &'static str) -> anyhow::Result<Logging> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .with_context(|| format!("log.level: `{filter}` is not a log filter"))?;
    let journal = journal_reads_stderr()
        .then(|| Socket::connect(Path::new(native::SOCKET), role))
        .and_then(std::io::Result::ok);
    let (queue, layer) = match journal {
        Some(socket) => {
            let queue = Queue::spawn(socket)?;
            JOURNAL.get_or_init(|| queue.clone());
            let journal = Journal::new(role, queue.clone());
            // At any level: the span is no record, it gives others a field.
            let spans = filter_fn(is_duty).with_max_level_hint(LevelFilter::ERROR);
            (queue, journal.with_filter(filter.or(spans)).boxed())
        }
        None => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let queue = Queue::spawn(Stderr)?;
            let lines = tracing_subscriber::fmt::layer()
                .with_writer(Queued(queue.clone()))
                .with_ansi(colour)
                .with_target(false)
                // A person reads there; the duty is not worth half a line.
                .with_filter(filter.and(filter_fn(is_record)))
                .boxed();
            (queue, lines)
        }
    };
    tracing_subscriber::registry()
        .with(filter_fn(|metadata| !is_kept_out(metadata.target())))
        .with(layer)
        .try_init()
        .context("logging was already started")?;
    ROLE.get_or_init(|| role);
    Ok(Logging(queue))
}

/// Hands an alert's record to the journal, without waiting for it. `false` if
/// this program logs elsewhere.
pub(crate) fn alert_to_journal(record: Record) -> bool {
    let Some(journal) = JOURNAL.get() else {
        return false;
    };
    journal.push(record.into_bytes(), Rank::Alert);
    true
}

/// The record in the place of those that were lost.
fn missing(count: u64) -> String {
    let records = text::count(count, "log record");
    format!("{records} lost: the journal did not accept them in time")
}

fn is_record(metadata: &Metadata<'_>) -> bool {
    metadata.is_event()
}

fn is_duty(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.name() == DUTY
}

/// Around everything that a duty does, so that its records name it. At the
/// highest level: a lower one would be filtered away with the records of it.
pub(crate) fn duty_span(duty: &'static str) -> Span {
    error_span!(target: "mcp_bridge", DUTY, duty)
}

/// The role that logging was started in.
pub(crate) fn role() -> Option<&'static str> {
    ROLE.get().copied()
}

/// What no filter of an operator's brings out. The HTTP client logs whole
/// requests at its lower levels, and with them the URLs of webhooks. The watch on
/// the store's directory logs each event there: a log that is kept in that
/// directory would create an event of each of its own lines.
fn is_kept_out(target: &str) -> bool {
    target.starts_with("ureq") || target.starts_with("notify")
}

/// Whether what we write to stderr is the journal's.
///
/// systemd names the journal's socket by device and inode; a stderr that was
/// redirected elsewhere is not it.
fn journal_reads_stderr() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stderr) = rustix::fs::fstat(std::io::stderr()) else {
        return false;
    };
    stream == format!("{}:{}", stderr.st_dev, stderr.st_ino)
}
