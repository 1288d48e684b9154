//! One listener, called by the doorbell's thread, and by a thread of this process that
//! has just committed: that saves the wake of another thread, which costs as much as a
//! third of an fsync.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};

use tracing::Span;

use super::{Listener, Writer};

/// `None` once the doorbell is taken down.
type Seat = Mutex<Option<Box<dyn Listener>>>;

/// A listener that several threads call, one at a time.
#[derive(Clone)]
pub(super) struct Shared(Arc<Seat>);

impl Shared {
    pub(super) fn new(listener: Box<dyn Listener>) -> Self {
        Self(Arc::new(Mutex::new(Some(listener))))
    }

    pub(super) fn here(&self) -> Here {
        Here {
            seat: Arc::downgrade(&self.0),
            span: Span::current(),
        }
    }

    /// Waits for a call that is under way; there is none afterwards.
    pub(super) fn end(&self) {
        drop(self.lock().take());
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn Listener>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Shared").finish_non_exhaustive()
    }
}

impl Listener for Shared {
    fn writer(&mut self) -> Writer {
        self.lock().as_mut().map_or(Writer::None, |l| l.writer())
    }

    fn published(&mut self) -> bool {
        self.lock().as_mut().is_some_and(|l| l.published())
    }

    fn look(&mut self) {
        if let Some(listener) = self.lock().as_mut() {
            listener.look();
        }
    }

    fn changed(&mut self) -> bool {
        self.lock().as_mut().is_some_and(|l| l.changed())
    }
}

/// Lets a thread that has committed look for the doorbell's.
#[derive(Clone)]
pub struct Here {
    seat: Weak<Seat>,
    /// Its records are those of the duty that the doorbell works for.
    span: Span,
}

impl std::fmt::Debug for Here {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Here")
            .field("stands", &self.stands())
            .finish_non_exhaustive()
    }
}

impl Here {
    /// Looks at what is new, unless the doorbell's thread does it already: the bell,
    /// which rang before this, makes that look once more.
    pub fn look(&self) {
        let Some(seat) = self.seat.upgrade() else {
            return;
        };
        let mut seat = match seat.try_lock() {
            Ok(seat) => seat,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if let Some(listener) = seat.as_mut()
            && listener.published()
        {
            self.span.in_scope(|| listener.look());
        }
    }

    /// Whether the doorbell is still mounted.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.seat.strong_count() > 0
    }
}
