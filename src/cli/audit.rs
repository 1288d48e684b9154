//! `mcp-bridge audit`: what was done, by whom.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use serde_json::Value;

use super::context::Context;
use super::output::{note, print, print_json, shown};
use super::table::{Cell, DIM, Table};
use super::{completions, output};
use crate::clock;
use crate::exit::Exit;
use crate::session;
use crate::store::{AuditEntry, AuditFilter};

/// Shows the newest entries of the audit log, newest last.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge audit
  mcp-bridge audit backend-1 --action send_message --limit 10
  mcp-bridge audit --json | jq '.[] | select(.details.redacted)'")]
pub(super) struct AuditArgs {
    /// Only this conversation, by id or label
    #[arg(add = ArgValueCandidates::new(completions::conversations))]
    conversation: Option<String>,
    /// Only this action, for example send_message
    #[arg(long)]
    action: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

pub(super) async fn run(args: AuditArgs, context: &Context) -> anyhow::Result<Exit> {
    let bridge = context.look().await?;
    let now = clock::now();
    let conversation = match &args.conversation {
        Some(name) => Some(session::conversation(&bridge, name).await?.id),
        None => None,
    };
    let filter = AuditFilter {
        conversation,
        side: None,
        action: args.action,
        limit: args.limit,
    };
    let entries = bridge.audit(&filter).await?;
    let labels = session::labels(&bridge).await?;
    let location = bridge.name();
    bridge.close().await;
    if context.json() {
        print_json(&entries)?;
        return Ok(Exit::Success);
    }
    if entries.is_empty() {
        note(&format!(
            "nothing of that kind in the audit log of {location}"
        ));
        return Ok(Exit::Success);
    }
    let mut table = Table::new(&["WHEN", "SESSION", "ACTION", "DETAILS"]);
    for entry in &entries {
        let when = entry.at.map_or("?".into(), |at| output::relative(at, now));
        let session = session(entry, |id| labels.get(id).cloned());
        table.row([
            Cell::new(when, DIM),
            Cell::from(shown(&session).into_owned()),
            Cell::from(shown(&entry.action).into_owned()),
            Cell::from(shown(&details(&entry.details)).into_owned()),
        ]);
    }
    print(&table.render(0))?;
    Ok(Exit::Success)
}

fn session(entry: &AuditEntry, label: impl Fn(&str) -> Option<String>) -> String {
    let Some(id) = entry.conversation.as_deref() else {
        return entry.session.clone().unwrap_or_default();
    };
    let name = label(id).unwrap_or_else(|| id.to_owned());
    match &entry.session {
        Some(side) => format!("{name}/{}", side.trim_start_matches("session_")),
        None => name,
    }
}

/// `message_id=17 to=b`: one line whatever it holds.
fn details(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let pairs = map
                .iter()
                .filter(|(_, value)| !matches!(value, Value::Null | Value::Bool(false)))
                .filter(|(_, value)| value.as_array().is_none_or(|list| !list.is_empty()))
                .map(|(key, value)| match value {
                    Value::Bool(_) => key.clone(),
                    value => format!("{key}={}", plain(value)),
                });
            pairs.collect::<Vec<_>>().join(" ")
        }
        Value::Null => String::new(),
        other => plain(other),
    }
    .replace('\n', " ")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}
