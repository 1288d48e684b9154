//! The alert about tasks whose role no healthy agent has.

use std::collections::HashSet;
use std::time::Duration;

use super::Reassignment;
use crate::clock;
use crate::config::MatchRole;
use crate::duties::Patience;
use crate::model::alert::AlertKind;
use crate::model::assignment::Candidate;
use crate::model::health::Health;
use crate::store::{Leader, NewAlert, SharedStore, StoreError, Waiting};

/// How long tasks wait for a healthy agent before the operator hears of it.
const GRACE: Duration = Duration::from_secs(5);
/// What an alert about a role is about, before its name.
const ROLE: &str = "role ";

impl Reassignment {
    /// What an orchestrator that acted before us raised is ours to end.
    pub(super) async fn adopt(
        &mut self,
        store: &SharedStore,
        leader: &Leader,
        patience: Patience,
    ) -> Result<(), StoreError> {
        if self.adopted == Some(leader.epoch) {
            return Ok(());
        }
        let open = patience.bounded(store.location(), store.open_alerts());
        let now = clock::since_boot();
        for row in open.await? {
            if row.kind == AlertKind::Crashing && row.recovered_at.is_none() {
                self.crashing.insert(row.subject.clone());
            }
            if row.kind == AlertKind::NoHealthyWorker
                && row.recovered_at.is_none()
                && let Some(role) = row.subject.strip_prefix(ROLE)
            {
                self.starved.insert(role.to_owned(), (now, true));
            }
        }
        self.adopted = Some(leader.epoch);
        Ok(())
    }

    /// Roles whose tasks wait for another reason than the health of their agents:
    /// reassignment cannot cure that.
    pub(super) async fn tell_starved(
        &mut self,
        store: &SharedStore,
        leader: &Leader,
        patience: Patience,
        waiting: &[Waiting],
        candidates: &[Candidate],
    ) -> Result<(), StoreError> {
        let any = self.settings.match_role == MatchRole::Any;
        let served: HashSet<&str> = candidates
            .iter()
            .filter(|candidate| candidate.health.is_alive() && !candidate.draining)
            // It takes no task, and its return is not known.
            .filter(|candidate| candidate.health != Health::Waiting)
            .map(|candidate| candidate.role.as_str())
            .collect();
        let starving: HashSet<&str> = waiting
            .iter()
            .map(|task| task.role.as_str())
            .filter(|role| !served.contains(role) && (!any || served.is_empty()))
            .collect();
        let now = clock::since_boot();
        for role in &starving {
            self.starved
                .entry((*role).to_owned())
                .or_insert((now, false));
        }
        let wall = clock::now();
        let due = |since: Duration| now.saturating_sub(since) >= GRACE;
        for (role, (since, told)) in &mut self.starved {
            let subject = format!("{ROLE}{role}");
            match (starving.contains(role.as_str()), *told) {
                (true, false) if due(*since) => {
                    let alert = NewAlert {
                        kind: AlertKind::NoHealthyWorker,
                        subject,
                        session: None,
                        text: format!(
                            "tasks for the role `{role}` wait; no healthy session has this role"
                        ),
                        by: leader.daemon.id.clone(),
                        told: false,
                    };
                    let raising = store.raise_alert(Some(leader), &alert, wall);
                    patience.bounded(store.location(), raising).await?;
                    *told = true;
                    self.desk.look();
                }
                (false, true) => {
                    let kind = AlertKind::NoHealthyWorker;
                    let ending = store.recover_alert(Some(leader), kind, &subject, wall);
                    patience.bounded(store.location(), ending).await?;
                    *told = false;
                    self.desk.look();
                }
                _ => {}
            }
        }
        self.starved
            .retain(|role, _| starving.contains(role.as_str()));
        Ok(())
    }
}
