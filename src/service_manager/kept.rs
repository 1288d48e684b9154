//! Listening sockets over a restart: the service manager holds a second descriptor of
//! each (its *file descriptor store*), so that programs which connect meanwhile wait
//! instead of being refused.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::sync::Weak;
use std::sync::mpsc::SyncSender;

use listenfd::ListenFd;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tracing::debug;

use super::Letter;

/// Of no use here, and another program's way to say where descriptors begin.
const FIRST: &str = "LISTEN_FDS_FIRST_FD";

/// What the service manager kept for this daemon.
#[derive(Debug, Default)]
pub struct KeptSockets {
    sockets: Vec<(String, UnixListener)>,
    /// Names of what is no such socket.
    others: Vec<String>,
}

impl KeptSockets {
    /// Takes it from the environment. To be called once, before there are threads and
    /// before a command is started.
    #[must_use]
    pub fn take() -> Self {
        let mut kept = Self::default();
        // Commands inherit none of them from here on.
        let names: Vec<String> = match sd_notify::listen_fds_with_names() {
            Ok(given) => given.map(|(_, name)| name).collect(),
            Err(_) => return kept,
        };
        if names.is_empty() || std::env::var_os(FIRST).is_some() {
            return kept;
        }
        let mut given = ListenFd::from_env();
        for (index, name) in names.into_iter().enumerate() {
            match given.take_unix_listener(index) {
                Ok(Some(socket)) if is_listening(&socket) => kept.sockets.push((name, socket)),
                Ok(_) => kept.others.push(name),
                Err(_) => {
                    close(&mut given, index);
                    kept.others.push(name);
                }
            }
        }
        kept
    }

    /// The socket of this name that was bound to this path.
    #[must_use]
    pub fn find(&mut self, name: &str, path: &std::path::Path) -> Option<UnixListener> {
        let is_it = |(known, socket): &(String, UnixListener)| {
            let address = socket.local_addr();
            known == name && address.is_ok_and(|address| address.as_pathname() == Some(path))
        };
        let index = self.sockets.iter().position(is_it)?;
        Some(self.sockets.swap_remove(index).1)
    }

    /// Closes all that nothing found, and tells their names.
    pub fn close_rest(&mut self) -> Vec<String> {
        let sockets = self.sockets.drain(..).map(|(name, _)| name);
        let mut names: Vec<String> = sockets.collect();
        names.append(&mut self.others);
        names
    }
}

#[cfg(target_os = "linux")]
fn is_listening(socket: &UnixListener) -> bool {
    rustix::net::sockopt::socket_acceptconn(socket).unwrap_or(false)
}

/// The system does not say it there, and has no service manager that keeps anything.
#[cfg(not(target_os = "linux"))]
fn is_listening(_socket: &UnixListener) -> bool {
    true
}

/// Closes a socket of another kind. What is no socket at all ends with this process.
fn close(given: &mut ListenFd, index: usize) {
    let closed = given.take_unix_datagram(index).is_ok()
        || given.take_tcp_listener(index).is_ok()
        || given.take_udp_socket(index).is_ok();
    debug!(closed, "a descriptor that the service manager kept");
}

/// Where sockets are given to be kept.
#[derive(Debug, Clone, Default)]
pub struct Shelf(pub(super) Weak<SyncSender<Letter>>);

impl Shelf {
    /// Whether a service manager listens.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Has the socket kept under this name until it is forgotten, or the service stopped.
    pub fn keep(&self, name: &str, socket: OwnedFd) {
        self.post(Letter::Keep(name.to_owned(), socket));
    }

    /// Has what is kept under this name closed.
    pub fn forget(&self, name: &str) {
        self.post(Letter::Forget(name.to_owned()));
    }

    fn post(&self, letter: Letter) {
        let sent = self.0.upgrade().map(|letters| letters.try_send(letter));
        if let Some(Err(_)) = sent {
            debug!("the service manager does not listen");
        }
    }
}

/// Sends a socket along.
pub(super) fn send(name: &str, socket: &OwnedFd) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let manager = UnixDatagram::unbound()?;
    manager.connect(path)?;
    let text = format!("FDSTORE=1\nFDNAME={name}");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut along = SendAncillaryBuffer::new(&mut space);
    let sockets = [socket.as_fd()];
    along.push(SendAncillaryMessage::ScmRights(&sockets));
    let parts = [IoSlice::new(text.as_bytes())];
    sendmsg(&manager, &parts, &mut along, SendFlags::empty())?;
    Ok(())
}
