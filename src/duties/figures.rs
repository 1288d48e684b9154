//! The numbers of a round, for those who count over time. The supervisor keeps
//! them and writes them into the state file; `docs/daemon.md` lists them.

use serde::{Deserialize, Serialize};

/// One number of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    /// Unique within its duty; small letters and underscores.
    pub name: &'static str,
    /// How it adds up with those of other rounds.
    pub kind: FigureKind,
    /// What is counted.
    pub unit: FigureUnit,
    /// The number.
    pub value: u64,
}

/// How a number adds up with those of other rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FigureKind {
    /// A round says how many more there are; kept is the sum, which only grows as
    /// long as the daemon runs.
    Counter,
    /// How it is now; kept is that of the last round. A round that cannot tell
    /// leaves it out.
    Gauge,
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FigureUnit {
    /// Things: the name says which.
    Count,
    /// Bytes.
    Bytes,
    /// Millionths of a second.
    Microseconds,
}

impl Figure {
    /// `more` were added in this round.
    #[must_use]
    pub const fn counter(name: &'static str, more: u64) -> Self {
        Self {
            name,
            kind: FigureKind::Counter,
            unit: FigureUnit::Count,
            value: more,
        }
    }

    /// There are `now` at present.
    #[must_use]
    pub const fn gauge(name: &'static str, now: u64) -> Self {
        Self {
            name,
            kind: FigureKind::Gauge,
            unit: FigureUnit::Count,
            value: now,
        }
    }

    /// The same in another unit.
    #[must_use]
    pub const fn in_unit(self, unit: FigureUnit) -> Self {
        Self { unit, ..self }
    }
}
