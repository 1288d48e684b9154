//! Processes of the demo and of a measurement must not outlive the process that started
//! them, however that ended: a kill and a closed terminal count, too.
//!
//! Each has the reading end of one pipe as its standard input, and ends with
//! that; the parent holds the other end as long as it lives. One that is
//! stopped or stuck reads nothing: on Linux the kernel kills it.

use std::io::{PipeReader, PipeWriter, Read};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_tokio::Signals;
use tokio::process::Command;

/// How much later than its children a process may hear of a Ctrl-C.
const MOMENT: Duration = Duration::from_millis(300);

/// Set for a process that is on a leash.
const VARIABLE: &str = "MCP_BRIDGE_LEASH";

/// The parent's side.
#[derive(Debug)]
pub struct Leash {
    end: PipeReader,
    _held: PipeWriter,
}

impl Leash {
    /// One that nothing is on yet.
    ///
    /// # Errors
    /// If there is no room for a pipe.
    pub fn new() -> std::io::Result<Self> {
        let (end, held) = std::io::pipe()?;
        Ok(Self { end, _held: held })
    }

    /// For a process that calls [`hold`]: when it is started, its standard
    /// input is taken.
    ///
    /// # Errors
    /// If there is no room for a descriptor.
    pub fn put_on(&self, command: &mut Command) -> std::io::Result<()> {
        command
            .env(VARIABLE, "1")
            .stdin(Stdio::from(self.end.try_clone()?))
            .kill_on_drop(true);
        Ok(())
    }
}

/// Whether this process was started on a leash.
#[must_use]
pub fn is_on() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// From now on this process ends with its parent.
///
/// # Errors
/// If the system gives no thread for it.
pub fn hold() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    std::thread::Builder::new().name("leash".into()).spawn(|| {
        // Nothing is ever written to it.
        let _ = std::io::stdin().lock().read(&mut [0]);
        end();
    })?;
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "no client is left to close anything for"
)]
fn end() -> ! {
    std::process::exit(1)
}

/// A play or a measurement, until a signal ends it: dropping it ends its processes and
/// removes its directory. Those that hear of a Ctrl-C before us end as well, and that
/// failure is not worth a report.
///
/// # Errors
/// Those of the work; that a signal ended it.
pub async fn until_told<T>(
    work: impl Future<Output = anyhow::Result<T>>,
    told: &'static str,
) -> anyhow::Result<T> {
    let mut signals = endings().context("listening for signals")?;
    let failed = tokio::select! {
        done = work => match done {
            Err(failed) => failed,
            done => return done,
        },
        _ = signals.next() => anyhow::bail!(told),
    };
    match tokio::time::timeout(MOMENT, signals.next()).await {
        Ok(_) => anyhow::bail!(told),
        Err(_) => Err(failed),
    }
}

/// The signals that end a play or a measurement in order. A hang-up that is
/// ignored, as under `nohup`, stays so.
fn endings() -> std::io::Result<Signals> {
    let mut endings = vec![SIGINT, SIGTERM];
    if !is_ignored(SIGHUP) {
        endings.push(SIGHUP);
    }
    Signals::new(endings)
}

/// As far as the machine tells.
fn is_ignored(signal: i32) -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, signal))
}

fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_of_ignored_signals_is_read() {
        let status = "Name:\tcat\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\n";
        assert!(ignores(status, SIGHUP) && !ignores(status, SIGINT));
        assert!(!ignores("SigIgn:\t0000000000000002", SIGHUP));
        assert!(!ignores("", SIGHUP));
    }
}
