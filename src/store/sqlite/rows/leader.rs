//! The lease of the lead.

use rusqlite::params;

use crate::store::rows::LeaderRows;
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::statements::Statements as _;
use crate::store::{Leader, Result};

impl LeaderRows for SqliteRows {
    fn acts(&mut self, leader: &Leader) -> Result<std::result::Result<(), i64>> {
        self.run(|connection| {
            let acts = connection.one(
                "SELECT EXISTS (SELECT 1 FROM bridge_leader
                     WHERE epoch = ?1 AND holder = ?2 AND holder_epoch = ?3)",
                params![leader.epoch, leader.daemon.id, leader.daemon.epoch],
                |row| row.get(0),
            )?;
            if acts {
                return Ok(Ok(()));
            }
            let epoch = connection.first(
                "SELECT CAST(epoch AS INTEGER) FROM bridge_leader",
                [],
                |row| row.get::<_, Option<i64>>(0),
            )?;
            Ok(Err(epoch.flatten().unwrap_or(0)))
        })
    }
}
