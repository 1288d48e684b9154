//! Losses that were not written, because the write had to wait so long for the
//! lock that a sign of life may have waited behind it. What waited comes before
//! the next try: a session that is judged in the same way several times gave none. Where
//! every write waits, as on a disk that is slow for good, no session would be lost
//! otherwise.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::model::SessionKey;
use crate::store::Finding;

/// So often a loss is put off.
const TIMES: u32 = 3;
/// More than these are begun anew, with another round for each.
const MOST: usize = 10_000;

/// How often each of them was put off, by the heartbeat that was judged.
#[derive(Debug, Default)]
pub(super) struct Postponed(Mutex<HashMap<SessionKey, (Option<i64>, u32)>>);

impl Postponed {
    /// Whether this loss is put off once more.
    pub(super) fn once_more(&self, finding: &Finding) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > MOST {
            known.clear();
        }
        let (seq, times) = known.entry(finding.session.clone()).or_default();
        if *seq != finding.seq {
            (*seq, *times) = (finding.seq, 0);
        }
        *times += 1;
        let again = *times <= TIMES;
        if !again {
            known.remove(&finding.session);
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ConversationId, Side};

    #[test]
    fn a_loss_is_put_off_until_it_was_seen_several_times() {
        let postponed = Postponed::default();
        let finding = |seq| Finding {
            session: SessionKey::new(ConversationId::from_random([7; 8]), Side::B),
            standing: "lost",
            seq: Some(seq),
            activity: 0,
            foreign: String::new(),
            alert: None,
            what: String::new(),
            text: String::new(),
        };
        assert!((0..2).all(|_| postponed.once_more(&finding(7))));
        // It gave a sign of life in between.
        let put_off: Vec<bool> = (0..4).map(|_| postponed.once_more(&finding(8))).collect();
        assert_eq!(put_off, [true, true, true, false]);
    }
}
