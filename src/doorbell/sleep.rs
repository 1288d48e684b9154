//! How the doorbell's thread sleeps: until the file system tells of a write, until
//! another thread rings, or for so long.

use std::io::{PipeReader, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::ring::{Pending, Ringer};
use super::watch::Watch;

/// The thread's side.
#[derive(Debug)]
pub(super) struct Sleep {
    pending: Arc<Pending>,
    woken: PipeReader,
}

/// Both sides.
///
/// # Errors
/// If no pipe can be had.
pub(super) fn sleep() -> std::io::Result<(Ringer, Sleep)> {
    let (woken, wakes) = std::io::pipe()?;
    let pending = Arc::new(Pending::default());
    let ringer = Ringer::new(Arc::clone(&pending), wakes);
    Ok((ringer, Sleep { pending, woken }))
}

impl Sleep {
    /// What rang: at once if something has, and nothing after `at_most`.
    pub(super) fn until_rung(&self, watch: Option<&Watch>, at_most: Duration) -> u8 {
        let begun = Instant::now();
        loop {
            let rang = self.pending.now() != 0;
            let left = at_most.saturating_sub(begun.elapsed());
            let heard = self.wait(watch, if rang { Duration::ZERO } else { left });
            let rung = self.pending.take() | heard;
            // Not all that happens in a directory rings.
            if rung != 0 || begun.elapsed() >= at_most {
                return rung;
            }
        }
    }

    /// A pause between two looks, which one of our own writers ends early. Whether
    /// the doorbell is taken down meanwhile; what else came is kept, but for the
    /// writes: the next look is at those.
    pub(super) fn pause(&self, watch: Option<&Watch>, at_most: Duration) -> bool {
        let begun = Instant::now();
        let heard = self.wait(watch, at_most);
        self.pending
            .add(heard & !(Pending::OURS | Pending::FOREIGN));
        let ours = heard | self.pending.now();
        if ours & Pending::OURS == 0
            && let Some(left) = at_most.checked_sub(begun.elapsed())
        {
            // A writer writes many times, and each would end the pause.
            self.wait(None, left);
        }
        self.pending.now() & Pending::STOP != 0
    }

    /// What the watch heard. The pipe only wakes.
    fn wait(&self, watch: Option<&Watch>, at_most: Duration) -> u8 {
        // What is longer than can be said is as good as for ever.
        let timeout = Timespec::try_from(at_most).ok();
        let events = watch.and_then(Watch::events);
        let second = events.unwrap_or(self.woken.as_fd());
        let mut waiting = [
            PollFd::new(&self.woken, PollFlags::IN),
            PollFd::new(&second, PollFlags::IN),
        ];
        let many = if events.is_some() { 2 } else { 1 };
        if poll(&mut waiting[..many], timeout.as_ref()).is_err() {
            // A signal came in between.
            return 0;
        }
        let [rung, heard] = waiting.map(|fd| !fd.revents().is_empty());
        if rung {
            let _ = (&self.woken).read(&mut [0; 64]);
        }
        match watch {
            Some(watch) if heard && many == 2 => watch.heard(),
            _ => 0,
        }
    }
}
