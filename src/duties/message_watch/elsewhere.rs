//! Sessions that this daemon has no way to wake. Their agents' own programs wake them,
//! and say in the store what came of it: the operator is alerted here where no way worked.

use super::wakes::Wakes;
use crate::duties::Patience;
use crate::duties::roster::KeptSession;
use crate::model::SessionKey;
use crate::model::wake::Mail;
use crate::store::{SharedStore, SpentWake, StoreError};
use crate::text::shown::shown_within;

/// Characters of what an agent wrote that an alert shows.
const SHOWN: usize = 300;

/// What tried, where the log names an adapter.
const ITS_OWN: &str = "its own programs";

impl Wakes {
    /// Looks what came of the wakes of others for these sessions.
    pub(super) async fn look_elsewhere(
        &mut self,
        store: &SharedStore,
        asked: &[(KeptSession, Mail)],
        patience: Patience,
    ) -> Result<(), StoreError> {
        let others = asked.iter();
        let others = others.filter(|(session, mail)| {
            session.wake.adapters.is_empty() && mail.unread > 0 && !patience.is_over()
        });
        let others: Vec<&(KeptSession, Mail)> = others.collect();
        if others.is_empty() {
            return Ok(());
        }
        let keys: Vec<SessionKey> = others.iter().map(|(kept, _)| kept.key.clone()).collect();
        let spent = store.spent_wakes(&keys);
        let spent = patience.bounded(store.location(), spent).await?;
        for ((session, mail), spent) in others.into_iter().zip(spent) {
            self.hear(session, spent.filter(|spent| is_about(spent, mail)));
        }
        Ok(())
    }

    /// An alert is raised once, and taken back when a later wake worked.
    fn hear(&mut self, session: &KeptSession, spent: Option<SpentWake>) {
        let wake = self.record(&session.key);
        match spent {
            Some(spent) if wake.given_up().is_none() => {
                // That names each of the ways.
                let why = shown_within(&spent.reason, SHOWN).into_owned();
                self.tell_spent(session, (ITS_OWN, &why), &format!(": {why}"));
                self.tally.spent += 1;
            }
            Some(_) => {}
            None => self.owes_nothing(session),
        }
    }
}

/// Whether mail that such a wake was about is still unread.
fn is_about(spent: &SpentWake, mail: &Mail) -> bool {
    mail.oldest_unread
        .is_some_and(|oldest| oldest <= spent.mark)
}
