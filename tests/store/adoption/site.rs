//! A site with a database that this program did not make, and the commands of one
//! user on it.

#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use rusqlite::Connection;

use crate::common::store::{BRIDGE, Scratch};

pub(crate) const ID: &str = "conv_0123456789abcdef";

/// A directory with a database, and a user's home beside it.
pub(crate) struct Site {
    pub(crate) store: Scratch,
    pub(crate) home: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self {
            store: Scratch::new(),
            home: tempfile::tempdir().expect("a home"),
        };
        for side in ["a", "b"] {
            let text = format!(
                "store = {:?}\n[[session]]\nconversation = \"{ID}\"\nsession = \"{side}\"\ntoken = \"{}\"\n",
                site.store.path(),
                side.repeat(64)
            );
            let path = site.credentials(side);
            fs::write(&path, text).expect("written");
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(&path, private).expect("set");
        }
        site
    }

    /// With the Python bridge's database in it, one conversation and one message.
    pub(crate) fn adoptable() -> Self {
        let site = Self::new();
        let raw = site.raw();
        raw.execute_batch(BRIDGE).expect("made");
        site.fill(&raw);
        site
    }

    /// With a store of a schema from before the first release.
    pub(crate) fn unreleased(schema: i64) -> Self {
        let site = Self::new();
        let raw = site.raw();
        let tables = include_str!("../../../migrations/sqlite/0010_first_release.sql");
        raw.execute_batch(tables).expect("made");
        raw.execute_batch(&format!(
            "INSERT INTO bridge_schema VALUES (1, {schema}, 1);
             INSERT INTO bridge_setting VALUES ('token_storage', 'plain'), ('origin', 'own');"
        ))
        .expect("made");
        site.fill(&raw);
        site
    }

    pub(crate) fn fill(&self, raw: &Connection) {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        raw.execute_batch(&format!(
            "INSERT INTO conversations VALUES ('{ID}', 'planner', 'builder', '{a}', '{b}',
                 '2025-11-13T02:13:20.000000', '2999-11-13T05:13:20.000000');
             INSERT INTO messages (conversation_id, from_session, to_session, message, timestamp)
             VALUES ('{ID}', 'a', 'b', 'hello', '2025-11-13T02:13:21.000000');"
        ))
        .expect("filled");
    }

    pub(crate) fn raw(&self) -> Connection {
        self.store.raw()
    }

    pub(crate) fn credentials(&self, side: &str) -> std::path::PathBuf {
        self.home.path().join(format!("{side}.toml"))
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("XDG_CONFIG_HOME", self.home.path().join("config"))
            .env("MCP_BRIDGE_STORE", self.store.path());
        command
    }

    /// The exit code of a command, and what it says on both outputs.
    pub(crate) fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.command(arguments).output().expect("a program");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// The same for the session of one side.
    pub(crate) fn run_as(&self, side: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let credentials = self.credentials(side);
        let mut all = vec!["--credentials", credentials.to_str().expect("text")];
        all.extend(arguments);
        self.run(&all)
    }

    /// Every file of the store's directory.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.store.directory()).expect("listed");
        entries
            .map(|entry| {
                let path = entry.expect("one").path();
                let name = path
                    .file_name()
                    .expect("a name")
                    .to_string_lossy()
                    .into_owned();
                (name, fs::read(&path).expect("read"))
            })
            .collect()
    }
}
