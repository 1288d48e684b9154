//! What a round of heartbeats found, and its words for the status line.

use crate::duties::{Figure, Report, SessionState};
use crate::text;

/// What a round of heartbeats found.
#[derive(Debug, Default)]
pub struct HeartbeatReport {
    /// Sessions that were kept alive.
    pub alive: usize,
    /// Sessions whose agent has ended.
    pub exited: usize,
    /// Sessions whose life nothing proves.
    pub unproven: usize,
    /// Sessions that another daemon keeps.
    pub elsewhere: usize,
    /// Sessions or files whose credentials do not hold.
    pub refused: usize,
    pub(super) trouble: Option<String>,
    /// The trouble is a session's, which the roster has reported in full.
    pub(super) told: bool,
    pub(super) waiting: bool,
    /// The round got so far that it knows how the sessions are.
    pub(super) complete: bool,
    /// Heartbeats that were written.
    pub(super) written: u64,
    /// Sessions without a heartbeat, and why.
    pub(super) silent: Vec<SessionState>,
}

impl Report for HeartbeatReport {
    fn summary(&self) -> String {
        // What was not written is not alive; the trouble speaks for itself.
        if self.waiting || (self.trouble.is_some() && !self.told) {
            return String::new();
        }
        let mut words = format!("{} alive", text::count(self.alive as u64, "session"));
        for (count, what) in [
            (self.exited, "exited"),
            (self.unproven, "unproven"),
            (self.elsewhere, "kept elsewhere"),
            (self.refused, "refused"),
        ] {
            if count > 0 {
                words.push_str(&format!(", {count} {what}"));
            }
        }
        words
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    fn sessions(&self) -> Vec<SessionState> {
        self.silent.clone()
    }

    fn figures(&self) -> Vec<Figure> {
        let mut figures = vec![Figure::counter("heartbeats_written", self.written)];
        if self.complete {
            figures.extend(
                [
                    ("sessions_alive", self.alive),
                    ("sessions_exited", self.exited),
                    ("sessions_unproven", self.unproven),
                    ("sessions_kept_elsewhere", self.elsewhere),
                    ("sessions_refused", self.refused),
                ]
                .map(|(name, count)| Figure::gauge(name, count as u64)),
            );
        }
        figures
    }

    fn already_told(&self) -> bool {
        self.told
    }
}
