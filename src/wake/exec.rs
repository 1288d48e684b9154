//! Adapter `exec`: any command, the pointer as JSON on its stdin, identifiers
//! in its environment, nothing in its arguments.

use async_trait::async_trait;

use super::{Pointer, Returned, WakeAdapter};
use crate::command::Ended;
pub(super) use crate::setting::ExecSettings;
use crate::setting::Value::{self, Number, Words};
use crate::setting::{
    AdapterTable, EXEC_TIMEOUT, Findings, Key, Needs, OUTPUT_LIMIT, Range, RawDuration,
};
use crate::setting::{Section, key, range};

const OUTPUT_LIMIT_MOST: usize = 1024 * 1024;
/// Not smaller types than the program's own: these are the numbers it knows.
const OUTPUT_RANGE: Range = range(OUTPUT_LIMIT as u32, 0, OUTPUT_LIMIT_MOST as u32);

/// `[wake.exec]` as it stands.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawExec {
    command: Option<Vec<String>>,
    timeout: Option<RawDuration>,
    output_limit: Option<i64>,
}

impl AdapterTable for RawExec {
    type Settings = ExecSettings;

    const KEYS: &'static [Key] = &[
        key("wake.exec.command", Words, "program and arguments")
            .such_as(r#"["/usr/local/bin/nudge"]"#),
        key(
            "wake.exec.timeout",
            Value::Duration(EXEC_TIMEOUT),
            "after this time the command and its children are killed",
        ),
        key(
            "wake.exec.output_limit",
            Number(OUTPUT_RANGE),
            "maximum bytes of its output in the log",
        ),
    ];

    const REMEDY: &'static str = r#"add [wake.exec] with command = ["/usr/local/bin/nudge"]"#;

    fn read(table: &Section<'_, Self>, found: &mut Findings) -> Option<ExecSettings> {
        let timeout = table.duration(found, "timeout", EXEC_TIMEOUT, |raw| raw.timeout);
        let output_limit = output_limit(table, found);
        Some(ExecSettings {
            command: table.command(found, "command", |raw| raw.command.as_deref())?,
            timeout,
            output_limit,
        })
    }
}

#[async_trait]
impl WakeAdapter for ExecSettings {
    async fn run(&self, pointer: &Pointer) -> Returned {
        let input = match serde_json::to_vec(pointer) {
            Ok(input) => input,
            Err(error) => {
                return Returned {
                    failure: Some(error.to_string()),
                    ..Returned::default()
                };
            }
        };
        let ended = self.execute(&environment(pointer), input).await;
        let said = ended.said();
        let failure = match ended {
            Ended::Success { .. } => None,
            failed => Some(format!("the command {failed}")),
        };
        Returned { failure, said }
    }

    fn needs(&self) -> Needs<'_> {
        Needs::Program(self.program())
    }
}

fn output_limit(table: &Section<'_, RawExec>, found: &mut Findings) -> usize {
    let (limit, at) = table.pick("output_limit", |raw| raw.output_limit);
    match limit.map(|limit| (limit, usize::try_from(limit))) {
        None => OUTPUT_LIMIT,
        Some((_, Ok(limit))) if limit <= OUTPUT_LIMIT_MOST => limit,
        Some((limit, _)) => {
            let problem =
                format!("{limit} is out of range; choose from 0 to {OUTPUT_LIMIT_MOST} bytes");
            found.invalid(at, problem);
            OUTPUT_LIMIT
        }
    }
}

fn environment(pointer: &Pointer) -> [(&'static str, String); 7] {
    let label = pointer.label.as_ref().map(ToString::to_string);
    let credentials = pointer.credentials.as_ref();
    [
        (
            "MCP_BRIDGE_WAKE_CONVERSATION",
            pointer.session.conversation.to_string(),
        ),
        (super::SESSION_VARIABLE, pointer.session.side.to_string()),
        ("MCP_BRIDGE_WAKE_LABEL", label.unwrap_or_default()),
        ("MCP_BRIDGE_WAKE_UNREAD", pointer.unread.to_string()),
        ("MCP_BRIDGE_WAKE_TEXT", pointer.text.clone()),
        // What `mcp-bridge check` in the command needs to act for the session.
        (
            "MCP_BRIDGE_CREDENTIALS",
            credentials
                .map(|file| file.display().to_string())
                .unwrap_or_default(),
        ),
        ("MCP_BRIDGE_STORE", pointer.store.to_string()),
    ]
}
