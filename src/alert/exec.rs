//! Adapter `exec`: any command, the alert as JSON on its stdin, identifiers in
//! its environment, nothing in its arguments.

use async_trait::async_trait;

use super::{AlertAdapter, body};
use crate::clock;
use crate::command::{Ended, on_one_line};
use crate::model::alert::Alert;
pub(super) use crate::setting::ExecSettings;
use crate::setting::Value::{self, Words};
use crate::setting::{
    AdapterTable, EXEC_TIMEOUT, Findings, Key, Needs, OUTPUT_LIMIT, RawDuration, Section, key,
};
use crate::text::shown::shown;

/// `[alert.exec]` as it stands.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawExec {
    command: Option<Vec<String>>,
    timeout: Option<RawDuration>,
}

impl AdapterTable for RawExec {
    type Settings = ExecSettings;

    const KEYS: &'static [Key] = &[
        key("alert.exec.command", Words, "program and arguments")
            .such_as(r#"["/usr/local/bin/page-me"]"#),
        key(
            "alert.exec.timeout",
            Value::Duration(EXEC_TIMEOUT),
            "after this time the command and its children are killed",
        ),
    ];

    const REMEDY: &'static str = r#"add [alert.exec] with command = ["/usr/local/bin/page-me"]"#;

    fn read(table: &Section<'_, Self>, found: &mut Findings) -> Option<ExecSettings> {
        let timeout = table.duration(found, "timeout", EXEC_TIMEOUT, |raw| raw.timeout);
        Some(ExecSettings {
            command: table.command(found, "command", |raw| raw.command.as_deref())?,
            timeout,
            output_limit: OUTPUT_LIMIT,
        })
    }
}

#[async_trait]
impl AlertAdapter for ExecSettings {
    async fn run(&self, alert: &Alert) -> Result<String, String> {
        let input = body(alert, clock::now())?;
        match self.execute(&environment(alert), input).await {
            Ended::Success { output } => Ok(on_one_line(&output, usize::MAX)),
            failed => Err(failed.reason()),
        }
    }

    fn needs(&self) -> Needs<'_> {
        Needs::Program(self.program())
    }
}

/// Empty where there is none, so that a variable of our own environment with
/// such a name is not taken for the alert's.
fn environment(alert: &Alert) -> [(&'static str, String); 8] {
    let session = alert.session.as_ref();
    let conversation = session.map(|session| session.conversation.to_string());
    let side = session.map(|session| session.side.to_string());
    let task = alert.task.map(|task| task.to_string());
    [
        ("MCP_BRIDGE_ALERT_ID", alert.id.clone()),
        ("MCP_BRIDGE_ALERT_KIND", alert.kind.to_string()),
        ("MCP_BRIDGE_ALERT_EDGE", alert.edge.to_string()),
        (
            "MCP_BRIDGE_ALERT_SEVERITY",
            alert.severity().as_str().to_owned(),
        ),
        // A NUL would keep the command from being started.
        (
            "MCP_BRIDGE_ALERT_SUBJECT",
            shown(&alert.subject).into_owned(),
        ),
        (
            "MCP_BRIDGE_ALERT_CONVERSATION",
            conversation.unwrap_or_default(),
        ),
        ("MCP_BRIDGE_ALERT_SESSION", side.unwrap_or_default()),
        ("MCP_BRIDGE_ALERT_TASK", task.unwrap_or_default()),
    ]
}
