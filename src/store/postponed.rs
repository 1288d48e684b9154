//! Losses that were not written, because the write had to wait so long for the lock that
//! a sign of life may have waited behind it. What waited comes before the next try: a
//! session that is judged in the same way several times gave none. Otherwise, where
//! every write waits, as on a disk that stays slow, no session would ever be lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Writes;
use crate::clock;
use crate::model::SessionKey;
use crate::model::standing::Standing;
use crate::store::Finding;

/// A verdict on silence that waited longer for the lock is judged again: a session that
/// was to give a sign of life may have waited behind it.
const WAITED: Duration = Duration::from_secs(1);
/// So often a loss is put off.
const TIMES: u32 = 3;
/// More than these are begun anew, with another round for each.
const MOST: usize = 10_000;

/// The heartbeat that was judged, and how often its verdict was put off.
type Times = (Option<i64>, u32);

/// How often each loss was put off.
#[derive(Debug)]
pub(crate) struct Postponed {
    /// The writes that heartbeats of this process are among.
    beats: Arc<Writes>,
    known: Mutex<HashMap<SessionKey, Times>>,
}

impl Postponed {
    pub(crate) fn new(beats: Arc<Writes>) -> Self {
        Self {
            beats,
            known: Mutex::default(),
        }
    }

    /// Whether this loss is put off once more, by a write that waited so long.
    /// Changes nothing: the write may run again.
    pub(crate) fn puts_off(&self, finding: &Finding, waited: Duration) -> bool {
        finding.standing == Standing::Lost
            && (waited > WAITED || self.beats_wait())
            && self.times(finding) < TIMES
    }

    /// Whether a heartbeat of this process waits, too.
    fn beats_wait(&self) -> bool {
        let since = self.beats.beats().failing_since;
        since.is_some_and(|since| clock::since_boot().saturating_sub(since) > WAITED)
    }

    fn times(&self, finding: &Finding) -> u32 {
        match self.known().get(&finding.session) {
            Some((seq, times)) if *seq == finding.seq => *times,
            _ => 0,
        }
    }

    /// Notes that a loss was put off, or that it was not.
    pub(crate) fn note(&self, finding: &Finding, put_off: bool) {
        let times = if put_off { self.times(finding) + 1 } else { 0 };
        let mut known = self.known();
        if times == 0 {
            known.remove(&finding.session);
            return;
        }
        if known.len() > MOST {
            known.clear();
        }
        known.insert(finding.session.clone(), (finding.seq, times));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<SessionKey, Times>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use tokio::sync::oneshot;

    use super::*;
    use crate::model::token::Token;
    use crate::model::{ConversationId, Side};
    use crate::store::memory::{Memory, Troubles};
    use crate::store::{DaemonRef, NewConversation};

    fn finding(seq: Option<i64>) -> Finding {
        Finding {
            session: SessionKey::new(ConversationId::from_random([7; 8]), Side::B),
            standing: Standing::Lost,
            seq,
            activity: 0,
            foreign: String::new(),
            alert: None,
            what: String::new(),
            text: String::new(),
        }
    }

    #[test]
    fn loss_is_postponed_until_seen_several_times() {
        let postponed = Postponed::new(Arc::default());
        let once_more = |seq| {
            let finding = finding(Some(seq));
            let again = postponed.puts_off(&finding, WAITED * 2);
            postponed.note(&finding, again);
            again
        };
        assert!((0..2).all(|_| once_more(7)));
        // It gave a sign of life in between.
        let put_off: Vec<bool> = (0..4).map(|_| once_more(8)).collect();
        assert_eq!(put_off, [true, true, true, false]);
    }

    #[test]
    fn write_that_did_not_wait_postpones_nothing() {
        let postponed = Postponed::new(Arc::default());
        let mut finding = finding(None);
        assert!(!postponed.puts_off(&finding, Duration::ZERO));
        // A run that is repeated does not count twice.
        assert!((0..9).all(|_| postponed.puts_off(&finding, WAITED * 2)));
        finding.standing = Standing::Stalled;
        assert!(!postponed.puts_off(&finding, WAITED * 2));
    }

    #[tokio::test]
    async fn loss_found_by_a_late_write_is_postponed() {
        let sound: Troubles = Arc::new(|_| None);
        let memory = Memory::default();
        let store = Arc::new(memory.store(&sound));
        let now = Timestamp::from_second(1_763_000_000).expect("in range");
        let lost = finding(None);
        let id = lost.session.conversation.clone();
        let token = |side| Token::generate(&SessionKey::new(id.clone(), side), &[7; 32]);
        let new = NewConversation {
            id: id.clone(),
            label: None,
            role_a: "orchestrator".into(),
            role_b: "worker".into(),
            token_a: token(Side::A),
            token_b: token(Side::B),
            expires_at: now + SignedDuration::from_hours(3),
        };
        store.create_conversations(&[new], now).await.expect("made");
        let daemon = DaemonRef {
            id: "leading".into(),
            epoch: 1,
        };
        let ttl = Duration::from_secs(60);
        let lead = store.take_lead(&daemon, None, ttl, now).await;
        let leader = lead.expect("asked").expect("the first");

        // Another process has the lock for longer than a sign of life may wait.
        let other = memory.open(&sound);
        let (begun, begins) = oneshot::channel();
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let mut begun = Some(begun);
        let holding = tokio::spawn(async move {
            other
                .write("holding the lock", move |_| {
                    if let Some(begun) = begun.take() {
                        let _ = begun.send(());
                        let _ = gone.recv();
                    }
                    Ok(())
                })
                .await
        });
        begins.await.expect("held");
        let (asking, by, found) = (Arc::clone(&store), leader.clone(), lost.clone());
        let settled = tokio::spawn(async move { asking.write_findings(&by, &[found], now).await });
        tokio::task::yield_now().await;
        let asked = clock::since_boot();
        while clock::since_boot() - asked <= WAITED {
            tokio::task::yield_now().await;
        }
        drop(go);
        holding.await.expect("ran").expect("let go");
        let settled = settled.await.expect("ran").expect("settled");
        assert_eq!(settled, [false]);

        let settled = store.write_findings(&leader, &[lost], now).await;
        assert_eq!(settled.expect("settled"), [true], "nothing waited");
    }
}
