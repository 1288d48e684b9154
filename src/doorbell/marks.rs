//! What the bell's file notes of the store for the processes that come later:
//! an older copy that is put in the place of the database leaves that as it is.
//!
//! Nothing here is on the disk for sure, and none of it needs to be: a note that
//! is missing or older than the store finds less.

use std::os::unix::fs::FileExt;
use std::path::Path;

use super::file;
use crate::guarded;

/// What a count takes: the number, and the same with all bits turned, since other
/// programs may have written something else there. A ring goes behind it.
pub(super) const COUNT_BYTES: u64 = 16;
/// Where the note of the file alone begins.
const BASE_AT: usize = 32;
/// Where it ends.
const END: usize = 56;

/// What was seen of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// How far it had counted: a number whose commit is on the disk.
    pub(crate) count: Option<i64>,
    /// The database's file without its log.
    pub(crate) base: Option<Base>,
}

/// What was seen of a database's file without its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Base {
    /// How far the file by itself had counted.
    pub(crate) count: i64,
    /// When the file was changed last, in nanoseconds, as the file system says.
    pub(crate) changed: i64,
}

pub(super) fn counted(count: i64) -> [u8; 16] {
    let mut mark = [0; 16];
    mark[..8].copy_from_slice(&count.to_le_bytes());
    mark[8..].copy_from_slice(&(!count).to_le_bytes());
    mark
}

fn based(base: Base) -> [u8; END - BASE_AT] {
    let mut mark = [0; END - BASE_AT];
    let check = !(base.count ^ base.changed);
    for (at, number) in [base.count, base.changed, check].into_iter().enumerate() {
        mark[at * 8..][..8].copy_from_slice(&number.to_le_bytes());
    }
    mark
}

/// What is noted in the bell at `path`.
pub(crate) fn marks(path: &Path) -> Marks {
    let mut bytes = [0; END];
    let mut read = 0;
    if let Ok(file) = guarded::open(path) {
        while let Ok(more @ 1..) = file.read_at(&mut bytes[read..], read as u64) {
            read += more;
        }
    }
    let number = |at: usize| {
        let bytes = bytes[at..].first_chunk();
        bytes.map_or(0, |bytes| i64::from_le_bytes(*bytes))
    };
    let count = number(0);
    let base = Base {
        count: number(BASE_AT),
        changed: number(BASE_AT + 8),
    };
    Marks {
        count: (bytes[..16] == counted(count)).then_some(count),
        base: (bytes[BASE_AT..] == based(base)).then_some(base),
    }
}

/// Notes in the bell at `path` what was seen of the file alone.
///
/// # Errors
/// The system's.
pub(crate) fn note_base(path: &Path, base: Base) -> std::io::Result<()> {
    file::open(path)?.write_all_at(&based(base), BASE_AT as u64)
}

/// Forgets all that is noted in the bell at `path`, because another store stands
/// there now.
///
/// # Errors
/// The system's.
pub(crate) fn forget_marks(path: &Path) -> std::io::Result<()> {
    match guarded::open_to_write(path) {
        Ok(file) => file.write_all_at(&[0; END], 0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Bell;
    use super::*;

    #[test]
    fn marks_outlive_other_rings() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("bridge.db-bell");
        assert_eq!(marks(&path), Marks::default());
        let bell = Bell::new(path.clone());
        bell.ring();
        assert_eq!(marks(&path), Marks::default());
        let base = Base {
            count: 4_700,
            changed: 1_764_340_000_123_456_789,
        };
        note_base(&path, base).expect("noted");
        bell.ring_at(4_800);
        bell.ring();
        let both = Marks {
            count: Some(4_800),
            base: Some(base),
        };
        assert_eq!(marks(&path), both);
        forget_marks(&path).expect("forgotten");
        assert_eq!(marks(&path), Marks::default());
    }

    #[test]
    fn ring_of_an_older_program_spoils_its_mark_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("bridge.db-bell");
        Bell::new(path.clone()).ring_at(4_800);
        // A program from before the marks rings at the front.
        std::fs::write(&path, ".").expect("written");
        assert_eq!(marks(&path).count, None);
    }
}
