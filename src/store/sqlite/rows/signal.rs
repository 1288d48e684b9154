//! The signal that there is work.

use crate::store::Result;
use crate::store::rows::SignalRows;
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::statements::Statements as _;
use crate::store::sqlite::written::Written as _;

impl SignalRows for SqliteRows {
    fn signal(&mut self) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "INSERT INTO bridge_signal (name, n) VALUES ('work', 1)
                     ON CONFLICT (name) DO UPDATE SET n = n + 1",
                    [],
                )?
                .wrote(1, "bridge_signal")?;
            Ok(())
        })
    }
}
