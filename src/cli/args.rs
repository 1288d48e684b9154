//! The arguments of `mcp-bridge`.

use anstyle::AnsiColor;
use clap::builder::Styles;
use clap::{Parser, Subcommand};

use super::alert::AlertCommand;
use super::completions::CompletionsArgs;
use super::context::Global;
use super::conversation::ConversationCommand;
use super::store::StoreCommand;
use super::task::TaskCommand;
use super::team::TeamCommand;
use super::{
    bench, check, demo, doctor, events, health, heartbeat, hook, join, mcp, orders, send, setup,
    status, wait, watch,
};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

const AFTER: &str = "\
Examples:
  mcp-bridge team new backend --workers 3 --client claude
  mcp-bridge conversation new --label backend   make a conversation, and the store
  mcp-bridge -c backend.a send \"Port the parser\"
  mcp-bridge -c backend.b check
  mcp-bridge -c backend.b watch                 one JSON line a message, pushed
  mcp-bridge task add --role backend --title \"Port the parser\"
  mcp-bridge status
  mcp-bridge doctor                             what is wrong here, and what to do

Store, in order of precedence: --store, MCP_BRIDGE_STORE, the store of the
credentials, that of this user's daemon, this user's own, that of the machine's
daemon, /var/lib/mcp-bridge/bridge.db; `status` says which, and how it is used.
Exit codes: 0 done, 65 wrong input, 69 store not usable now, 75 try again later,
76 the task is not yours any more, 77 credentials, 78 not a store for this
program, 124 `wait` reached its time limit; 2 wrong usage, 1 anything else.";

/// Messages between coding agents that arrive: the command line.
#[derive(Debug, Parser)]
#[command(
    name = "mcp-bridge",
    version,
    styles = STYLES,
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true,
    after_help = AFTER,
)]
pub struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Send a message to the partner
    Send(send::SendArgs),
    /// Fetch unread messages and mark them read
    Check(check::CheckArgs),
    /// Acknowledge messages by id
    Ack(check::AckArgs),
    /// Follow new messages: one JSON line each, the moment they are committed
    Watch(watch::WatchArgs),
    /// Wait for one message, or until a time limit
    Wait(wait::WaitArgs),
    /// Add, give out, follow and end work
    #[command(subcommand)]
    Task(TaskCommand),
    /// Show sessions: who is alive, who has mail and work
    Status(status::StatusArgs),
    /// Make, list, show, renew and close conversations
    #[command(subcommand, visible_alias = "conv")]
    Conversation(ConversationCommand),
    /// Make a team: an orchestrator and its workers, ready to be started
    #[command(subcommand)]
    Team(TeamCommand),
    /// Say which session works in a directory
    Join(join::JoinArgs),
    /// Put our tools and hooks into the files of an agent's client
    Setup(setup::SetupArgs),
    /// Serve an agent's client: the bridge as tools (MCP)
    Mcp(mcp::McpArgs),
    /// Answer a hook of an agent's client, or wait to wake it
    Hook(hook::HookArgs),
    /// Give one sign of life for each session
    Heartbeat(heartbeat::HeartbeatArgs),
    /// Give a session, or all of a host, no new tasks for a while
    Drain(orders::DrainArgs),
    /// Let the watchdog give nobody up for a while
    #[command(subcommand)]
    Hold(orders::HoldCommand),
    /// Say how many tasks a session may have at once
    Capacity(orders::CapacityArgs),
    /// Show alerts, and mute a kind of them for a while
    #[command(subcommand)]
    Alert(AlertCommand),
    /// Show what was done, by whom, and follow it
    #[command(visible_alias = "audit")]
    Events(events::EventsArgs),
    /// Make, check, back up, restore and limit the store itself
    #[command(subcommand)]
    Store(StoreCommand),
    /// Find what is wrong with this machine's configuration, store and daemons
    Doctor(doctor::DoctorArgs),
    /// Say in a line whether daemons and store are well, for scripts
    Health(health::HealthArgs),
    /// See it all at work in a scratch store, in half a minute
    #[command(after_help = "\
Examples:
  mcp-bridge demo
  mcp-bridge demo --tasks 30 --json | jq .summary")]
    Demo(demo::DemoArgs),
    /// Measure how fast messages arrive, and whether they all do
    #[command(after_help = "\
Examples:
  mcp-bridge bench latency
  mcp-bridge bench latency --dir /var/lib/mcp-bridge --json
  mcp-bridge bench delivery --agents 50 --duration 1m
  mcp-bridge bench latency --help               its options

The measurements are a program of their own, mcp-bridge-bench, which runs where it
stands beside mcp-bridge. No package has it: from the sources,
cargo build --release -p mcp-bridge-bench")]
    Bench(bench::BenchArgs),
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
}
