//! `mcp-bridge check` and `mcp-bridge ack`: an agent reads its mail.
//!
//! What was fetched is confirmed only after it was written out: if that fails,
//! or this process dies before, the messages are handed out again.

use std::fmt::Write as _;

use clap::Args;
use jiff::Timestamp;

use super::context::Context;
use super::error::{CliError, report};
use super::output::{note, print, print_json};
use super::stdout;
use super::table::{DIM, STYLES};
use crate::bridge::Bridge;
use crate::clock;
use crate::exit::Exit;
use crate::model::MessageId;
use crate::session::Acting;
use crate::session::framing::MailJson;
use crate::session::mail::{self, Fetched, Live, Refusal};
use crate::store::StoreError;
use crate::text;

/// Fetches the unread messages of all sessions of the credentials.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge -c backend/b check
  mcp-bridge -c backend/b check --peek          show them and leave them unread
  mcp-bridge -c team.orchestrator check --json | jq '.messages[].message'

No unread message is not an error: the exit code is 0. A fetched message counts
as acknowledged when the same session runs its next command (`check`, `send` or a
`task` command), or by `mcp-bridge ack`.")]
pub(super) struct CheckArgs {
    /// Show the messages and leave them unread
    #[arg(long)]
    peek: bool,
    /// Fetch at most N messages
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Acknowledges messages: they were dealt with, and are never handed out again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge -c backend/b ack 17 18")]
pub(super) struct AckArgs {
    /// Message ids
    #[arg(required = true, value_name = "ID")]
    ids: Vec<MessageId>,
}

pub(super) async fn run(args: CheckArgs, context: &Context) -> anyhow::Result<Exit> {
    stdout::ensure_open()?;
    let (bridge, acting) = match args.peek {
        true => context.look_acting().await?,
        false => context.open_acting().await?,
    };
    let (live, mut refused) = verify(&bridge, acting).await?;
    let mut fetched = match args.peek {
        true => {
            mail::note_look(&bridge, &live).await?;
            mail::peek(&bridge, live, args.limit).await?
        }
        false => mail::fetch(&bridge, live, args.limit).await?,
    };
    refused = refused.or(tell(std::mem::take(&mut fetched.refused)));
    let shown = if context.json() {
        print_json(&MailJson::from(&fetched))
    } else if fetched.mail.is_empty() {
        let nothing = format!("no unread messages in {}\n", bridge.name());
        print(&nothing).map_err(Into::into)
    } else {
        print(&page(&fetched, args.peek, clock::now())).map_err(Into::into)
    };
    if let Err(error) = shown {
        bridge.close().await;
        // Not the error itself: a closed pipe counts as nothing elsewhere.
        return Err(CliError::NotShown(error.to_string()).into());
    }
    fetched.confirm(&bridge).await?;
    bridge.close().await;
    Ok(refused.unwrap_or(Exit::Success))
}

/// Separates the sessions that may read from those that may not. Of several, one that
/// is refused is reported and does not stand in the way of the others.
pub(super) async fn verify(
    bridge: &Bridge,
    acting: Acting,
) -> anyhow::Result<(Vec<Live>, Option<Exit>)> {
    let (live, refused) = mail::verify(bridge, acting).await?;
    let exit = tell(refused);
    Ok((live, exit))
}

/// Reports sessions that are refused. Returns the code of the first, unless all of them
/// were closed.
fn tell(refused: Vec<Refusal>) -> Option<Exit> {
    let mut exit = None;
    for Refusal { member, error } in refused {
        if let StoreError::Closed(_) = error {
            note(&format!("skipped {}: {}", member.name(), error.headline()));
        } else {
            let code = report(&error.into());
            exit.get_or_insert(code);
        }
    }
    exit
}

fn page(fetched: &Fetched, peek: bool, now: Timestamp) -> String {
    let mut out = STYLES.mail(fetched, now);
    let more = fetched.remaining;
    if more > 0 {
        let _ = writeln!(
            out,
            "\n{more} more: run `check` again, or use a higher --limit"
        );
    }
    if peek {
        let _ = writeln!(out, "\n{DIM}the messages stay unread{DIM:#}");
    }
    out
}

pub(super) async fn acknowledge(args: AckArgs, context: &Context) -> anyhow::Result<Exit> {
    let (bridge, acting) = context.open_acting().await?;
    let ids = args.ids;
    let acknowledged = mail::acknowledge(&bridge, &acting, &ids).await?;
    bridge.close().await;
    if context.json() {
        print_json(&serde_json::json!({ "acknowledged": acknowledged }))?;
    } else {
        let count = text::count(acknowledged, "message");
        let given = u64::try_from(ids.len()).unwrap_or(u64::MAX);
        let before = given.saturating_sub(acknowledged);
        let before = match before {
            0 => String::new(),
            1 => " (1 was acknowledged before)".to_owned(),
            before => format!(" ({before} were acknowledged before)"),
        };
        print(&format!("acknowledged {count}{before}\n"))?;
    }
    Ok(Exit::Success)
}
