//! What an alert may be about, how bad that is, and which way it went: words
//! and ids that operators filter on.

use std::fmt;

/// What happened. The words and the ids of the journal never change: operators
/// filter on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AlertKind {
    /// A session was made and gave no sign of life.
    NeverStarted,
    /// A session owes, lives, and does not move.
    Stalled,
    /// A session fell silent for longer than its ttl.
    Lost,
    /// A session's agent process ended.
    Exited,
    /// A session's agents end right after they are given a task.
    Crashing,
    /// A task is dead.
    TaskDead,
    /// Tasks wait and no healthy agent may take them.
    NoHealthyWorker,
    /// Many hosts fell silent together, so that no session expires.
    CorrelatedSilence,
    /// The store cannot be used.
    StoreTrouble,
    /// No way to wake a session worked.
    WakeListSpent,
    /// No orchestrator acts.
    NoActingLeader,
    /// Two daemons run under one name.
    NameTaken,
    /// A kind of a newer program: it stands in answers alone.
    Unknown,
}

/// `MESSAGE_ID` of every alert that ended, of any kind.
pub(super) const RECOVERED: &str = "a2abc4a5e8b34b91b3f2c0d301d9e385";

impl AlertKind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::NeverStarted,
        Self::Stalled,
        Self::Lost,
        Self::Exited,
        Self::Crashing,
        Self::TaskDead,
        Self::NoHealthyWorker,
        Self::CorrelatedSilence,
        Self::StoreTrouble,
        Self::WakeListSpent,
        Self::NoActingLeader,
        Self::NameTaken,
    ];

    /// The word on the command line, in JSON and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeverStarted => "never-started",
            Self::Stalled => "stalled",
            Self::Lost => "lost",
            Self::Exited => "exited",
            Self::Crashing => "crashing",
            Self::TaskDead => "task-dead",
            Self::NoHealthyWorker => "no-healthy-worker",
            Self::CorrelatedSilence => "correlated-silence",
            Self::StoreTrouble => "store-trouble",
            Self::WakeListSpent => "wake-list-spent",
            Self::NoActingLeader => "no-acting-leader",
            Self::NameTaken => "name-taken",
            Self::Unknown => "unknown",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// What a person can do, in a few words without a full stop.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::NeverStarted => "start its agent, or drain the session until it starts",
            Self::Stalled => "look at its agent: it may hang, or wait for its user",
            Self::Lost => "check that its machine and mcp-bridged there run",
            Self::Exited => "start its agent again if you still need it",
            Self::Crashing => "find out why its agent ends, and repair or stop it",
            Self::TaskDead => "read why it failed, correct that, and add it again",
            Self::NoHealthyWorker => "start an agent with the role of the waiting tasks",
            Self::CorrelatedSilence => "check the network and the store",
            Self::StoreTrouble => "check that its file system is mounted, writable and not full",
            Self::WakeListSpent => "look at its agent, or configure another wake adapter",
            Self::NoActingLeader => {
                "start mcp-bridged in the role orchestrator, or find out why it is not active"
            }
            Self::NameTaken => {
                "rename the configuration file of one of the two, or stop one of them"
            }
            Self::Unknown => "use the mcp-bridge that was installed with the daemon",
        }
    }

    /// How bad it is while it lasts.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            // Nothing is watched, or nothing is kept, while these last.
            Self::CorrelatedSilence | Self::StoreTrouble | Self::NoActingLeader => {
                Severity::Critical
            }
            Self::Lost | Self::TaskDead | Self::NoHealthyWorker | Self::NameTaken => {
                Severity::Error
            }
            Self::NeverStarted
            | Self::Stalled
            | Self::Exited
            | Self::Crashing
            | Self::WakeListSpent
            | Self::Unknown => Severity::Warning,
        }
    }

    /// `MESSAGE_ID` of the journal: 32 hexadecimal digits.
    #[must_use]
    pub fn message_id(self) -> &'static str {
        match self {
            Self::NeverStarted => "250189a3abf54afabb0ab5ec4687a309",
            Self::Stalled => "482da10a634846528f1e299be6acbe42",
            Self::Lost => "53d4582334d54287b95e2c03a3d9da67",
            Self::Exited => "81b68ef860c144baaf4ddb1b4ea4610e",
            Self::Crashing => "6436673235b44a199adeb9840cce3614",
            Self::TaskDead => "c1b690f2c1994857a2b734f403fa463e",
            Self::NoHealthyWorker => "f0f6c4b259294342b79d58f1241a3c69",
            Self::CorrelatedSilence => "46242acd74d24a95a5a8cc64601a3fe0",
            Self::StoreTrouble => "fcd516165dc64708ae1b817439b65e14",
            Self::WakeListSpent => "21e041a7d3e1430b8d7c2f0aaa7ee37b",
            Self::NoActingLeader => "c58604af62654032886bafccd681aa23",
            Self::NameTaken => "0e10ddf6880bb4998825fcede7ef9cc3",
            // It is never announced: it stands in answers alone.
            Self::Unknown => "00000000000000000000000000000000",
        }
    }
}

impl crate::model::wire::Word for AlertKind {
    const UNKNOWN: Self = Self::Unknown;
}

crate::model::wire::as_word!(AlertKind, "AlertKind", Self::ALL);

impl fmt::Display for AlertKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The fleet as a whole is not looked after.
    Critical,
    /// Work is held up or lost its owner.
    Error,
    /// An operator should look at one session.
    Warning,
    /// Good news.
    Notice,
}

impl Severity {
    /// The journal's `PRIORITY`, as syslog counts: 2, 3, 4, 5.
    #[must_use]
    pub fn priority(self) -> u8 {
        match self {
            Self::Critical => 2,
            Self::Error => 3,
            Self::Warning => 4,
            Self::Notice => 5,
        }
    }

    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

/// Which way it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Edge {
    /// It began.
    Raised,
    /// It still lasts.
    Reminder,
    /// It is over.
    Recovered,
}

impl Edge {
    /// The word in JSON and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Reminder => "reminder",
            Self::Recovered => "recovered",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Raised, Self::Reminder, Self::Recovered]
            .into_iter()
            .find(|edge| edge.as_str() == word)
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn words_and_ids_are_unique_and_read_back() {
        let ids: HashSet<&str> = AlertKind::ALL.map(AlertKind::message_id).into();
        assert_eq!(ids.len(), AlertKind::ALL.len());
        for id in ids.iter().chain([&RECOVERED]) {
            let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
            assert!(id.len() == 32 && id.chars().all(hex), "{id}");
        }
        assert!(!ids.contains(RECOVERED));
        for kind in AlertKind::ALL {
            assert_eq!(AlertKind::from_word(kind.as_str()), Some(kind));
            assert!(kind.severity() < Severity::Notice, "{kind}");
            assert!(!kind.remedy().ends_with('.') && !kind.remedy().contains('\n'));
        }
        assert_eq!(AlertKind::from_word("Stalled"), None);
        for edge in [Edge::Raised, Edge::Reminder, Edge::Recovered] {
            assert_eq!(Edge::from_word(edge.as_str()), Some(edge));
        }
    }

    #[test]
    fn the_docs_list_them_all() {
        let docs = include_str!("../../../docs/daemon.md");
        for kind in AlertKind::ALL {
            let (id, priority) = (kind.message_id(), kind.severity().priority());
            let row = format!("| `{kind}` | `{id}` | {priority} |");
            assert!(docs.contains(&row), "{row}");
        }
        assert!(docs.contains(&format!("| any, recovered | `{RECOVERED}` | 5 |")));
    }

    /// Operators and their scripts rest on this.
    #[test]
    fn the_ids_of_the_journal_do_not_change() {
        let listed: Vec<String> = AlertKind::ALL
            .iter()
            .map(|kind| format!("{} {}", kind.message_id(), kind))
            .collect();
        insta::assert_snapshot!(listed.join("\n"), @r"
        250189a3abf54afabb0ab5ec4687a309 never-started
        482da10a634846528f1e299be6acbe42 stalled
        53d4582334d54287b95e2c03a3d9da67 lost
        81b68ef860c144baaf4ddb1b4ea4610e exited
        6436673235b44a199adeb9840cce3614 crashing
        c1b690f2c1994857a2b734f403fa463e task-dead
        f0f6c4b259294342b79d58f1241a3c69 no-healthy-worker
        46242acd74d24a95a5a8cc64601a3fe0 correlated-silence
        fcd516165dc64708ae1b817439b65e14 store-trouble
        21e041a7d3e1430b8d7c2f0aaa7ee37b wake-list-spent
        c58604af62654032886bafccd681aa23 no-acting-leader
        0e10ddf6880bb4998825fcede7ef9cc3 name-taken
        ");
        assert_eq!(RECOVERED, "a2abc4a5e8b34b91b3f2c0d301d9e385");
    }
}
