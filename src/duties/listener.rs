//! What hears of a commit the moment it can be read.

use std::collections::HashSet;
use std::sync::Arc;

use crate::model::SessionKey;
use crate::store::{Arrival, Signalled};

/// Told by the store's doorbell, on the doorbell's own thread: between the commit
/// and this call nothing is handed from one thread to another. A listener takes
/// what it needs and rings its duty, or writes to a subscriber; it never waits.
pub trait CommitListener: Send + Sync {
    /// Whether it needs [`News::signalled`]: the store is asked for that with each ring.
    fn wants_signals(&self) -> bool {
        false
    }

    /// The sessions whose messages it needs whole; at most one of the listeners says
    /// so.
    fn wants(&self) -> Option<Arc<HashSet<SessionKey>>> {
        None
    }

    /// A doorbell hangs from now on. It reports nothing that was committed before, so
    /// everything is to be read at once.
    fn begins(&self);

    /// It rang.
    fn hears(&self, news: &News<'_>);
}

/// What a ring was about.
#[derive(Debug)]
pub struct News<'a> {
    /// Where new messages are. None, and it may still have been a commit.
    pub arrivals: &'a [Arrival],
    /// What was signalled. Only if a listener needs it.
    pub signalled: Signalled,
    /// The look at the messages failed; the next one covers the same.
    pub failed: bool,
}
