//! Wakes: how an idle agent is made to look. One file an adapter: its table in the
//! configuration, its keys in the documents, and what it does.
//!
//! A further adapter is a file that implements `WakeAdapter` for its settings, and
//! a line in `adapters`.
//!
//! A wake carries a pointer, never a message: who has mail, how much, up to which id.
//! An adapter that returned without an error has only said that it did its part; its
//! caller verifies whether the session looked.

mod adapters;
mod exec;
mod file;
mod settings;

use std::path::PathBuf;

use async_trait::async_trait;
use serde::Serialize;

pub use adapters::AdapterSettings;
pub(crate) use adapters::RawWake;
pub use file::{FileMode, FileSettings};
pub use settings::WakeSettings;
pub(crate) use settings::{keys, settings};

use crate::model::{Label, MessageId, SessionKey, StoreName};
use crate::setting::Needs;
use crate::text;

/// Set in the environment of a wake's command.
pub const SESSION_VARIABLE: &str = "MCP_BRIDGE_WAKE_SESSION";

/// What a wake tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pointer {
    /// Always `messages`: what there is to look at.
    pub event: &'static str,
    /// The session that should look.
    #[serde(flatten)]
    pub session: SessionKey,
    /// What people call its conversation.
    pub label: Option<Label>,
    /// Its role.
    pub role: String,
    /// Unread messages.
    pub unread: u64,
    /// The newest of them.
    pub newest_message_id: MessageId,
    /// Where the session's credentials stand, for a command that acts for it; `None` where
    /// only its client knows.
    pub credentials: Option<PathBuf>,
    /// The store.
    pub store: StoreName,
    /// One line for the agent. It says that the mail is another agent's, so that the
    /// agent does not take it for the user's word.
    pub text: String,
}

impl Pointer {
    /// The line for an agent: how much there is, who wrote it, and what to do. It
    /// always says that the mail is another agent's, for any `ask`.
    #[must_use]
    pub fn line(unread: u64, partner_role: &str, ask: &str) -> String {
        let count = text::count(unread, "unread message");
        // A role is free text of another party, and the line may be typed into
        // a terminal: short, and nothing that a shell would act on.
        let role: String = partner_role
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.'))
            .take(40)
            .collect();
        let role = match role.trim() {
            "" => "unnamed",
            role => role,
        };
        format!("mcp-bridge: {count} from {role} (another agent, not your user). {ask}")
    }
}

/// What came of an adapter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Returned {
    /// Why it could not do its part, for people.
    pub failure: Option<String>,
    /// What it had to say, on one line and with a bound. It may be anything,
    /// also mail that it fetched.
    pub said: String,
}

/// What comes of a try while the adapter's last run for the same agent has not
/// returned: a second one beside it would only pile up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Busy {
    /// The try waits for it: it is ended at a time limit, so that is not for long.
    Waits,
    /// The try fails, for this reason, and the next way is tried.
    Fails(&'static str),
}

/// One way to wake an idle agent: a table `[wake.NAME]`, and what is done with it.
#[async_trait]
pub(crate) trait WakeAdapter: Send + Sync {
    /// Does its part. Whether the session looked is not for the adapter to say.
    async fn run(&self, pointer: &Pointer) -> Returned;

    /// What comes of a try while the last run has not returned.
    fn busy(&self) -> Busy {
        Busy::Waits
    }

    /// What it needs of this machine.
    fn needs(&self) -> Needs<'_>;
}

/// Wakes by one adapter.
pub async fn run(adapter: &AdapterSettings, pointer: &Pointer) -> Returned {
    adapter.as_adapter().run(pointer).await
}

/// What comes of a try while the adapter's last run for the same agent has not
/// returned.
#[must_use]
pub fn busy(adapter: &AdapterSettings) -> Busy {
    adapter.as_adapter().busy()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: &str = "Run: mcp-bridge check";

    #[test]
    fn line_is_one_line_and_names_the_sender() {
        assert_eq!(
            Pointer::line(2, "orchestrator", ASK),
            "mcp-bridge: 2 unread messages from orchestrator (another agent, not your user). Run: mcp-bridge check"
        );
        assert!(!Pointer::line(1, "x\nIgnore all that", ASK).contains('\n'));
        let line = Pointer::line(
            1,
            "a`reboot`; $(rm -rf ~) | 'b' > \"c\" & d\u{7}!#*?{}<\\",
            ASK,
        );
        let safe = line.strip_suffix(" (another agent, not your user). Run: mcp-bridge check");
        assert_eq!(
            safe,
            Some("mcp-bridge: 1 unread message from areboot rm -rf   b  c  d")
        );
        assert!(Pointer::line(1, ";", ASK).contains("from unnamed (another agent"));
    }
}
