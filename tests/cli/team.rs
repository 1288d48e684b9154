//! `team new`: a team by one command, or no part of it; and `team remove`.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

mod ended;
mod remove;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::common::scratch::{Ran, Scratch};

/// The home is the scratch directory, the orchestrator's work tree `tree` in it.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("tree")).expect("a directory");
    scratch
}

fn command(scratch: &Scratch, words: &[&str]) -> Command {
    let mut command = scratch.bridge(words);
    command.current_dir(scratch.path("tree"));
    command
}

fn team(scratch: &Scratch, words: &[&str]) -> Ran {
    let mut command = command(scratch, &["team", "new"]);
    command.args(words);
    scratch.outcome(command)
}

const BACKEND: [&str; 5] = ["backend", "--workers", "2", "--client", "claude"];

/// Files and directories below, but for those of the store.
fn tree(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("listed") {
        let path = entry.expect("an entry").path();
        let shown = path.display().to_string();
        if !shown.contains("bridge.db") {
            found.push(shown);
        }
        if path.is_dir() {
            found.extend(tree(&path));
        }
    }
    found.sort();
    found
}

/// Those that are open.
fn conversations(scratch: &Scratch) -> usize {
    let open = scratch.run(&["conversation", "list", "--json"]).ok().json();
    open.as_array().map_or(0, Vec::len)
}

#[test]
fn home_directory_as_a_work_tree_is_warned_of() {
    let scratch = Scratch::new();
    let words = [&["team", "new"][..], &BACKEND].concat();
    let planned = scratch.run(&[&words[..], &["--dry-run"]].concat()).ok();
    let warning = "is your home directory: every agent that starts in it or below it";
    assert!(planned.out.contains(warning), "{planned:?}");
    let made = scratch.run(&[&words[..], &["--json"]].concat()).ok().json();
    let said = made["warnings"].to_string();
    assert!(said.contains(warning), "{said}");
    assert!(said.contains("mcp-bridge team remove backend"), "{said}");
    scratch.run(&["team", "remove", "backend"]).ok();

    scratch.conversation(&["--label", "work"]);
    let file = scratch.credentials("work.b").display().to_string();
    let joined = scratch.run(&["join", &file]).ok();
    assert!(joined.err.contains(warning), "{joined:?}");
}

#[test]
fn client_with_arguments_is_shown_how_to_start() {
    let line = "\nopencode --port 0\n";
    let told = |client| {
        team(
            &scratch(),
            &["backend", "--workers", "1", "--client", client],
        )
        .ok()
        .out
    };
    let said = told("opencode");
    assert!(said.contains(line), "{said}");
    assert!(said.contains("OPENCODE_SERVER_PASSWORD"), "{said}");
    let said = told("claude");
    assert!(!said.contains(line), "{said}");
}

#[test]
fn a_team_is_ready_to_be_started() {
    let scratch = scratch();
    let made = team(&scratch, &[&BACKEND[..], &["--json"]].concat())
        .ok()
        .json();
    assert_eq!(made["conversations"][1]["label"], "backend-2");
    assert_eq!(conversations(&scratch), 2);
    let status = scratch.run(&["status", "--json"]).ok().json();
    assert_eq!(status["sessions"][1]["role"], "backend");

    // The orchestrator is who works in this directory, with its client set up.
    let joined = scratch.outcome(command(&scratch, &["join"])).ok();
    assert!(
        joined.out.contains("backend.orchestrator.toml"),
        "{joined:?}"
    );
    assert!(scratch.path("tree/.mcp.json").exists());
    assert!(scratch.path("tree/.claude/settings.local.json").exists());

    // Each worker's work tree runs the line that it got.
    for line in made["join"].as_array().expect("lines") {
        let line = line.as_str().expect("a line");
        let place = tempfile::tempdir_in(scratch.dir()).expect("a directory");
        let bin = Path::new(env!("CARGO_BIN_EXE_mcp-bridge"))
            .parent()
            .expect("one");
        let mut shell = scratch.program("/bin/sh");
        let path = format!("{}:/usr/bin:/bin", bin.display());
        shell
            .args(["-c", line])
            .current_dir(place.path())
            .env("PATH", path);
        let ran = scratch.outcome(shell).ok();
        assert!(ran.out.contains("/b works in"), "{ran:?}");
        assert!(place.path().join(".mcp.json").exists());
    }
    scratch
        .outcome(command(&scratch, &["send", "--to", "backend-1", "hello"]))
        .ok();

    for role in ["worker", "orchestrator"] {
        let file = scratch.path(&format!(".config/mcp-bridge/{role}.toml"));
        let mut daemon = scratch.program(env!("CARGO_BIN_EXE_mcp-bridged"));
        daemon.env_remove("MCP_BRIDGE_STORE");
        daemon.arg("--config").arg(&file).arg("--check");
        let checked = scratch.outcome(daemon).ok();
        assert!(checked.out.contains(&format!("role {role}")), "{checked:?}");
    }
}

#[test]
fn the_page_says_what_to_paste_next() {
    let scratch = scratch();
    let made = team(&scratch, &BACKEND).ok();
    for part in [
        "team backend: 2 conversations",
        "Claude Code in ~/tree",
        "tools and hooks: .mcp.json, .claude/settings.local.json",
        "\nmcp-bridge join backend-2/b && mcp-bridge setup claude\n",
        "mcp-bridged@worker",
        "task add --role backend",
    ] {
        let daemons = [
            "mcp-bridged --config ~/.config/mcp-bridge/worker.toml",
            part,
        ];
        let is_there = daemons.iter().any(|part| made.out.contains(part));
        assert!(
            made.out.contains(part) || part.contains('@') && is_there,
            "{part}: {made:?}"
        );
    }
    assert!(!made.out.contains("warning"), "{made:?}");
}

#[test]
fn a_dry_run_makes_nothing() {
    let scratch = scratch();
    let before = tree(scratch.dir());
    let shown = team(&scratch, &[&BACKEND[..], &["--dry-run"]].concat()).ok();
    assert!(shown.out.contains("would create team backend"), "{shown:?}");
    assert_eq!(tree(scratch.dir()), before);
    assert!(!scratch.store().exists());
}

#[test]
fn name_that_exists_is_refused_before_anything_is_made() {
    let scratch = scratch();
    scratch.conversation(&["--label", "backend-7"]);
    let before = tree(scratch.dir());
    for words in [&BACKEND[..], &[&BACKEND[..], &["--dry-run"]].concat()] {
        let refused = team(&scratch, words);
        assert_eq!(refused.code, Some(65), "{refused:?}");
        assert!(
            refused
                .err
                .contains("conversation backend-7 exists already"),
            "{refused:?}"
        );
    }
    // A file alone is enough: its store may be another one.
    let credentials = scratch.path(".local/state/mcp-bridge/credentials");
    std::fs::create_dir_all(&credentials).expect("directories");
    std::fs::write(credentials.join("other.a.toml"), "").expect("written");
    let refused = team(&scratch, &["other", "--workers", "1", "--client", "claude"]);
    assert!(
        refused.err.contains("other.a.toml exists already"),
        "{refused:?}"
    );
    std::fs::remove_dir_all(scratch.path(".local")).expect("removed");
    assert_eq!(tree(scratch.dir()), before);
    assert_eq!(conversations(&scratch), 1);

    // A closed one has left its name.
    scratch.run(&["conversation", "close", "backend-7"]).ok();
    team(&scratch, &BACKEND).ok();
}

#[test]
fn directory_that_is_joined_or_unreadable_is_refused() {
    let scratch = scratch();
    let settings = scratch.path("tree/.claude/settings.local.json");
    std::fs::create_dir(scratch.path("tree/.claude")).expect("a directory");
    std::fs::write(&settings, "{ broken").expect("written");
    let before = tree(scratch.dir());
    let refused = team(&scratch, &BACKEND);
    assert!(refused.err.contains("settings.local.json"), "{refused:?}");
    assert_eq!(tree(scratch.dir()), before);
    assert!(!scratch.store().exists());

    std::fs::write(&settings, "{}").expect("written");
    team(&scratch, &BACKEND).ok();
    let second = team(
        &scratch,
        &["frontend", "--workers", "1", "--client", "claude"],
    );
    assert!(second.err.contains("works here already"), "{second:?}");
    assert_eq!(conversations(&scratch), 2);
}

#[test]
fn a_step_that_fails_takes_back_the_others() {
    for blocked in [
        ".config/mcp-bridge",
        "tree/.claude",
        ".local/state/mcp-bridge/joined",
    ] {
        let scratch = scratch();
        // The store has a place of its own, so that it is not in question.
        scratch.run(&["store", "init"]).ok();
        let path = scratch.path(blocked);
        std::fs::create_dir_all(path.parent().expect("one")).expect("directories");
        // A dangling link: neither a directory nor to be made one, for root as well.
        std::os::unix::fs::symlink("/nowhere/at/all", &path).expect("a link");
        let refused = team(&scratch, &BACKEND);
        assert_ne!(refused.code, Some(0), "{blocked}: {refused:?}");
        assert!(
            refused.err.contains("team backend was not created"),
            "{refused:?}"
        );
        assert_eq!(conversations(&scratch), 0, "{blocked}");
        let left: Vec<String> = tree(scratch.dir())
            .into_iter()
            .filter(|path| Path::new(path).is_file())
            .collect();
        assert_eq!(left, Vec::<String>::new(), "{blocked}: {refused:?}");
    }
}

#[test]
fn a_daemon_configuration_that_stands_is_left() {
    let scratch = scratch();
    let file = scratch.path(".config/mcp-bridge/worker.toml");
    std::fs::create_dir_all(file.parent().expect("one")).expect("directories");
    std::fs::write(&file, "role = \"worker\"\n").expect("written");
    let made = team(&scratch, &BACKEND).ok();
    assert_eq!(
        std::fs::read_to_string(&file).expect("there"),
        "role = \"worker\"\n"
    );
    assert!(
        scratch
            .path(".config/mcp-bridge/orchestrator.toml")
            .exists()
    );
    assert!(made.out.contains("was not changed"), "{made:?}");

    // What it says is missing makes it whole.
    let (_, wanting) = made
        .out
        .split_once("worker.d/backend.toml, and")
        .expect("a part");
    let line = wanting.lines().nth(1).expect("a line").trim();
    assert_eq!(line, "sessions = \"local\"");
    std::fs::create_dir(file.with_extension("d")).expect("a directory");
    let drop_in = file.with_extension("d").join("backend.toml");
    std::fs::write(&drop_in, line).expect("written");
    let mut daemon = scratch.program(env!("CARGO_BIN_EXE_mcp-bridged"));
    daemon.arg("--config").arg(&file).arg("--check");
    scratch.outcome(daemon).ok();
    std::fs::create_dir(scratch.path("other")).expect("a directory");
    let mut command = scratch.bridge(&["team", "new", "frontend"]);
    command
        .args(&BACKEND[1..])
        .current_dir(scratch.path("other"));
    let made = scratch.outcome(command).ok();
    assert!(!made.out.contains("was not changed"), "{made:?}");
}

#[test]
fn client_is_set_up_for_all_projects() {
    let scratch = scratch();
    let made = team(&scratch, &[&BACKEND[..], &["--user", "--json"]].concat());
    let made = made.ok().json();
    let settings = scratch.path(".claude/settings.json").display().to_string();
    let files = made["client_files"].as_array().expect("files");
    assert!(files.contains(&settings.into()), "{made}");
    assert!(scratch.path(".claude.json").exists());
    assert!(!scratch.path("tree/.mcp.json").exists());
    let join = made["join"][0].as_str().expect("a line");
    assert!(
        join.starts_with("mcp-bridge join ") && !join.contains("setup"),
        "{join}"
    );
    let joined = scratch.outcome(command(&scratch, &["join"])).ok();
    assert!(
        joined.out.contains("backend.orchestrator.toml"),
        "{joined:?}"
    );
}

#[test]
fn warnings_of_the_page_are_in_the_json() {
    let scratch = scratch();
    let file = scratch.path(".config/mcp-bridge/worker.toml");
    std::fs::create_dir_all(file.parent().expect("one")).expect("directories");
    std::fs::write(&file, "role = \"worker\"\n").expect("written");
    let other = scratch.path("other");
    std::fs::create_dir(&other).expect("a directory");
    let page = team(&scratch, &BACKEND).ok();
    let mut command = scratch.bridge(&["team", "new", "frontend", "--json"]);
    command.args(&BACKEND[1..]).current_dir(&other);
    let made = scratch.outcome(command).ok().json();
    let warnings = made["warnings"].as_array().expect("a list");
    let all: Vec<&str> = warnings.iter().filter_map(|one| one.as_str()).collect();
    let all = all.join("\n");
    let said = format!("{}{}", page.out, page.err);
    for what in ["was not changed", "in the build directory", "not on PATH"] {
        assert!(said.contains(what), "{what}: {page:?}");
        assert!(all.contains(what), "{what}: {made}");
    }
}

#[test]
fn its_commands_remove_the_new_team() {
    let scratch = scratch();
    let mcp = scratch.path("tree/.mcp.json");
    std::fs::write(&mcp, "{ \"mcpServers\":{}}").expect("written");
    std::fs::set_permissions(&mcp, std::fs::Permissions::from_mode(0o640)).expect("a mode");
    let before = tree(&scratch.path("tree"));
    team(&scratch, &BACKEND).ok();
    for words in [&["setup", "claude", "--remove"][..], &["join", "--remove"]] {
        scratch.outcome(command(&scratch, words)).ok();
    }
    assert_eq!(tree(&scratch.path("tree")), before);
    assert_eq!(
        std::fs::read_to_string(&mcp).expect("there"),
        "{ \"mcpServers\":{}}"
    );
    let mode = std::fs::metadata(&mcp).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let joined = scratch.outcome(command(&scratch, &["join"])).ok();
    assert!(joined.out.contains("no session works in"), "{joined:?}");
}
