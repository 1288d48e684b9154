//! The configurations of the daemons that serve a team.

use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::heard::configs;
use crate::guarded;
use crate::model::Label;

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
    /// It was written now.
    pub(super) was_written: bool,
    /// It is there, and would not keep the agents of a team.
    pub(super) lacks: bool,
}

/// The setting of a worker's daemon, so that it keeps every agent that joins here.
pub(super) const LOCAL: &str = "sessions = \"local\"";

/// The configuration that is written for a team.
pub(super) fn text(role: &str, team: &Label, store: &str) -> String {
    let local = match role {
        "worker" => format!("{LOCAL}      # every agent of this user that joins here\n"),
        _ => String::new(),
    };
    format!(
        "# A daemon of this user's, as `mcp-bridge team new {team}` wrote it.\n\
         # All keys: mcp-bridged.toml(5).\n\n\
         role = \"{role}\"\n{local}\n\
         [store]\nurl = {}\n",
        toml_edit::Value::from(store)
    )
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
                is_there,
                was_written: false,
                lacks: is_there && name == "worker" && !keeps_local(&file),
                file,
            }
        });
        Some(Self {
            each: each.into(),
            is_machines: directory == Path::new(configs::SYSTEM),
        })
    }

    /// Writes those that are not there.
    ///
    /// # Errors
    /// If one cannot be written. The others stay.
    pub(super) fn write(&mut self, team: &Label, store: &str) -> anyhow::Result<()> {
        for daemon in self.each.iter_mut().filter(|daemon| !daemon.is_there) {
            write(&daemon.file, &text(daemon.name, team, store))?;
            daemon.was_written = true;
        }
        Ok(())
    }

    /// Takes away those that were written now.
    pub(super) fn take_back(&mut self) {
        for daemon in self.each.iter_mut().filter(|daemon| daemon.was_written) {
            let _ = std::fs::remove_file(&daemon.file);
            daemon.was_written = false;
        }
    }
}

/// Whether a configuration, with its drop-ins, has the daemon keep local agents.
fn keeps_local(file: &Path) -> bool {
    let loaded = configs::load(&[file.to_owned()], &[]);
    let mut settings = loaded.into_iter().filter_map(|one| one.settings.ok());
    settings.any(|settings| settings.agents.local.is_some())
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
