//! docs/migration.md, walked: its commands are run as they are printed, beside
//! stand-ins for the scripts that they replace. Only the example's database in /tmp
//! has another folder.

#![expect(
    clippy::expect_used,
    reason = "a step that cannot be taken has nothing to say"
)]

use crate::common::python;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::common::waiting::wait_for;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

const PAGE: &str = include_str!("../../docs/migration.md");
const CONVERSATION: &str = "conv_0123456789abcdef";
/// Where the tests run as root.
const USER: u32 = 61_234;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The shell blocks of a step, by its number.
fn step(number: u32) -> Vec<String> {
    let from = PAGE.split_once(&format!("\n### {number}. "));
    let (_, rest) = from.expect("the step");
    let rest = rest.split("\n### ").next().unwrap_or(rest);
    let rest = rest.split("\n## ").next().unwrap_or(rest);
    let blocks = rest.split("```sh\n").skip(1);
    blocks
        .map(|block| block.split("```").next().expect("its end").to_owned())
        .collect()
}

/// The script of the page's last section.
fn way_back() -> String {
    let (_, rest) = PAGE.split_once("   ```python\n").expect("a script");
    let (script, _) = rest.split_once("   ```\n").expect("its end");
    let lines = script
        .lines()
        .map(|line| line.strip_prefix("   ").unwrap_or(line));
    lines.map(|line| line.to_owned() + "\n").collect()
}

/// A user's home, and the folder that stands for /tmp.
struct Site {
    home: TempDir,
    tmp: TempDir,
}

impl Site {
    /// `None` where there is no Python with sqlite3, which it says.
    fn new() -> Option<Self> {
        let mut python = Command::new("/usr/bin/env");
        python
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .arg("python3");
        if !python::has(python, "sqlite3") {
            return None;
        }
        let site = Self {
            home: tempfile::tempdir().expect("a directory"),
            tmp: tempfile::tempdir().expect("a directory"),
        };
        // Where that user can reach it, wherever this was built.
        let bin = site.tmp.path().join("bin");
        fs::create_dir(&bin).expect("made");
        let bring = |from: &Path| {
            let name = from.file_name().expect("a name");
            fs::copy(from, bin.join(name)).expect("copied");
        };
        bring(Path::new(env!("CARGO_BIN_EXE_mcp-bridge")));
        bring(Path::new(env!("CARGO_BIN_EXE_mcp-bridged")));
        bring(&here("examples/run-agent"));
        bring(&here("tests/foreign/bridge.py"));
        for script in fs::read_dir(here("tests/foreign/scripts")).expect("the scripts") {
            bring(&script.expect("a script").path());
        }
        if rustix::process::geteuid().is_root() {
            for place in [&site.home, &site.tmp] {
                std::os::unix::fs::chown(place.path(), Some(USER), Some(USER)).expect("given");
            }
        }
        Some(site)
    }

    fn old(&self) -> PathBuf {
        self.tmp.path().join("bridge.db")
    }

    fn new_place(&self) -> PathBuf {
        self.home.path().join("bridge/bridge.db")
    }

    /// As an ordinary user, for whom the guide is: root's own places are the machine's.
    fn command(&self, program: &str) -> Command {
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            let id = USER.to_string();
            command.args(["--reuid", &id, "--regid", &id, "--clear-groups", program]);
            command
        } else {
            Command::new(program)
        };
        command
            .env_clear()
            .env(
                "PATH",
                format!(
                    "{}:/usr/local/bin:/usr/bin:/bin",
                    self.tmp.path().join("bin").display()
                ),
            )
            .env("HOME", self.home.path())
            .current_dir(self.home.path());
        command
    }

    /// What the Python bridge answers to a call.
    fn bridge(&self, database: &Path, call: &Value) -> Value {
        let mut process = self
            .command("python3")
            .arg(self.tmp.path().join("bin/bridge.py"))
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut input = process.stdin.take().expect("piped");
        writeln!(input, "{call}").expect("it listens");
        drop(input);
        let output = process.wait_with_output().expect("it ends");
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert!(answer.get("error").is_none(), "{answer}");
        answer["ok"].clone()
    }

    fn python(&self, database: &Path, script: &str) -> String {
        let output = self
            .command("python3")
            .args(["-c", script])
            .arg(database)
            .output()
            .expect("python3");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Tables and indexes, with what makes them.
    fn schema(&self, database: &Path) -> String {
        self.python(
            database,
            "import sqlite3, sys\n\
             for row in sqlite3.connect(sys.argv[1]).execute(\n\
             \"SELECT type, name, sql FROM sqlite_master ORDER BY type, name\"): print(row)",
        )
    }

    /// The rows of `session_status`: session, and its last heartbeat's age.
    fn heartbeats(&self, database: &Path) -> Vec<(String, f64)> {
        let rows = self.python(
            database,
            "import sqlite3, sys, json\n\
             from datetime import datetime\n\
             print(json.dumps([(s, (datetime.utcnow() - datetime.fromisoformat(b)).total_seconds())\n\
             for s, b in sqlite3.connect(sys.argv[1]).execute(\n\
             'SELECT session_id, last_heartbeat FROM session_status ORDER BY session_id')]))",
        );
        serde_json::from_str(rows.lines().last().expect("a line")).expect("JSON")
    }

    /// One of the six scripts, in a process group of its own.
    fn script(&self, name: &str, arguments: &[&str]) -> Script {
        let program = if name.ends_with(".py") {
            "python3"
        } else {
            "sh"
        };
        let log = self.home.path().join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log);
        let child = self
            .command(program)
            .arg(self.tmp.path().join("bin").join(name))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out.expect("a log"))
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a script");
        Script(child, log)
    }
}

struct Script(Child, PathBuf);

impl Script {
    fn said(&self) -> String {
        fs::read_to_string(&self.1).unwrap_or_default()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.0.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

/// The reader's shell: one for the whole page.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    old: String,
    daemons: Vec<Pid>,
}

impl Shell {
    fn open(site: &Site) -> Self {
        let mut child = site
            .command("sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut input = child.stdin.take().expect("piped");
        writeln!(input, "exec 2>&1").expect("it listens");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let old = site.old().display().to_string();
        Self {
            child,
            input,
            output,
            old,
            daemons: Vec::new(),
        }
    }

    /// Runs a block as it is printed; each line must succeed.
    #[track_caller]
    fn run(&mut self, block: &str) -> String {
        let (code, said) = self.tried(block);
        assert_eq!(code, "0", "{block}\n{said}");
        said
    }

    /// Exit code of the first line that fails, and what was said.
    fn tried(&mut self, block: &str) -> (String, String) {
        let block = block.replace("/tmp/bridge.db", &self.old);
        let here_document = block.contains("<<END");
        // Between the lines, so that no failure is passed over.
        let script = if here_document {
            block
        } else {
            let lines: Vec<&str> = block.lines().collect();
            lines.join(" &&\n").replace("& &&", "&") + "\n"
        };
        writeln!(self.input, "{script}\necho \"<<<$?>>>\"").expect("it listens");
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("the shell speaks");
            assert_ne!(read, 0, "the shell ended: {said}");
            if let Some(code) = line.trim().strip_prefix("<<<") {
                return (code.trim_end_matches(">>>").to_owned(), said);
            }
            said += &line;
        }
    }

    /// A block that starts a daemon.
    #[track_caller]
    fn starts(&mut self, block: &str) {
        self.run(block);
        let pid = self.run("echo $!");
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
        self.daemons.push(pid.expect("a process"));
    }

    fn stop_daemons(&mut self) {
        for daemon in self.daemons.drain(..) {
            let _ = kill_process(daemon, Signal::TERM);
        }
        self.run("wait");
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        for daemon in &self.daemons {
            let _ = kill_process(*daemon, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn walk(older: bool) {
    let Some(site) = Site::new() else { return };
    let (old, new) = (site.old(), site.new_place());
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    site.bridge(&old, &json!(["init", older]));
    site.python(
        &old,
        &format!(
            "import sqlite3, sys\n\
             from datetime import datetime, timedelta\n\
             now = datetime.utcnow()\n\
             store = sqlite3.connect(sys.argv[1])\n\
             store.execute('INSERT INTO conversations VALUES (?, ?, ?, ?, ?, ?, ?)', ('{CONVERSATION}',\n\
             'orchestrator', 'worker', '{a}', '{b}', now.isoformat(), (now + timedelta(hours=3)).isoformat()))\n\
             store.commit()"
        ),
    );
    let before = site.schema(&old);
    let text = |path: &Path| path.display().to_string();
    let start = |database: &Path| {
        let at = text(database);
        [
            site.script(
                "keepalive-daemon.sh",
                &[&at, CONVERSATION, "session_b", "1"],
            ),
            site.script("watchdog-monitor.sh", &[&at, "100", "1"]),
            site.script("fs-watcher.sh", &[&at, CONVERSATION, "b"]),
        ]
    };
    let scripts = start(&old);
    wait_for("a heartbeat of the script", || {
        (site.heartbeats(&old).len() == 1).then_some(())
    });
    site.bridge(&old, &json!(["send", CONVERSATION, "a", a, "from before"]));

    let mut shell = Shell::open(&site);
    for block in step(1) {
        shell.run(&block);
    }
    drop(scripts);
    for block in step(2) {
        shell.run(&block);
    }
    let [keepalive, watchdog, watcher] = start(&new);
    let [adopt, name] = <[String; 2]>::try_from(step(3)).expect("two blocks");
    let said = shell.run(&adopt);
    assert!(
        said.contains("adopted store ") && said.contains("ok: "),
        "{said}"
    );
    let said = shell.run(&name);
    assert!(said.contains("is backend-1"), "{said}");
    drop(watcher);
    site.bridge(&new, &json!(["send", CONVERSATION, "a", a, "unseen"]));
    let [check] = <[String; 1]>::try_from(step(4)).expect("one block");
    assert!(shell.run(&check).contains("unseen"), "marked by no watcher");

    // The agent of the worker's side.
    let mut agent = site.command("sh");
    agent
        .arg(site.tmp.path().join("bin/run-agent"))
        .args(["backend-1", "sleep", "600"])
        .env("MCP_BRIDGE_AGENTS", site.home.path().join("bridge"))
        .process_group(0);
    let agent = Script(agent.spawn().expect("an agent"), PathBuf::new());
    wait_for("its pid file", || {
        site.home
            .path()
            .join("bridge/backend-1.pid")
            .exists()
            .then_some(())
    });
    let [configure, worker] = <[String; 2]>::try_from(step(5)).expect("two blocks");
    let said = shell.run(&configure);
    assert!(said.contains("role worker, 1 session"), "{said}");
    shell.starts(&worker);
    wait_for("its heartbeat", || {
        let status = shell.run("mcp-bridge status --json");
        let status: Value = serde_json::from_str(&status).expect("JSON");
        let sessions = status["sessions"].as_array().expect("sessions");
        sessions
            .iter()
            .any(|session| session["session"] == "b" && session["heartbeat"].is_object())
            .then_some(())
    });
    drop(keepalive);
    // As it is printed, what was the watcher's call is the wake's.
    site.bridge(&new, &json!(["send", CONVERSATION, "a", a, "wake up"]));
    wait_for("the wake", || {
        site.home
            .path()
            .join("bridge/backend-1.inbox")
            .exists()
            .then_some(())
    });
    assert!(shell.run(&check).contains("wake up"));
    // Neither a second row nor an old one: the old watchdog has nothing to say.
    let beats = site.heartbeats(&new);
    assert_eq!(beats.len(), 1, "{beats:?}");
    assert_eq!(beats[0].0, "session_b");
    assert!(beats[0].1 < 100.0, "{beats:?}");
    assert_eq!(watchdog.said(), "", "no false alarm");

    let [orchestrator] = <[String; 1]>::try_from(step(6)).expect("one block");
    shell.starts(&orchestrator);
    wait_for("the orchestrator", || {
        let status = shell.run("mcp-bridge status --json");
        let status: Value = serde_json::from_str(&status).expect("JSON");
        (status["leader"]["acts"] == true).then_some(())
    });
    assert_eq!(watchdog.said(), "", "no false alarm");
    drop(watchdog);
    let reassigned = site.script("reassign-tasks.py", &[&text(&new), CONVERSATION]);
    wait_for("the script's line", || {
        reassigned.said().contains("reassigned").then_some(())
    });

    let [add, take] = <[String; 2]>::try_from(step(7)).expect("two blocks");
    shell.run(&add);
    wait_for("the task's owner", || {
        shell
            .run("mcp-bridge task list")
            .contains("backend-1")
            .then_some(())
    });
    assert!(shell.run(&take).contains("task 1 backend-1/b -> the queue"));
    let [look] = <[String; 1]>::try_from(step(8)).expect("one block");
    let (code, said) = shell.tried(&look.replace("mcp-bridge doctor\n", ""));
    assert_eq!(code, "0", "{said}");
    let alerts = shell.run("mcp-bridge alert list --all --json");
    assert_eq!(alerts.trim(), "[]", "the adoption raises none");

    // The way back.
    shell.stop_daemons();
    drop(agent);
    let scripts = start(&new);
    wait_for("a heartbeat of the script", || {
        let beats = site.heartbeats(&new);
        (beats.len() == 1 && beats[0].1 < 5.0).then_some(())
    });
    drop(scripts);
    site.python(&new, &way_back());
    assert_eq!(site.schema(&new), before, "what was theirs is as it was");
    site.bridge(&new, &json!(["send", CONVERSATION, "b", b, "after"]));
    let read = site.bridge(&new, &json!(["read", CONVERSATION, "a", a]));
    let read = read.as_array().expect("messages");
    assert!(
        read.iter().any(|mail| mail["message"] == "after"),
        "{read:?}"
    );
    let said = shell.run("mcp-bridge store init");
    assert!(said.contains("adopted store "), "{said}");
}

#[test]
fn the_guide_is_walked_as_printed() {
    walk(true);
}

#[test]
fn a_newer_database_is_taken_over_as_well() {
    walk(false);
}
