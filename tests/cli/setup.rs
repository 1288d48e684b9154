//! `setup`: our parts in the files of agents' clients, and out again.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::common::scratch::{Ran, Scratch};

/// The home is the scratch directory, the project `tree` in it.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("tree")).expect("a directory");
    scratch
}

fn setup(scratch: &Scratch, words: &[&str]) -> Ran {
    let mut command = scratch.bridge(&["setup"]);
    command.args(words).current_dir(scratch.path("tree"));
    scratch.outcome(command)
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("the file");
    serde_json::from_str(&text).expect("JSON")
}

fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("listed") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path.display().to_string()),
        }
    }
    found.sort();
    found
}

#[test]
fn project_is_set_up_for_claude_and_back() {
    let scratch = scratch();
    let done = setup(&scratch, &["claude"]).ok();
    assert!(
        done.out.contains("next: mcp-bridge join SESSION"),
        "{done:?}"
    );
    let servers = json(&scratch.path("tree/.mcp.json"));
    let bridge = &servers["mcpServers"]["bridge"];
    let program = bridge["command"].as_str().expect("a program");
    assert!(Path::new(program).is_absolute(), "{program}");
    assert_eq!(bridge["args"][0], "mcp");
    let settings = json(&scratch.path("tree/.claude/settings.local.json"));
    let stop = settings["hooks"]["Stop"][0]["hooks"]
        .as_array()
        .expect("hooks");
    assert!(calls(&stop[1], "wait"), "{stop:?}");
    assert_eq!(stop[1]["asyncRewake"], true);
    assert_eq!(settings["permissions"]["allow"][0], "mcp__bridge");
    assert_eq!(settings["enabledMcpjsonServers"][0], "bridge");

    let before = files(&scratch.path("tree"));
    let again = setup(&scratch, &["claude", "--json"]).ok().json();
    assert!(
        again
            .as_array()
            .is_some_and(|all| all.iter().all(|one| one["changed"] == false))
    );
    assert_eq!(files(&scratch.path("tree")), before);

    setup(&scratch, &["claude", "--remove"]).ok();
    assert_eq!(files(&scratch.path("tree")), Vec::<String>::new());
    assert!(!scratch.path("tree/.claude").exists());
    assert!(scratch.path("tree").exists());
}

/// Whether a hook calls us with this last word.
fn calls(hook: &Value, word: &str) -> bool {
    let words = hook["args"].as_array().expect("words");
    words.last().is_some_and(|last| last == word)
}

#[test]
fn removal_leaves_every_byte_as_it_was() {
    // Shapes that a merge changes: no line end, empty lists, odd blanks and comments.
    let settings = "{\"hooks\":{\"Stop\":[] , \"PreToolUse\":[]},  // mine\n\t\"permissions\": {}}";
    for (file, before) in [
        ("tree/.claude/settings.local.json", settings),
        ("tree/.mcp.json", "{ }"),
        ("tree/.mcp.json", "{\"mcpServers\": {}\n}\n\n\n"),
    ] {
        let scratch = scratch();
        let file = scratch.path(file);
        std::fs::create_dir_all(file.parent().expect("one")).expect("a directory");
        std::fs::write(&file, before).expect("written");
        let there = files(&scratch.path("tree"));
        setup(&scratch, &["claude"]).ok();
        assert_ne!(std::fs::read_to_string(&file).expect("there"), before);
        setup(&scratch, &["claude", "--remove"]).ok();
        assert_eq!(std::fs::read_to_string(&file).expect("there"), before);
        assert_eq!(files(&scratch.path("tree")), there);
    }
}

#[test]
fn changes_after_set_up_outlive_removal() {
    let scratch = scratch();
    let file = scratch.path("tree/.mcp.json");
    std::fs::write(&file, "{\"mcpServers\": {}}").expect("written");
    setup(&scratch, &["claude"]).ok();
    let merged = std::fs::read_to_string(&file).expect("there");
    let edited = merged.replacen('{', "{ \"new\": 1,", 1);
    std::fs::write(&file, edited).expect("written");
    let removed = setup(&scratch, &["claude", "--remove"]).ok();
    assert_eq!(json(&file)["new"], 1);
    assert!(json(&file).get("mcpServers").is_none());
    assert!(
        removed.out.contains(".mcp.json.before-mcp-bridge"),
        "{removed:?}"
    );
}

#[test]
fn copy_that_names_us_is_not_brought_back() {
    // A clone may bring a file of that name.
    let scratch = scratch();
    let planted =
        "{\"hooks\": {\"Stop\": [{\"hooks\": [{\"command\": \"evil; mcp-bridge hook\"}]}]}}";
    let copy = scratch.path("tree/.claude/settings.local.json.before-mcp-bridge");
    std::fs::create_dir(scratch.path("tree/.claude")).expect("a directory");
    std::fs::write(&copy, planted).expect("written");
    setup(&scratch, &["claude"]).ok();
    setup(&scratch, &["claude", "--remove"]).ok();
    assert!(!scratch.path("tree/.claude/settings.local.json").exists());
}

#[test]
fn hooks_of_a_removed_program_do_nothing() {
    let scratch = scratch();
    let program = scratch.path("a b/mcp-bridge");
    std::fs::create_dir(scratch.path("a b")).expect("a directory");
    std::fs::copy(env!("CARGO_BIN_EXE_mcp-bridge"), &program).expect("copied");
    for client in ["claude", "gemini", "codex"] {
        let mut command = scratch.program(program.to_str().expect("UTF-8"));
        command
            .args(["setup", client])
            .current_dir(scratch.path("tree"));
        scratch.outcome(command).ok();
    }
    let settings = json(&scratch.path("tree/.claude/settings.local.json"));
    let gemini = json(&scratch.path("tree/.gemini/settings.json"));
    let codex = json(&scratch.path("tree/.codex/hooks.json"));
    let commands = || {
        let hooks = settings["hooks"]["Stop"][0]["hooks"]
            .as_array()
            .expect("hooks");
        let mut commands = Vec::new();
        for hook in hooks {
            let mut command = scratch.program(hook["command"].as_str().expect("a program"));
            command.args(
                hook["args"]
                    .as_array()
                    .expect("words")
                    .iter()
                    .filter_map(Value::as_str),
            );
            commands.push(command);
        }
        for line in [&gemini["hooks"]["AfterAgent"], &codex["hooks"]["Stop"]] {
            let line = line[0]["hooks"][0]["command"].as_str().expect("a line");
            let mut shell = scratch.program("/bin/sh");
            shell.args(["-c", line]);
            commands.push(shell);
        }
        commands
    };
    // It is called while it is there.
    std::fs::write(&program, "#!/bin/sh\necho called \"$@\"\n").expect("written");
    let called: Vec<String> = commands()
        .into_iter()
        .map(|command| scratch.outcome(command).ok().out)
        .collect();
    let hook = "called hook\n";
    assert_eq!(called, [hook, "called hook wait\n", hook, hook]);
    std::fs::remove_file(&program).expect("removed");
    for command in commands() {
        let ran = scratch.outcome(command).ok();
        assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
    }
}

#[test]
fn program_off_the_path_is_warned_of() {
    let scratch = scratch();
    let mut command = scratch.bridge(&["setup", "claude"]);
    command
        .current_dir(scratch.path("tree"))
        .env("PATH", scratch.dir());
    let done = scratch.outcome(command).ok();
    assert!(
        done.err.contains("warning: mcp-bridge is not on PATH"),
        "{done:?}"
    );
    assert!(done.err.contains("is in the build directory"), "{done:?}");
    assert!(!done.out.contains("warning"), "{done:?}");
}

#[test]
fn entries_of_the_user_stay() {
    let scratch = scratch();
    let file = scratch.path(".claude/settings.json");
    std::fs::create_dir(scratch.path(".claude")).expect("a directory");
    let theirs = "{\n  \"model\": \"opus\",\n  \"hooks\": {\n    \"Stop\": [\n      { \"hooks\": [{ \"type\": \"command\", \"command\": \"say done\" }] }\n    ]\n  }\n}\n";
    // A user's dotfiles may be links.
    let behind = scratch.path("dotfiles.json");
    std::fs::write(&behind, theirs).expect("written");
    std::fs::set_permissions(&behind, std::fs::Permissions::from_mode(0o640)).expect("a mode");
    std::os::unix::fs::symlink(&behind, &file).expect("a link");

    setup(&scratch, &["claude", "--user"]).ok();
    assert!(file.is_symlink());
    let mode = std::fs::metadata(&behind)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
    let text = std::fs::read_to_string(&behind).expect("the file");
    assert!(text.starts_with("{\n  \"model\": \"opus\",\n"), "{text}");
    let merged = json(&behind);
    assert_eq!(
        merged["hooks"]["Stop"][0]["hooks"][0]["command"],
        "say done"
    );
    assert_eq!(merged["hooks"]["Stop"][1]["hooks"][0]["args"][3], "hook");
    let copy = scratch.path(".claude/settings.json.before-mcp-bridge");
    assert_eq!(std::fs::read_to_string(copy).expect("a copy"), theirs);

    setup(&scratch, &["claude", "--user", "--remove"]).ok();
    assert_eq!(std::fs::read_to_string(&behind).expect("the file"), theirs);
    assert!(file.is_symlink());
}

#[test]
fn unreadable_file_and_the_others_are_left() {
    let scratch = scratch();
    std::fs::create_dir(scratch.path("tree/.claude")).expect("a directory");
    let file = scratch.path("tree/.claude/settings.local.json");
    for broken in ["{ \"model\": ", "[]", "{\"hooks\": 7}", "\u{0}"] {
        std::fs::write(&file, broken).expect("written");
        for words in [&["claude"][..], &["claude", "--dry-run"]] {
            let refused = setup(&scratch, words);
            assert_eq!(refused.code, Some(1), "{refused:?}");
            assert!(refused.err.contains("settings.local.json"), "{refused:?}");
            assert!(refused.err.contains("no file was changed"), "{refused:?}");
        }
        assert_eq!(std::fs::read_to_string(&file).expect("there"), broken);
        assert!(!scratch.path("tree/.mcp.json").exists());
    }
    std::fs::write(&file, b"\xff{}").expect("written");
    assert_eq!(setup(&scratch, &["claude"]).code, Some(1));
}

#[test]
fn a_dry_run_shows_and_changes_nothing() {
    let scratch = scratch();
    for client in ["claude", "opencode", "gemini"] {
        let shown = setup(&scratch, &[client, "--dry-run"]).ok();
        assert!(shown.out.contains("would get"), "{shown:?}");
        assert!(
            shown.out.lines().any(|line| line.starts_with('+')),
            "{shown:?}"
        );
    }
    assert_eq!(files(&scratch.path("tree")), Vec::<String>::new());
}

#[test]
fn codex_is_set_up_in_its_own_home() {
    let scratch = scratch();
    std::fs::create_dir(scratch.path(".codex")).expect("a directory");
    let theirs = "model = \"gpt\" # mine\n\n[projects.\"/x\"]\ntrust_level = \"trusted\"\n";
    let config = scratch.path(".codex/config.toml");
    std::fs::write(&config, theirs).expect("written");
    let done = setup(&scratch, &["codex", "--user"]).ok();
    assert!(done.out.contains("/hooks"), "{done:?}");
    let text = std::fs::read_to_string(&config).expect("the file");
    assert!(text.starts_with("model = \"gpt\" # mine\n"), "{text}");
    let parsed: toml::Table = text.parse().expect("TOML");
    assert_eq!(
        parsed["mcp_servers"]["bridge"]["args"][0].as_str(),
        Some("mcp")
    );
    let hooks = json(&scratch.path(".codex/hooks.json"));
    let command = hooks["hooks"]["Stop"][0]["hooks"][0]["command"]
        .as_str()
        .expect("a command");
    assert!(command.ends_with("mcp-bridge hook"), "{command}");

    setup(&scratch, &["codex", "--user", "--remove"]).ok();
    assert_eq!(std::fs::read_to_string(&config).expect("the file"), theirs);
    assert!(!scratch.path(".codex/hooks.json").exists());
}

#[test]
fn codex_finds_its_tools_in_a_project_too() {
    let scratch = scratch();
    setup(&scratch, &["codex"]).ok();
    let config = std::fs::read_to_string(scratch.path("tree/.codex/config.toml"));
    let config: toml::Table = config.expect("the file").parse().expect("TOML");
    let server = &config["mcp_servers"]["bridge"];
    assert_eq!(
        server["default_tools_approval_mode"].as_str(),
        Some("approve")
    );
    // Which session acts is not to come from an environment that sessions share.
    let handed_on = server["env_vars"].as_array().expect("names");
    assert!(handed_on.contains(&"MCP_BRIDGE_STORE".into()));
    assert!(!handed_on.contains(&"MCP_BRIDGE_CREDENTIALS".into()));
    setup(&scratch, &["codex", "--remove"]).ok();
    for file in ["config.toml", "hooks.json"] {
        assert!(!scratch.path("tree/.codex").join(file).exists());
    }
}

#[test]
fn other_clients_are_set_up_and_back() {
    for (client, file, member) in [
        ("opencode", ".config/opencode/opencode.json", "mcp"),
        ("gemini", ".gemini/settings.json", "mcpServers"),
    ] {
        let scratch = scratch();
        setup(&scratch, &[client, "--user"]).ok();
        assert!(json(&scratch.path(file))[member]["bridge"].is_object());
        setup(&scratch, &[client, "--user", "--remove"]).ok();
        assert!(!scratch.path(file).exists());
    }
}
