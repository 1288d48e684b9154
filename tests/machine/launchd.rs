//! The property lists for launchd, read by a real parser (Python's plistlib)
//! and held against the program that they start.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot make its files has nothing to say"
)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

const PROGRAM: &str = "/usr/local/bin/mcp-bridged";
const DAEMONS: [&str; 2] = ["worker", "orchestrator"];
const LOGS: &str = "org.mcp-bridge.logs";
const AGENT: &str = "LaunchAgents/org.mcp-bridge.user-worker.plist";

fn daemon(role: &str) -> String {
    format!("LaunchDaemons/org.mcp-bridge.{role}.plist")
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A property list's content; a boolean is a JSON boolean, an integer a number.
fn read(name: &str) -> Value {
    let program = "import json, plistlib, sys\n\
                   json.dump(plistlib.load(open(sys.argv[1], 'rb')), sys.stdout)";
    let output = Command::new("python3")
        .args(["-c", program])
        .arg(here("launchd").join(name))
        .output()
        .expect("python3");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {words}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// All of them, so that one that is added is checked, too.
fn all() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for folder in ["LaunchAgents", "LaunchDaemons"] {
        for entry in fs::read_dir(here("launchd").join(folder)).expect("a folder") {
            let file = entry.expect("an entry").file_name();
            let name = format!("{folder}/{}", file.to_string_lossy());
            let content = read(&name);
            found.push((name, content));
        }
    }
    assert!(found.len() >= 3, "{found:?}");
    found
}

/// What launchd.plist(5) calls a key's type, of all keys that it knows and that
/// a service of ours may have. launchd ignores others without a word.
fn type_of(key: &str) -> Option<fn(&Value) -> bool> {
    Some(match key {
        "Label" | "UserName" | "GroupName" | "Program" | "WorkingDirectory" | "RootDirectory"
        | "StandardInPath" | "StandardOutPath" | "StandardErrorPath" => Value::is_string,
        "ProcessType" => |value| {
            let known = ["Background", "Standard", "Adaptive", "Interactive"];
            value.as_str().is_some_and(|value| known.contains(&value))
        },
        "RunAtLoad"
        | "InitGroups"
        | "EnablePressuredExit"
        | "EnableTransactions"
        | "StartOnMount"
        | "AbandonProcessGroup"
        | "LowPriorityIO"
        | "LowPriorityBackgroundIO"
        | "LaunchOnlyOnce"
        | "SessionCreate"
        | "LegacyTimers" => Value::is_boolean,
        // An octal number is written as text, which older systems do not read.
        "Umask" | "TimeOut" | "ExitTimeOut" | "ThrottleInterval" | "StartInterval" | "Nice" => {
            Value::is_u64
        }
        "ProgramArguments" | "WatchPaths" | "QueueDirectories" | "LimitLoadToSessionType" => {
            |value| matches!(value, Value::Array(items) if items.iter().all(Value::is_string))
        }
        "EnvironmentVariables" => |value| each(value, |_, value| value.is_string()),
        "KeepAlive" => |value| {
            let known = ["SuccessfulExit", "Crashed", "AfterInitialDemand"];
            each(value, |key, value| {
                known.contains(&key) && value.is_boolean()
            })
        },
        "SoftResourceLimits" | "HardResourceLimits" => |value| {
            let known = [
                "Core",
                "CPU",
                "Data",
                "FileSize",
                "MemoryLock",
                "NumberOfFiles",
            ];
            let others = ["NumberOfProcesses", "ResidentSetSize", "Stack"];
            each(value, |key, value| {
                (known.contains(&key) || others.contains(&key)) && value.is_u64()
            })
        },
        _ => return None,
    })
}

fn each(value: &Value, holds: impl Fn(&str, &Value) -> bool) -> bool {
    value
        .as_object()
        .is_some_and(|map| map.iter().all(|(key, value)| holds(key, value)))
}

#[test]
fn every_key_is_known_to_launchd() {
    for (name, content) in all() {
        for (key, value) in content.as_object().expect("a dictionary") {
            let is_right = type_of(key).unwrap_or_else(|| panic!("{name}: {key} is no key"));
            assert!(is_right(value), "{name}: {key} = {value}");
        }
    }
}

#[test]
fn each_file_is_named_by_label_with_instructions() {
    for (name, content) in all() {
        let label = content["Label"].as_str().expect("a label");
        assert!(
            name.ends_with(&format!("/{label}.plist")),
            "{name}: {label}"
        );
        assert!(label.starts_with("org.mcp-bridge."), "{label}");
        let text = fs::read_to_string(here("launchd").join(&name)).expect("a file");
        let (domain, folder) = if name.starts_with("LaunchDaemons") {
            ("system", "/Library/LaunchDaemons")
        } else {
            ("gui/$UID", "~/Library/LaunchAgents")
        };
        let install = format!("launchctl bootstrap {domain} {folder}/{label}.plist");
        assert!(text.contains(&install), "{name}: {install}");
        let remove = format!("launchctl bootout {domain}/{label}");
        assert!(text.contains(&remove), "{name}: {remove}");
        let readme = fs::read_to_string(here("launchd/README.md")).expect("a file");
        assert!(readme.contains(&name), "{name} is not in the README");
    }
}

/// Those that run a daemon.
fn services() -> impl Iterator<Item = (String, Value)> {
    let service = |(_, content): &(String, Value)| content["Label"] != LOGS;
    all().into_iter().filter(service)
}

#[test]
fn failed_daemon_restarts_and_clean_end_stays() {
    for (name, content) in services() {
        assert_eq!(content["RunAtLoad"], json!(true), "{name}");
        assert_eq!(
            content["KeepAlive"],
            json!({"SuccessfulExit": false}),
            "{name}"
        );
        // Any other type has its processor throttled, beside deadlines of 8 s.
        assert_eq!(content["ProcessType"], "Interactive", "{name}");

        let settings = mcp_bridge::config::load(&here("config/worker.toml"), []).expect("valid");
        let seconds = |key: &str| Duration::from_secs(content[key].as_u64().expect("seconds"));
        // The duties, then the store; then launchd kills.
        let longest = settings.service.shutdown_grace + mcp_bridge::duties::STORE_PATIENCE;
        let patience = seconds("ExitTimeOut");
        assert!(
            patience > longest + Duration::from_secs(2),
            "{name}: {patience:?}"
        );
        // A daemon that comes back has lost no session.
        let pause = seconds("ThrottleInterval");
        assert!(
            pause * 2 <= settings.agents.heartbeat.ttl,
            "{name}: {pause:?}"
        );
    }
}

#[test]
fn paths_are_absolute_and_not_writable_by_others() {
    for (name, content) in all() {
        let words = |key: &str| content[key].as_array().cloned().unwrap_or_default();
        let mut paths = vec![words("ProgramArguments")[0].clone()];
        paths.extend(content.get("StandardErrorPath").cloned());
        if let Some(Value::Object(variables)) = content.get("EnvironmentVariables") {
            paths.extend(variables.values().cloned());
        }
        for path in paths {
            let path = path.as_str().expect("text");
            assert!(path.starts_with('/'), "{name}: {path}");
            // launchd expands none of these.
            assert!(!path.contains(['~', '$', '*']), "{name}: {path}");
            for open in ["/tmp", "/private/tmp", "/var/tmp", "/Users/Shared"] {
                assert!(!path.starts_with(open), "{name}: {path}");
            }
        }
        // No other user reads what they write.
        let mask = content["Umask"].as_u64().expect("a number");
        assert_eq!(mask & 0o007, 0o007, "{name}: {mask:o}");
    }
}

#[test]
fn daemon_starts_the_program_with_the_shipped_configuration() {
    let page = fs::read_to_string(here("launchd/README.md")).expect("a file");
    for role in DAEMONS {
        let content = read(&daemon(role));
        let arguments = content["ProgramArguments"].as_array().expect("arguments");
        let arguments: Vec<&str> = arguments.iter().filter_map(Value::as_str).collect();
        let installed = format!("/etc/mcp-bridge/{role}.toml");
        assert_eq!(arguments[0], PROGRAM);
        assert!(arguments.contains(&installed.as_str()), "{arguments:?}");
        // The very arguments, with the files where they are before they are
        // installed.
        let shipped = here(&format!("config/{role}.toml"));
        let shipped = shipped.to_string_lossy();
        let here = arguments[1..]
            .iter()
            .map(|word| word.replace(&installed, &shipped));
        let output = Command::new(env!("CARGO_BIN_EXE_mcp-bridged"))
            .args(here)
            .arg("--check")
            .env_clear()
            .output()
            .expect("mcp-bridged");
        let ok = format!("ok: {shipped}: role {role}, ");
        said(&output, &ok);

        assert_eq!(content["UserName"], "_mcpbridge");
        assert_eq!(content["GroupName"], "_mcpbridge");
        let log = format!("/var/log/mcp-bridge/{role}.log");
        assert_eq!(content["StandardErrorPath"], Value::from(log));
        // A daemon of the system has no home to keep its state file and sockets in.
        let state = &content["EnvironmentVariables"]["RUNTIME_DIRECTORY"];
        assert_eq!(state, &format!("/var/db/mcp-bridge/{role}"));
        assert!(
            page.contains(&format!(" /var/db/mcp-bridge/{role}")),
            "{role}"
        );
        assert_eq!(content["Umask"], 0o077, "{role}");
    }
}

/// The agent's shell finds the user's own folders, runs the program in its own
/// place, and leaves the log where the Console shows it.
#[test]
fn an_agent_finds_the_users_own_files() {
    let content = read(AGENT);
    let arguments = content["ProgramArguments"].as_array().expect("arguments");
    let arguments: Vec<&str> = arguments.iter().filter_map(Value::as_str).collect();
    let [shell, "-c", script] = arguments[..] else {
        panic!("{arguments:?}");
    };
    assert!(script.contains(&format!("; exec {PROGRAM} ")), "{script}");

    let home = TempDir::new().expect("a directory");
    let home = home.path().join("a user's home");
    fs::create_dir_all(home.join(".config/mcp-bridge")).expect("made");
    fs::create_dir_all(home.join("Library/Logs")).expect("made");
    let config = home.join(".config/mcp-bridge/worker.toml");
    let run = |text: &str| {
        fs::write(&config, text).expect("written");
        let built = format!("'{}' --check", env!("CARGO_BIN_EXE_mcp-bridged"));
        Command::new(shell)
            .args(["-c", &script.replace(PROGRAM, &built)])
            .env_clear()
            .env("HOME", &home)
            .output()
            .expect("a shell")
    };
    let output = run("role = \"worker\"\n");
    let ok = format!("ok: {}: role worker, 0 sessions, store ", config.display());
    said(&output, &ok);

    // What it says, and its status, come through the shell.
    let output = run("role = \"wroker\"\n");
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let path = home.join("Library/Logs/mcp-bridge.log");
    let log = fs::read_to_string(&path).expect("a log");
    assert!(log.contains("wroker"), "{log}");

    // A large log is moved aside; a small one was not.
    let large = "x".repeat(5 * 1024 * 1024);
    fs::write(&path, &large).expect("written");
    run("role = \"wroker\"\n");
    assert!(fs::read_to_string(&path).expect("a log").len() < 4_096);
    let old = fs::read_to_string(path.with_extension("log.0")).expect("the old one");
    assert!(old == large);
}

/// By the job's own script: what a daemon has open stays open, and what it
/// writes next is in the emptied file.
#[test]
fn large_logs_are_emptied_under_their_writer() {
    let content = read("LaunchDaemons/org.mcp-bridge.logs.plist");
    let script = content["ProgramArguments"][2].as_str().expect("a script");
    let place = TempDir::new().expect("a directory");
    let script = script.replace("/var/log/mcp-bridge", &place.path().to_string_lossy());
    let open = |name: &str| {
        let path = place.path().join(name);
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        file.expect("opened")
    };
    let (mut large, mut small) = (open("worker.log"), open("orchestrator.log"));
    large.write_all(&[b'x'; 5 * 1024 * 1024]).expect("written");
    small.write_all(b"short\n").expect("written");
    let job = Command::new("/bin/sh").args(["-c", &script]).output();
    assert!(job.expect("a shell").status.success());
    large.write_all(b"next\n").expect("written");
    let read = |name: &str| fs::read(place.path().join(name)).unwrap_or_default();
    assert_eq!(read("worker.log"), b"next\n");
    assert_eq!(read("worker.log.0").len(), 5 * 1024 * 1024);
    assert_eq!(read("orchestrator.log"), b"short\n");
    assert!(!place.path().join("orchestrator.log.0").exists());
}

fn said(output: &Output, begins: &str) {
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(words.starts_with(begins), "{words}");
}

/// The README's own commands for the machine's worker, in a scratch folder and
/// without sudo: its daemon can read what they make.
#[test]
fn the_machines_worker_is_set_up_as_written() {
    let page = fs::read_to_string(here("launchd/README.md")).expect("a file");
    let place = TempDir::new().expect("a directory");
    let scratch = |text: &str| {
        let root = place.path().to_string_lossy();
        ["/var/lib/mcp-bridge", "/etc/mcp-bridge", "/var/db"]
            .iter()
            .fold(text.to_owned(), |text, path| {
                text.replace(path, &format!("{root}{path}"))
            })
            .replace("sudo -u _mcpbridge ", "")
            .replace(
                "/usr/local/bin/mcp-bridged",
                env!("CARGO_BIN_EXE_mcp-bridged"),
            )
            .replace(
                "/usr/local/bin/mcp-bridge ",
                concat!(env!("CARGO_BIN_EXE_mcp-bridge"), " "),
            )
    };
    let run = |command: &str| {
        let output = Command::new("/bin/sh")
            .args(["-c", &scratch(command)])
            .env("HOME", place.path())
            .output()
            .expect("a shell");
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    run("mkdir -p /var/lib/mcp-bridge /etc/mcp-bridge && mkdir -m 700 /etc/mcp-bridge/credentials");
    let commands: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .filter(|line| line.contains("/usr/local/bin/mcp-bridge"))
        .collect();
    let [new, check] = commands[..] else {
        panic!("{commands:?}");
    };
    run(new);
    let (_, rest) = page.split_once("```toml\n").expect("a configuration");
    let (config, _) = rest.split_once("```").expect("its end");
    let path = scratch("/etc/mcp-bridge/worker.toml");
    fs::write(path, scratch(config)).expect("written");
    let said = run(check);
    assert!(said.contains("role worker, 1 session, "), "{said}");
}
