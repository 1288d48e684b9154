//! `mcp-bridge bench`: how fast messages arrive, and whether they all do.
//!
//! Every figure is measured between processes: this program starts itself
//! again in the roles of `child`, in a scratch store that it removes. It
//! judges nothing by time; the only failure is what must never be: a message
//! that was lost, came twice or out of order, a session that was given up
//! though it lives, a task that is lost or done twice. `docs/bench.md` tells
//! how to read the output.

mod agents;
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
use std::path::PathBuf;
use std::time::Duration;

use crate::exit::Exit;
use crate::leash;

/// Arguments of `mcp-bridge bench`.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// From COMMIT to the line in another process, next to the bare floor and
    /// to polling
    Latency(LatencyArgs),
    /// Many agents at once: counts lost, duplicate and out of order
    Delivery(DeliveryArgs),
    /// How soon who is gone is noticed and its task goes on; what watching costs
    Watchdog(WatchdogArgs),
    /// A process of a measurement; takes its job on stdin
    #[command(hide = true)]
    Child,
}

#[derive(Debug, clap::Args)]
struct LatencyArgs {
    /// Messages measured in each row
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    messages: u32,
    /// Time between two messages
    #[arg(long, default_value = "5ms", value_parser = humantime::parse_duration)]
    gap: Duration,
    /// Bytes in a message
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    size: u32,
    /// The rows take turns so many times, so that load hits all alike
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Only these rows, by the names that --json shows
    #[arg(long, value_delimiter = ',', value_name = "ROW")]
    only: Vec<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct DeliveryArgs {
    /// Pairs of a sender and a reader
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    agents: u32,
    /// How long they send
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Messages a second from each sender
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    rate: f64,
    /// Most bytes in a message; each has a random size
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u32).range(40..=50_000))]
    size: u32,
    /// Kill a process, at random, every so often, and start it anew [every:
    /// 50ms-500ms]
    #[arg(long, value_name = "EVERY", num_args = 0..=1, default_missing_value = "50ms-500ms")]
    kill: Option<kills::Every>,
    /// Through a daemon, which alone has the store open; times are from the begin of
    /// a send then
    #[arg(long)]
    door: bool,
    /// Makes the first reader forget its first message, to see it counted
    #[arg(long, hide = true)]
    lose_one: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct WatchdogArgs {
    /// Only these parts
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    only: Vec<watchdog::Part>,
    /// detection, pauses: sessions, each with an agent that is a process
    #[arg(long, default_value = "60", value_parser = count)]
    sessions: usize,
    /// detection, pauses: worker daemons that the sessions are spread over
    #[arg(long, default_value = "6", value_parser = count)]
    hosts: usize,
    /// detection: so many agents, hosts and stalls
    #[arg(long, default_value = "20", value_parser = count)]
    kills: usize,
    /// detection: with the timers that the product has by default; takes long
    #[arg(long)]
    defaults: bool,
    /// Pause daemons at random, up to 10 s each, for so long
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pauses: Option<Duration>,
    /// growth: with so many sessions
    #[arg(long, value_delimiter = ',', default_value = "10,1000,10000,100000", value_parser = count)]
    sizes: Vec<usize>,
    /// growth: so many rounds of each kind
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..))]
    rounds: u32,
    /// mass: so many sessions, on 100 hosts
    #[arg(long, default_value = "10000", value_parser = count)]
    mass_sessions: usize,
    #[command(flatten)]
    place: Place,
}

/// Where the scratch store is.
#[derive(Debug, clap::Args)]
struct Place {
    /// Directory for the scratch store; a measurement is one of its file
    /// system [default: the temporary directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Leave the scratch directory there
    #[arg(long)]
    keep: bool,
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 2..=1_000_000) => Ok(count),
        _ => Err("a number from 2 to 1000000 is needed".into()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("a number above 0 is needed".into()),
    }
}

/// Runs a measurement and prints it.
///
/// # Errors
/// If a scratch store cannot be made, or a child fails.
pub async fn run(args: BenchArgs, json: bool) -> anyhow::Result<Exit> {
    let measure = async {
        match &args.what {
            What::Latency(args) => latency::run(args, json).await,
            What::Delivery(args) => delivery::run(args, json).await,
            What::Watchdog(args) => watchdog::run(args, json).await,
            What::Child => child::run().await.map(|()| Exit::Success),
        }
    };
    // Ctrl-C at a terminal reaches the children, too: they end, and have
    // nothing to say.
    if matches!(args.what, What::Child) {
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
