//! Adapter `file`: a line, or a new time, in a file or a pipe that the agent's
//! client watches. The agent may write its directory, and put a link there: none
//! is followed.

use std::io::Write as _;
use std::path::PathBuf;

use async_trait::async_trait;

use super::{Busy, Pointer, Returned, WakeAdapter};
use crate::guarded;
use crate::host::SYSTEM_DAEMONS;
use crate::setting::Value::{Text, Word};
use crate::setting::{AdapterTable, Findings, Key, Needs, Section, key};

/// `[wake.file]`.
#[derive(Debug, Clone, PartialEq)]
pub struct FileSettings {
    /// The file, an absolute path.
    pub path: PathBuf,
    /// What is done to it.
    pub mode: FileMode,
}

/// What a wake does to its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileMode {
    /// Appends a line.
    Append,
    /// Sets its modification time.
    Touch,
}

/// `[wake.file]` as it stands.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawFile {
    path: Option<String>,
    mode: Option<String>,
}

impl AdapterTable for RawFile {
    type Settings = FileSettings;

    const KEYS: &'static [Key] = &[
        key(
            "wake.file.path",
            Text(""),
            "a file or pipe; an absolute path",
        )
        .such_as(r#""/run/agent/inbox""#),
        key(
            "wake.file.mode",
            Word(&["append", "touch"], "append"),
            "`append` adds a line of JSON; `touch` only sets the file's time",
        ),
    ];

    const REMEDY: &'static str = r#"add [wake.file] with path = "/run/agent/inbox""#;

    fn read(table: &Section<'_, Self>, found: &mut Findings) -> Option<FileSettings> {
        let words = [("append", FileMode::Append), ("touch", FileMode::Touch)];
        let mode = table.word(found, "mode", &words, FileMode::Append, |raw| {
            raw.mode.as_deref()
        });
        Some(FileSettings {
            path: table.absolute(found, "path", |raw| raw.path.as_deref())?,
            mode,
        })
    }
}

#[async_trait]
impl WakeAdapter for FileSettings {
    async fn run(&self, pointer: &Pointer) -> Returned {
        Returned {
            failure: append_or_touch(self, pointer).await.err(),
            said: String::new(),
        }
    }

    /// A file may stand on what hangs, and no time limit ends a write.
    fn busy(&self) -> Busy {
        Busy::Fails("its last write has not returned yet")
    }

    fn needs(&self) -> Needs<'_> {
        Needs::File(&self.path)
    }
}

async fn append_or_touch(settings: &FileSettings, pointer: &Pointer) -> Result<(), String> {
    let line = line(pointer).map_err(|error| error.to_string())?;
    let settings = settings.clone();
    let path = settings.path.clone();
    // A file may stand on anything, also on what hangs.
    tokio::task::spawn_blocking(move || write(&settings, &line))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// The pointer as one line of JSON in which every character of a text that a
/// shell or a terminal could act on is an escape: a role is free text of another
/// party, and what reads the file may be anything.
fn line(pointer: &Pointer) -> serde_json::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut line, Escaping);
    serde::Serialize::serialize(pointer, &mut serializer)?;
    line.push(b'\n');
    Ok(line)
}

struct Escaping;

impl serde_json::ser::Formatter for Escaping {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> std::io::Result<()>
    where
        W: ?Sized + std::io::Write,
    {
        for c in fragment.chars() {
            if c.is_ascii_alphanumeric() || " _-./:@,+=%".contains(c) {
                write!(writer, "{c}")?;
                continue;
            }
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

/// The mode of a new file there, instead of the umask's, which keeps the store from
/// others: agents are users of the service's group.
const FOR_AGENTS: u32 = 0o660;

fn write(settings: &FileSettings, line: &[u8]) -> std::io::Result<()> {
    let is_shared = settings.path.starts_with(SYSTEM_DAEMONS);
    let mut file = guarded::open_to_append(&settings.path, is_shared.then_some(FOR_AGENTS))?;
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
            credentials: Some("/c".into()),
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
        append_or_touch(&append, &pointer()).await.expect("written");
        append_or_touch(&append, &pointer()).await.expect("written");
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
        append_or_touch(&touch, &pointer()).await.expect("touched");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), text);
    }

    #[test]
    fn no_character_of_a_role_acts_on_a_shell() {
        let role = "a$(touch PWN)`x`\n;|&<>!*?~#'\"\\\u{1b}\u{202e}\u{2028}\u{e0041}é";
        let pointer = Pointer {
            role: role.into(),
            ..pointer()
        };
        let line = String::from_utf8(line(&pointer).expect("JSON")).expect("text");
        let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(read["role"], role, "nothing is lost");
        let strange =
            |c: char| "$`;|&<>!*?~#'()".contains(c) || !(c.is_ascii_graphic() || c == ' ');
        assert!(
            line.ends_with("\n") && !line.trim_end().contains(strange),
            "{line}"
        );
    }

    #[tokio::test]
    async fn link_in_place_of_the_file_is_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (victim, path) = (dir.path().join("victim"), dir.path().join("inbox"));
        std::fs::write(&victim, "").expect("written");
        for mode in [FileMode::Append, FileMode::Touch] {
            let settings = FileSettings {
                path: path.clone(),
                mode,
            };
            let refused = async || {
                append_or_touch(&settings, &pointer())
                    .await
                    .expect_err("refused")
            };
            std::os::unix::fs::symlink(&victim, &path).expect("linked");
            assert!(refused().await.contains("symbolic link"));
            std::fs::remove_file(&path).expect("removed");
            std::os::unix::fs::symlink(dir.path().join("new"), &path).expect("linked");
            assert!(refused().await.contains("symbolic link"));
            std::fs::remove_file(&path).expect("removed");
            std::fs::hard_link(&victim, &path).expect("linked");
            assert!(refused().await.contains("hard link"));
            std::fs::remove_file(&path).expect("removed");
        }
        assert_eq!(std::fs::metadata(&victim).expect("there").len(), 0);
        assert!(!dir.path().join("new").exists());
    }

    #[tokio::test]
    async fn a_place_that_is_not_there_is_named() {
        let settings = FileSettings {
            path: "/nowhere/inbox".into(),
            mode: FileMode::Append,
        };
        let error = append_or_touch(&settings, &pointer())
            .await
            .expect_err("no such directory");
        assert!(error.starts_with("/nowhere/inbox: "), "{error}");
    }
}
