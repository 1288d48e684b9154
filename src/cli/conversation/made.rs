//! The conversations that `conversation new` makes, and what it prints of them.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use crate::bridge::Bridge;
use crate::cli::context::Context;
use crate::cli::output::{self, print, print_json};
use crate::cli::table::{BOLD, Cell, DIM, Table};
use crate::model::{ConversationId, Label};
use crate::session::known::{as_session, credentials_directory};
use crate::store::NewConversation;
use crate::text::for_shell;

/// A conversation to be, and its two files.
pub(super) struct Plan {
    pub(super) new: NewConversation,
    pub(super) files: [PathBuf; 2],
}

#[derive(Serialize)]
struct MadeJson<'a> {
    store: String,
    conversations: Vec<PlanJson<'a>>,
    orchestrator: Option<&'a Path>,
}

#[derive(Serialize)]
struct PlanJson<'a> {
    id: &'a ConversationId,
    label: Option<&'a Label>,
    role_a: &'a str,
    role_b: &'a str,
    expires_at: Timestamp,
    credentials_a: &'a Path,
    credentials_b: &'a Path,
}

/// Shows what was made, and where the files are.
pub(super) fn show(
    plans: &[Plan],
    all_a: Option<&Path>,
    bridge: &Bridge,
    context: &Context,
    now: Timestamp,
) -> anyhow::Result<()> {
    if context.json() {
        let conversations = plans.iter().map(|Plan { new, files: [a, b] }| PlanJson {
            id: &new.id,
            label: new.label.as_ref(),
            role_a: &new.role_a,
            role_b: &new.role_b,
            expires_at: new.expires_at,
            credentials_a: a,
            credentials_b: b,
        });
        return print_json(&MadeJson {
            store: bridge.name(),
            conversations: conversations.collect(),
            orchestrator: all_a,
        });
    }
    let mut out = String::new();
    let mut table = Table::plain();
    for Plan { new, files: [a, b] } in plans {
        let name = output::conversation_name(new.label.as_ref(), &new.id);
        let left = output::left(new.expires_at, now);
        let id = if new.label.is_some() {
            new.id.as_str()
        } else {
            ""
        };
        table.row([
            Cell::new(format!("conversation {name}"), BOLD),
            Cell::new(id, DIM),
            Cell::from(format!("ends in {left}; `conversation renew` extends it")),
        ]);
        if plans.len() == 1 {
            out.push_str(&std::mem::take(&mut table).render(0));
            for (side, role, file) in [("a", &new.role_a, a), ("b", &new.role_b, b)] {
                table.row([
                    Cell::new(format!("{side} {role}"), DIM),
                    Cell::from(file.display().to_string()),
                ]);
            }
            out.push_str(&std::mem::take(&mut table).render(2));
        }
    }
    out.push_str(&table.render(0));
    if let (true, Some(Plan { files: [a, _], .. })) = (plans.len() > 1, plans.first()) {
        let directory = a.parent().unwrap_or(Path::new("."));
        out.push_str(&format!(
            "credentials for each session in {}\n",
            directory.display()
        ));
    }
    if let Some(all_a) = all_a {
        out.push_str(&format!("all `a` sides in one file: {}\n", all_a.display()));
    }
    out.push_str(&format!("{DIM}store {}{DIM:#}\n", bridge.name()));
    if let [Plan { files: [a, b], .. }] = plans {
        let (a, b) = (as_option(a), as_option(b));
        out.push_str(&format!(
            "{DIM}try   mcp-bridge -c {a} send hello   and   mcp-bridge -c {b} check{DIM:#}\n"
        ));
    }
    print(&out)?;
    Ok(())
}

/// What a shell gets after `-c`: for a file in the default directory, its session.
fn as_option(file: &Path) -> String {
    match (file.parent(), file.file_stem()) {
        (Some(parent), Some(name)) if credentials_directory().as_deref() == Some(parent) => {
            for_shell(&as_session(&name.to_string_lossy()))
        }
        _ => for_shell(&file.display().to_string()),
    }
}
