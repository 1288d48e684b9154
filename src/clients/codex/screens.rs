//! Whether a program is connected to Codex's app server, such as the screen of a session.
//! The app server does not say which of its threads a screen shows; but the kernel lists
//! its connections, and without one no thread has a screen.

use std::path::Path;
use std::time::Duration;

/// Other servers of ours ask for a moment. They are gone at the second look.
const MOMENT: Duration = Duration::from_millis(250);

/// Whether any other program is connected to the app server at this socket, while this one
/// is; nothing where that is not known.
pub(super) async fn any(socket: &Path) -> Option<bool> {
    // It is a link into a directory for temporary files.
    let bound = socket.canonicalize().ok()?;
    let bound = bound.to_str()?.to_owned();
    match others(&bound)? {
        0 => Some(false),
        _ => {
            tokio::time::sleep(MOMENT).await;
            Some(others(&bound)? > 0)
        }
    }
}

/// Connections other than ours.
fn others(bound: &str) -> Option<usize> {
    let list = std::fs::read_to_string("/proc/net/unix").ok()?;
    connected(&list, bound).checked_sub(1)
}

/// Lines of the kernel's list that are connections accepted at this path.
fn connected(list: &str, bound: &str) -> usize {
    /// In the column of states.
    const CONNECTED: &str = "03";
    let lines = list.lines().filter(|line| {
        let state = line.split_ascii_whitespace().nth(5);
        state == Some(CONNECTED)
            && line
                .split_once(" /")
                .is_some_and(|(_, path)| bound.strip_prefix('/') == Some(path))
    });
    lines.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_at_a_path_are_counted() {
        let list = "\
Num       RefCount Protocol Flags    Type St Inode Path
00000000810482db: 00000003 00000000 00000000 0001 03 9929224 /tmp/codex/21c6
0000000077def0ff: 00000002 00000000 00010000 0001 01 9930310 /tmp/codex/21c6
00000000ad6d1a6d: 00000002 00000000 00010000 0001 03 9929279 /tmp/codex/b0ac
000000000c406881: 00000003 00000000 00000000 0001 03 99 /tmp/codex/21c6
000000000c406882: 00000003 00000000 00000000 0001 03 9929288
000000000c406883: 00000003 00000000 00000000 0001 03 9929288 /tmp/x /tmp/codex/21c6
";
        assert_eq!(connected(list, "/tmp/codex/21c6"), 2);
        assert_eq!(connected(list, "/tmp/codex/b0ac"), 1);
        assert_eq!(connected(list, "/tmp/codex"), 0);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_socket_without_other_connections_has_no_screen() {
        use tokio::net::{UnixListener, UnixStream};
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).expect("bound");
        assert_eq!(any(&path).await, None, "this program is not connected");
        let own = UnixStream::connect(&path).await.expect("connected");
        let own = (own, listener.accept().await.expect("a client"));
        assert_eq!(any(&path).await, Some(false));
        let screen = UnixStream::connect(&path).await.expect("connected");
        let screen = (screen, listener.accept().await.expect("a client"));
        assert_eq!(any(&path).await, Some(true));
        drop(screen);
        assert_eq!(any(&path).await, Some(false));
        drop(own);
    }
}
