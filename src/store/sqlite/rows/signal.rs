//! What is counted for those who look.

use crate::store::rows::SignalRows;
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::statements::Statements as _;
use crate::store::sqlite::written::Written as _;
use crate::store::{Result, Signal};

impl Signal {
    /// Its row in `bridge_signal`.
    pub(in crate::store::sqlite) const fn name(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Access => "access",
            Self::Agents => "agents",
            Self::Owed => "owed",
        }
    }
}

impl SignalRows for SqliteRows {
    fn signal(&mut self, what: Signal) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "INSERT INTO bridge_signal (name, n) VALUES (?1, 1)
                     ON CONFLICT (name) DO UPDATE SET n = n + 1",
                    [what.name()],
                )?
                .wrote(1, "bridge_signal")?;
            Ok(())
        })
    }
}
