//! The sockets: made where no other user can put something in their way.

use std::fs::{Metadata, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, Gid, chownat};
use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

use crate::api::{Purpose, Sockets};
use crate::service_manager::{KeptSockets, Shelf};
use crate::{guarded, host};

/// Sockets that are bound. They are taken away when this is dropped, unless the service
/// manager keeps them.
#[derive(Debug)]
pub struct Bound {
    pub(super) sessions: UnixListener,
    pub(super) operators: UnixListener,
    sockets: Sockets,
    /// Both, as they stand in the directory.
    own: [Own; 2],
    stay: Arc<AtomicBool>,
}

/// A socket of ours in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Own {
    device: u64,
    inode: u64,
    /// Whether it is that of the daemon before this one.
    resumed: bool,
}

impl Own {
    fn of(meta: &Metadata, resumed: bool) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            resumed,
        }
    }

    /// What the service manager calls it: another socket at the same path is another one.
    fn name(&self, path: &Path) -> String {
        let file = path.file_name().unwrap_or_default().display();
        format!("{file}-{:x}-{:x}", self.device, self.inode)
    }
}

/// Binds the sockets of a directory, which must be this daemon's alone to write.
/// What stood under their names before, of a daemon that ended, is replaced: the
/// caller holds the lock on this instance's name. What the service manager kept of that
/// daemon goes on, if it is what stands there.
///
/// `groups` may use the sockets beside this user: of `api.sock`, and of `admin.sock`.
/// Without one a socket is this user's alone.
///
/// # Errors
/// The system's, with the path; a directory that others may write.
pub fn bind(
    sockets: &Sockets,
    groups: [Option<u32>; 2],
    kept: &mut KeptSockets,
) -> io::Result<Bound> {
    let directory = sockets.directory();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .map_err(|error| named(directory, &error))?;
    if let Some(exposed) = guarded::exposed(directory) {
        let why = format!(
            "{}: another user may write there, so no socket is created in {}",
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
        let bound = match resume(&path, group, kept) {
            Some(resumed) => Ok(resumed),
            None => one(&path, group),
        };
        bound.map_err(|error| named(&path, &error))
    });
    let ((sessions, first), (operators, second)) = (sessions?, operators?);
    Ok(Bound {
        sessions,
        operators,
        sockets: sockets.clone(),
        own: [first, second],
        stay: Arc::default(),
    })
}

impl Bound {
    /// Gives the service manager what it does not keep yet, under names that are
    /// returned. From then on the sockets stay where they are when this is dropped, as
    /// long as the flag is set.
    ///
    /// # Errors
    /// The system's.
    pub fn give(&self, shelf: &Shelf) -> io::Result<(Vec<String>, Arc<AtomicBool>)> {
        let mut names = Vec::new();
        if shelf.is_there() {
            for (purpose, own) in PURPOSES.into_iter().zip(&self.own) {
                let name = own.name(&self.sockets.path(purpose));
                if !own.resumed {
                    let listener = match purpose {
                        Purpose::Sessions => &self.sessions,
                        Purpose::Operators => &self.operators,
                    };
                    shelf.keep(&name, listener.as_fd().try_clone_to_owned()?);
                }
                names.push(name);
            }
            self.stay.store(true, Ordering::Release);
        }
        Ok((names, Arc::clone(&self.stay)))
    }
}

const PURPOSES: [Purpose; 2] = [Purpose::Sessions, Purpose::Operators];

/// The name that a socket is bound under, before it is moved to its own.
fn unready(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// The socket of the daemon before this one, if it is what stands at the path: by its
/// inode there, which no other socket has, and by the name that it was bound under.
fn resume(path: &Path, group: Option<u32>, kept: &mut KeptSockets) -> Option<(UnixListener, Own)> {
    let there = std::fs::symlink_metadata(path).ok()?;
    if !there.file_type().is_socket() || there.uid() != host::caller().uid {
        return None;
    }
    let own = Own::of(&there, true);
    let listener = kept.find(&own.name(path), &unready(path))?;
    listener.set_nonblocking(true).ok()?;
    admit(path, path, group).ok()?;
    Some((UnixListener::from_std(listener).ok()?, own))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Made under another name, and moved once its mode is right. Until it listens, after
/// that, no program connects, under any umask.
fn one(path: &Path, group: Option<u32>) -> io::Result<(UnixListener, Own)> {
    let new = unready(path);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = socket()?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(&new)?)?;
    admit(&new, path, group)?;
    rustix::net::listen(&socket, BACKLOG)?;
    let listener = std::os::unix::net::UnixListener::from(socket);
    listener.set_nonblocking(true)?;
    let made = std::fs::symlink_metadata(&new)?;
    std::fs::rename(&new, path)?;
    Ok((UnixListener::from_std(listener)?, Own::of(&made, false)))
}

/// Connections that wait until they are taken; the system may allow less.
const BACKLOG: i32 = 4096;

fn socket() -> io::Result<OwnedFd> {
    // Elsewhere the flag is set afterwards.
    #[cfg(target_os = "linux")]
    let flags = SocketFlags::CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = SocketFlags::empty();
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    Ok(socket)
}

/// Lets this user use a socket, and a group if it can be given to that; `path` is what it
/// is called in the end.
fn admit(socket: &Path, path: &Path, group: Option<u32>) -> io::Result<()> {
    let mut mode = 0o600;
    if let Some(group) = group {
        match give(socket, group) {
            Ok(()) => mode = 0o660,
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
    // One that programs use already is not closed to them for a moment.
    if std::fs::symlink_metadata(socket)?.mode() & 0o7777 != mode {
        std::fs::set_permissions(socket, Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Mostly it is that group's already, and a service may be kept from the call. The group
/// before it may use it no more, even if this fails.
fn give(path: &Path, group: u32) -> io::Result<()> {
    if std::fs::symlink_metadata(path)?.gid() != group {
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        let group = Some(Gid::from_raw(group));
        chownat(CWD, path, None, group, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

impl Drop for Bound {
    fn drop(&mut self) {
        if self.stay.load(Ordering::Acquire) {
            return;
        }
        for (purpose, own) in PURPOSES.into_iter().zip(&self.own) {
            let path = self.sockets.path(purpose);
            let found = std::fs::symlink_metadata(&path);
            if found.is_ok_and(|found| Own::of(&found, own.resumed) == *own) {
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
