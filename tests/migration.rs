//! docs/migration.md, walked: the Python bridge's database is adopted, worked
//! with, and given back.

#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a step that cannot be taken has nothing to say"
)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A directory with the scripts' database in it.
struct Site(TempDir);

impl Site {
    /// `None` where there is no Python with sqlite3, which it says.
    fn new() -> Option<Self> {
        let probe = Command::new("python3")
            .args(["-c", "import sqlite3"])
            .output();
        if !probe.is_ok_and(|out| out.status.success()) {
            eprintln!("skipped: there is no python3 with sqlite3 here");
            return None;
        }
        Some(Self(tempfile::tempdir().expect("a directory")))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What the Python bridge answers to these calls, one after the other.
    fn bridge(&self, calls: &[Value]) -> Vec<Value> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/bridge.py");
        let mut process = Command::new("python3")
            .arg(script)
            .arg(self.path("bridge.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut input = process.stdin.take().expect("piped");
        for call in calls {
            writeln!(input, "{call}").expect("it listens");
        }
        drop(input);
        let output = process.wait_with_output().expect("it ends");
        let lines = String::from_utf8(output.stdout).expect("text");
        let answers = lines.lines().map(|line| {
            let answer: Value = serde_json::from_str(line).expect("JSON");
            assert!(answer.get("error").is_none(), "{answer}");
            answer["ok"].clone()
        });
        answers.collect()
    }

    /// What one of our programs prints, and its exit code.
    fn ours(&self, program: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(self.0.path())
            .env_clear()
            .env("HOME", self.0.path())
            .env("MCP_BRIDGE_STORE", self.path("bridge.db"))
            .output()
            .expect("a program");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("text"))
    }

    fn cli(&self, arguments: &[&str]) -> String {
        let (code, text) = self.ours(env!("CARGO_BIN_EXE_mcp-bridge"), arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {text}");
        text
    }

    fn private(&self, name: &str, text: &str) {
        fs::File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path(name))
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .expect(name);
    }

    fn python(&self, script: &str) -> String {
        let output = Command::new("python3")
            .args(["-c", script])
            .arg(self.path("bridge.db"))
            .output()
            .expect("python3");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Tables and indexes, with what makes them.
    fn schema(&self) -> String {
        self.python(
            "import sqlite3, sys\n\
             for row in sqlite3.connect(sys.argv[1]).execute(\n\
             \"SELECT type, name, sql FROM sqlite_master ORDER BY type, name\"): print(row)",
        )
    }
}

/// The script of the page, so that what is tried is what is read.
fn way_back() -> String {
    let page = include_str!("../docs/migration.md");
    let (_, rest) = page.split_once("   ```python\n").expect("a script");
    let (script, _) = rest.split_once("   ```\n").expect("its end");
    let lines = script
        .lines()
        .map(|line| line.strip_prefix("   ").unwrap_or(line));
    lines.map(|line| line.to_owned() + "\n").collect()
}

fn walk(older: bool) {
    let Some(site) = Site::new() else { return };
    let made = site.bridge(&[json!(["init", older]), json!(["create"])]);
    let text = |key: &str| made[1][key].as_str().expect("text").to_owned();
    let (id, a, b) = (text("id"), text("a"), text("b"));
    site.bridge(&[
        json!(["send", id, "a", a, "from before"]),
        json!([
            "old_status",
            id,
            "b",
            "2025-11-13T16:02:45.123456",
            "active"
        ]),
    ]);
    let before = site.schema();

    let said = site.cli(&["store", "init"]);
    assert!(said.starts_with("adopted store "), "{said}");
    let said = site.cli(&["store", "check"]);
    assert!(said.contains("ok: nothing is wrong with it"), "{said}");
    assert!(site.cli(&["conversation", "list"]).contains(&id));

    site.private(
        "b.toml",
        &format!(
            "store = {:?}\n[[session]]\nconversation = {id:?}\nsession = \"session_b\"\ntoken = {b:?}\n",
            site.path("bridge.db")
        ),
    );
    let said = site.cli(&["-c", "b.toml", "check", "--peek"]);
    assert!(said.contains("from before"), "{said}");
    let said = site.cli(&["-c", "b.toml", "check"]);
    assert!(said.contains("from before"), "{said}");
    site.cli(&["-c", "b.toml", "heartbeat"]);
    site.cli(&["-c", "b.toml", "send", "an answer"]);
    site.cli(&["task", "add", "--role", "builder", "--title", "Port it"]);
    assert!(
        site.cli(&["-c", "b.toml", "task", "claim"])
            .contains("Port it")
    );
    fs::write(
        site.path("worker.toml"),
        "role = \"worker\"\n[[session]]\ncredentials = \"b.toml\"\nproof = \"none\"\n",
    )
    .expect("written");
    let daemon = env!("CARGO_BIN_EXE_mcp-bridged");
    let (code, said) = site.ours(daemon, &["--config", "worker.toml", "--check"]);
    assert_eq!(code, Some(0), "{said}");

    // Its agents went on meanwhile, and have what ours wrote.
    let read = site.bridge(&[
        json!(["verify", id, "b", b]),
        json!(["read", id, "a", a]),
        json!(["status", id, "a", a, "working"]),
    ]);
    assert_eq!(read[0], true);
    assert_eq!(read[1][0]["message"], "an answer");

    site.python(&way_back());
    let after = site.schema();
    assert!(
        !after.contains("bridge_") && !after.contains("_sqlx"),
        "{after}"
    );
    assert_eq!(after, before, "its tables are as it made them");
    let read = site.bridge(&[
        json!(["send", id, "b", b, "after"]),
        json!(["status", id, "b", b, "working"]),
        json!(["partner", id, "a", a]),
        json!(["read", id, "a", a]),
    ]);
    assert_eq!(read[2]["status"], "working");
    assert_eq!(read[3][0]["message"], "after");

    let said = site.cli(&["store", "init"]);
    assert!(said.starts_with("adopted store "), "{said}");
    let said = site.cli(&["-c", "b.toml", "check"]);
    assert!(said.starts_with("no unread messages"), "{said}");
}

#[test]
fn a_database_is_adopted_and_given_back() {
    walk(false);
}

#[test]
fn so_is_an_older_one() {
    walk(true);
}
