//! What becomes of the files of a client: all are read and understood before one is
//! written, and if one cannot be written, the others are put back.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::clients::{self, Client, Edit, Ours, Scope};
use super::file::{self, There};
use super::merge::{self, Unmergeable};
use super::table;

/// The changes of a set-up, or of its removal.
#[derive(Debug)]
pub(in crate::cli) struct Changes {
    pub(super) each: Vec<Change>,
    is_removal: bool,
    is_written: bool,
}

/// What becomes of one file.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) edit: Edit,
    pub(super) there: There,
    /// What it is to hold; nothing where it is not to be there.
    pub(super) wanted: Option<String>,
    /// The copy of before that was made now.
    pub(super) backup: Option<PathBuf>,
    /// The copy of an earlier set-up, and whether this change brings back all of it.
    pub(super) copy: Option<(PathBuf, bool)>,
}

impl Change {
    pub(super) fn is_one(&self) -> bool {
        self.wanted != self.there.text
    }
}

impl Changes {
    /// Description of the task. Writes nothing.
    ///
    /// # Errors
    /// A file that cannot be read, or not understood.
    pub(in crate::cli) fn plan(
        client: Client,
        scope: &Scope,
        remove: bool,
    ) -> anyhow::Result<Self> {
        let program = clients::program().context("the path of this program is unknown")?;
        let edits = client.edits(scope, &program).into_iter();
        let each = edits.map(|edit| change(edit, remove));
        Ok(Self {
            each: each.collect::<anyhow::Result<_>>()?,
            is_removal: remove,
            is_written: false,
        })
    }

    /// Writes all of them.
    ///
    /// # Errors
    /// A file that cannot be written: then the others are as before, or named.
    pub(in crate::cli) fn write(&mut self) -> anyhow::Result<()> {
        for place in 0..self.each.len() {
            let change = &mut self.each[place];
            if !change.is_one() {
                continue;
            }
            let (file, wanted) = (&change.edit.file, change.wanted.as_deref());
            match file::write(file, &change.there, wanted, !self.is_removal) {
                Ok(backup) => change.backup = backup,
                Err(error) => {
                    let left = put_back(&mut self.each[..place]);
                    return Err(match left.is_empty() {
                        true => error,
                        false => error.context(format!("not changed: {}", names(&left))),
                    });
                }
            }
            if let Some((copy, true)) = &change.copy {
                let _ = std::fs::remove_file(copy);
            }
        }
        self.is_written = true;
        Ok(())
    }

    /// Puts back what was there before [`Self::write`]. What another program changed since
    /// stays as that one left it.
    pub(in crate::cli) fn take_back(&mut self) {
        if self.is_written {
            put_back(&mut self.each);
            self.is_written = false;
        }
    }

    /// The files that change.
    pub(in crate::cli) fn files(&self) -> impl Iterator<Item = &Path> {
        let changes = self.each.iter().filter(|change| change.is_one());
        changes.map(|change| change.edit.file.as_path())
    }
}

fn names(files: &[PathBuf]) -> String {
    let names: Vec<_> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    names.join(", ")
}

fn put_back(changes: &mut [Change]) -> Vec<PathBuf> {
    let mut left = Vec::new();
    for change in changes.iter_mut().rev().filter(|change| change.is_one()) {
        let file = &change.edit.file;
        match file::put_back(file, &change.there, change.wanted.as_deref()) {
            Ok(()) => {
                if let Some(backup) = change.backup.take() {
                    let _ = std::fs::remove_file(backup);
                }
            }
            Err(_) => left.push(file.clone()),
        }
    }
    left
}

fn change(edit: Edit, remove: bool) -> anyhow::Result<Change> {
    let there = file::read(&edit.file)?;
    let planned = planned(&edit, &there, remove)
        .with_context(|| format!("{}: no file was changed", edit.file.display()))?;
    let (wanted, copy) = planned;
    Ok(Change {
        edit,
        there,
        wanted,
        backup: None,
        copy,
    })
}

type Planned = (Option<String>, Option<(PathBuf, bool)>);

fn planned(edit: &Edit, there: &There, remove: bool) -> Result<Planned, Unmergeable> {
    let ours = &edit.ours;
    let text = match (&there.text, remove) {
        (text, false) => {
            let wanted = ours.put(text.as_deref().unwrap_or_default())?;
            return Ok((Some(wanted), None));
        }
        (None, true) => return Ok((None, None)),
        (Some(text), true) => text,
    };
    let wanted = ours.take(text)?;
    let Some((copy, before)) = file::copy_of(&edit.file) else {
        return Ok((wanted, None));
    };
    // Only ours was changed since: then all is as before, to the byte. A copy with
    // something of ours in it is no copy of before.
    let is_same = ours.is_in(&before) == Ok(false)
        && ours.put(&before).and_then(|put| ours.take(&put)).as_ref() == Ok(&wanted);
    Ok(match is_same && ours.is_in(text)? {
        true => (Some(before), Some((copy, true))),
        false => (wanted, Some((copy, false))),
    })
}

impl Ours {
    /// The text with ours in it.
    fn put(&self, text: &str) -> Result<String, Unmergeable> {
        match self {
            Self::Json(parts) => merge::with(text, parts),
            Self::CodexServer { program } => {
                let list =
                    |words: &[&str]| words.iter().copied().collect::<toml_edit::Array>().into();
                let entries = [
                    ("command", program.as_str().into()),
                    ("args", list(&["mcp"])),
                    ("env_vars", list(&clients::CODEX_ENVIRONMENT)),
                    // Otherwise it asks its user at each call, and `codex exec` refuses it.
                    ("default_tools_approval_mode", "approve".into()),
                ];
                table::with_table(text, "mcp_servers", clients::SERVER, &entries)
            }
        }
    }

    /// The text without ours; nothing if nothing is left.
    fn take(&self, text: &str) -> Result<Option<String>, Unmergeable> {
        match self {
            Self::Json(parts) => merge::without(text, parts),
            Self::CodexServer { .. } => table::without_table(text, "mcp_servers", clients::SERVER),
        }
    }

    /// Whether the text has something of ours.
    fn is_in(&self, text: &str) -> Result<bool, Unmergeable> {
        match self {
            Self::Json(parts) => merge::has(text, parts),
            Self::CodexServer { .. } => table::has_table(text, "mcp_servers", clients::SERVER),
        }
    }
}
