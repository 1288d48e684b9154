//! What operators said.

use jiff::Timestamp;
use rusqlite::{Row, params};

use crate::model::SessionKey;
use crate::store::rows::ControlRows;
use crate::store::sqlite::engine::SqliteRows;
use crate::store::sqlite::statements::{Statements as _, readable};
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{from_millis, millis};
use crate::store::{Control, ControlKind, Result};

impl ControlRows for SqliteRows {
    fn set_control(&mut self, control: &Control) -> Result<()> {
        self.run(|connection| {
            connection
                .change(
                    "INSERT INTO bridge_control (kind, subject, set_ms, until_ms)
                     VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (kind, subject) DO UPDATE SET set_ms = excluded.set_ms,
                         until_ms = excluded.until_ms",
                    params![
                        control.kind.as_str(),
                        control.subject,
                        millis(control.since),
                        millis(control.until)
                    ],
                )?
                .wrote(1, "bridge_control")?;
            Ok(())
        })
    }

    fn delete_control(&mut self, kind: ControlKind, subject: &str) -> Result<Option<Timestamp>> {
        self.run(|connection| {
            let until = connection.first(
                "DELETE FROM bridge_control WHERE kind = ?1 AND subject = ?2 RETURNING until_ms",
                [kind.as_str(), subject],
                |row| Ok(from_millis(row.get(0)?)),
            )?;
            Ok(until)
        })
    }

    fn controls(&mut self, now: Timestamp) -> Result<Vec<Control>> {
        self.run(|connection| {
            let controls = connection.all(
                "SELECT kind, subject, set_ms, until_ms FROM bridge_control WHERE until_ms > ?1
                 ORDER BY kind, subject",
                [millis(now)],
                |row| Ok(readable("orders", control(row))),
            )?;
            Ok(controls.into_iter().flatten().collect())
        })
    }

    fn is_drained(&mut self, session: &SessionKey, now: Timestamp) -> Result<bool> {
        self.run(|connection| {
            let drained = connection.one(
                "SELECT EXISTS (SELECT 1 FROM bridge_control c
                     WHERE c.kind = 'drain' AND c.until_ms > ?4
                       AND c.subject IN (?1, 'host:' || (
                           SELECT d.host FROM bridge_heartbeat h JOIN bridge_daemon d
                               USING (daemon_id)
                           WHERE h.conversation_id = ?2 AND h.session_id = ?3)))",
                params![
                    session.to_string(),
                    session.conversation.as_str(),
                    session.side.as_str(),
                    millis(now)
                ],
                |row| row.get(0),
            )?;
            Ok(drained)
        })
    }
}

fn control(row: &Row<'_>) -> rusqlite::Result<Control> {
    let kind = match &*row.get::<_, String>(0)? {
        "drain" => ControlKind::Drain,
        "hold" => ControlKind::Hold,
        _ => ControlKind::Mute,
    };
    Ok(Control {
        kind,
        subject: row.get(1)?,
        since: from_millis(row.get(2)?),
        until: from_millis(row.get(3)?),
    })
}
