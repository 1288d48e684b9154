//! What a round of the watchdog found, and its words for the status line.

use crate::duties::{Figure, Report};
use crate::text;

/// What a round found.
#[derive(Debug, Clone, Default)]
pub struct WatchdogReport {
    /// Sessions that live.
    pub alive: usize,
    /// Those of them that owe and do not move.
    pub stalled: usize,
    /// Sessions that are lost or have exited.
    pub gone: usize,
    /// Why no session is declared lost at the moment, if so.
    pub hold: Option<String>,
    /// Rows that were read.
    pub read: usize,
    /// Findings that were written.
    pub settled: usize,
    /// Whether the whole fleet was read, so that it could be judged.
    pub complete: bool,
    pub(super) trouble: Option<String>,
    pub(super) waiting: bool,
}

impl Report for WatchdogReport {
    fn summary(&self) -> String {
        if self.waiting || self.trouble.is_some() {
            return String::new();
        }
        let mut words = format!(
            "watching {}",
            text::count(self.alive as u64, "living session")
        );
        for (count, what) in [(self.stalled, "stalled"), (self.gone, "gone")] {
            if count > 0 {
                words.push_str(&format!(", {count} {what}"));
            }
        }
        if let Some(hold) = &self.hold {
            words.push_str(&format!("; {hold}"));
        }
        words
    }

    fn figures(&self) -> Vec<Figure> {
        let mut figures = vec![
            Figure::counter("rows_read", self.read as u64),
            Figure::counter("findings_written", self.settled as u64),
        ];
        if !self.waiting && self.trouble.is_none() {
            figures.extend([
                Figure::gauge("sessions_alive", self.alive as u64),
                Figure::gauge("sessions_stalled", self.stalled as u64),
                Figure::gauge("sessions_gone", self.gone as u64),
            ]);
        }
        figures
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }
}
