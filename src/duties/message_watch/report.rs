//! What a round of the message watch found, and how it is told in the status
//! line.

use crate::duties::{Report, SessionState};
use crate::text;

/// What a round of the message watch found.
#[derive(Debug, Default)]
pub struct MessageWatchReport {
    /// Unread messages of all kept sessions.
    pub unread: u64,
    /// Sessions that were woken and have not looked yet.
    pub awaiting: usize,
    pub(super) trouble: Option<String>,
    pub(super) waiting: bool,
    /// Sessions that no way could wake.
    pub(super) unwakeable: Vec<SessionState>,
}

impl Report for MessageWatchReport {
    fn summary(&self) -> String {
        if self.waiting || self.trouble.is_some() {
            return String::new();
        }
        let mut words = format!("{} unread", self.unread);
        if self.awaiting > 0 {
            words.push_str(&format!(
                ", {} woken",
                text::count(self.awaiting as u64, "session")
            ));
        }
        words
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    fn sessions(&self) -> Vec<SessionState> {
        self.unwakeable.clone()
    }
}
