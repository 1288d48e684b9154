//! `mcp-bridge task add`: one task, or all of a file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use serde_json::{Value, json};

use super::lines::{self, Broken, too_many_files};
use super::{line, once_given_out, say_redacted, say_who_gives_out, words};
use crate::bridge::Bridge;
use crate::cli::completions;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::input::{read_all, read_all_input, read_file, read_input, utf8, without_newline};
use crate::cli::output::{note, print, print_json, printable};
use crate::cli::table::WARN;
use crate::exit::Exit;
use crate::model::message::{ClientMessageId, MAX_FILES};
use crate::model::session::is_role;
use crate::model::task::TaskState;
use crate::store::{Added, NewTask, Task};
use crate::text;
use crate::text::near::did_you_mean;

/// Bytes of the longest list of tasks.
const MOST_BYTES: u64 = 64 << 20;

/// Adds a task. It waits in the queue until an orchestrator gives it to a
/// session of its role, or one claims it.
///
/// With credentials, that session adds it, and gets a message about the result.
/// If the credentials hold several sessions, this is the first `a` side, unless
/// --as names another.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge task add --role backend --title \"Port the parser\" --body-file parser.md
  mcp-bridge -c backend/a task add --role backend --title \"Port the parser\" --id parser
  git diff | mcp-bridge task add --role review --title \"Review this\" --body -
  mcp-bridge task add --batch tasks.jsonl

The task waits in the queue until an orchestrator gives it to a session of its role,
or a session claims it. With credentials, their session adds the task and gets a
message about its result.
A line of a JSON Lines file is {\"role\", \"title\", \"body\", \"files\", \"id\"}; the last
three are optional. If one line is wrong, no task is added. Secrets (keys, passwords,
tokens) are removed before the task is stored.")]
pub(in crate::cli) struct AddArgs {
    /// Role of the sessions that may do it
    #[arg(long, value_name = "ROLE", required_unless_present = "batch",
          add = ArgValueCandidates::new(completions::roles))]
    role: Option<String>,
    /// Title, in one line
    #[arg(long, value_name = "TITLE", required_unless_present = "batch")]
    title: Option<String>,
    /// Description; `-` reads standard input
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,
    /// Read the description from a file
    #[arg(long, value_name = "FILE", conflicts_with = "body")]
    body_file: Option<PathBuf>,
    /// File that the task is about; may be repeated, 20 at most
    #[arg(long = "about", alias = "file", value_name = "PATH")]
    files: Vec<String>,
    /// Your own id for the task: added twice with the same id, it is stored once
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Add each line of a JSON Lines file: all or none; `-` reads standard input
    #[arg(long, alias = "from", value_name = "FILE",
          conflicts_with_all = ["role", "title", "body", "body_file", "files", "id"])]
    batch: Option<PathBuf>,
    /// Session that adds it, if the credentials hold several
    #[arg(long = "as", value_name = "SESSION")]
    acting_as: Option<String>,
}

pub(super) async fn run(args: AddArgs, context: &Context) -> anyhow::Result<Exit> {
    let acting = context.acting_if_any()?;
    if acting.is_none() && args.acting_as.is_some() {
        // Says how to give some.
        context.acting()?;
    }
    let bridge = context.open().await?;
    let tasks = match &args.batch {
        Some(path) => from_lines(path)?,
        None => vec![from_arguments(&args)?],
    };
    let creator = match acting {
        Some(mut acting) => Some(acting.creator(&bridge, args.acting_as.as_deref()).await?),
        None => None,
    };
    let added = bridge.add_tasks(creator.as_ref(), &tasks).await?;
    warn_of_roles(&bridge, &tasks).await?;
    let mut waiting = Vec::new();
    if args.batch.is_some() {
        show_many(context, &bridge, &added).await?;
        let new = added.iter().any(|added| !added.duplicate);
        waiting.extend(new.then_some(TaskState::Queued));
    } else if let [added] = added.as_slice() {
        let task = once_given_out(&bridge, added.id).await?;
        show(context, added, &task)?;
        waiting.push(task.state);
    }
    if !context.json() {
        say_who_gives_out(&bridge, waiting).await;
    }
    bridge.close().await;
    if !context.json() {
        say_redacted(added.iter().flat_map(|added| &added.redacted));
    }
    Ok(Exit::Success)
}

fn from_arguments(args: &AddArgs) -> anyhow::Result<NewTask> {
    let role = args.role.clone().unwrap_or_default();
    if !is_role(&role) {
        let what = "a role has 1 to 64 printable characters";
        return Err(CliError::Usage(what.into()).into());
    }
    if args.files.len() > MAX_FILES {
        return Err(CliError::Usage(too_many_files(args.files.len())).into());
    }
    // The title first: a user should not type a body for a title that is refused.
    let title = args.title.as_deref().unwrap_or_default().parse()?;
    let client_id: Option<ClientMessageId> = args.id.as_deref().map(str::parse).transpose()?;
    let body = match (&args.body_file, args.body.as_deref()) {
        (Some(path), _) if path != Path::new("-") => {
            utf8("body", without_newline(read_file(path)?))?
        }
        (Some(_), _) | (None, Some("-")) => utf8("body", without_newline(read_input("the body")?))?,
        (None, text) => text.unwrap_or_default().to_owned(),
    };
    Ok(NewTask {
        role,
        title,
        body: body.parse()?,
        files: args.files.clone(),
        client_id,
    })
}

fn from_lines(path: &Path) -> anyhow::Result<Vec<NewTask>> {
    let (source_name, bytes) = if path == Path::new("-") {
        let bytes = read_all_input("one JSON object a line", MOST_BYTES + 1)?;
        ("standard input".to_owned(), bytes)
    } else {
        let bytes = read_all(path, MOST_BYTES + 1)?;
        (path.display().to_string(), bytes)
    };
    let refused = |Broken { line, what }| CliError::Tasks {
        source_name: source_name.clone(),
        place: line.map(|n| format!("line {n}: ")).unwrap_or_default(),
        what,
    };
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MOST_BYTES {
        let what = format!("it has more than {} MiB; split it", MOST_BYTES >> 20);
        return Err(refused(Broken { line: None, what }).into());
    }
    Ok(lines::parse(&bytes).map_err(refused)?)
}

/// A role that no session has is no error: its worker may come later. But it may be a
/// typing mistake.
async fn warn_of_roles(bridge: &Bridge, tasks: &[NewTask]) -> anyhow::Result<()> {
    let sessions = bridge.sessions(Duration::ZERO).await?;
    let mut known: Vec<&str> = sessions.iter().map(|s| s.role.as_str()).collect();
    known.sort_unstable();
    known.dedup();
    let mut said: Vec<&str> = Vec::new();
    for task in tasks {
        let role = task.role.as_str();
        if known.contains(&role) || said.contains(&role) {
            continue;
        }
        said.push(role);
        let hint = did_you_mean(role, known.iter().copied());
        let have = match known.as_slice() {
            [] => "there are no open sessions".to_owned(),
            roles => format!("there are {}", roles.join(", ")),
        };
        note(&printable(&format!(
            "note: no open session has the role `{role}`{hint} ({have}); the task waits for such a session"
        ))
        .replacen("note:", &format!("{WARN}note:{WARN:#}"), 1));
    }
    Ok(())
}

fn show(context: &Context, added: &Added, task: &Task) -> anyhow::Result<()> {
    if context.json() {
        return print_json(&as_json(added, task));
    }
    if added.duplicate {
        let with = match &task.owner {
            Some(_) => format!("with {} (fence {})", task.owner_name(), task.fence),
            None => words(task.state).to_owned(),
        };
        print(&format!("task {} was added already: {with}\n", task.id))?;
    } else {
        print(&line(task))?;
    }
    Ok(())
}

async fn show_many(context: &Context, bridge: &Bridge, added: &[Added]) -> anyhow::Result<()> {
    if context.json() {
        let mut all = Vec::with_capacity(added.len());
        for added in added {
            let (task, _) = bridge.task(added.id).await?;
            all.push(as_json(added, &task));
        }
        return print_json(&all);
    }
    let new: Vec<&Added> = added.iter().filter(|added| !added.duplicate).collect();
    let before = added.len() - new.len();
    let mut out = match new.as_slice() {
        [] => "added no task".to_owned(),
        [one] => format!("added task {}", one.id),
        [first, .., last] => format!("added {} tasks ({} to {})", new.len(), first.id, last.id),
    };
    if before > 0 {
        let count = text::count(u64::try_from(before).unwrap_or(u64::MAX), "task");
        let were = if before == 1 { "was" } else { "were" };
        out.push_str(&format!(
            "; {count} of the file {were} in the store already"
        ));
    }
    out.push('\n');
    print(&out)?;
    Ok(())
}

fn as_json(added: &Added, task: &Task) -> Value {
    json!({
        "id": added.id, "role": task.role, "state": task.state, "fence": task.fence,
        "owner": task.owner, "owner_label": task.owner_label,
        "redacted": added.redacted, "duplicate": added.duplicate,
    })
}
