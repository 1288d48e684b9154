//! What a round of the message watch found, and its words for the status line.

use crate::duties::{Figure, Report, SessionState};
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
    pub(super) tally: Tally,
}

/// How many wakes came to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    /// An adapter was started.
    pub(super) fired: u64,
    /// The session looked.
    pub(super) verified: u64,
    /// An adapter could not be started, failed, or led to no look in its time.
    pub(super) unverified: u64,
    /// Such an adapter was the last of its list.
    pub(super) spent: u64,
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

    fn figures(&self) -> Vec<Figure> {
        let mut figures = vec![
            Figure::counter("wakes_fired", self.tally.fired),
            Figure::counter("wakes_verified", self.tally.verified),
            Figure::counter("wakes_unverified", self.tally.unverified),
            Figure::counter("wake_lists_spent", self.tally.spent),
        ];
        if !self.waiting && self.trouble.is_none() {
            figures.extend([
                Figure::gauge("messages_unread", self.unread),
                Figure::gauge("sessions_woken", self.awaiting as u64),
                Figure::gauge("sessions_given_up", self.unwakeable.len() as u64),
            ]);
        }
        figures
    }

    fn sessions(&self) -> Vec<SessionState> {
        self.unwakeable.clone()
    }
}
