//! Tells a file that was written again from one that was left as it is.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;

/// A file's state as its metadata tell it. The size is part of it because a
/// file system's clock may tick only every few milliseconds: a file that was
/// read half written is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: Option<SystemTime>,
}

impl FileStamp {
    /// When it was written, by the kernel's clock.
    pub(crate) fn modified(&self) -> Option<Timestamp> {
        Timestamp::try_from(self.modified?).ok()
    }

    /// The state now; `None` if there is no such file.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: meta.modified().ok(),
        })
    }
}
