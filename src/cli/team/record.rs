//! What `team new` made, noted so that `team remove` finds it again. It stands in this
//! user's own directory, and is written before the first of it is made: also a team that
//! was half made when its maker was killed can be removed.

use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::guarded;
use crate::model::quoting::complaint;
use crate::model::{ConversationId, Label};
use crate::store::locate;

/// The first line of such a file.
const HEAD: &str = "# What `mcp-bridge team new` made, for `mcp-bridge team remove`.";

/// One team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) name: Label,
    /// The store that its conversations are in.
    pub(super) store: String,
    pub(super) conversations: Vec<ConversationId>,
    /// Those of the workers, and last those of the orchestrator.
    pub(super) credentials: Vec<PathBuf>,
    /// The orchestrator's directory.
    pub(super) work_tree: PathBuf,
    /// The orchestrator's client, by its word, and whether all projects of the user have it.
    pub(super) client: String,
    pub(super) for_user: bool,
    /// The files of the client that were changed, and those of daemons that were written.
    pub(super) client_files: Vec<PathBuf>,
    pub(super) daemon_files: Vec<PathBuf>,
}

/// All records of one user.
#[derive(Debug, Clone)]
pub(super) struct Records(PathBuf);

impl Records {
    /// This user's, if there is a place for them.
    pub(super) fn own() -> Option<Self> {
        Some(Self(locate::notes_directory()?.join("teams")))
    }

    /// Where that of a team stands.
    pub(super) fn file(&self, name: &Label) -> PathBuf {
        self.0.join(format!("{name}.toml"))
    }

    /// Writes a new one.
    ///
    /// # Errors
    /// If one of this name is there; if it cannot be written.
    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        let mut private = std::fs::DirBuilder::new();
        private.recursive(true).mode(0o700).create(&self.0)?;
        let text = toml::to_string(record).map_err(io::Error::other)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
        file.write_all(format!("{HEAD}\n{text}").as_bytes())?;
        file.as_file().sync_all()?;
        file.persist_noclobber(self.file(&record.name))?;
        Ok(())
    }

    /// That of a team; nothing where there is none.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub(super) fn read(&self, name: &Label) -> io::Result<Option<Record>> {
        let text = match guarded::read(&self.file(name), guarded::MOST_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let text = std::str::from_utf8(&text).map_err(io::Error::other)?;
        let record: Record = toml::from_str(text).map_err(|error| {
            let what = complaint(error.message());
            io::Error::new(io::ErrorKind::InvalidData, what)
        })?;
        match record.name == *name {
            true => Ok(Some(record)),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it is of the team {}", record.name),
            )),
        }
    }

    /// Takes one away.
    ///
    /// # Errors
    /// If it is there and cannot be taken away.
    pub(super) fn forget(&self, name: &Label) -> io::Result<()> {
        match std::fs::remove_file(self.file(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The names of all teams.
    pub(super) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| name_of(&entry.path())).collect();
        names.sort();
        names
    }
}

fn name_of(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?.strip_suffix(".toml")?;
    name.parse::<Label>().ok().map(|label| label.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            name: "backend".parse().expect("a label"),
            store: "/s/bridge.db".into(),
            conversations: vec![ConversationId::from_random([7; 8])],
            credentials: vec!["/c/backend-1.toml".into()],
            work_tree: "/w".into(),
            client: "claude".into(),
            for_user: false,
            client_files: Vec::new(),
            daemon_files: vec!["/d/worker.toml".into()],
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let scratch = tempfile::tempdir().expect("a directory");
        let records = Records(scratch.path().join("teams"));
        let record = record();
        assert_eq!(records.read(&record.name).expect("looked"), None);
        assert_eq!(records.names(), Vec::<String>::new());
        records.write(&record).expect("written");
        records.write(&record).expect_err("it is there");
        assert_eq!(
            records.read(&record.name).expect("read"),
            Some(record.clone())
        );
        assert_eq!(records.names(), ["backend"]);
        records.forget(&record.name).expect("forgotten");
        records.forget(&record.name).expect("nothing to forget");
    }

    #[test]
    fn a_record_of_another_team_is_refused() {
        let scratch = tempfile::tempdir().expect("a directory");
        let records = Records(scratch.path().to_owned());
        records.write(&record()).expect("written");
        let other: Label = "other".parse().expect("a label");
        std::fs::rename(records.file(&record().name), records.file(&other)).expect("moved");
        let refused = records.read(&other).expect_err("another's");
        assert!(refused.to_string().contains("backend"), "{refused}");
        std::fs::write(records.file(&other), "name = 3").expect("written");
        records.read(&other).expect_err("no record");
    }
}
