//! `setup`: our parts in the files of agents' clients, and out again.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use common::{Ran, Scratch};

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
fn a_project_is_set_up_for_claude_and_back() {
    let scratch = scratch();
    let done = setup(&scratch, &["claude"]).ok();
    assert!(done.out.contains("next: mcp-bridge join FILE"), "{done:?}");
    let servers = json(&scratch.path("tree/.mcp.json"));
    let bridge = &servers["mcpServers"]["bridge"];
    let program = bridge["command"].as_str().expect("a program");
    assert!(Path::new(program).is_absolute(), "{program}");
    assert_eq!(bridge["args"][0], "mcp");
    let settings = json(&scratch.path("tree/.claude/settings.local.json"));
    let stop = settings["hooks"]["Stop"][0]["hooks"]
        .as_array()
        .expect("hooks");
    assert_eq!(stop[1]["args"][1], "wait");
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
    let left = files(&scratch.path("tree"));
    assert!(
        left.iter().all(|file| file.ends_with(".before-mcp-bridge")),
        "{left:?}"
    );
}

#[test]
fn what_the_user_has_there_stays() {
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
    assert_eq!(merged["hooks"]["Stop"][1]["hooks"][0]["args"][0], "hook");
    let copy = scratch.path(".claude/settings.json.before-mcp-bridge");
    assert_eq!(std::fs::read_to_string(copy).expect("a copy"), theirs);

    setup(&scratch, &["claude", "--user", "--remove"]).ok();
    let back: Value = serde_json::from_str(theirs).expect("JSON");
    assert_eq!(json(&behind), back);
}

#[test]
fn a_file_that_cannot_be_read_is_left_with_the_others() {
    let scratch = scratch();
    std::fs::create_dir(scratch.path("tree/.claude")).expect("a directory");
    let file = scratch.path("tree/.claude/settings.local.json");
    for broken in ["{ \"model\": ", "[]", "{\"hooks\": 7}", "\u{0}"] {
        std::fs::write(&file, broken).expect("written");
        for words in [&["claude"][..], &["claude", "--dry-run"]] {
            let refused = setup(&scratch, words);
            assert_eq!(refused.code, Some(1), "{refused:?}");
            assert!(refused.err.contains("settings.local.json"), "{refused:?}");
            assert!(refused.err.contains("left as it is"), "{refused:?}");
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
