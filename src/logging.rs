//! Logs: to the journal with fields when a service manager started us, to
//! stderr otherwise.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Starts logging with a level or a filter directive.
///
/// # Errors
/// If the filter is malformed.
pub fn start(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .with_context(|| format!("log.level: `{filter}` is not a log filter"))?;
    let journal = journal_reads_stderr()
        .then(tracing_journald::layer)
        .and_then(std::io::Result::ok)
        // A field `session` of an event becomes MCP_SESSION.
        .map(|layer| layer.with_field_prefix(Some("MCP".into())).boxed());
    let layer = journal.unwrap_or_else(|| {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(colour)
            .with_target(false)
            .boxed()
    });
    tracing_subscriber::registry()
        .with(filter_fn(|metadata| !may_tell_secrets(metadata.target())))
        .with(layer.with_filter(filter))
        .try_init()
        .context("logging was already started")
}

/// The HTTP client logs whole requests at its lower levels, and with them the
/// URLs of webhooks: no filter of an operator's brings that out.
fn may_tell_secrets(target: &str) -> bool {
    target.starts_with("ureq")
}

/// Whether what we write to stderr is the journal's.
///
/// systemd names the journal's socket by device and inode; a stderr that was
/// redirected elsewhere is not it.
pub(crate) fn journal_reads_stderr() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stderr) = rustix::fs::fstat(std::io::stderr()) else {
        return false;
    };
    stream == format!("{}:{}", stderr.st_dev, stderr.st_ino)
}
