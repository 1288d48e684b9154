//! The sockets: made where no other user can put something in their way.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, chownat};
use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

use crate::api::{Purpose, Sockets};
use crate::{guarded, host};

/// Sockets that are bound. They are taken away when this is dropped.
#[derive(Debug)]
pub struct Bound {
    pub(super) sessions: UnixListener,
    pub(super) operators: UnixListener,
    sockets: Sockets,
    /// Device and inode of both, by which the own ones are known.
    own: [(u64, u64); 2],
}

/// Binds the sockets of a directory, which must be this daemon's alone to write.
/// What stood under their names before, of a daemon that ended, is replaced: the
/// caller holds the lock on this instance's name.
///
/// `groups` may use the sockets beside this user: of `api.sock`, and of `admin.sock`.
/// Without one a socket is this user's alone.
///
/// # Errors
/// The system's, with the path; a directory that others may write.
pub fn bind(sockets: &Sockets, groups: [Option<u32>; 2]) -> io::Result<Bound> {
    let directory = sockets.directory();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .map_err(|error| named(directory, &error))?;
    if let Some(exposed) = guarded::exposed(directory) {
        let why = format!(
            "{}: another user may write there, so no socket is made in {}",
            exposed.display(),
            directory.display()
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    let [sessions, operators] = [
        (Purpose::Sessions, groups[0]),
        (Purpose::Operators, groups[1]),
    ]
    .map(|(purpose, group)| {
        let path = sockets.path(purpose);
        one(&path, group).map_err(|error| named(&path, &error))
    });
    let ((sessions, first), (operators, second)) = (sessions?, operators?);
    Ok(Bound {
        sessions,
        operators,
        sockets: sockets.clone(),
        own: [first, second],
    })
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Made under another name, and moved once its mode is right: no program connects before.
fn one(path: &Path, group: Option<u32>) -> io::Result<(UnixListener, (u64, u64))> {
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    if let Some(group) = group {
        match give(&new, group) {
            Ok(()) => std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o660))?,
            Err(error) => {
                let (group, user) = (host::group_name(group), &host::caller().name);
                warn!(
                    event = "door-for-one-user",
                    "{}: it cannot be given to the group {group}, so only {user} and root may use it: {error}; put {user} into that group (usermod -aG {group} {user}), and restart this daemon",
                    path.display(),
                );
            }
        }
    }
    let made = std::fs::symlink_metadata(&new)?;
    std::fs::rename(&new, path)?;
    Ok((listener, (made.dev(), made.ino())))
}

/// Mostly it is that group's already, and a service may be kept from the call.
fn give(path: &Path, group: u32) -> io::Result<()> {
    if std::fs::symlink_metadata(path)?.gid() != group {
        let group = Some(Gid::from_raw(group));
        chownat(CWD, path, None, group, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

impl Drop for Bound {
    fn drop(&mut self) {
        let purposes = [Purpose::Sessions, Purpose::Operators];
        for (purpose, own) in purposes.into_iter().zip(self.own) {
            let path = self.sockets.path(purpose);
            let found = std::fs::symlink_metadata(&path);
            if found.is_ok_and(|found| (found.dev(), found.ino()) == own) {
                // It is of no use any more, and harmless.
                let _ = std::fs::remove_file(&path);
            }
        }
    }
}

/// The user and the process at the other end, as they were when it connected.
pub(super) fn peer(stream: &UnixStream) -> io::Result<(u32, Option<u32>)> {
    let peer = stream.peer_cred()?;
    let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
    Ok((peer.uid(), pid.filter(|pid| *pid != 0)))
}

/// Whether a user is bound by no limit of its own: root, and this daemon's.
pub(super) fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == host::caller().uid
}
