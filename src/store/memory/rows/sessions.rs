//! Sessions.

use jiff::Timestamp;

use super::MemoryRows;
use crate::model::SessionKey;
use crate::model::health::{Turn, TurnSaid};
use crate::model::session::Status;
use crate::model::standing::Standing;
use crate::store::Result;
use crate::store::rows::{SUPERSEDED, SessionRows};

impl SessionRows for MemoryRows {
    fn note_call(&mut self, session: &SessionKey, did: Option<Timestamp>) -> Result<()> {
        let tables = self.at()?;
        let change = tables.next_change();
        let row = tables.sessions.entry(session.clone()).or_default();
        row.calls += 1;
        row.change = change;
        row.acted = did.or(row.acted);
        if matches!(row.standing, Some(Standing::Lost | Standing::Stalled)) {
            row.standing_seq = Some(SUPERSEDED);
        }
        Ok(())
    }

    fn set_status(&mut self, session: &SessionKey, status: Status, _now: Timestamp) -> Result<()> {
        let tables = self.at()?;
        tables.said.insert(session.clone(), status);
        Ok(())
    }

    fn note_first_fetch(&mut self, session: &SessionKey, now: Timestamp) -> Result<()> {
        let row = self.at()?.sessions.entry(session.clone()).or_default();
        row.first_fetch.get_or_insert(now);
        Ok(())
    }

    fn note_change(&mut self, session: &SessionKey) -> Result<()> {
        let tables = self.at()?;
        let change = tables.next_change();
        tables.sessions.entry(session.clone()).or_default().change = change;
        Ok(())
    }

    fn set_turn(&mut self, session: &SessionKey, said: TurnSaid, boot: &str) -> Result<()> {
        let Some(row) = self.at()?.sessions.get_mut(session) else {
            return Ok(());
        };
        let last = row.turn_said.as_ref();
        if last.is_none_or(|(of, at)| of != boot || *at <= said.at) {
            row.turn = (said.turn != Turn::Unknown).then_some(said.turn);
            row.turn_said = Some((boot.to_owned(), said.at));
        }
        Ok(())
    }

    fn set_capacity(&mut self, session: &SessionKey, capacity: Option<u32>) -> Result<()> {
        let row = self.at()?.sessions.entry(session.clone()).or_default();
        row.capacity = capacity;
        Ok(())
    }
}
