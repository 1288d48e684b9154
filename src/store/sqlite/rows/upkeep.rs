//! The store as a thing that can break.

use std::sync::Arc;

use crate::store::Result;
use crate::store::rows::UpkeepRows;
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::newest::newest;
use crate::store::sqlite::statements::Statements as _;
use crate::store::sqlite::written::Written as _;

impl UpkeepRows for SqliteRows {
    fn look(&mut self) -> Result<()> {
        let opened = Arc::clone(self.opened());
        self.run(|connection| {
            // Before the look: another call may commit meanwhile.
            let seen = opened.newest.seen();
            let found = connection.one(
                concat!("SELECT version, (", newest!(), ") FROM bridge_schema"),
                [],
                |row| row.get(1),
            )?;
            Ok(opened.newest.ensure_forwards(found, seen, &opened.files)?)
        })
    }

    fn count_on(&mut self) -> Result<()> {
        self.run(|connection| {
            let counted = connection.change(
                "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'bridge_time'",
                [],
            )?;
            if counted == 0 {
                connection.change(
                    "INSERT INTO sqlite_sequence (name, seq) VALUES ('bridge_time', 1)",
                    [],
                )?;
            }
            Ok(())
        })
    }

    fn try_write(&mut self) -> Result<()> {
        self.run(|connection| {
            // SQLite leaves a page alone whose content stays the same: so a number
            // counts on, in a circle, from any value that another program left there.
            connection
                .change(
                    "INSERT INTO bridge_signal (name, n) VALUES ('tried', 1)
                     ON CONFLICT (name) DO UPDATE SET n = (n & 1023) + 1",
                    [],
                )?
                .wrote(1, "bridge_signal")?;
            Ok(())
        })
    }

    fn write_log_back(&mut self) -> Result<()> {
        self.run(|connection| {
            connection.one("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
            Ok(())
        })
    }
}
