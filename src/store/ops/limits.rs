//! How much a session may send, counted where it sends.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::model::SessionKey;
use crate::model::message::Draft;
use crate::model::rate::{RateLimits, Window};
use crate::store::rows::Rows;
use crate::store::{Result, Sent, StoreError};

/// The room that a session has, counted once for all messages of a batch: counted
/// anew for each, a batch of many under a high limit would hold the write lock for
/// the square of its length.
pub(super) struct Room {
    windows: Vec<(Window, Vec<Option<Timestamp>>)>,
    /// Messages of this batch so far.
    sent: usize,
    now: Timestamp,
}

impl Room {
    /// Looks up all that up to `most` further messages can be refused for.
    pub(super) fn measure(
        rows: &mut dyn Rows,
        from: &SessionKey,
        limits: RateLimits,
        most: usize,
        now: Timestamp,
    ) -> Result<Self> {
        let mut windows = Vec::new();
        for window in limits.windows() {
            // The n-th newest decides about the first message, the one after it in
            // time about the second.
            let count = u32::try_from(most).unwrap_or(u32::MAX).min(window.limit);
            let sent = rows.sent_at(from, now, window.limit - count, count)?;
            // Oldest first; where fewer were sent, the first ones find room.
            let missing = usize::try_from(count)
                .unwrap_or(0)
                .saturating_sub(sent.len());
            let nth = std::iter::repeat_n(None, missing).chain(sent.into_iter().rev());
            windows.push((window, nth.collect()));
        }
        Ok(Self {
            windows,
            sent: 0,
            now,
        })
    }

    /// Takes the room of one message, or refuses it.
    pub(super) fn take(&mut self, from: &SessionKey) -> Result<()> {
        for (window, nth) in &self.windows {
            // Behind the last one it is a message of this very batch.
            let nth_newest = nth.get(self.sent).copied().unwrap_or(Some(self.now));
            window
                .admit(nth_newest, self.now)
                .map_err(|full| StoreError::RateLimited(from.clone(), full))?;
        }
        self.sent += 1;
        Ok(())
    }
}

/// A batch is sent as a whole or not at all, so one that fills a window by
/// itself will be refused at any time: waiting is no remedy for it. `sent` of its
/// `drafts` had found room.
pub(super) fn of_batch(
    why: StoreError,
    rows: &mut dyn Rows,
    drafts: &[Draft],
    sent: &[Sent],
    limits: RateLimits,
) -> StoreError {
    let StoreError::RateLimited(session, _) = &why else {
        return why;
    };
    let is_beyond =
        |new: usize, window: &Window| usize::try_from(window.limit).is_ok_and(|limit| new > limit);
    let mut new = sent.iter().filter(|sent| !sent.duplicate).count();
    let mut ids = HashSet::new();
    for draft in &drafts[sent.len()..] {
        // More of them change nothing.
        if limits.windows().all(|window| is_beyond(new, &window)) {
            break;
        }
        // One that is known already takes no room, nor does one that stands here twice.
        let is_new = match &draft.client_id {
            Some(id) if !ids.insert(id.as_str()) => false,
            Some(id) => match rows.client_message(session, id) {
                Ok(known) => known.is_none(),
                Err(error) => return error,
            },
            None => true,
        };
        new += usize::from(is_new);
    }
    match limits.windows().find(|window| is_beyond(new, window)) {
        Some(window) => StoreError::BatchTooBig(session.clone(), drafts.len(), window),
        None => why,
    }
}
