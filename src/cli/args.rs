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
  mcp-bridge conversation new --label backend   create a conversation (and the store)
  mcp-bridge -c backend/a send \"Port the parser\"
  mcp-bridge -c backend/b check
  mcp-bridge -c backend/b watch                 print each new message as a JSON line
  mcp-bridge task add --role backend --title \"Port the parser\"
  mcp-bridge status
  mcp-bridge doctor                             find problems and what to do about them

Names: `backend` is the label of a conversation, `backend/a` and `backend/b` are
its two sessions. -c backend/b acts for a session with its credentials file
(backend.b.toml).
Store, in order of precedence: --store, MCP_BRIDGE_STORE, the store that the
credentials name, the store of this user's daemon, this user's own store, the
store of the system's daemon, /var/lib/mcp-bridge/bridge.db. `status` shows which
store is used, and how.
Exit codes: 0 done, 1 other failure, 2 wrong usage, 65 wrong input, 69 store not
usable now, 75 try again later, 76 the task belongs to another session now,
77 credentials, 78 not a store for this program, 124 time limit reached.";

/// Send messages and tasks between coding agents, and see who is alive.
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

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Send a message to the partner
    Send(send::SendArgs),
    /// Fetch unread messages and mark them read
    Check(check::CheckArgs),
    /// Acknowledge messages by id
    Ack(check::AckArgs),
    /// Follow new messages: one JSON line each, as soon as they are committed
    Watch(watch::WatchArgs),
    /// Wait for one message, with a time limit
    Wait(wait::WaitArgs),
    /// Add, assign, show and finish tasks
    #[command(subcommand)]
    Task(TaskCommand),
    /// Show sessions: their state, unread messages and tasks
    Status(status::StatusArgs),
    /// Create, list, show, renew and close conversations
    #[command(subcommand, visible_alias = "conv")]
    Conversation(ConversationCommand),
    /// Create a team: an orchestrator and its workers, ready to start
    #[command(subcommand)]
    Team(TeamCommand),
    /// Set or show the session that works in a directory
    Join(join::JoinArgs),
    /// Add the tools and hooks of mcp-bridge to an agent's client
    Setup(setup::SetupArgs),
    /// Run the MCP server for an agent's client
    Mcp(mcp::McpArgs),
    /// Answer a hook of an agent's client, or wake it when a message comes
    Hook(hook::HookArgs),
    /// Record one heartbeat for each session of the credentials
    Heartbeat(heartbeat::HeartbeatArgs),
    /// Give a session or a host no new tasks for a time
    Drain(orders::DrainArgs),
    /// Pause the watchdog: mark no silent session as lost
    #[command(subcommand)]
    Hold(orders::HoldCommand),
    /// Set how many tasks a session may have at once
    Capacity(orders::CapacityArgs),
    /// List alerts; mute one kind of alert for a time
    #[command(subcommand)]
    Alert(AlertCommand),
    /// Show or follow the audit log: what was done, and by which session
    #[command(visible_alias = "audit")]
    Events(events::EventsArgs),
    /// Create, verify, back up and restore the store; set its limits
    #[command(subcommand)]
    Store(StoreCommand),
    /// Find problems in this machine's configuration, store and daemons
    Doctor(doctor::DoctorArgs),
    /// Report in one line whether daemons and store work, for scripts
    Health(health::HealthArgs),
    /// Show everything at work in a temporary store, in ten seconds
    #[command(after_help = "\
Examples:
  mcp-bridge demo
  mcp-bridge demo --tasks 30 --json | jq .summary")]
    Demo(demo::DemoArgs),
    /// Measure how fast messages arrive, and whether all arrive
    #[command(after_help = "\
Examples:
  mcp-bridge bench latency
  mcp-bridge bench latency --dir /var/lib/mcp-bridge --json
  mcp-bridge bench delivery --agents 50 --duration 1m
  mcp-bridge bench latency --help               show its options

This command runs the program mcp-bridge-bench, which must be in the directory of
mcp-bridge. No package contains it. Build it from the sources:
cargo build --release -p mcp-bridge-bench")]
    Bench(bench::BenchArgs),
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
}
