//! The measuring commands, in a very short form: what they print, what they
//! count, how they end. No figure is judged.
#![expect(clippy::expect_used, reason = "without it a test has nothing to say")]

#[cfg(target_os = "linux")]
#[path = "../../tests/common/processes.rs"]
mod processes;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn bench(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mcp-bridge-bench"))
        .args(args)
        .arg("--dir")
        .arg(dir)
        .output()
        .expect("the program runs")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {output:?}");
    })
}

/// Nothing is left: no file, and no process that works in `dir`.
fn assert_clean(dir: &Path) {
    let left: Vec<_> = std::fs::read_dir(dir).expect("there").collect();
    assert!(left.is_empty(), "{left:?}");
    #[cfg(target_os = "linux")]
    assert!(
        !in_use(dir),
        "a process is still at work in {}",
        dir.display()
    );
}

/// Where the orchestrator can look at the agents' processes, it spares sessions that
/// silence would lose wrongly, and nothing is measured.
fn assert_isolated(part: &Value) {
    let root = rustix::process::geteuid().is_root();
    assert!(!root || part["isolated"] == true, "{part}");
}

#[cfg(target_os = "linux")]
#[test]
fn no_daemon_outlives_a_measurement() {
    use std::process::Stdio;

    use rustix::process::Signal;

    for signal in [Signal::KILL, Signal::HUP] {
        let dir = tempfile::tempdir().expect("a directory");
        let args = [
            "watchdog",
            "--only",
            "detection",
            "--hosts",
            "3",
            "--sessions",
            "3",
        ];
        let mut bench = Command::new(env!("CARGO_BIN_EXE_mcp-bridge-bench"))
            .args(args)
            .arg("--dir")
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program runs");
        // Itself, the orchestrator's daemon, and three workers'.
        processes::end_with(&mut bench, signal, dir.path(), 5);
        // A killed process cannot tidy up.
        if signal != Signal::KILL {
            assert_clean(dir.path());
        }
    }
}

#[test]
fn latency_measures_every_row_and_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let args = [
        "latency",
        "--messages",
        "6",
        "--rounds",
        "2",
        "--gap",
        "1ms",
    ];
    let output = bench(dir.path(), &[&args[..], &["--json"]].concat());
    assert!(output.status.success(), "{output:?}");
    assert_clean(dir.path());

    let report = json(&output);
    assert_eq!(report["bench"], "latency");
    assert_eq!(report["version"], 1);
    assert_eq!(report["settings"]["messages"], 6);
    assert!(report["environment"]["fsync_us"]["p50"].is_f64());
    let rows = report["rows"].as_array().expect("rows");
    let names: Vec<&str> = rows.iter().filter_map(|row| row["row"].as_str()).collect();
    for name in [
        "ours-normal",
        "ours-full",
        "send-full",
        "foreign-full",
        "poll-100ms",
        "poll-30s",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
    for row in rows {
        let name = &row["row"];
        assert_eq!(row["missing"], 0, "{name}");
        let from = if name == "send-full" {
            "send"
        } else {
            "commit"
        };
        assert_eq!(row["from"], from, "{name}");
        for figure in ["mean", "p50", "p90", "p99", "max"] {
            assert!(row["latency_us"][figure].is_f64(), "{name}: {figure}");
        }
        if row["source"] == "measured" {
            assert_eq!(row["messages"], 6, "{name}");
        } else {
            assert_eq!(name, "poll-30s");
        }
        if let Some(floor) = row["floor"]["row"].as_str() {
            assert!(names.contains(&floor), "{name}: {floor}");
            assert!(row["met"].is_boolean(), "{name}");
        }
    }
}

#[test]
fn latency_for_people_says_what_it_was_measured_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let args = [
        "latency",
        "--messages",
        "2",
        "--gap",
        "1ms",
        "--only",
        "ours-full,bell-full",
    ];
    let output = bench(dir.path(), &args);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    for word in [
        "fsync p50",
        "load",
        "SQLite 3.",
        "bare floor",
        "computed",
        "met: p50",
    ] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
    assert!(!text.contains("foreign"), "an unexpected row:\n{text}");
}

#[test]
fn unknown_row_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = bench(dir.path(), &["latency", "--only", "ours-ful"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("`ours-ful`") && error.contains("ours-full"),
        "{error}"
    );
    assert_clean(dir.path());
}

#[test]
fn delivery_counts_what_it_sent() {
    let dir = tempfile::tempdir().expect("a directory");
    let args = [
        "delivery",
        "--agents",
        "3",
        "--duration",
        "1s",
        "--rate",
        "30",
    ];
    let output = bench(dir.path(), &[&args[..], &["--json"]].concat());
    assert!(output.status.success(), "{output:?}");
    assert_clean(dir.path());
    let report = json(&output);
    assert_eq!(report["settings"]["processes"], 6);
    let verdict = &report["verdict"];
    assert!(verdict["sent"].as_u64().expect("a count") > 0, "{verdict}");
    assert_eq!(verdict["sent"], verdict["delivered"]);
    for count in ["lost", "duplicate", "out_of_order", "invented", "in_doubt"] {
        assert_eq!(verdict[count], 0, "{verdict}");
    }
    assert!(report["seen_us"]["p50"].is_f64());
    assert!(report["fetched_us"]["p50"].is_f64());
}

#[test]
fn more_agents_than_processes_share_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let args = [
        "delivery",
        "--agents",
        "20",
        "--duration",
        "500ms",
        "--rate",
        "10",
    ];
    let output = bench(dir.path(), &[&args[..], &["--json"]].concat());
    assert!(output.status.success(), "{output:?}");
    let report = json(&output);
    assert_eq!(report["settings"]["processes"], 32);
    assert_eq!(report["verdict"]["lost"], 0);
}

#[test]
fn lost_message_is_counted_and_fails_the_run() {
    let dir = tempfile::tempdir().expect("a directory");
    let args = [
        "delivery",
        "--agents",
        "1",
        "--duration",
        "1s",
        "--rate",
        "30",
        "--lose-one",
    ];
    let output = bench(dir.path(), &[&args[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let verdict = &json(&output)["verdict"];
    assert_eq!(verdict["lost"], 1, "{verdict}");
    assert_eq!(verdict["examples"][0], "lost: message 1 of pair 0");
    assert_clean(dir.path());
}

#[test]
fn acknowledged_messages_survive_the_kill_of_any_process() {
    let dir = tempfile::tempdir().expect("a directory");
    let duration = if full() { "10m" } else { "4s" };
    let args = [
        "delivery",
        "--agents",
        "3",
        "--rate",
        "30",
        "--kill",
        "50ms-300ms",
    ];
    let args = [&args[..], &["--duration", duration, "--json"]].concat();
    let output = bench(dir.path(), &args);
    let report = json(&output);
    println!("{} {}", report["verdict"], report["kills"]);
    assert!(output.status.success(), "{report}");
    assert_clean(dir.path());
    let verdict = &report["verdict"];
    assert!(verdict["sent"].as_u64().expect("a count") > 0, "{verdict}");
    assert_eq!(verdict["sent"], verdict["delivered"]);
    for count in ["lost", "duplicate", "out_of_order", "invented", "in_doubt"] {
        assert_eq!(verdict[count], 0, "{verdict}");
    }
    assert_eq!(report["intact"], true);
    assert!(report["kills"]["count"].as_u64().expect("a count") >= 2);
    assert!(report["kills"]["restart_us"]["p99"].is_f64());
}

#[test]
fn only_agents_that_die_are_found_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let args = ["watchdog", "--only", "detection", "--sessions", "6"];
    let args = [&args[..], &["--hosts", "3", "--kills", "2", "--json"]].concat();
    let output = bench(dir.path(), &args);
    assert!(output.status.success(), "{output:?}");
    assert_clean(dir.path());
    let report = json(&output);
    assert_eq!(
        (&report["bench"], &report["version"]),
        (&"watchdog".into(), &1.into())
    );
    let detection = &report["detection"];
    assert_isolated(detection);
    let times = |what: &str| {
        let rows = detection["rows"].as_array().expect("rows").iter();
        let row = rows.into_iter().find(|row| row["what"] == what);
        let row = row.unwrap_or_else(|| panic!("{what} is missing in {detection}"));
        assert!(
            row["us"]["p99"].is_f64() && row["met"].is_boolean(),
            "{row}"
        );
        row["times"].as_u64().expect("a count")
    };
    assert_eq!(times("exit-noticed"), 2);
    assert!(times("exit-moved") >= 2);
    // Two sessions on each of three hosts.
    assert_eq!(times("silence-noticed"), 4);
    assert_eq!(times("stall-noticed"), 2);
    times("silence-moved");
    for count in ["false_lost", "double_fences", "lost_tasks"] {
        assert_eq!(report["verdict"][count], 0, "{report}");
    }
    assert!(report["growth"].is_null() && report["mass"].is_null());
}

#[test]
fn cost_of_watching_is_reported_by_size() {
    let dir = tempfile::tempdir().expect("a directory");
    let args = [
        "watchdog", "--only", "growth", "--sizes", "10,100", "--rounds", "10",
    ];
    let output = bench(dir.path(), &[&args[..], &["--json"]].concat());
    assert!(output.status.success(), "{output:?}");
    let report = json(&output);
    let sizes = report["growth"].as_array().expect("sizes");
    assert_eq!(
        (&sizes[0]["sessions"], &sizes[1]["sessions"]),
        (&10.into(), &100.into())
    );
    for row in sizes
        .iter()
        .flat_map(|size| size["rows"].as_array().expect("rows"))
    {
        // Every twelfth round is mirrored: none of ten is.
        if row["what"] != "mirror-round" {
            assert!(row["us"]["p50"].is_f64(), "{row}");
        }
    }
    let text = bench(dir.path(), &args);
    let text = String::from_utf8(text.stdout).expect("text");
    assert!(
        text.contains("watchdog tick, nothing new") && text.contains("x tenth"),
        "{text}"
    );
    assert_clean(dir.path());
}

#[test]
fn silence_of_all_hosts_loses_no_session_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let sessions = if full() { "10000" } else { "1000" };
    let args = [
        "watchdog",
        "--only",
        "mass",
        "--mass-sessions",
        sessions,
        "--json",
    ];
    let output = bench(dir.path(), &args);
    assert!(output.status.success(), "{output:?}");
    let report = json(&output);
    let mass = &report["mass"];
    println!("{mass}");
    assert_eq!(mass["hosts"], 100);
    assert_eq!(mass["lost_in_hold"], 0, "{mass}");
    // Where the machine kept those who are back from their heartbeats, they were
    // silent as well; the watchdog looks once a second.
    let seconds = |key: &str| mass[key].as_f64().expect("seconds");
    if seconds("longest_pause_seconds") + 1.0 < seconds("ttl_seconds") / 2.0 {
        assert_eq!(mass["alerts"], 1, "{mass}");
        assert_eq!(mass["returned_and_lost"], 0, "{mass}");
    } else {
        println!("this machine was too busy: sessions that were back fell silent again");
    }
    // Three tasks on each of ninety hosts that stay away.
    assert!(mass["moves"].as_u64().expect("a count") >= 270, "{mass}");
    assert!(
        mass["most_moves_in_a_second"].as_u64().expect("a count") <= 50,
        "{mass}"
    );
}

#[test]
fn paused_daemons_lose_no_session() {
    let dir = tempfile::tempdir().expect("a directory");
    let duration = if full() { "30m" } else { "60s" };
    let args = [
        "watchdog",
        "--only",
        "pauses",
        "--sessions",
        "8",
        "--hosts",
        "4",
    ];
    let output = bench(
        dir.path(),
        &[&args[..], &["--pauses", duration, "--json"]].concat(),
    );
    assert!(output.status.success(), "{output:?}");
    let report = json(&output);
    println!("{}", report["pauses"]);
    assert_isolated(&report["pauses"]);
    assert_eq!(report["pauses"]["false_lost"], 0);
    assert!(
        report["pauses"]["pauses"].as_u64().expect("a count") >= 4,
        "{report}"
    );
    assert_clean(dir.path());
}

fn full() -> bool {
    std::env::var_os("MCP_BRIDGE_TEST_FULL").is_some_and(|value| value == "1")
}

/// Ctrl-C, and its parent's death, end everything and take the store along.
#[test]
#[cfg(target_os = "linux")]
fn an_interrupted_run_leaves_nothing() {
    use std::os::unix::process::CommandExt as _;

    use rustix::process::{Pid, Signal, kill_process, kill_process_group};

    let signals: [fn(Pid) -> rustix::io::Result<()>; 2] = [
        |run| kill_process(run, Signal::INT),
        // As a terminal does it: the children get the signal, too.
        |run| kill_process_group(run, Signal::INT),
    ];
    for interrupt in signals {
        let dir = tempfile::tempdir().expect("a directory");
        let said = tempfile::NamedTempFile::new().expect("a file");
        interrupted(
            dir.path(),
            |command| {
                command
                    .process_group(0)
                    .stderr(said.reopen().expect("opened"));
            },
            interrupt,
        );
        let said = std::fs::read_to_string(said.path()).expect("read");
        assert_eq!(said, "error: interrupted; nothing was measured\n");
    }
}

#[cfg(target_os = "linux")]
fn interrupted(
    dir: &Path,
    prepare: impl FnOnce(&mut Command),
    interrupt: impl FnOnce(rustix::process::Pid) -> rustix::io::Result<()>,
) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-bridge-bench"));
    command.args(["delivery", "--agents", "2", "--duration", "10m"]);
    prepare(command.arg("--dir").arg(dir));
    let mut run = command.spawn().expect("the program runs");
    // A sender's journal is there once all children are.
    until(|| find(dir, "sender-1.jsonl"));
    interrupt(rustix::process::Pid::from_child(&run)).expect("signalled");
    assert_eq!(run.wait().expect("ended").code(), Some(1));
    // The children were killed; they may need a moment to be gone.
    until(|| !in_use(dir));
    assert_clean(dir);
}

#[cfg(target_os = "linux")]
fn until(condition: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if condition() {
            return;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    panic!("waited in vain");
}

#[cfg(target_os = "linux")]
fn find(dir: &Path, name: &str) -> bool {
    let scratch = std::fs::read_dir(dir).expect("there").flatten();
    scratch
        .into_iter()
        .any(|entry| entry.path().join(name).exists())
}

#[cfg(target_os = "linux")]
fn in_use(dir: &Path) -> bool {
    let processes = std::fs::read_dir("/proc").expect("there").flatten();
    processes
        .into_iter()
        .filter_map(|process| std::fs::read_dir(process.path().join("fd")).ok())
        .flat_map(Iterator::flatten)
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .any(|path| path.starts_with(dir))
}
