//! `mcp-bridge check` and `mcp-bridge ack`: an agent reads its mail.
//!
//! What was fetched is confirmed only after it was written out: if that fails,
//! or this process dies before, the messages are handed out again.

use std::fmt::Write as _;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::context::{Acting, Context, Member};
use super::error::CliError;
use super::error::report;
use super::output::{self, MessageJson, NOTICE, note, print, print_json, printable, shown};
use super::stdout;
use super::table::{BOLD, DIM};
use crate::clock;
use crate::exit::Exit;
use crate::model::message::{Message, Sender};
use crate::model::{Label, MessageId};
use crate::store::{FetchId, SharedStore, StoreError, Verified};
use crate::text;
use crate::wake;

/// Fetches the unread messages of all sessions of the credentials.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge -c backend.b check
  mcp-bridge -c backend.b check --peek          look, and leave them unread
  mcp-bridge -c team.orchestrator check --json | jq '.messages[].message'

No mail is no failure: the exit code is 0. A message that was fetched counts as
acknowledged when the same session calls again (`check`, `send`, or a word about
a task in its name), or by `mcp-bridge ack`.")]
pub(super) struct CheckArgs {
    /// Show the messages and leave them unread
    #[arg(long)]
    peek: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Acknowledges messages: they were dealt with, and are never handed out again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge -c backend.b ack 17 18")]
pub(super) struct AckArgs {
    /// Ids of messages
    #[arg(required = true, value_name = "ID")]
    ids: Vec<MessageId>,
}

/// One session's mail.
struct Mail {
    member: Member,
    verified: Verified,
    messages: Vec<Message>,
}

#[derive(Default)]
struct Fetched {
    mail: Vec<Mail>,
    fetches: Vec<FetchId>,
    remaining: u64,
}

#[derive(Serialize)]
struct CheckJson<'a> {
    notice: &'static str,
    messages: Vec<MessageJson<'a>>,
    remaining: u64,
}

pub(super) async fn run(args: CheckArgs, context: &Context) -> anyhow::Result<Exit> {
    stdout::ensure_open()?;
    let (store, acting) = match args.peek {
        true => context.look_acting().await?,
        false => context.open_acting().await?,
    };
    let now = clock::now();
    let (live, refused) = verify(&store, acting, now).await?;
    if args.peek {
        note_look(&store, &live, now).await?;
    }
    let fetched = fetch(&store, live, &args, now).await?;
    let shown = if context.json() {
        print_json(&json(&fetched))
    } else if fetched.mail.is_empty() {
        let nothing = format!("no unread messages in {}\n", store.location().display());
        print(&nothing).map_err(Into::into)
    } else {
        print(&page(&fetched, args.peek, now)).map_err(Into::into)
    };
    if let Err(error) = shown {
        store.close().await;
        // Not the error itself: a closed pipe counts as nothing elsewhere.
        return Err(CliError::NotShown(error.to_string()).into());
    }
    for fetch in &fetched.fetches {
        store.fetch_written(fetch, clock::now()).await?;
    }
    store.close().await;
    Ok(refused.unwrap_or(Exit::Success))
}

/// Tells the sessions that may read from those that may not. Of several, one
/// that is refused is reported and does not stand in the way of the others.
pub(super) async fn verify(
    store: &SharedStore,
    acting: Acting,
    now: Timestamp,
) -> anyhow::Result<(Vec<(Member, Verified)>, Option<Exit>)> {
    let verdicts = store.verify(&acting.callers(), now).await?;
    let alone = acting.members.len() == 1;
    let (mut live, mut refused) = (Vec::new(), None);
    for (mut member, verdict) in acting.members.into_iter().zip(verdicts) {
        match verdict {
            Ok(verified) => {
                member.label = verified.label.clone().or(member.label);
                live.push((member, verified));
            }
            Err(error) if alone => return Err(error.into()),
            Err(error @ StoreError::Closed(_)) => {
                note(&format!("skipped {}: {}", member.name(), error.headline()));
            }
            Err(error) => {
                let exit = report(&error.into());
                refused.get_or_insert(exit);
            }
        }
    }
    Ok((live, refused))
}

/// Notes a look that leaves no other trace, if a wake's command has it: what that
/// prints is logged unless its agent did something meanwhile, and mail never is.
pub(super) async fn note_look(
    store: &SharedStore,
    live: &[(Member, Verified)],
    now: Timestamp,
) -> anyhow::Result<()> {
    if std::env::var_os(wake::SESSION_VARIABLE).is_some() {
        for (member, _) in live {
            store.acknowledge(&member.caller, &[], now).await?;
        }
    }
    Ok(())
}

async fn fetch(
    store: &SharedStore,
    live: Vec<(Member, Verified)>,
    args: &CheckArgs,
    now: Timestamp,
) -> anyhow::Result<Fetched> {
    let keys: Vec<_> = live.iter().map(|(m, _)| m.caller.session.clone()).collect();
    let waiting = store.mail(&keys).await?;
    let mut fetched = Fetched::default();
    let mut room = args.limit;
    for ((member, verified), waiting) in live.into_iter().zip(waiting) {
        let messages = if room == 0 {
            fetched.remaining += waiting.unread;
            continue;
        } else if args.peek {
            let messages = store.peek(&member.caller, None, room, now).await?;
            let shown = u64::try_from(messages.len()).unwrap_or(u64::MAX);
            fetched.remaining += waiting.unread.saturating_sub(shown);
            messages
        } else {
            let one = store.fetch(&member.caller, room, now).await?;
            fetched.remaining += one.remaining;
            fetched.fetches.extend(one.id);
            one.messages
        };
        room = room.saturating_sub(u32::try_from(messages.len()).unwrap_or(u32::MAX));
        if !messages.is_empty() {
            fetched.mail.push(Mail {
                member,
                verified,
                messages,
            });
        }
    }
    Ok(fetched)
}

fn json(fetched: &Fetched) -> CheckJson<'_> {
    let messages = fetched.mail.iter().flat_map(|mail| {
        let label = mail.verified.label.as_ref();
        mail.messages
            .iter()
            .map(move |m| MessageJson::new(m, label))
    });
    CheckJson {
        notice: NOTICE,
        messages: messages.collect(),
        remaining: fetched.remaining,
    }
}

fn page(fetched: &Fetched, peek: bool, now: Timestamp) -> String {
    let count: usize = fetched.mail.iter().map(|mail| mail.messages.len()).sum();
    let count = text::count(u64::try_from(count).unwrap_or(u64::MAX), "unread message");
    let mut out = format!("{BOLD}{count}{BOLD:#} {NOTICE}\n");
    for mail in &fetched.mail {
        for message in &mail.messages {
            let role = &mail.verified.partner_role;
            out.push('\n');
            out.push_str(&framed(message, mail.member.label.as_ref(), role, now));
        }
    }
    let more = fetched.remaining;
    if more > 0 {
        let _ = writeln!(out, "\n{more} more: check again, or with a higher --limit");
    }
    if peek {
        let _ = writeln!(out, "\n{DIM}left unread{DIM:#}");
    }
    out
}

/// A message between a line that says whose it is and nothing else: every line
/// of its text is marked, so that none can pass for one of ours.
pub(super) fn framed(
    message: &Message,
    label: Option<&Label>,
    partner_role: &str,
    now: Timestamp,
) -> String {
    let partner = crate::model::session::session_name(label, &message.recipient().partner());
    let from = match &message.from {
        Sender::Session(_) if partner_role.is_empty() => partner,
        Sender::Session(_) => format!("{} ({partner})", shown(partner_role)),
        Sender::System => "the bridge itself".to_owned(),
        Sender::Other(who) => format!("`{}`", shown(who)),
    };
    let mut head = format!("{BOLD}message {}{BOLD:#} from {from}", message.id);
    if let Some(action) = message.metadata.get("action_type").and_then(|v| v.as_str()) {
        let _ = write!(head, " · {}", shown(action));
    }
    if let Some(at) = message.sent_at {
        let _ = write!(head, " {DIM}· {}{DIM:#}", output::relative(at, now));
    }
    head = head.replace('\n', " ");
    let files = message
        .metadata
        .get("files_involved")
        .and_then(|v| v.as_array());
    let files: Vec<&str> = files
        .into_iter()
        .flatten()
        .filter_map(|f| f.as_str())
        .collect();
    if !files.is_empty() {
        let files = files.join(", ").replace('\n', " ");
        let _ = write!(head, "\n{DIM}files: {}{DIM:#}", shown(&files));
    }
    let body = printable(&message.message);
    let mut out = head + "\n";
    for line in body.lines() {
        let _ = writeln!(out, "{DIM}|{DIM:#} {line}");
    }
    out
}

pub(super) async fn acknowledge(args: AckArgs, context: &Context) -> anyhow::Result<Exit> {
    let (store, acting) = context.open_acting().await?;
    let ids = args.ids;
    let now = clock::now();
    let mut acknowledged = 0;
    match acting.members.as_slice() {
        [only] => acknowledged = store.acknowledge(&only.caller, &ids, now).await?,
        several => {
            for id in &ids {
                acknowledged += acknowledge_as_one_of(&store, several, *id, now).await?;
            }
        }
    }
    store.close().await;
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

/// The id does not tell whose message it is: the sessions are tried in turn.
async fn acknowledge_as_one_of(
    store: &SharedStore,
    members: &[Member],
    id: MessageId,
    now: Timestamp,
) -> anyhow::Result<u64> {
    let mut first = None;
    for member in members {
        match store.acknowledge(&member.caller, &[id], now).await {
            Ok(count) => return Ok(count),
            Err(error) if error.is_outage() => return Err(error.into()),
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    match first {
        Some(StoreError::NoMessage(..)) | None => Err(CliError::NoSuchMessage(id).into()),
        Some(error) => Err(error.into()),
    }
}
