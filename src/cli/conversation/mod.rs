//! `mcp-bridge conversation`: channels between two sessions.

mod adopted;
mod made;
pub(super) mod new;
mod rekey;

use std::time::Duration;

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCandidates;
use jiff::Timestamp;
use serde::Serialize;

use super::completions;
use super::context::Context;
use super::error::CliError;
use super::operator;
use super::output::{self, note, print, print_json, shown};
use super::table::{BOLD, Cell, DIM, GOOD, Table, WARN};
use crate::advice;
use crate::clock;
use crate::exit::Exit;
use crate::model::session::{Conversation, ConversationState, is_role};
use crate::model::{ConversationId, Label};
use crate::session;
use crate::text;

/// What to do with conversations.
#[derive(Debug, Subcommand)]
pub(super) enum ConversationCommand {
    /// Create conversations, with a credentials file for each session
    ///
    /// The credentials of the two sessions are NAME.a.toml and NAME.b.toml; NAME is
    /// the label or the id. Only this user can read them. With --count there is also
    /// NAME.orchestrator.toml, with the `a` sides of all these conversations. If
    /// there is no store, it is created.
    New(new::NewArgs),
    /// List open conversations
    #[command(after_help = "\
Examples:
  mcp-bridge conversation list
  mcp-bridge conversation list --all --json | jq -r '.[].id'")]
    List {
        /// Include conversations that have ended
        #[arg(long)]
        all: bool,
    },
    /// Show a conversation
    #[command(after_help = "\
Examples:
  mcp-bridge conversation show backend-1
  mcp-bridge conversation show conv_0123456789abcdef --json")]
    Show {
        /// Id or label of the conversation
        #[arg(value_name = "CONVERSATION", add = ArgValueCandidates::new(completions::conversations))]
        conversation: String,
    },
    /// Give a conversation a label
    Label(adopted::LabelArgs),
    /// Write credentials files for conversations that the Python bridge made
    Credentials(adopted::CredentialsArgs),
    /// Replace the token of a session; the old token is invalid at once
    Rekey(rekey::RekeyArgs),
    /// Extend a conversation; reopen an expired one
    Renew(RenewArgs),
    /// Close conversations for good
    #[command(after_help = "\
Examples:
  mcp-bridge conversation close backend-1 backend-2")]
    Close {
        /// Ids or labels of the conversations
        #[arg(value_name = "CONVERSATION", required = true, add = ArgValueCandidates::new(completions::conversations))]
        conversations: Vec<String>,
    },
}

/// Moves the end of a conversation; never to an earlier time.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge conversation renew backend-1 --for 3h

`mcp-bridged` renews the conversations of live sessions automatically.")]
pub(super) struct RenewArgs {
    /// Id or label of the conversation
    #[arg(value_name = "CONVERSATION", add = ArgValueCandidates::new(completions::conversations))]
    conversation: String,
    /// How long it lives from now on
    #[arg(long = "for", value_name = "DURATION", default_value = "3h", value_parser = new::life)]
    life: Duration,
}

#[derive(Serialize)]
struct ConversationJson<'a> {
    #[serde(flatten)]
    conversation: &'a Conversation,
    state: ConversationState,
}

pub(super) async fn run(command: ConversationCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        ConversationCommand::New(args) => new::run(args, context).await,
        ConversationCommand::List { all } => list(all, context).await,
        ConversationCommand::Show { conversation } => show(&conversation, context).await,
        ConversationCommand::Label(args) => adopted::label(args, context).await,
        ConversationCommand::Credentials(args) => adopted::credentials(args, context).await,
        ConversationCommand::Rekey(args) => rekey::run(args, context).await,
        ConversationCommand::Renew(args) => renew(args, context).await,
        ConversationCommand::Close { conversations } => close(&conversations, context).await,
    }
}

async fn list(all: bool, context: &Context) -> anyhow::Result<Exit> {
    let bridge = context.look().await?;
    let now = clock::now();
    let mut every = bridge.conversations().await?;
    let location = bridge.name();
    bridge.close().await;
    let total = every.len();
    every.sort_by_cached_key(|c| (c.created_at, output::by_label(c.label.as_ref())));
    let wanted: Vec<&Conversation> = every
        .iter()
        .filter(|c| all || c.state(now) == ConversationState::Open)
        .collect();
    if context.json() {
        let list: Vec<_> = wanted.iter().map(|c| json(c, now)).collect();
        print_json(&list)?;
        return Ok(Exit::Success);
    }
    if wanted.is_empty() {
        note(&match total {
            0 => advice::as_given(&format!(
                "no conversations in {location}\n  create one: mcp-bridge conversation new"
            )),
            _ => format!(
                "no open conversations in {location}; {} have ended: show them with --all",
                u64::try_from(total).unwrap_or(u64::MAX)
            ),
        });
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&[
        "LABEL", "ID", "ROLES", "STATE", "ENDS", "MESSAGES", "UNREAD",
    ]);
    for c in wanted {
        table.row([
            Cell::new(c.label.as_ref().map_or("", Label::as_str), BOLD),
            Cell::from(c.id.as_str()),
            Cell::from(shown(&format!("{} / {}", c.role_a, c.role_b)).into_owned()),
            state_cell(c.state(now)),
            Cell::from(
                c.closed_at
                    .or(c.expires_at)
                    .map_or("?".into(), |at| output::relative(at, now)),
            ),
            Cell::from(c.messages.to_string()),
            unread_cell(c.unread),
        ]);
    }
    table.drop_empty(&["LABEL"]);
    print(&table.render(0))?;
    Ok(Exit::Success)
}

async fn show(name: &str, context: &Context) -> anyhow::Result<Exit> {
    let bridge = context.look().await?;
    let now = clock::now();
    let c = session::conversation(&bridge, name).await?;
    let status = bridge.status().await?.status;
    let outlook = super::status::Outlook::of(&bridge, &status).await?;
    bridge.close().await;
    let is_open = c.state(now) == ConversationState::Open;
    let sessions: Vec<_> = status
        .sessions
        .into_iter()
        .filter(|s| is_open && s.key.conversation == c.id)
        .collect();
    if context.json() {
        let mut object = serde_json::to_value(json(&c, now))?;
        object["sessions"] = super::status::sessions_json(&sessions, &outlook, now)?;
        print_json(&object)?;
        return Ok(Exit::Success);
    }
    let mut table = Table::plain();
    let mut row = |name: &str, cell: Cell| table.row([Cell::new(name, DIM), cell]);
    row("conversation", Cell::new(c.id.as_str(), BOLD));
    if let Some(label) = &c.label {
        row("label", Cell::new(label.as_str(), BOLD));
    }
    row(
        "roles",
        shown(&format!("a {} / b {}", c.role_a, c.role_b))
            .into_owned()
            .into(),
    );
    row("state", state_cell(c.state(now)));
    if let Some(at) = c.created_at {
        row("made", format!("{} ago", text::age(at, now)).into());
    }
    match (c.closed_at, c.expires_at) {
        (Some(at), _) => row("closed", format!("{} ago", text::age(at, now)).into()),
        (None, Some(at)) if at > now => {
            let left = output::left(at, now);
            row("ends", format!("in {left}, unless renewed").into());
        }
        (None, Some(at)) => row("expired", format!("{} ago", text::age(at, now)).into()),
        (None, None) => {}
    }
    row(
        "messages",
        format!("{}, {} unread", c.messages, c.unread).into(),
    );
    let mut out = table.render(0);
    if !sessions.is_empty() {
        out.push('\n');
        out.push_str(&super::status::table(&sessions, &outlook, now).render(0));
    }
    print(&out)?;
    Ok(Exit::Success)
}

async fn renew(args: RenewArgs, context: &Context) -> anyhow::Result<Exit> {
    let bridge = context.open().await?;
    let now = clock::now();
    let c = session::conversation(&bridge, &args.conversation).await?;
    operator::ensure_or_party(context, &bridge, &c.id).await?;
    let until = new::end(now, args.life)?;
    let holds = bridge.renew_conversation(&c.id, until).await?;
    bridge.close().await;
    if context.json() {
        print_json(&serde_json::json!({ "id": c.id, "label": c.label, "expires_at": holds }))?;
        return Ok(Exit::Success);
    }
    let name = output::conversation_name(c.label.as_ref(), &c.id);
    let left = output::left(holds, now);
    let kept = if holds > until { " already" } else { "" };
    print(&format!("conversation {name} ends in {left}{kept}\n"))?;
    Ok(Exit::Success)
}

async fn close(names: &[String], context: &Context) -> anyhow::Result<Exit> {
    let bridge = context.open().await?;
    // All are looked up before the first is closed: a misspelt name ends it.
    let mut conversations: Vec<Conversation> = Vec::with_capacity(names.len());
    for name in names {
        let c = session::conversation(&bridge, name).await?;
        if conversations.iter().all(|known| known.id != c.id) {
            conversations.push(c);
        }
    }
    for c in &conversations {
        operator::ensure_or_party(context, &bridge, &c.id).await?;
    }
    let mut closed: Vec<ConversationId> = Vec::new();
    for c in &conversations {
        bridge.close_conversation(&c.id).await?;
        if !context.json() {
            let name = output::conversation_name(c.label.as_ref(), &c.id);
            let lost = match c.unread {
                0 => String::new(),
                unread => format!(" ({} in it)", text::count(unread, "unread message")),
            };
            print(&format!("closed conversation {name}{lost}\n"))?;
        }
        closed.push(c.id.clone());
    }
    bridge.close().await;
    if context.json() {
        print_json(&serde_json::json!({ "closed": closed }))?;
    }
    Ok(Exit::Success)
}

fn json(conversation: &Conversation, now: Timestamp) -> ConversationJson<'_> {
    let state = conversation.state(now);
    ConversationJson {
        conversation,
        state,
    }
}

fn state_cell(state: ConversationState) -> Cell {
    let style = match state {
        ConversationState::Open => GOOD,
        ConversationState::Expired => WARN,
        ConversationState::Closed => DIM,
    };
    Cell::new(state.to_string(), style)
}

fn unread_cell(unread: u64) -> Cell {
    let style = if unread > 0 { WARN } else { DIM };
    Cell::new(unread.to_string(), style)
}

/// A wrong role would stand in the shared tables for ever.
pub(super) fn role(text: &str) -> Result<String, CliError> {
    if is_role(text) {
        Ok(text.to_owned())
    } else {
        Err(CliError::Usage(
            "a role has 1 to 64 printable characters".into(),
        ))
    }
}
