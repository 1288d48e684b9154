//! Clients.

use jiff::Timestamp;
use rusqlite::{Row, params};

use crate::model::SessionKey;
use crate::model::process::ProcessId;
use crate::store::rows::RegistrationRows;
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::millis;
use crate::store::sqlite::statements::{Statements as _, readable, session_at};
use crate::store::sqlite::written::Written as _;
use crate::store::{Registration, Result};

impl RegistrationRows for SqliteRows {
    fn registration(&mut self, session: &SessionKey) -> Result<Option<Registration>> {
        self.run(|connection| {
            let found = connection.first(
                "SELECT conversation_id, session_id, client, client_version, boot_id, pid_ns,
                        pid, pid_start, uid, directory
                 FROM bridge_registration WHERE conversation_id = ?1 AND session_id = ?2",
                [session.conversation.as_str(), session.side.as_str()],
                |row| Ok(readable("registrations", registration(row))),
            )?;
            Ok(found.flatten())
        })
    }

    fn registrations(
        &mut self,
        boot_id: &str,
        pid_ns: i64,
        uid: Option<u32>,
    ) -> Result<Vec<(SessionKey, Registration)>> {
        self.run(|connection| {
            let found = connection.all(
                "SELECT conversation_id, session_id, client, client_version, boot_id, pid_ns,
                        pid, pid_start, uid, directory
                 FROM bridge_registration
                 WHERE boot_id = ?1 AND pid_ns = ?2 AND pid IS NOT NULL
                   AND (?3 IS NULL OR uid = ?3)
                 ORDER BY conversation_id, session_id",
                params![boot_id, pid_ns, uid],
                |row| {
                    let session = session_at(row, 0)?;
                    Ok(session.zip(readable("registrations", registration(row))))
                },
            )?;
            Ok(found.into_iter().flatten().collect())
        })
    }

    fn set_registration(
        &mut self,
        session: &SessionKey,
        registration: &Registration,
        now: Timestamp,
    ) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "INSERT OR REPLACE INTO bridge_registration
                         (conversation_id, session_id, client, client_version, boot_id, pid_ns,
                          pid, pid_start, uid, directory, registered_ms)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                    params![
                        session.conversation.as_str(),
                        session.side.as_str(),
                        registration.client,
                        registration.version,
                        registration.boot_id,
                        registration.pid_ns,
                        registration.process.map(|process| process.pid),
                        registration.process.map(|process| process.start),
                        registration.uid,
                        registration.directory,
                        millis(now),
                    ],
                )?
                .wrote(1, "bridge_registration")?;
            Ok(())
        })
    }

    fn forget_registration(&mut self, session: &SessionKey) -> Result<()> {
        self.run(|connection| {
            connection.change(
                "DELETE FROM bridge_registration WHERE conversation_id = ?1 AND session_id = ?2",
                [session.conversation.as_str(), session.side.as_str()],
            )?;
            Ok(())
        })
    }
}

/// A row, behind the two columns that name the session.
fn registration(row: &Row<'_>) -> rusqlite::Result<Registration> {
    let process = row
        .get::<_, Option<i64>>(6)?
        .zip(row.get::<_, Option<i64>>(7)?);
    Ok(Registration {
        client: row.get(2)?,
        version: row.get(3)?,
        boot_id: row.get(4)?,
        pid_ns: row.get(5)?,
        process: process.map(|(pid, start)| ProcessId { pid, start }),
        uid: row.get(8)?,
        directory: row.get(9)?,
    })
}
