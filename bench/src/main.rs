//! `mcp-bridge-bench`: how fast messages arrive, and whether they all do.
//!
//! Every figure is measured between processes: this program starts itself
//! again in the roles of `child`, and as the daemon under the daemon's name, in
//! a scratch store that it removes. It judges nothing by time; the only failure
//! is what must never be: a message that was lost, came twice or out of order, a
//! session that is dead though it lives, a task that is lost or done twice.
//! `docs/bench.md` tells how to read the output.
//!
//! It is a program of its own, so that no part of it is linked into the product;
//! `mcp-bridge bench` runs it.

mod agents;
mod args;
mod check;
mod child;
mod delivery;
mod door;
mod floor;
mod journal;
mod kills;
mod latency;
mod lines;
mod measured;
mod orders;
mod readers;
mod report;
mod rows;
mod scratch;
mod stats;
mod watchdog;
mod writers;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use mcp_bridge::exit::{self, Exit, Face};
use mcp_bridge::{daemon, leash};

use args::{Arguments, What};

fn main() -> ExitCode {
    let name = std::env::args_os().next();
    if name.as_deref().map(Path::new).and_then(Path::file_name) == Some("mcp-bridged".as_ref()) {
        return daemon::main();
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::refuse(&error),
    };
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(&arguments)));
    done.unwrap_or_else(|error| exit::report(&error, Face::PLAIN))
        .into()
}

/// Runs a measurement and prints it.
async fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let json = arguments.json;
    let measure = async {
        match &arguments.what {
            What::Latency(args) => latency::run(args, json).await,
            What::Delivery(args) => delivery::run(args, json).await,
            What::Watchdog(args) => watchdog::run(args, json).await,
            What::Child => child::run().await.map(|()| Exit::Success),
        }
    };
    // Ctrl-C at a terminal reaches the children, too: they end, and have
    // nothing to say.
    if matches!(arguments.what, What::Child) {
        return measure.await;
    }
    Box::pin(leash::until_told(
        measure,
        "interrupted; nothing was measured",
    ))
    .await
}

/// Prints what a script reads: one line of JSON.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)?;
    Ok(())
}
