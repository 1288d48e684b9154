//! What stands in the files of each client. Seen with the versions that docs/agents.md
//! names; each client's own reference is linked there.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::json;

use super::merge::Part;
use crate::text::for_shell;

/// A client that `setup` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Client {
    /// Claude Code
    Claude,
    /// Codex
    Codex,
    /// opencode
    Opencode,
    /// Gemini CLI
    Gemini,
}

/// Whose files are meant.
#[derive(Debug, Clone)]
pub(in crate::cli) enum Scope {
    /// Those of one work tree.
    Project(PathBuf),
    /// This user's own, in this home.
    User(PathBuf),
}

/// A file, and our part of it.
#[derive(Debug)]
pub(super) struct Edit {
    pub(super) file: PathBuf,
    pub(super) ours: Ours,
    /// What that gives the client.
    pub(super) what: &'static str,
}

/// Our part of a file.
#[derive(Debug)]
pub(super) enum Ours {
    Json(Vec<Part>),
    /// `[mcp_servers.bridge]`
    CodexServer {
        program: String,
    },
}

/// What Codex is to hand on to our server: otherwise it passes almost none of its
/// environment, and the server would look for the user's files elsewhere than the
/// user's own commands. What says which session acts is left out: one server of Codex's
/// may serve several agents, with the environment of the first.
pub(super) const CODEX_ENVIRONMENT: [&str; 6] = [
    "CODEX_HOME",
    "MCP_BRIDGE_STORE",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
];

/// The name that our server has with a client.
pub(super) const SERVER: &str = "bridge";

/// How long a client lets a hook run, in seconds: far longer than it does.
const HOOK_LIMIT: u64 = 10;

/// The same for the hook that waits for mail: a day.
const WAIT_LIMIT: u64 = 86_400;

impl Client {
    /// As people know it.
    pub(in crate::cli) fn name(self) -> &'static str {
        match self {
            Self::Claude => "Claude Code",
            Self::Codex => "Codex",
            Self::Opencode => "opencode",
            Self::Gemini => "Gemini CLI",
        }
    }

    /// As it is written on the command line.
    pub(in crate::cli) fn word(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What is left to do by hand, or to know.
    pub(super) fn remark(self) -> &'static str {
        match self {
            Self::Claude => "the hook wakes an idle session",
            Self::Codex => {
                "Codex runs hooks only after you trust them: it asks at its next start (or type /hooks); `codex exec` skips untrusted hooks silently"
            }
            Self::Opencode => {
                "opencode's own server wakes an idle session: start it with `opencode --port 0`, and set\n\
                 OPENCODE_SERVER_PASSWORD to a password of your own; without one, every user of this\n\
                 machine may use that server"
            }
            Self::Gemini => {
                "this client cannot wake an idle session itself: see docs/agents.md for tmux"
            }
        }
    }

    /// How it is started so that its idle session is woken, where its name alone is not
    /// enough: what to heed, and the line.
    pub(in crate::cli) fn start(self) -> Option<(&'static str, &'static str)> {
        (self == Self::Opencode).then_some((
            "each client, with a password of yours in OPENCODE_SERVER_PASSWORD",
            "opencode --port 0",
        ))
    }

    /// The files of this client, and our parts of them; `program` is ours.
    pub(super) fn edits(self, scope: &Scope, program: &str) -> Vec<Edit> {
        match self {
            Self::Claude => claude(scope, program),
            Self::Codex => codex(scope, program),
            Self::Opencode => opencode(scope, program),
            Self::Gemini => gemini(scope, program),
        }
    }
}

fn claude(scope: &Scope, program: &str) -> Vec<Edit> {
    let mut parts = claude_hooks(program);
    let allowed = vec![json!(format!("mcp__{SERVER}"))];
    parts.push(Part::Elements(vec!["permissions", "allow"], allowed));
    let server = json!({ "type": "stdio", "command": program, "args": ["mcp"] });
    let server = Part::Member(vec!["mcpServers", SERVER], server);
    let (settings, servers) = match scope {
        Scope::Project(tree) => {
            // A server that a project names is asked about otherwise.
            let enabled = vec![json!(SERVER)];
            parts.push(Part::Elements(vec!["enabledMcpjsonServers"], enabled));
            (
                tree.join(".claude/settings.local.json"),
                tree.join(".mcp.json"),
            )
        }
        Scope::User(home) => (
            home.join(".claude/settings.json"),
            home.join(".claude.json"),
        ),
    };
    vec![
        json_edit(servers, vec![server], "the tools (server `bridge`)"),
        json_edit(
            settings,
            parts,
            "the hooks, and permission to use the tools",
        ),
    ]
}

/// What a shell does with a program and its arguments: nothing where the program is no
/// more. The client shows an error at each hook of a program that was removed.
const IF_THERE: &str = r#"command -v "$0" >/dev/null || exit 0; exec "$0" "$@""#;

/// The same in one line, for clients that give a hook to a shell.
fn line(program: &str) -> String {
    let program = for_shell(program);
    format!("! command -v {program} >/dev/null || exec {program} hook")
}

fn claude_hooks(program: &str) -> Vec<Part> {
    let hook = json!({
        "type": "command", "command": "/bin/sh", "args": ["-c", IF_THERE, program, "hook"],
        "timeout": HOOK_LIMIT });
    let wait = json!({
        "type": "command", "command": "/bin/sh", "args": ["-c", IF_THERE, program, "hook", "wait"],
        "asyncRewake": true, "timeout": WAIT_LIMIT });
    let events = [
        "SessionStart",
        "UserPromptSubmit",
        "PostToolBatch",
        "Stop",
        "StopFailure",
        "Notification",
        "PermissionRequest",
        "SessionEnd",
    ];
    let group = |event: &'static str| {
        let waits = matches!(event, "SessionStart" | "Stop");
        let hooks = match waits {
            true => json!([hook, wait]),
            false => json!([hook]),
        };
        Part::Elements(vec!["hooks", event], vec![json!({ "hooks": hooks })])
    };
    events.map(group).into()
}

fn codex(scope: &Scope, program: &str) -> Vec<Edit> {
    // A project's files count where its user trusted it: Codex asks at its first start there.
    let folder = match scope {
        Scope::Project(tree) => tree.join(".codex"),
        Scope::User(home) => match std::env::var_os("CODEX_HOME").filter(|own| !own.is_empty()) {
            Some(own) => PathBuf::from(own),
            None => home.join(".codex"),
        },
    };
    let command = line(program);
    let hooks = [
        ("SessionStart", HOOK_LIMIT),
        ("UserPromptSubmit", HOOK_LIMIT),
        ("PostToolUse", HOOK_LIMIT),
        ("PermissionRequest", HOOK_LIMIT),
        // More than this is cut down there, with a warning at each start.
        ("Interrupt", 3),
        ("Stop", HOOK_LIMIT),
    ];
    let hooks = hooks.map(|(event, limit)| {
        let group = json!({ "hooks": [
            { "type": "command", "command": command, "timeout": limit }] });
        Part::Elements(vec!["hooks", event], vec![group])
    });
    vec![
        Edit {
            file: folder.join("config.toml"),
            ours: Ours::CodexServer {
                program: program.to_owned(),
            },
            what: "the tools (server `bridge`), and permission to use them",
        },
        json_edit(folder.join("hooks.json"), hooks.into(), "the hooks"),
    ]
}

fn opencode(scope: &Scope, program: &str) -> Vec<Edit> {
    let file = match scope {
        Scope::Project(tree) => tree.join("opencode.json"),
        Scope::User(home) => home.join(".config/opencode/opencode.json"),
    };
    let server = json!({ "type": "local", "command": [program, "mcp"], "enabled": true });
    let server = Part::Member(vec!["mcp", SERVER], server);
    vec![json_edit(file, vec![server], "the tools (server `bridge`)")]
}

fn gemini(scope: &Scope, program: &str) -> Vec<Edit> {
    let (Scope::Project(base) | Scope::User(base)) = scope;
    let server = json!({ "command": program, "args": ["mcp"] });
    let command = line(program);
    // This client counts in milliseconds.
    let group = json!({ "hooks": [
        { "type": "command", "command": command, "timeout": HOOK_LIMIT * 1_000 }] });
    let events = ["SessionStart", "BeforeAgent", "AfterAgent", "SessionEnd"];
    let mut parts = vec![Part::Member(vec!["mcpServers", SERVER], server)];
    parts.extend(events.map(|event| Part::Elements(vec!["hooks", event], vec![group.clone()])));
    let file = base.join(".gemini/settings.json");
    vec![json_edit(
        file,
        parts,
        "the tools (server `bridge`) and the hooks",
    )]
}

fn json_edit(file: PathBuf, parts: Vec<Part>, what: &'static str) -> Edit {
    let ours = Ours::Json(parts);
    Edit { file, ours, what }
}

/// How a client starts our program: by the path that finds it now, so that an upgrade
/// is found there as well.
pub(super) fn program() -> std::io::Result<String> {
    let running = std::env::current_exe()?;
    let same = |path: &Path| {
        path.canonicalize()
            .is_ok_and(|it| Some(it) == running.canonicalize().ok())
    };
    let search = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&search)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join("mcp-bridge"))
        .find(|path| same(path));
    let path = found.unwrap_or(running);
    path.into_os_string().into_string().map_err(|path| {
        std::io::Error::other(format!(
            "the program's path is not UTF-8: {}",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Ours, in the shape of the plugin's file.
    fn hooks() -> Value {
        let mut events = serde_json::Map::new();
        for part in claude_hooks("mcp-bridge") {
            if let Part::Elements(path, groups) = part {
                events.insert(path[1].to_owned(), Value::Array(groups));
            }
        }
        Value::Object(events)
    }

    #[test]
    fn the_plugin_has_the_same_hooks() {
        let plugin = include_str!("../../../plugins/claude-code/hooks/hooks.json");
        let plugin: Value = serde_json::from_str(plugin).expect("JSON");
        assert_eq!(plugin["hooks"], hooks());
    }
}
