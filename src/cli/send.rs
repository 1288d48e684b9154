//! `mcp-bridge send`.
//!
//! Which of the two words is the conversation? Two words: the first. One word:
//! it, if it names a conversation of the credentials or looks like an id;
//! otherwise it is the text, which then needs credentials of one session.
//! `--to` leaves no question.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::completions;
use super::context::Context;
use super::error::CliError;
use super::input::{read_file, read_input, without_newline};
use super::output::{note, print, print_json};
use super::table::WARN;
use crate::bridge::Bridge;
use crate::clock;
use crate::exit::Exit;
use crate::model::message::{ActionType, Body, ClientMessageId, Draft, InvalidMessage};
use crate::model::redact::SecretKind;
use crate::model::session::{Life, session_name};
use crate::model::{Label, TaskId};
use crate::session::framing::SentJson;
use crate::session::{Acting, Member, Name, SessionError};
use crate::store::Sent;

/// Sends a message to the partner of this session.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge -c backend/a send \"Port the parser\"
  mcp-bridge -c team.orchestrator send --to backend-2 \"Port the parser\" --about src/parse.c
  mcp-bridge -c backend/b send --action question < question.md
  mcp-bridge -c backend/b send \"Done\" --action complete --id port-parser-done
  mcp-bridge -c backend/a send --task 17 \"Check the old tests, too\"
  seq 10 | mcp-bridge -c backend/a send --batch

With two arguments, the first is the conversation. One argument is the text, or the
conversation if it is the id or label of one: then the text comes from standard
input. --to leaves no doubt.
Secrets (keys, passwords, tokens) are removed before the message is stored.")]
pub(super) struct SendArgs {
    /// Conversation, by id or label; optional if the credentials have only one
    #[arg(value_name = "CONVERSATION", add = ArgValueCandidates::new(completions::conversations))]
    first: Option<String>,
    /// Text; `-` or no text reads standard input
    #[arg(value_name = "TEXT")]
    second: Option<String>,
    /// Recipient: a conversation (id or label) or a session (backend-1/b)
    #[arg(long, value_name = "CONVERSATION", add = ArgValueCandidates::new(completions::conversations))]
    to: Option<String>,
    /// Read the text from a file
    #[arg(long, value_name = "FILE", conflicts_with = "batch")]
    body_file: Option<PathBuf>,
    /// File that the message is about; may be repeated, 20 at most
    #[arg(long = "about", alias = "file", value_name = "PATH")]
    files: Vec<String>,
    /// Kind of message, for its reader
    #[arg(long, value_name = "ACTION", value_parser = ["question", "info", "proposal", "blocked", "complete"])]
    action: Option<String>,
    /// Your own id for the message: sent twice with the same id, it is stored once
    #[arg(long, value_name = "ID", conflicts_with = "batch")]
    id: Option<String>,
    /// Task that the message belongs to: if the task moves, the message moves with it
    #[arg(long, value_name = "TASK", add = ArgValueCandidates::new(completions::tasks))]
    task: Option<TaskId>,
    /// Send each line of standard input as a message: all or none
    #[arg(long)]
    batch: bool,
}

/// How long the state of the receiver may take.
const GLANCE: Duration = Duration::from_secs(1);

/// Where the text is.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    Word(String),
    Input,
}

pub(super) async fn run(args: SendArgs, context: &Context) -> anyhow::Result<Exit> {
    let (bridge, mut acting) = context.open_acting().await?;
    let (to, source) = which_is_which(&args, &bridge, &mut acting).await?;
    let member = match acting.sender_to(to.as_deref()) {
        Err(error) if is_perhaps_a_text(&args, &error) => {
            return Err(CliError::NotQuoted(error).into());
        }
        member => member?,
    };
    let drafts = drafts(&args, source)?;
    let sent = bridge.send(&member.caller, &drafts).await?;
    show(&args, context, member, &sent)?;
    if !context.json() {
        note_of_receiver(&bridge, member).await;
    }
    bridge.close().await;
    Ok(Exit::Success)
}

async fn which_is_which(
    args: &SendArgs,
    bridge: &Bridge,
    acting: &mut Acting,
) -> anyhow::Result<(Option<String>, Source)> {
    let elsewhere = args.body_file.is_some() || args.batch;
    let words: Vec<&String> = args.first.iter().chain(&args.second).collect();
    let (to, text) = match (&args.to, words.as_slice()) {
        (Some(to), []) => (Some(to), None),
        (Some(to), [text]) => (Some(to), Some(*text)),
        (None, [name]) if elsewhere => (Some(*name), None),
        (None, [word]) if is_name(word, bridge, acting).await? => (Some(*word), None),
        (None, [text]) => (None, Some(*text)),
        (None, [name, text]) => (Some(*name), Some(*text)),
        (None, _) => (None, None),
        (Some(_), _) => {
            let what = "--to names the recipient already: give only the text, in quotes";
            return Err(CliError::Usage(what.into()).into());
        }
    };
    if text.is_some() && elsewhere {
        let what = "the text is given twice: use either the argument, --body-file or --batch";
        return Err(CliError::Usage(what.into()).into());
    }
    // Labels are asked for only if one is needed.
    let by_label = to.is_some_and(|to| !Name::looks_like_id(to));
    if by_label || (to.is_none() && acting.members.len() > 1) {
        acting.learn_labels(bridge).await?;
    }
    let source = match text {
        Some(text) if text != "-" => Source::Word(text.clone()),
        _ => Source::Input,
    };
    Ok((to.cloned(), source))
}

/// Whether two words are perhaps a text without quotes: the first is no conversation, and
/// is like none.
fn is_perhaps_a_text(args: &SendArgs, error: &SessionError) -> bool {
    let words = args.first.as_deref().zip(args.second.as_deref());
    let is_a_word =
        words.is_some_and(|(first, _)| !Name::looks_like_id(first) && !first.contains('/'));
    is_a_word && matches!(error, SessionError::NotMine { hint, .. } if hint.is_empty())
}

async fn is_name(word: &str, bridge: &Bridge, acting: &mut Acting) -> anyhow::Result<bool> {
    if Name::looks_like_id(word) {
        return Ok(true);
    }
    if word
        .split('/')
        .next()
        .is_none_or(|label| label.parse::<Label>().is_err())
    {
        return Ok(false);
    }
    acting.learn_labels(bridge).await?;
    Ok(!acting.partners_of(word)?.is_empty())
}

/// Says that the receiver does not read it soon, if that is known.
async fn note_of_receiver(bridge: &Bridge, member: &Member) {
    let receiver = member.caller.session.partner();
    let asked = bridge.sessions_of(&receiver.conversation);
    // The message is sent: what is known of its receiver changes nothing.
    let Ok(Ok(views)) = tokio::time::timeout(GLANCE, asked).await else {
        return;
    };
    let Some(view) = views.into_iter().find(|view| view.key == receiver) else {
        return;
    };
    let name = session_name(view.label.as_ref(), &view.key);
    if view.life(clock::now()) == Life::Exited {
        note(&format!(
            "{name}'s client has exited; it reads this when it runs again"
        ));
    } else if view.is_stopped() {
        note(&format!(
            "{name}'s client is stopped; it reads this when it goes on"
        ));
    }
}

fn drafts(args: &SendArgs, source: Source) -> anyhow::Result<Vec<Draft>> {
    let action_type: Option<ActionType> = args.action.as_deref().map(str::parse).transpose()?;
    let client_id: Option<ClientMessageId> = args.id.as_deref().map(str::parse).transpose()?;
    let draft = |body| {
        let draft = Draft {
            body,
            action_type,
            files: args.files.clone(),
            client_id: client_id.clone(),
            task: args.task,
        };
        draft.metadata().map(|_| draft)
    };
    if args.batch {
        return batch(&read_input("the message")?, draft);
    }
    let body = match (&args.body_file, source) {
        (Some(path), _) => Body::from_bytes(without_newline(read_file(path)?)),
        (None, Source::Word(text)) => text.parse(),
        (None, Source::Input) => Body::from_bytes(without_newline(read_input("the message")?)),
    };
    Ok(vec![draft(body?)?])
}

fn batch(
    input: &[u8],
    draft: impl Fn(Body) -> Result<Draft, InvalidMessage>,
) -> anyhow::Result<Vec<Draft>> {
    let mut drafts = Vec::new();
    for (index, line) in input.split(|&byte| byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let one = Body::from_bytes(line.to_vec()).and_then(&draft);
        drafts.push(one.with_context(|| format!("line {}", index + 1))?);
    }
    if drafts.is_empty() {
        return Err(InvalidMessage::Empty.into());
    }
    Ok(drafts)
}

fn show(args: &SendArgs, context: &Context, member: &Member, sent: &[Sent]) -> anyhow::Result<()> {
    let to = member.partner_name();
    if context.json() {
        let session = &member.caller.session;
        let label = member.label.as_ref();
        let all = sent.iter().map(|sent| SentJson::new(sent, session, label));
        let all: Vec<SentJson<'_>> = all.collect();
        return match all.as_slice() {
            [one] if !args.batch => print_json(one),
            all => print_json(&all),
        };
    }
    match sent {
        [one] if one.duplicate => {
            print(&format!("message {} was sent to {to} already\n", one.id))?;
        }
        [one] => print(&format!("sent message {} to {to}\n", one.id))?,
        [first, .., last] => {
            let count = sent.len();
            print(&format!(
                "sent {count} messages ({} to {}) to {to}\n",
                first.id, last.id
            ))?;
        }
        [] => {}
    }
    let mut kinds: Vec<SecretKind> = Vec::new();
    for kind in sent.iter().flat_map(|sent| &sent.redacted) {
        if !kinds.contains(kind) {
            kinds.push(*kind);
        }
    }
    if !kinds.is_empty() {
        let names: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        let names = names.join(", ");
        note(&format!("{WARN}secrets redacted:{WARN:#} {names}"));
    }
    Ok(())
}
