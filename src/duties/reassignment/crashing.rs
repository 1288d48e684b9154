//! The alert about sessions whose agents end right after they are given a task:
//! their own fault, and not their tasks'.

use std::collections::HashMap;

use super::Reassignment;
use crate::clock;
use crate::duties::Patience;
use crate::model::SessionKey;
use crate::model::alert::AlertKind;
use crate::model::assignment::crash_pause;
use crate::store::{Leader, NewAlert, SharedStore, StoreError};
use crate::text;

impl Reassignment {
    /// Raises and ends it, one for each session.
    pub(super) async fn tell_crashing(
        &mut self,
        store: &SharedStore,
        leader: &Leader,
        patience: Patience,
    ) -> Result<(), StoreError> {
        let crashing: HashMap<String, (SessionKey, u32)> = self
            .crashes
            .crashing(clock::since_boot())
            .map(|(key, crashes)| (key.to_string(), (key.clone(), crashes)))
            .collect();
        let (kind, wall) = (AlertKind::Crashing, clock::now());
        for (subject, (key, crashes)) in &crashing {
            if self.crashing.contains(subject) {
                continue;
            }
            let alert = NewAlert {
                kind,
                subject: subject.clone(),
                session: Some(key.clone()),
                text: format!(
                    "its agent ended {crashes} times in a row right after it got a task: it gets the next task after a pause of {}",
                    text::long_duration(crash_pause(*crashes))
                ),
                by: leader.daemon.id.clone(),
                told: false,
            };
            let raising = store.raise_alert(Some(leader), &alert, wall);
            patience.bounded(store.location(), raising).await?;
            self.crashing.insert(subject.clone());
            self.desk.look();
        }
        let over: Vec<String> = self
            .crashing
            .iter()
            .filter(|subject| !crashing.contains_key(*subject))
            .cloned()
            .collect();
        for subject in over {
            let ending = store.recover_alert(Some(leader), kind, &subject, wall);
            patience.bounded(store.location(), ending).await?;
            self.crashing.remove(&subject);
            self.desk.look();
        }
        Ok(())
    }
}
