//! Waiting for a long copy: a bar on standard error when it takes over a
//! second, and a Ctrl-C that leaves nothing half done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_tokio::Signals;

use crate::store;
use crate::store::sqlite::{Attendant, Progress};

/// What is done sooner needs no bar.
const QUICK: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(100);

/// Does `work` on a thread of its own, shows how far it is, and ends it on a
/// signal.
pub(super) async fn attend<T: Send + 'static>(
    work: impl FnOnce(&mut Attendant<'_>) -> store::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    bar.set_style(ProgressStyle::with_template(
        "{msg:9} {bar:30} {bytes}/{total_bytes}",
    )?);
    bar.set_message("copying");
    let (halt, shown) = (Arc::new(AtomicBool::new(false)), bar.clone());
    let asked = Arc::clone(&halt);
    let mut job = tokio::task::spawn_blocking(move || {
        work(&mut Attendant {
            tell: &mut |progress| match progress {
                Progress::Copying(done, all) => {
                    shown.set_length(all);
                    shown.set_position(done);
                }
                Progress::Checking => shown.set_message("checking"),
            },
            halt: asked,
        })
    });
    let quick = tokio::time::sleep(QUICK);
    tokio::pin!(quick);
    let mut slow = false;
    let outcome = loop {
        tokio::select! {
            outcome = &mut job => break outcome,
            _ = signals.next() => halt.store(true, Ordering::Relaxed),
            () = &mut quick, if !slow => {
                slow = true;
                // Hides itself where standard error is no terminal.
                bar.set_draw_target(ProgressDrawTarget::stderr());
                bar.enable_steady_tick(TICK);
            }
        }
    };
    bar.finish_and_clear();
    Ok(outcome.context("the copy died")??)
}
