//! The file system's events, as rings: by a watch on the store's directory where
//! that tells of its files, by one on the files themselves elsewhere.

use std::io;
use std::os::fd::BorrowedFd;

use super::Paths;
#[cfg(target_os = "linux")]
use super::directory::Directory;
use super::files::Files;
use super::own::OwnCommits;
use super::ring::Ringer;

/// What is watched. Both work on Linux, and are tested there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The directory, which tells when one of the files is made anew (inotify).
    Directory,
    /// The log and the bell, watched again when one of them is made anew
    /// (kqueue). A directory says nothing of writes there.
    Files,
}

impl Scope {
    /// This system's.
    pub(super) const HERE: Self = if cfg!(target_os = "linux") {
        Self::Directory
    } else {
        Self::Files
    };
}

/// A watch that is set; dropping it ends it.
pub(super) enum Watch {
    #[cfg(target_os = "linux")]
    Directory(Directory),
    Files(Files),
}

/// Sets a watch. `ringer` is for one that hears on a thread of its own, `own` for one that
/// need not hear all.
///
/// # Errors
/// The system's, such as that there are too many already.
#[cfg_attr(
    not(target_os = "linux"),
    expect(
        unused_variables,
        reason = "no watch there hears on the thread that sleeps"
    )
)]
pub(super) fn watch(
    paths: &Paths,
    scope: Scope,
    ringer: Ringer,
    own: &OwnCommits,
) -> io::Result<Watch> {
    match scope {
        #[cfg(target_os = "linux")]
        Scope::Directory => Directory::watch(paths, own).map(Watch::Directory),
        #[cfg(not(target_os = "linux"))]
        Scope::Directory => Err(io::ErrorKind::Unsupported.into()),
        Scope::Files => Files::watch(paths, ringer)
            .map(Watch::Files)
            .map_err(io::Error::other),
    }
}

impl Watch {
    /// Whether a file was made, or made anew, since the watch was set: it is
    /// deaf for that one.
    pub(super) fn is_stale(&self, paths: &Paths) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Self::Directory(_) => false,
            Self::Files(files) => files.is_stale(paths),
        }
    }

    /// Whether it hears writers that ring no bell.
    pub(super) fn hears_the_log(&self) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Self::Directory(directory) => directory.hears_the_log(),
            Self::Files(files) => files.hear_the_log(),
        }
    }

    /// Whether the next write to the log is heard.
    pub(super) fn is_armed(&self) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Self::Directory(directory) => directory.is_armed(),
            Self::Files(_) => true,
        }
    }

    /// Hears the next write to the log.
    pub(super) fn arm(&self) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Directory(directory) => directory.arm(),
            Self::Files(_) => {}
        }
    }

    /// Hears no more writes to the log, if that can be chosen.
    pub(super) fn disarm(&self) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Directory(directory) => directory.disarm(),
            Self::Files(_) => {}
        }
    }

    /// What becomes readable when something is to be heard, if the thread that
    /// sleeps is to hear it by itself.
    pub(super) fn events(&self) -> Option<BorrowedFd<'_>> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Directory(directory) => Some(directory.events()),
            Self::Files(_) => None,
        }
    }

    /// What there is to be heard: [`super::ring::Pending`]'s flags.
    pub(super) fn heard(&self) -> u8 {
        match self {
            #[cfg(target_os = "linux")]
            Self::Directory(directory) => directory.heard(),
            Self::Files(_) => 0,
        }
    }
}
