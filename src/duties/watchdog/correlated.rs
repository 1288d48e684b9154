//! The alert about many hosts that fell silent together.

use super::Watchdog;
use crate::clock;
use crate::duties::Patience;
use crate::model::alert::AlertKind;
use crate::store::{Leader, NewAlert, SharedStore, StoreError};

impl Watchdog {
    /// The leader before may have raised it, or had no time to end it.
    pub(super) async fn tell_correlated(
        &mut self,
        store: &SharedStore,
        leader: &Leader,
        patience: Patience,
    ) -> Result<(), StoreError> {
        let (kind, subject) = (AlertKind::CorrelatedSilence, "fleet");
        let silence = self.observer.correlated();
        if self.correlated == Some(silence.is_some()) {
            return Ok(());
        }
        let changed = match &silence {
            Some(silence) => {
                let alert = NewAlert {
                    kind,
                    subject: subject.to_owned(),
                    session: None,
                    text: format!(
                        "{} of {} hosts fell silent together: no session is declared lost for {}",
                        silence.silent,
                        silence.hosts,
                        humantime::format_duration(self.settings.correlated_hold)
                    ),
                    by: leader.daemon.id.clone(),
                    told: false,
                };
                let raising = store.raise_alert(Some(leader), &alert, clock::now());
                patience.bounded(store.location(), raising).await?
            }
            None => {
                let ending = store.recover_alert(Some(leader), kind, subject, clock::now());
                patience.bounded(store.location(), ending).await?
            }
        };
        self.correlated = Some(silence.is_some());
        if changed {
            self.desk.look();
        }
        Ok(())
    }
}
