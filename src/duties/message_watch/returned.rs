//! Adapters that have returned: what they said, and whether they failed.

use tracing::info;

use super::runs::Run;
use super::wake::adapter_name;
use super::wakes::Wakes;
use crate::clock;
use crate::duties::Patience;
use crate::model::SessionKey;
use crate::model::wake::Mail;
use crate::store::SharedStore;
use crate::wake::Returned;

/// In the place of what may be mail: that is in no log.
const NOT_SHOWN: &str = "(not shown: it may contain messages)";

impl Wakes {
    /// Takes the results of adapters that ran.
    pub(super) async fn collect_returned(&mut self, store: &SharedStore, patience: Patience) {
        let mut returned: Vec<(Run, Returned)> = Vec::new();
        while let Some((run, outcome)) = self.runs.next() {
            let name = adapter_name(&run.session, run.adapter);
            self.calls.returned(&run.session, name);
            returned.push((run, outcome));
        }
        hide_mail(&mut returned, store, patience).await;
        for (run, outcome) in returned {
            self.collect(&run, outcome);
        }
    }

    fn collect(&mut self, run: &Run, Returned { failure, said }: Returned) {
        let session = &run.session;
        let Some(mut why) = failure else {
            if !said.is_empty() {
                info!(
                    event = "wake-output", adapter = adapter_name(session, run.adapter),
                    conversation = %session.key.conversation, session = %session.key,
                    label = session.name(),
                    "the command that woke {} said: {said}", session.name()
                );
            }
            return;
        };
        if !said.is_empty() {
            why.push_str("; it said: ");
            why.push_str(&said);
        }
        let wake = self.records.get(&session.key);
        if wake.is_some_and(|wake| wake.awaits(run.adapter, run.mark)) {
            self.fails(session, &why, clock::since_boot());
        }
    }
}

/// A command has the credentials of its agent and may print what it read. Shown is
/// only what was said while none of the agent's sessions did anything; if the
/// store cannot tell, nothing.
async fn hide_mail(returned: &mut [(Run, Returned)], store: &SharedStore, patience: Patience) {
    let mut loud: Vec<&mut (Run, Returned)> = returned
        .iter_mut()
        .filter(|(_, returned)| !returned.said.is_empty())
        .collect();
    if loud.is_empty() {
        return;
    }
    let before = loud.iter().flat_map(|(run, _)| &run.acted_at);
    let keys: Vec<SessionKey> = before.map(|(key, _)| key.clone()).collect();
    let mails = patience.bounded(store.location(), store.mail(&keys)).await;
    let mut mails = mails.unwrap_or_default().into_iter();
    for (run, returned) in &mut loud {
        let now: Vec<Mail> = mails.by_ref().take(run.acted_at.len()).collect();
        let before = run.acted_at.iter().map(|(_, before)| *before);
        if !now.iter().map(|mail| mail.acted_at).eq(before) {
            returned.said = NOT_SHOWN.to_owned();
        }
    }
}
