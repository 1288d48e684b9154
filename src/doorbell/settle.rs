//! The doorbell's thread: waits for a ring, settles, looks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::own::OwnCommits;
use super::ring::{Pending, Ringer};
use super::sleep::Sleep;
use super::watch::{Scope, Watch, watch};
use super::{Listener, Mode, Paths, Writer};

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
/// ... and no slower than this, each pause being this fraction of the time that the
/// writer has taken already. A fixed pause would be too long for a commit without
/// fsync, or too busy for one that waits for a slow disk.
const LONGEST_PAUSE: Duration = Duration::from_millis(1);
const PART: u32 = 32;
/// A writer that takes even longer is left to the question.
const SETTLE_FOR: Duration = Duration::from_millis(500);

/// Runs until it is stopped. Returns the watch, for the caller to close.
pub(super) fn run(
    mut events: Events,
    ringer: &Ringer,
    sleep: &Sleep,
    mut listener: Box<dyn Listener>,
) -> Option<Watch> {
    sharpen_timers();
    // Since when one of our own writers is awaited.
    let mut awaits: Option<Instant> = None;
    // However often it rings, this is asked as often.
    let mut asked = Instant::now();
    loop {
        events.keep(ringer);
        let question = events.question().saturating_sub(asked.elapsed());
        let longest = awaits.map_or(question, |since| await_for(since).min(question));
        let rung = sleep.until_rung(events.watch.as_ref(), longest);
        if rung & Pending::STOP != 0 {
            return events.watch.take();
        }
        if rung & Pending::DEAF != 0 {
            events.watch_anew();
        }
        if rung & Pending::OURS != 0 {
            look_at_news(listener.as_mut());
        }
        if rung & Pending::FOREIGN != 0 || awaits.is_some() {
            let watch = events.watch.as_ref();
            let ours = look_until_quiet(sleep, watch, listener.as_mut()) == Settled::AwaitsOurs;
            awaits = ours.then(|| awaits.unwrap_or_else(Instant::now));
        }
        let wanted = rung & Pending::ASKED != 0;
        if wanted || asked.elapsed() >= events.question() {
            if listener.changed() || wanted {
                listener.look();
            }
            asked = Instant::now();
        }
    }
}

/// How long to wait for the ring of a writer that is awaited since then: it may have
/// nothing to ring for, or die.
fn await_for(since: Instant) -> Duration {
    since.elapsed().max(LONGEST_PAUSE)
}

/// How long to wait before the next look, `waited` after the ring. The bare
/// floor of the measurements waits as long, so that it shows what the rest of
/// the path costs.
#[must_use]
pub fn pause(waited: Duration) -> Duration {
    (waited / PART).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

/// The kernel lets a thread's timers be 50 us late, to wake several at once:
/// as long as a whole pause here.
pub fn sharpen_timers() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)) {
        debug!(%error, "the doorbell's timers stay coarse");
    }
}

/// How it stands after a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// All that rang is looked at, and what comes is heard.
    Quiet,
    /// One of our own writers is in the middle of a commit and rings when it is done;
    /// until then its writes are not heard.
    AwaitsOurs,
}

/// Looks at what is published, until no writer that rings no bell can be in the
/// middle of a commit. The question comes first: any commit whose write rang is
/// visible, or rolled back, once the lock is seen free.
fn look_until_quiet(sleep: &Sleep, watch: Option<&Watch>, listener: &mut dyn Listener) -> Settled {
    let started = Instant::now();
    loop {
        let writer = listener.writer();
        let done = matches!(writer, Writer::None | Writer::Here);
        if let (true, Some(watch)) = (done, watch.filter(|watch| !watch.is_armed())) {
            watch.arm();
            // For what was not heard before.
            continue;
        }
        look_at_news(listener);
        if done {
            return Settled::Quiet;
        }
        // It writes many times, and each would wake this thread.
        watch.inspect(|watch| watch.disarm());
        if writer == Writer::Ours {
            return Settled::AwaitsOurs;
        }
        let waited = started.elapsed();
        if waited > SETTLE_FOR || sleep.pause(watch, pause(waited)) {
            watch.inspect(|watch| watch.arm());
            return Settled::Quiet;
        }
    }
}

/// Several rings may tell of one commit, and the first look has seen it.
fn look_at_news(listener: &mut dyn Listener) {
    if listener.published() {
        listener.look();
    }
}

/// The watch, if one can be had, and what stands in for it meanwhile.
pub(super) struct Events {
    paths: Paths,
    own: Arc<OwnCommits>,
    wanted: bool,
    scope: Scope,
    watch: Option<Watch>,
    tried: Option<Instant>,
}

impl Events {
    pub(super) fn new(paths: Paths, mode: Mode, scope: Scope, own: Arc<OwnCommits>) -> Self {
        Self {
            paths,
            own,
            wanted: mode == Mode::Events,
            scope,
            watch: None,
            tried: None,
        }
    }

    fn keep(&mut self, ringer: &Ringer) {
        if self
            .watch
            .as_ref()
            .is_some_and(|watch| watch.is_stale(&self.paths))
        {
            self.watch_anew();
        }
        if !self.wanted
            || self.watch.is_some()
            || self.tried.is_some_and(|tried| tried.elapsed() < TRY_AGAIN)
        {
            return;
        }
        match watch(&self.paths, self.scope, ringer.clone(), &self.own) {
            Ok(watch) => {
                if self.tried.is_some() {
                    info!(
                        event = "file-events-back", store = %self.paths.database.display(),
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
                        event = "file-events-lost", store = %self.paths.database.display(), %error,
                        "no file events: polling the database every 5 ms instead; {REMEDY}set message_watch.mode = \"poll\""
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
    use super::super::sleep::sleep;
    use super::*;

    /// A writer that is busy for this number of questions, and publishes at one of
    /// them.
    struct Busy {
        questions: u32,
        busy_for: u32,
        publishes_at: Option<u32>,
        seen: bool,
        looks: u32,
    }

    impl Busy {
        fn new(busy_for: u32, publishes_at: Option<u32>) -> Self {
            Self {
                questions: 0,
                busy_for,
                publishes_at,
                seen: false,
                looks: 0,
            }
        }

        fn settled(busy_for: u32, publishes_at: Option<u32>) -> Self {
            loop {
                let mut busy = Self::new(busy_for, publishes_at);
                let (_ringer, sleep) = sleep().expect("a pipe");
                look_until_quiet(&sleep, None, &mut busy);
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
        fn writer(&mut self) -> Writer {
            self.questions += 1;
            match self.questions <= self.busy_for {
                true => Writer::Foreign,
                false => Writer::None,
            }
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
    fn look_reads_only_what_is_published() {
        let nothing = Busy::settled(20, None);
        assert_eq!((nothing.questions, nothing.looks), (21, 0));
        for at in 1..=21 {
            let one = Busy::settled(20, Some(at));
            assert_eq!((one.questions, one.looks, one.seen), (21, 1, true), "{at}");
        }
        let idle = Busy::settled(0, Some(1));
        assert_eq!((idle.questions, idle.looks, idle.seen), (1, 1, true));
    }

    #[test]
    fn a_writer_that_rings_is_asked_about_once() {
        struct Rings(Busy);
        impl Listener for Rings {
            fn writer(&mut self) -> Writer {
                self.0.questions += 1;
                Writer::Ours
            }

            fn published(&mut self) -> bool {
                self.0.published()
            }

            fn look(&mut self) {
                self.0.look();
            }

            fn changed(&mut self) -> bool {
                self.0.changed()
            }
        }
        let (_ringer, sleep) = sleep().expect("a pipe");
        let mut rings = Rings(Busy::new(0, Some(1)));
        let settled = look_until_quiet(&sleep, None, &mut rings);
        assert_eq!(settled, Settled::AwaitsOurs);
        // What others have committed before it is looked at.
        assert_eq!((rings.0.questions, rings.0.looks), (1, 1));
    }
}
