//! placeholder
use serde::{Deserialize, Serialize};
/// kinds
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "x")]
pub enum AlertKind {
    NeverStarted,
    Stalled,
    Lost,
    Exited,
    TaskDead,
    NoHealthyWorker,
    CorrelatedSilence,
    StoreTrouble,
    WakeListSpent,
    NoActingLeader,
}
impl AlertKind {
    /// word
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeverStarted => "never-started",
            Self::Stalled => "stalled",
            Self::Lost => "lost",
            Self::Exited => "exited",
            Self::TaskDead => "task-dead",
            Self::NoHealthyWorker => "no-healthy-worker",
            Self::CorrelatedSilence => "correlated-silence",
            Self::StoreTrouble => "store-trouble",
            Self::WakeListSpent => "wake-list-spent",
            Self::NoActingLeader => "no-acting-leader",
        }
    }
    /// word
    #[must_use]
    pub fn from_word(w: &str) -> Option<Self> {
        [
            Self::NeverStarted,
            Self::Stalled,
            Self::Lost,
            Self::Exited,
            Self::TaskDead,
            Self::NoHealthyWorker,
            Self::CorrelatedSilence,
            Self::StoreTrouble,
            Self::WakeListSpent,
            Self::NoActingLeader,
        ]
        .into_iter()
        .find(|k| k.as_str() == w)
    }
}
