//! Ringing: one byte into a file that all listeners watch.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use tracing::debug;

use super::file::open;
use super::marks::{COUNT_BYTES, counted};

/// The bell of one store. Rung after COMMIT returned, so a reader that looks then sees
/// the commit.
#[derive(Debug)]
pub struct Bell {
    path: PathBuf,
    file: OnceLock<Option<File>>,
}

impl Bell {
    /// The bell at `path`; the file is made when it is first rung.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: OnceLock::new(),
        }
    }

    /// Rings. A bell that cannot be rung costs latency and no message: the
    /// listeners' other ways of noticing stand behind it.
    pub fn ring(&self) {
        // Behind the count.
        self.write(b".", COUNT_BYTES);
    }

    /// Rings, and notes for the processes that come later how far the store has
    /// counted: a number whose commit is on the disk.
    pub fn ring_at(&self, count: i64) {
        self.write(&counted(count), 0);
    }

    fn write(&self, bytes: &[u8], at: u64) {
        let file = self.file.get_or_init(|| match open(&self.path) {
            Ok(file) => Some(file),
            Err(error) => {
                debug!(bell = %self.path.display(), %error, "the doorbell cannot be opened");
                None
            }
        });
        if let Some(file) = file
            && let Err(error) = file.write_at(bytes, at)
        {
            debug!(bell = %self.path.display(), %error, "the doorbell cannot be rung");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bell_that_is_a_link_is_not_rung() {
        let dir = tempfile::tempdir().expect("a directory");
        let (victim, new) = (dir.path().join("victim"), dir.path().join("new"));
        std::fs::write(&victim, "secret").expect("written");
        for target in [&victim, &new] {
            let bell = dir.path().join("bridge.db-bell");
            std::os::unix::fs::symlink(target, &bell).expect("linked");
            Bell::new(bell.clone()).ring();
            std::fs::remove_file(&bell).expect("removed");
        }
        assert_eq!(std::fs::read(&victim).expect("there"), b"secret");
        assert!(!new.exists(), "made through a link");
    }
}
