//! What a client says when it calls a hook. Claude Code, Codex and Gemini name their
//! events alike, in different spellings. Nothing that a client sends is an error: what
//! cannot be read is an event that means nothing here.

use serde_json::Value;

/// What happened in the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A session of the client begins, or goes on.
    SessionStart,
    /// The agent's context was made shorter, within a turn or between two.
    Compacted,
    /// A turn begins: the user wrote, or a wake did.
    Prompt,
    /// The agent works.
    Activity,
    /// A turn ends, and the client would let the agent go on.
    Stop,
    /// A turn ended, for any reason.
    Ended,
    /// The client waits for its user: a permission, an answer.
    Waiting,
    /// The turn ended because the model's provider lets it wait.
    Limited,
    /// The session of the client ends.
    SessionEnd,
    /// Nothing of interest.
    Other,
}

/// A call of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// What happened.
    pub(super) event: Event,
    /// The event as the client calls it: its answer repeats that.
    pub(super) name: String,
    /// It happened in a helper of the agent: that is its activity, and no turn of its own.
    pub(super) is_helper: bool,
    /// Whether the client says that it asks its user for no permission, if it says.
    pub(super) bypasses: Option<bool>,
    /// What the client calls the conversation with its user.
    pub(super) thread: Option<String>,
}

impl Call {
    /// Reads what the client wrote, or else takes the event's name from the arguments.
    pub(super) fn read(input: &[u8], argument: Option<&str>) -> Self {
        let json: Value = serde_json::from_slice(input).unwrap_or_default();
        let word = |key: &str| json.get(key).and_then(Value::as_str);
        let name = word("hook_event_name").or(argument).unwrap_or_default();
        let event = match plain(name).as_str() {
            "sessionstart" if word("source") == Some("compact") => Event::Compacted,
            "sessionstart" => Event::SessionStart,
            "userpromptsubmit" | "beforeagent" => Event::Prompt,
            "pretooluse" | "posttooluse" | "posttoolusefailure" | "posttoolbatch"
            | "premodelrequest" | "postmodelrequest" | "precompact" | "postcompact"
            | "subagentstart" | "subagentstop" | "beforetool" | "aftertool" => Event::Activity,
            "stop" | "afteragent" => Event::Stop,
            "stopfailure" if matches!(word("error"), Some("rate_limit" | "overloaded")) => {
                Event::Limited
            }
            "stopfailure" | "interrupt" | "codexnotify" => Event::Ended,
            "permissionrequest" | "elicitation" => Event::Waiting,
            "notification" => match word("notification_type").map(plain).as_deref() {
                Some("idleprompt") => Event::Ended,
                Some("permissionprompt" | "elicitationdialog") => Event::Waiting,
                _ => Event::Other,
            },
            "sessionend" => Event::SessionEnd,
            _ => Event::Other,
        };
        Self {
            event,
            name: name.to_owned(),
            is_helper: json.get("agent_id").is_some_and(|id| !id.is_null()),
            thread: word("session_id").map(str::to_owned),
            bypasses: word("permission_mode").map(|mode| plain(mode) == "bypasspermissions"),
        }
    }
}

/// `PostToolUse`, `postToolUse`, `post_tool_use`, `post-tool-use`: one spelling.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_spelling_of_an_event_is_read() {
        for name in ["UserPromptSubmit", "userPromptSubmit", "user-prompt-submit"] {
            let json = serde_json::json!({ "hook_event_name": name, "session_id": "x" });
            let call = Call::read(json.to_string().as_bytes(), Some("stop"));
            assert_eq!((call.event, call.name.as_str()), (Event::Prompt, name));
        }
        assert_eq!(
            Call::read(b"", Some("session-start")).event,
            Event::SessionStart
        );
    }

    #[test]
    fn a_notification_is_read_by_its_type() {
        let read = |kind: Value| {
            let json = serde_json::json!({
                "hook_event_name": "Notification", "notification_type": kind });
            Call::read(json.to_string().as_bytes(), None).event
        };
        assert_eq!(read("permission_prompt".into()), Event::Waiting);
        assert_eq!(read("idle_prompt".into()), Event::Ended);
        assert_eq!(read(3.into()), Event::Other);
    }

    #[test]
    fn helper_is_distinguished_from_its_agent() {
        let read = |json: Value| Call::read(json.to_string().as_bytes(), Some("stop")).is_helper;
        assert!(read(serde_json::json!({ "agent_id": "a1" })));
        assert!(!read(serde_json::json!({ "agent_id": null })));
        assert!(!read(serde_json::json!({})));
    }

    proptest! {
        #[test]
        fn no_input_is_an_error(input: Vec<u8>, argument: Option<String>) {
            Call::read(&input, argument.as_deref());
        }
    }
}
