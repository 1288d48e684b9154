//! Clients.

use jiff::Timestamp;

use super::MemoryRows;
use crate::model::SessionKey;
use crate::store::rows::RegistrationRows;
use crate::store::{Registration, Result};

impl RegistrationRows for MemoryRows {
    fn registration(&mut self, session: &SessionKey) -> Result<Option<Registration>> {
        Ok(self.at()?.registrations.get(session).cloned())
    }

    fn registrations(
        &mut self,
        boot_id: &str,
        pid_ns: i64,
        uid: Option<u32>,
    ) -> Result<Vec<(SessionKey, Registration)>> {
        let all = self.at()?.registrations.iter();
        let here = all.filter(|(_, one)| {
            let wanted = uid.is_none_or(|uid| uid == one.uid);
            one.process.is_some() && one.runs_in(boot_id, pid_ns) && wanted
        });
        let mut found: Vec<_> = here.map(|(key, one)| (key.clone(), one.clone())).collect();
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(found)
    }

    fn set_registration(
        &mut self,
        session: &SessionKey,
        registration: &Registration,
        _now: Timestamp,
    ) -> Result<()> {
        let all = &mut self.at()?.registrations;
        all.insert(session.clone(), registration.clone());
        Ok(())
    }

    fn forget_registration(&mut self, session: &SessionKey) -> Result<()> {
        self.at()?.registrations.remove(session);
        Ok(())
    }
}
