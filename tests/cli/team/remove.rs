//! `team remove`: what `team new` made is taken back, and nothing else.

use std::path::{Path, PathBuf};

use super::{BACKEND, command, conversations, scratch, team, tree};
use crate::common::scratch::{Ran, Scratch};

fn remove(scratch: &Scratch, words: &[&str]) -> Ran {
    scratch.run(&[&["team", "remove", "backend"], words].concat())
}

/// What stands in the files below, but for the store's.
fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let files = tree(directory).into_iter();
    let files = files.filter(|path| Path::new(path).is_file());
    files
        .map(|path| {
            let text = std::fs::read(&path).expect("read");
            (path, text)
        })
        .collect()
}

/// A team, of which each worker has joined and set up its client, with a word before.
fn whole(scratch: &Scratch, words: &[&str]) -> Vec<PathBuf> {
    let made = team(scratch, &[&BACKEND[..], &["--json"], words].concat());
    let made = made.ok().json();
    let mut trees = Vec::new();
    for (number, line) in made["join"].as_array().expect("lines").iter().enumerate() {
        let place = scratch.path(&format!("worker-{number}"));
        std::fs::create_dir_all(&place).expect("a directory");
        let program = Path::new(env!("CARGO_BIN_EXE_mcp-bridge"));
        let bin = program.parent().expect("one").display();
        let mut shell = scratch.program("/bin/sh");
        shell
            .args(["-c", line.as_str().expect("a line")])
            .current_dir(&place)
            .env("PATH", format!("{bin}:/usr/bin:/bin"));
        scratch.outcome(shell).ok();
        trees.push(place);
    }
    scratch
        .outcome(command(scratch, &["send", "--to", "backend-1", "hello"]))
        .ok();
    trees
}

fn left(json: &serde_json::Value) -> String {
    let all = json["left"].as_array().expect("a list").iter();
    let all: Vec<String> = all
        .map(|one| {
            let word = |key: &str| one[key].as_str().expect("a text").to_owned();
            format!("{}: {}", word("what"), word("why"))
        })
        .collect();
    all.join("\n")
}

#[test]
fn a_team_is_taken_back_to_the_byte() {
    for words in [&[][..], &["--user"]] {
        let scratch = scratch();
        let own = scratch.path("tree/.mcp.json");
        std::fs::write(&own, "{ \"mcpServers\":{}}").expect("written");
        for number in 0..2 {
            std::fs::create_dir(scratch.path(&format!("worker-{number}"))).expect("a directory");
        }
        let before = contents(scratch.dir());
        whole(&scratch, words);
        let made = contents(scratch.dir());

        let planned = remove(&scratch, &["--dry-run"]).ok();
        assert!(
            planned.out.contains("would remove team backend"),
            "{planned:?}"
        );
        assert_eq!(contents(scratch.dir()), made, "a dry run changes nothing");
        assert_eq!(conversations(&scratch), 2);

        let removed = remove(&scratch, &[]).ok();
        assert!(!removed.out.contains("stays"), "{removed:?}");
        for part in [
            "backend-1 (1 unread message in it)",
            "backend.orchestrator.toml",
            "worker.toml",
        ] {
            assert!(removed.out.contains(part), "{part}: {removed:?}");
        }
        assert_eq!(conversations(&scratch), 0);
        let mut after = contents(scratch.dir());
        // What was said of each agent's turns and wakes.
        after.retain(|(path, _)| !path.contains("/hooks/"));
        assert_eq!(after, before, "{words:?}: {removed:?}");

        // Its name is free.
        let again = remove(&scratch, &[]);
        assert_eq!(again.code, Some(65), "{again:?}");
        assert!(
            again.err.contains("not created a team with this name"),
            "{again:?}"
        );
        team(&scratch, &BACKEND).ok();
    }
}

#[test]
fn changed_parts_are_left_and_named() {
    let scratch = scratch();
    let trees = whole(&scratch, &[]);
    let credentials = scratch.path(".local/state/mcp-bridge/credentials/backend-1.toml");
    let daemon = scratch.path(".config/mcp-bridge/worker.toml");
    for file in [&credentials, &daemon] {
        let text = std::fs::read_to_string(file).expect("there");
        std::fs::write(file, format!("{text}# mine\n")).expect("written");
    }
    let drop_ins = scratch.path(".config/mcp-bridge/orchestrator.d");
    std::fs::create_dir(&drop_ins).expect("a directory");
    // A client's file that nothing can be taken out of, and one with the user's own words.
    let broken = trees[0].join(".claude/settings.local.json");
    std::fs::write(&broken, "{ broken").expect("written");
    let mcp = trees[1].join(".mcp.json");
    let text = std::fs::read_to_string(&mcp).expect("there");
    let text = text.replacen('{', "{ \"mine\": 1,", 1);
    std::fs::write(&mcp, text).expect("written");

    let planned = remove(&scratch, &["--dry-run"]).ok();
    let later = "later: rm ~/.local/state/mcp-bridge/credentials/backend-1.toml";
    assert!(planned.out.contains(later), "{planned:?}");
    let removed = remove(&scratch, &["--json"]).ok().json();
    for one in removed["left"].as_array().expect("a list") {
        let commands = one["later"].as_array().expect("a list");
        assert!(!commands.is_empty(), "{one}");
    }
    let left = left(&removed);
    for (what, why) in [
        ("backend-1.toml", "changed since"),
        ("worker.toml", "changed since"),
        ("orchestrator.toml", "adds to it"),
        ("worker-0", "settings.local.json"),
    ] {
        let is_named = left
            .lines()
            .any(|line| line.contains(what) && line.contains(why));
        assert!(is_named, "{what}: {left}");
    }
    for file in [&credentials, &daemon, &broken] {
        assert!(file.exists(), "{}", file.display());
    }
    assert!(
        scratch
            .path(".config/mcp-bridge/orchestrator.toml")
            .exists()
    );
    let mine = std::fs::read_to_string(&mcp).expect("it stays");
    assert!(
        mine.contains("\"mine\": 1") && !mine.contains("bridge"),
        "{mine}"
    );
    assert_eq!(conversations(&scratch), 0);
    let joined = scratch.outcome(command(&scratch, &["join"])).ok();
    assert!(joined.out.contains("no session works in"), "{joined:?}");
}

#[test]
fn open_tasks_of_the_team_are_named() {
    let scratch = scratch();
    whole(&scratch, &[]);
    scratch.conversation(&["--label", "other", "--role-b", "docs"]);
    let add = |role: &str| {
        scratch
            .run(&["task", "add", "--role", role, "--title", "t"])
            .ok();
    };
    for role in ["backend", "docs", "backend"] {
        add(role);
    }
    scratch.run(&["task", "cancel", "3"]).ok();
    let planned = remove(&scratch, &["--dry-run"]).ok();
    let stays = "1 open task of the team stays in the store";
    assert!(planned.out.contains(stays), "{planned:?}");
    let removed = remove(&scratch, &["--json"]).ok().json();
    assert_eq!(removed["open_tasks"], serde_json::json!([1]));
    // The line is a command as it stands.
    assert!(
        planned.out.contains("\n  mcp-bridge task cancel 1\n"),
        "{planned:?}"
    );
    scratch.run(&["task", "cancel", "1"]).ok();
}

#[test]
fn parts_that_other_sessions_need_are_left() {
    let scratch = scratch();
    // The second team uses the daemons that the first one brought.
    whole(&scratch, &["--user"]);
    let other = scratch.path("other");
    std::fs::create_dir(&other).expect("a directory");
    let mut command = scratch.bridge(&["team", "new", "frontend", "--user"]);
    command.args(&BACKEND[1..]).current_dir(&other);
    scratch.outcome(command).ok();
    let removed = remove(&scratch, &["--json"]).ok().json();
    let said = left(&removed);
    for what in [
        "worker.toml",
        "orchestrator.toml",
        "Claude Code for all projects",
    ] {
        assert!(said.contains(what), "{what}: {said}");
    }
    assert!(said.contains(&other.display().to_string()), "{said}");
    assert!(scratch.path(".claude/settings.json").exists());
    assert!(scratch.path(".config/mcp-bridge/worker.toml").exists());
    assert_eq!(conversations(&scratch), 2);
    let status = scratch.run(&["status", "--json"]).ok().json();
    assert_eq!(status["sessions"][0]["label"], "frontend-1");
}

#[test]
fn set_up_from_before_the_team_is_left() {
    let scratch = scratch();
    scratch
        .outcome(command(&scratch, &["setup", "claude"]))
        .ok();
    let before = contents(&scratch.path("tree"));
    team(&scratch, &BACKEND).ok();
    remove(&scratch, &[]).ok();
    assert_eq!(contents(&scratch.path("tree")), before);
}

#[test]
fn directory_that_another_session_took_over_is_left() {
    let scratch = scratch();
    whole(&scratch, &[]);
    scratch.conversation(&["--label", "other"]);
    let file = scratch.credentials("other.b").display().to_string();
    let join = ["join", &file, "--replace"];
    scratch.outcome(command(&scratch, &join)).ok();
    let before = contents(&scratch.path("tree"));
    let removed = remove(&scratch, &["--json"]).ok().json();
    assert!(left(&removed).contains("works there now"), "{removed}");
    assert_eq!(contents(&scratch.path("tree")), before);
    let joined = scratch.outcome(command(&scratch, &["join"])).ok();
    assert!(joined.out.contains("other/b works in"), "{joined:?}");
}

#[test]
fn team_with_missing_parts_is_removed() {
    let scratch = scratch();
    let trees = whole(&scratch, &[]);
    scratch.run(&["conversation", "close", "backend-1"]).ok();
    std::fs::remove_dir_all(&trees[0]).expect("removed");
    let credentials = scratch.path(".local/state/mcp-bridge/credentials");
    std::fs::remove_file(credentials.join("backend.orchestrator.toml")).expect("removed");
    std::fs::remove_file(scratch.path(".config/mcp-bridge/worker.toml")).expect("removed");
    let removed = remove(&scratch, &["--json"]).ok().json();
    assert_eq!(left(&removed), "", "{removed}");
    assert_eq!(removed["closed"].as_array().map(Vec::len), Some(1));
    assert_eq!(conversations(&scratch), 0);
    assert!(!trees[1].join(".mcp.json").exists());

    // Also one whose store is another one now.
    team(&scratch, &BACKEND).ok();
    for name in [
        "bridge.db",
        "bridge.db-wal",
        "bridge.db-shm",
        "bridge.db-bell",
    ] {
        let _ = std::fs::remove_file(scratch.path(name));
    }
    // It may only be away: its conversations cannot be closed, and nothing is removed.
    let refused = remove(&scratch, &[]);
    assert_eq!(refused.code, Some(69), "{refused:?}");
    assert!(credentials.join("backend-1.toml").exists());
    scratch.run(&["store", "init"]).ok();
    remove(&scratch, &[]).ok();
    assert!(!credentials.join("backend-1.toml").exists());
}

#[test]
fn invalid_record_of_a_team_is_refused() {
    let scratch = scratch();
    team(&scratch, &BACKEND).ok();
    let note = scratch.path(".local/state/mcp-bridge/teams/backend.toml");
    let text = std::fs::read_to_string(&note).expect("there");
    for odd in ["", "name = 3\n", &text.replace("\"backend\"", "\"other\"")] {
        std::fs::write(&note, odd).expect("written");
        let before = contents(scratch.dir());
        let refused = remove(&scratch, &[]);
        assert_ne!(refused.code, Some(0), "{odd}: {refused:?}");
        assert!(refused.err.contains("teams/backend.toml"), "{refused:?}");
        assert_eq!(contents(scratch.dir()), before, "{odd}");
    }
    assert_eq!(conversations(&scratch), 2);
    let hint = scratch.run(&["team", "remove", "backand"]);
    assert!(hint.err.contains("did you mean `backend`?"), "{hint:?}");
}
