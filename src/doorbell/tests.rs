//! Either way of watching, with a listener that hears of events alone.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::*;

/// What stands in the watched files, as the last look saw it. A fake store:
/// its "commits" are writes that are visible at once.
#[derive(Default)]
struct Seen {
    text: Mutex<String>,
    news: Condvar,
}

impl Seen {
    fn wait_for(&self, wanted: &str, why: &str) {
        let text = self.text.lock().expect("whole");
        let (text, waited) = self
            .news
            .wait_timeout_while(text, Duration::from_secs(10), |text| text != wanted)
            .expect("whole");
        assert!(!waited.timed_out(), "{why}: not looked at; seen: {text:?}");
    }
}

struct Reader {
    paths: Paths,
    seen: Arc<Seen>,
}

impl Listener for Reader {
    fn writer(&mut self) -> Writer {
        Writer::None
    }

    fn published(&mut self) -> bool {
        true
    }

    fn look(&mut self) {
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        *self.seen.text.lock().expect("whole") = read(&self.paths.log) + &read(&self.paths.bell);
        self.seen.news.notify_all();
    }

    /// Never asks the database: what no event reports stays unseen.
    fn changed(&mut self) -> bool {
        false
    }
}

fn every_commit_is_looked_at_with(scope: Scope) {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    let paths = Paths {
        database: at("bridge.db"),
        log: at("bridge.db-wal"),
        bell: at("bridge.db-bell"),
    };
    let (log, bell) = (paths.log.clone(), paths.bell.clone());
    fs::write(&paths.database, "").expect("written");
    fs::write(&log, "1").expect("written");

    let seen = Arc::new(Seen::default());
    let reader = Reader {
        paths: paths.clone(),
        seen: Arc::clone(&seen),
    };
    let events = Events::new(paths, Mode::Events, scope, Arc::default());
    let _doorbell = Doorbell::mount(events, Box::new(reader)).expect("mounted");
    seen.wait_for("1", "what was there before");
    for round in 2..5 {
        let text = round.to_string();
        fs::write(&log, &text).expect("written");
        seen.wait_for(&text, "a write to the log");
    }
    // As when the last connection closes and another one opens.
    for round in 5..8 {
        fs::remove_file(&log).expect("removed");
        let text = format!("{round}, anew");
        fs::write(&log, &text).expect("written");
        seen.wait_for(&text, "a log made anew");
        let text = format!("{round}, again");
        fs::write(&log, &text).expect("written");
        seen.wait_for(&text, "a write to a log made anew");
    }
    // The bell is made when it is first rung.
    fs::write(&log, "").expect("written");
    for text in ["A", "B", "C"] {
        fs::write(&bell, text).expect("written");
        seen.wait_for(text, "a ring");
    }
    // The log is gone, and no process has it open: the bell is heard all the same.
    fs::remove_file(&log).expect("removed");
    for text in ["D", "E"] {
        fs::write(&bell, text).expect("written");
        seen.wait_for(text, "a ring without a log");
    }
}

#[test]
fn a_watched_directory_misses_nothing() {
    every_commit_is_looked_at_with(Scope::Directory);
}

#[test]
fn files_made_anew_are_watched_again() {
    every_commit_is_looked_at_with(Scope::Files);
}

#[test]
fn dropping_it_waits_until_its_listener_is_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    let paths = Paths {
        database: at("bridge.db"),
        log: at("bridge.db-wal"),
        bell: at("bridge.db-bell"),
    };
    for scope in [Scope::HERE, Scope::Files] {
        let seen = Arc::new(Seen::default());
        let reader = Reader {
            paths: paths.clone(),
            seen: Arc::clone(&seen),
        };
        let events = Events::new(paths.clone(), Mode::Events, scope, Arc::default());
        let doorbell = Doorbell::mount(events, Box::new(reader));
        drop(doorbell.expect("mounted"));
        assert_eq!(Arc::strong_count(&seen), 1, "{scope:?}");
    }
}
