//! Adapter `file`: a line, or a new time, in a file that the agent's client
//! watches.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;

use crate::config::{FileMode, FileSettings};

use super::Pointer;

pub(super) async fn run(settings: &FileSettings, pointer: &Pointer) -> Result<(), String> {
    let mut line = serde_json::to_vec(pointer).map_err(|error| error.to_string())?;
    line.push(b'\n');
    let settings = settings.clone();
    let path = settings.path.clone();
    // A file may stand on anything, also on what hangs.
    tokio::task::spawn_blocking(move || write(&settings, &line))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn write(settings: &FileSettings, line: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        // For whoever shares the daemon's group, as the umask and the directory
        // say: an agent of another user reads it.
        .mode(0o660)
        // A pipe that nobody reads is an error, not a reason to wait.
        .custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0))
        .open(&settings.path)?;
    match settings.mode {
        // One write, so that lines of several writers do not mix.
        FileMode::Append => file.write_all(line),
        FileMode::Touch => rustix::fs::futimens(
            &file,
            &rustix::fs::Timestamps {
                last_access: now(),
                last_modification: now(),
            },
        )
        .map_err(Into::into),
    }
}

fn now() -> rustix::fs::Timespec {
    rustix::fs::Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_NOW,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn pointer() -> Pointer {
        Pointer {
            event: "messages",
            session: "conv_0123456789abcdef/b".parse().expect("a session"),
            label: None,
            role: "backend".into(),
            unread: 2,
            newest_message_id: crate::model::MessageId(7),
            credentials: "/c".into(),
            store: "/s".into(),
            text: Pointer::line(2, "orchestrator", "Run: mcp-bridge check"),
        }
    }

    #[tokio::test]
    async fn appends_a_line_and_touches_without_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("inbox");
        let append = FileSettings {
            path: path.clone(),
            mode: FileMode::Append,
        };
        run(&append, &pointer()).await.expect("written");
        run(&append, &pointer()).await.expect("written");
        let text = std::fs::read_to_string(&path).expect("there");
        let mode = std::fs::metadata(&path).expect("there").permissions();
        assert_eq!(
            mode.mode() & 0o607,
            0o600,
            "for its owner, and never others"
        );
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["conversation"], "conv_0123456789abcdef");
        assert_eq!(lines[0]["session"], "b");

        let touch = FileSettings {
            path: path.clone(),
            mode: FileMode::Touch,
        };
        run(&touch, &pointer()).await.expect("touched");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), text);
    }

    #[tokio::test]
    async fn a_place_that_is_not_there_is_named() {
        let settings = FileSettings {
            path: "/nowhere/inbox".into(),
            mode: FileMode::Append,
        };
        let error = run(&settings, &pointer())
            .await
            .expect_err("no such directory");
        assert!(error.starts_with("/nowhere/inbox: "), "{error}");
    }
}
