//! What an orchestrator found of a session, as the store keeps it.

use super::wire::as_word;

/// What was found of a session last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Nothing against it.
    Well,
    /// It owes something and does not move.
    Stalled,
    /// It fell silent.
    Lost,
    /// Its process ended.
    Exited,
    /// It was made, and never used.
    NeverStarted,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Well,
        Self::Stalled,
        Self::Lost,
        Self::Exited,
        Self::NeverStarted,
    ];

    /// The word in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Stalled => "stalled",
            Self::Lost => "lost",
            Self::Exited => "exited",
            Self::NeverStarted => "never_started",
        }
    }

    /// Reads [`Self::as_str`] back; `None` for a word of a newer program.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|standing| standing.as_str() == word)
    }

    /// Whether its tasks go to others.
    #[must_use]
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Lost | Self::Exited)
    }
}

as_word!(Standing, "Standing", Self::ALL);

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
