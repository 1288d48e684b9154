//! The doorbell's thread: waits for a ring, settles, looks.

use std::thread::park_timeout;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::watch::{Scope, Watch, watch};
use super::{Listener, Mode, Paths, Pending, Ringer};

/// How often the database itself is asked, while events come. One question
/// costs a microsecond.
const QUESTION: Duration = Duration::from_millis(250);
/// The same where no events come.
const QUESTION_WITHOUT_EVENTS: Duration = Duration::from_millis(5);
/// How often a watch that could not be had is asked for again.
const TRY_AGAIN: Duration = Duration::from_secs(30);

/// What else may help.
const REMEDY: &str = if cfg!(target_os = "linux") {
    "raise fs.inotify.max_user_instances, or "
} else {
    ""
};

/// After a foreign ring: looks come no faster than this ...
const SHORTEST_PAUSE: Duration = Duration::from_micros(50);
/// ... and no slower than this, each pause being one part in so many of the
/// time that the writer has taken already. A fixed pause would be too long for
/// a commit without fsync, or too busy for one that waits for a slow disk.
const LONGEST_PAUSE: Duration = Duration::from_millis(1);
const PART: u32 = 32;
/// A writer that takes even longer is left to the question.
const SETTLE_FOR: Duration = Duration::from_millis(500);

pub(super) fn run(
    paths: &Paths,
    mode: Mode,
    scope: Scope,
    pending: &std::sync::Arc<Pending>,
    mut listener: Box<dyn Listener>,
) {
    let ringer = Ringer {
        pending: std::sync::Arc::clone(pending),
        thread: std::thread::current(),
    };
    sharpen_timers();
    let mut events = Events::new(mode, scope);
    loop {
        events.keep(paths, &ringer);
        if pending.0.load(std::sync::atomic::Ordering::Acquire) == 0 {
            park_timeout(events.question());
        }
        let rung = pending.take();
        if rung & Pending::STOP != 0 {
            return;
        }
        if rung & Pending::DEAF != 0 {
            events.watch_anew();
        }
        if rung & Pending::FOREIGN != 0 {
            settle(pending, listener.as_mut());
        } else if rung != 0 || listener.changed() {
            listener.look();
        }
    }
}

/// How long to wait before the next look, `waited` after the ring. The bare
/// floor of the measurements waits as long, so that it shows what the rest of
/// the path costs.
pub(crate) fn pause(waited: Duration) -> Duration {
    (waited / PART).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

/// The kernel lets a thread's timers be 50 us late, to wake several at once:
/// as long as a whole pause here.
pub(crate) fn sharpen_timers() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)) {
        debug!(%error, "the doorbell's timers stay blunt");
    }
}

/// Looks, and again at whatever is published, until no writer can be in the
/// middle of a commit. The question comes first: any commit whose write rang is
/// visible, or rolled back, once the lock is seen free.
fn settle(pending: &Pending, listener: &mut dyn Listener) {
    let started = Instant::now();
    let mut looked = false;
    loop {
        let writing = listener.write_in_progress();
        if !looked || listener.published() {
            listener.look();
            looked = true;
        }
        let waited = started.elapsed();
        if !writing || waited > SETTLE_FOR {
            return;
        }
        // A ring of our own writer ends the pause early.
        park_timeout(pause(waited));
        if pending.0.load(std::sync::atomic::Ordering::Acquire) & Pending::STOP != 0 {
            return;
        }
        pending
            .0
            .fetch_and(!Pending::OURS, std::sync::atomic::Ordering::AcqRel);
    }
}

/// The watch, if one can be had, and what stands in for it meanwhile.
struct Events {
    wanted: bool,
    scope: Scope,
    watch: Option<Watch>,
    tried: Option<Instant>,
}

impl Events {
    fn new(mode: Mode, scope: Scope) -> Self {
        Self {
            wanted: mode == Mode::Events,
            scope,
            watch: None,
            tried: None,
        }
    }

    fn keep(&mut self, paths: &Paths, ringer: &Ringer) {
        if self
            .watch
            .as_ref()
            .is_some_and(|watch| watch.is_stale(paths))
        {
            self.watch_anew();
        }
        if !self.wanted
            || self.watch.is_some()
            || self.tried.is_some_and(|tried| tried.elapsed() < TRY_AGAIN)
        {
            return;
        }
        match watch(paths, self.scope, ringer.clone()) {
            Ok(watch) => {
                if self.tried.is_some() {
                    info!(
                        event = "file-events-back", store = %paths.database.display(),
                        "file events are back"
                    );
                }
                self.watch = Some(watch);
                // What came between the last look and the watch.
                ringer.ring(Pending::FOREIGN);
            }
            Err(error) => {
                if self.tried.is_none() {
                    warn!(
                        event = "file-events-lost", store = %paths.database.display(), %error,
                        "no file events: asking the database every 5 ms instead; \
                         {REMEDY}set message_watch.mode = \"poll\""
                    );
                } else {
                    debug!(%error, "still no file events");
                }
            }
        }
        self.tried = Some(Instant::now());
    }

    fn watch_anew(&mut self) {
        (self.watch, self.tried) = (None, None);
    }

    fn question(&self) -> Duration {
        match &self.watch {
            Some(watch) if watch.hears_the_log() => QUESTION,
            _ => QUESTION_WITHOUT_EVENTS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer that is busy for so many questions, and publishes at one of them.
    struct Busy {
        questions: u32,
        busy_for: u32,
        publishes_at: Option<u32>,
        seen: bool,
        looks: u32,
    }

    impl Busy {
        fn settled(busy_for: u32, publishes_at: Option<u32>) -> Self {
            loop {
                let mut busy = Self {
                    questions: 0,
                    busy_for,
                    publishes_at,
                    seen: false,
                    looks: 0,
                };
                settle(&Pending::default(), &mut busy);
                // On a machine that is busy itself it may have given up.
                if busy.questions > busy_for {
                    return busy;
                }
            }
        }

        fn is_published(&self) -> bool {
            self.publishes_at.is_some_and(|at| self.questions >= at)
        }
    }

    impl Listener for Busy {
        fn write_in_progress(&mut self) -> bool {
            self.questions += 1;
            self.questions <= self.busy_for
        }

        fn published(&mut self) -> bool {
            self.is_published() && !self.seen
        }

        fn look(&mut self) {
            self.looks += 1;
            self.seen = self.is_published();
        }

        fn changed(&mut self) -> bool {
            unreachable!("settling does not ask that")
        }
    }

    #[test]
    fn it_looks_once_and_again_at_what_is_published() {
        let nothing = Busy::settled(20, None);
        assert_eq!((nothing.questions, nothing.looks), (21, 1));
        for at in 2..=21 {
            let one = Busy::settled(20, Some(at));
            assert_eq!((one.questions, one.looks, one.seen), (21, 2, true), "{at}");
        }
        let idle = Busy::settled(0, Some(1));
        assert_eq!((idle.questions, idle.looks, idle.seen), (1, 1, true));
    }
}
