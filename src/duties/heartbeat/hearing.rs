//! A client that registers is heard of at once, and not with the next round.

use crate::duties::{CommitListener, DutyBell, News};

/// Rings the duty when one registers.
#[derive(Debug)]
pub struct RegistrationListener(pub DutyBell);

impl CommitListener for RegistrationListener {
    fn wants_signals(&self) -> bool {
        true
    }

    fn begins(&self) {
        self.0.ring();
    }

    fn hears(&self, news: &News<'_>) {
        if news.signalled.agents {
            self.0.ring();
        }
    }
}
