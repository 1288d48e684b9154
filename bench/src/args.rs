//! The arguments of `mcp-bridge-bench`.

use std::path::PathBuf;
use std::time::Duration;

use crate::kills::Every;
use crate::watchdog::Part;

/// Measure how fast messages arrive, and whether all arrive
#[derive(Debug, clap::Parser)]
#[command(
    name = "mcp-bridge-bench",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  mcp-bridge-bench latency
  mcp-bridge-bench latency --dir /var/lib/mcp-bridge --json
  mcp-bridge-bench delivery --agents 50 --duration 1m"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) what: What,
    /// Print JSON, for scripts
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum What {
    /// Measure the time from COMMIT to the line in another process; compare with the
    /// bare minimum and with polling
    Latency(LatencyArgs),
    /// Run many agents at once; count lost, duplicate and out-of-order messages
    Delivery(DeliveryArgs),
    /// Measure how soon a lost session is noticed and its task continues, and what
    /// watching costs
    Watchdog(WatchdogArgs),
    /// A process of a measurement; takes its job on stdin
    #[command(hide = true)]
    Child,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LatencyArgs {
    /// Messages measured in each row
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) messages: u32,
    /// Time between two messages
    #[arg(long, default_value = "5ms", value_parser = humantime::parse_duration)]
    pub(crate) gap: Duration,
    /// Bytes in a message
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub(crate) size: u32,
    /// Number of rounds; the rows take turns, so that load affects all alike
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Only these rows; --json shows their names
    #[arg(long, value_delimiter = ',', value_name = "ROW")]
    pub(crate) only: Vec<String>,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DeliveryArgs {
    /// Pairs of a sender and a reader
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) agents: u32,
    /// How long they send
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    /// Messages a second from each sender
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    pub(crate) rate: f64,
    /// Maximum bytes in a message; each has a random size
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u32).range(40..=50_000))]
    pub(crate) size: u32,
    /// Kill a random process again and again, and restart it [default interval:
    /// 50ms-500ms]
    #[arg(long, value_name = "EVERY", num_args = 0..=1, default_missing_value = "50ms-500ms")]
    pub(crate) kill: Option<Every>,
    /// Use a daemon, which alone has the store open; times then start with the send
    #[arg(long)]
    pub(crate) door: bool,
    /// Makes the first reader forget its first message, to see it counted
    #[arg(long, hide = true)]
    pub(crate) lose_one: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WatchdogArgs {
    /// Only these parts
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    pub(crate) only: Vec<Part>,
    /// detection, pauses: number of sessions, each with an agent process
    #[arg(long, default_value = "60", value_parser = count)]
    pub(crate) sessions: usize,
    /// detection, pauses: number of worker daemons for these sessions
    #[arg(long, default_value = "6", value_parser = count)]
    pub(crate) hosts: usize,
    /// detection: number of killed agents, lost hosts and stalls
    #[arg(long, default_value = "20", value_parser = count)]
    pub(crate) kills: usize,
    /// detection: use the default timers of the product; takes long
    #[arg(long)]
    pub(crate) defaults: bool,
    /// Pause random daemons, up to 10 s each, for this time
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub(crate) pauses: Option<Duration>,
    /// growth: numbers of sessions
    #[arg(long, value_delimiter = ',', default_value = "10,1000,10000,100000", value_parser = count)]
    pub(crate) sizes: Vec<usize>,
    /// growth: number of rounds of each kind
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..))]
    pub(crate) rounds: u32,
    /// mass: number of sessions, on 100 hosts
    #[arg(long, default_value = "10000", value_parser = count)]
    pub(crate) mass_sessions: usize,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// Where the scratch store is.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// Directory for the temporary store; the result depends on its file system
    /// [default: the temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Keep the temporary directory
    #[arg(long)]
    pub(crate) keep: bool,
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
