//! What operators said.

use jiff::Timestamp;

use super::MemoryRows;
use crate::model::SessionKey;
use crate::store::rows::ControlRows;
use crate::store::{Control, ControlKind, Result};

impl ControlRows for MemoryRows {
    fn set_control(&mut self, control: &Control) -> Result<()> {
        self.delete_control(control.kind, &control.subject)?;
        self.at()?.controls.push(control.clone());
        Ok(())
    }

    fn delete_control(&mut self, kind: ControlKind, subject: &str) -> Result<Option<Timestamp>> {
        let controls = &mut self.at()?.controls;
        let at = controls
            .iter()
            .position(|control| control.kind == kind && control.subject == subject);
        Ok(at.map(|at| controls.remove(at).until))
    }

    fn controls(&mut self, now: Timestamp) -> Result<Vec<Control>> {
        let controls = self.at()?.controls.iter();
        let mut held: Vec<_> = controls
            .filter(|control| control.until > now)
            .cloned()
            .collect();
        held.sort_by_key(|control| (control.kind.as_str(), control.subject.clone()));
        Ok(held)
    }

    fn is_drained(&mut self, session: &SessionKey, now: Timestamp) -> Result<bool> {
        let tables = self.at()?;
        let daemon = tables.daemon_of(session);
        let host = daemon.map(|daemon| &daemon.info.host);
        let host = host.map(|host| format!("host:{host}"));
        let subjects = [Some(session.to_string()), host];
        Ok(tables.controls.iter().any(|control| {
            control.kind == ControlKind::Drain
                && control.until > now
                && subjects
                    .iter()
                    .flatten()
                    .any(|subject| *subject == control.subject)
        }))
    }
}
