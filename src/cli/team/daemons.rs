//! The configurations of the daemons that serve a team.

use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::heard::configs;
use crate::guarded;

/// The configurations that are wanted, and which of them are there already.
#[derive(Debug)]
pub(super) struct Daemons {
    pub(super) each: Vec<Daemon>,
    /// The directory is the machine's, whose service manager starts them.
    pub(super) is_machines: bool,
}

#[derive(Debug)]
pub(super) struct Daemon {
    /// Its instance, which is its role.
    pub(super) name: &'static str,
    pub(super) file: PathBuf,
    pub(super) is_there: bool,
}

/// What a daemon of a team is told of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sessions<'a> {
    pub(super) team: &'a str,
    pub(super) store: &'a str,
    /// The credentials of the workers.
    pub(super) workers: &'a [PathBuf],
    /// Those of the orchestrator.
    pub(super) orchestrator: &'a Path,
}

impl Sessions<'_> {
    /// The part of a configuration that is this team's.
    pub(super) fn tables(&self, role: &str) -> String {
        let own = [self.orchestrator.to_owned()];
        let files = if role == "worker" {
            self.workers
        } else {
            &own[..]
        };
        let table = |file: &PathBuf| {
            format!(
                "[[session]]\ncredentials = {}\nproof = \"none\"\n",
                quoted(&file.to_string_lossy())
            )
        };
        files.iter().map(table).collect::<Vec<_>>().join("\n")
    }

    fn text(&self, role: &str) -> String {
        format!(
            "# A daemon of this user's, as `mcp-bridge team new {team}` wrote it.\n\
             # All keys: mcp-bridged.toml(5).\n\n\
             role = \"{role}\"\n\n\
             [store]\nurl = {store}\n\n\
             {tables}",
            team = self.team,
            store = quoted(self.store),
            tables = self.tables(role)
        )
    }
}

/// A text as TOML has it.
fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

impl Daemons {
    /// Those of this user, if there is a place for their configurations.
    pub(super) fn own() -> Option<Self> {
        let directory = configs::own_directory()?;
        let each = ["worker", "orchestrator"].map(|name| {
            let file = directory.join(format!("{name}.toml"));
            let is_there = file.symlink_metadata().is_ok();
            Daemon {
                name,
                file,
                is_there,
            }
        });
        Some(Self {
            each: each.into(),
            is_machines: directory == Path::new(configs::SYSTEM),
        })
    }

    /// Writes those that are not there. Returns their files.
    ///
    /// # Errors
    /// If one cannot be written: then none is there.
    pub(super) fn write(&self, sessions: Sessions<'_>) -> anyhow::Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        for daemon in self.each.iter().filter(|daemon| !daemon.is_there) {
            if let Err(error) = write(&daemon.file, &sessions.text(daemon.name)) {
                take_back(&written);
                return Err(error);
            }
            written.push(daemon.file.clone());
        }
        Ok(written)
    }
}

/// Takes away configurations that were written now.
pub(super) fn take_back(written: &[PathBuf]) {
    for file in written {
        let _ = std::fs::remove_file(file);
    }
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let failed = || format!("{}: it cannot be written", file.display());
    let mut private = std::fs::DirBuilder::new();
    let directory = file.parent().unwrap_or(Path::new("/"));
    private
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(failed)?;
    let mut out = guarded::make(file, 0o600).with_context(failed)?;
    let written = out.write_all(text.as_bytes()).and_then(|()| out.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(file);
    }
    written.with_context(failed)
}
