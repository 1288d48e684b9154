//! Which session works in a directory: what `mcp-bridge join` noted, so that an agent
//! that is started there needs no settings.
//!
//! The notes stand in this user's own directory, and never in the work tree: a tree is
//! written by many (a clone, an archive, an agent), and none of them may say for which
//! session programs act there, or at which store.

use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::guarded;
use crate::store::locate;

/// A directory, and the credentials of the session that works in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joined {
    /// The directory, without links.
    pub work_tree: PathBuf,
    /// The credentials file.
    pub credentials: PathBuf,
}

/// All notes of one user.
#[derive(Debug, Clone)]
pub struct Joins(PathBuf);

impl Joins {
    /// This user's, if there is a place for them.
    #[must_use]
    pub fn own() -> Option<Self> {
        Some(Self(locate::notes_directory()?.join("joined")))
    }

    /// The session that works at `directory`, or in the nearest directory above it.
    #[must_use]
    pub fn at(&self, directory: &Path) -> Option<Joined> {
        // Most users have no note, and then nothing else is looked for.
        if guarded::directory(&self.0).is_err() {
            return None;
        }
        let directory = directory.canonicalize().ok()?;
        directory.ancestors().find_map(|tree| self.of(tree))
    }

    /// The note of this very directory.
    #[must_use]
    pub fn of(&self, work_tree: &Path) -> Option<Joined> {
        read(&self.file(work_tree)).filter(|joined| joined.work_tree == work_tree)
    }

    /// All of them, but for those that cannot be read.
    #[must_use]
    pub fn all(&self) -> Vec<Joined> {
        let notes = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        notes.filter_map(|note| read(&note.path())).collect()
    }

    /// Another directory whose agent acts for the same sessions.
    #[must_use]
    pub fn elsewhere(&self, joined: &Joined) -> Option<PathBuf> {
        let mut all = self.all().into_iter();
        let other = all.find(|other| {
            let same = other.credentials == joined.credentials;
            same && other.work_tree != joined.work_tree
        });
        other.map(|other| other.work_tree)
    }

    /// Notes it, in the place of what was noted for that directory before.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn note(&self, joined: &Joined) -> io::Result<()> {
        let mut private = std::fs::DirBuilder::new();
        private.recursive(true).mode(0o700).create(&self.0)?;
        let text = toml::to_string(joined).map_err(io::Error::other)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(self.file(&joined.work_tree))?;
        Ok(())
    }

    /// Forgets the note of this directory.
    ///
    /// # Errors
    /// If it cannot be taken away.
    pub fn forget(&self, work_tree: &Path) -> io::Result<()> {
        match std::fs::remove_file(self.file(work_tree)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A name of one length for each path.
    fn file(&self, work_tree: &Path) -> PathBuf {
        let digest = Sha256::digest(work_tree.as_os_str().as_bytes());
        self.0.join(format!("{}.toml", hex::encode(&digest[..16])))
    }
}

fn read(note: &Path) -> Option<Joined> {
    let text = guarded::read(note, guarded::MOST_BYTES).ok()?;
    toml::from_str(std::str::from_utf8(&text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joins() -> (tempfile::TempDir, Joins, PathBuf) {
        let scratch = tempfile::tempdir().expect("a directory");
        let joins = Joins(scratch.path().join("state/joined"));
        let tree = scratch.path().join("tree");
        std::fs::create_dir_all(tree.join("src/deep")).expect("directories");
        let tree = tree.canonicalize().expect("a path");
        (scratch, joins, tree)
    }

    #[test]
    fn a_directory_below_a_joined_one_is_joined() {
        let (scratch, joins, tree) = joins();
        let joined = Joined {
            work_tree: tree.clone(),
            credentials: "/c/backend.b.toml".into(),
        };
        assert_eq!(joins.at(&tree), None);
        joins.note(&joined).expect("noted");
        assert_eq!(joins.at(&tree.join("src/deep")), Some(joined.clone()));
        assert_eq!(joins.at(scratch.path()), None);

        let nearer = Joined {
            work_tree: tree.join("src"),
            credentials: "/c/backend-2.b.toml".into(),
        };
        joins.note(&nearer).expect("noted");
        assert_eq!(joins.at(&tree.join("src/deep")), Some(nearer));
        joins.forget(&tree.join("src")).expect("forgotten");
        joins.forget(&tree.join("src")).expect("nothing to forget");
        assert_eq!(joins.at(&tree.join("src/deep")), Some(joined));
    }

    #[test]
    fn link_to_a_work_tree_is_the_tree() {
        let (scratch, joins, tree) = joins();
        let joined = Joined {
            work_tree: tree.clone(),
            credentials: "/c/backend.b.toml".into(),
        };
        joins.note(&joined).expect("noted");
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink(&tree, &link).expect("a link");
        assert_eq!(joins.at(&link.join("src")), Some(joined));
    }

    #[test]
    fn a_note_that_cannot_be_read_joins_nothing() {
        let (_scratch, joins, tree) = joins();
        let joined = Joined {
            work_tree: tree.clone(),
            credentials: "/c/backend.b.toml".into(),
        };
        joins.note(&joined).expect("noted");
        for odd in [
            "",
            "work_tree = 3",
            "work_tree = \"/other\"\ncredentials = \"/c\"\n",
        ] {
            std::fs::write(joins.file(&tree), odd).expect("written");
            assert_eq!(joins.at(&tree), None, "{odd}");
        }
    }
}
