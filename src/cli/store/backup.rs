//! `mcp-bridge store backup`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::ValueHint;
use jiff::Timestamp;
use serde_json::json;

use super::attend::attend;
use crate::cli::context::Context;
use crate::cli::output::{print, print_json};
use crate::cli::table::{BOLD, GOOD};
use crate::exit::Exit;
use crate::store::StoreError;
use crate::store::sqlite::{self, Inspection};
use crate::{clock, text};

/// Copies the store as it is at one moment, while daemons, agents and the
/// Python bridge go on writing. The copy is looked through before it gets its
/// name; it is for the store's owner and group at most, because it holds what
/// the store holds, tokens too.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge store backup                          beside the store, with the time in its name
  mcp-bridge store backup /mnt/disk/               the same name in that directory
  mcp-bridge store backup nightly.db --force       replace the last one
  mcp-bridge store backup --json | jq -r .file

Daemons, agents and the Python bridge can go on writing. The copy shows the store at
one moment, and is verified before it gets its name. It contains tokens: only the
store's owner and group can read it.
A backup is a whole store in one file: `mcp-bridge store verify --store FILE`
verifies it, `mcp-bridge store restore FILE` brings it back.")]
pub(in crate::cli) struct BackupArgs {
    /// File or directory for the copy [default: beside the store]
    #[arg(value_name = "FILE", value_hint = ValueHint::AnyPath)]
    file: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(args: BackupArgs, context: &Context) -> anyhow::Result<Exit> {
    let context = &context.on_the_file().await?;
    let location = context.location().await?;
    let store = std::path::absolute(location.path())?;
    let target = target(&store, args.file.as_deref(), clock::now())?;
    let began = clock::since_boot();
    let (from, to, force) = (store.clone(), target, args.force);
    let copied = attend(move |attendant| sqlite::backup(&from, &to, force, attendant)).await;
    let copied = copied.map_err(|error| match error.downcast_ref() {
        Some(StoreError::Missing(_)) => Context::missing(location),
        _ => error,
    })?;
    let took = clock::since_boot().saturating_sub(began);
    let found = &copied.content;
    if context.json() {
        print_json(&json!({
            "store": store,
            "file": copied.file,
            "bytes": found.bytes,
            "schema": found.kind.schema(),
            "conversations": found.conversations,
            "messages": found.messages,
            "took_seconds": (took.as_secs_f64() * 1e3).round() / 1e3,
        }))?;
        return Ok(Exit::Success);
    }
    print(&format!(
        "backed up {}\n  to {BOLD}{}{BOLD:#}\n  {} · {GOOD}no problem found{GOOD:#}{}\n",
        store.display(),
        copied.file.display(),
        content(found),
        in_so_long(took),
    ))?;
    Ok(Exit::Success)
}

/// `96.1 MiB, schema 2, 12 conversations, 40312 messages`.
pub(super) fn content(found: &Inspection) -> String {
    // Of what this program cannot read, it counts nothing.
    if let Some(why) = found.kind.refusal() {
        return format!("{}, but {why}", text::bytes(found.bytes));
    }
    let schema = match found.kind.schema() {
        Some(schema) => format!("schema {schema}"),
        None => "the Python bridge's".to_owned(),
    };
    format!(
        "{}, {schema}, {}, {}",
        text::bytes(found.bytes),
        text::count(found.conversations, "conversation"),
        text::count(found.messages, "message"),
    )
}

fn in_so_long(took: Duration) -> String {
    match took.as_millis() {
        0..1_000 => String::new(),
        _ => format!(" · {:.1} s", took.as_secs_f64()),
    }
}

/// The file that is meant: beside the store there is room for its like, and it is known
/// who may read the directory.
fn target(store: &Path, named: Option<&Path>, now: Timestamp) -> std::io::Result<PathBuf> {
    let name = || {
        let stem = store.file_stem().unwrap_or_default().to_string_lossy();
        format!("{stem}-{}.backup.db", now.strftime("%Y%m%dT%H%M%SZ"))
    };
    match named {
        None => Ok(store.with_file_name(name())),
        Some(directory) if directory.is_dir() => std::path::absolute(directory.join(name())),
        Some(file) => std::path::absolute(file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backup_is_named_by_time_or_by_its_option() {
        let dir = tempfile::tempdir().expect("a directory");
        let now = Timestamp::from_second(1_763_000_000).expect("in range");
        let name = "bridge-20251113T021320Z.backup.db";
        let at = |named: Option<&Path>| target(Path::new("/s/bridge.db"), named, now).expect("one");
        assert_eq!(at(None), Path::new("/s").join(name));
        assert_eq!(at(Some(dir.path())), dir.path().join(name));
        assert_eq!(at(Some(Path::new("/x/y.db"))), Path::new("/x/y.db"));
    }
}
