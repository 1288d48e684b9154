//! Names that mean a file at one moment and a link at the next.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::ground::{As, Ground, possible};

/// Exchanges what stands at a path for a link to the victim and back, until it
/// is dropped.
struct Swapping {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Swapping {
    fn start(path: &Path, victim: &Path) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&end);
        let (path, victim) = (path.to_owned(), victim.to_owned());
        let thread = std::thread::spawn(move || {
            let link = beside(&path, ".swap");
            while !seen.load(Ordering::Relaxed) {
                let _ = std::fs::remove_file(&link);
                if symlink(&victim, &link).is_ok() {
                    let _ = std::fs::rename(&link, &path);
                }
                std::thread::yield_now();
                let _ = std::fs::remove_file(&path);
                std::thread::yield_now();
            }
        });
        Self {
            end,
            thread: Some(thread),
        }
    }
}

impl Drop for Swapping {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Runs a command again and again while the name changes its meaning.
pub(crate) fn race(name: &str, user: As, words: &[&str], times: u32) {
    let mut ground = Ground::new();
    let words: Vec<String> = words
        .iter()
        .map(|word| word.replace("STORE/", &format!("{}/", ground.path("store").display())))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    ground.note();
    for _ in 0..times {
        let swapping = Swapping::start(&ground.shared(name), &ground.victim(user));
        let ended = ground.run(user, &words);
        drop(swapping);
        assert!(ended.code.is_some(), "{name}: it was killed: {ended:?}");
        ground.assert_untouched(&format!("{name} changes, {user:?} runs {words:?}"));
        ground.clear(name);
    }
}

#[test]
fn bell_that_becomes_a_link_changes_nothing_outside() {
    if possible("a race for the bell") {
        for user in [As::Root, As::Agent] {
            race("bridge.db-bell", user, &["send", "hello"], 20);
        }
    }
}

#[test]
fn backup_that_becomes_a_link_changes_nothing_outside() {
    const BACKUP: [&str; 4] = ["store", "backup", "--force", "STORE/copy.db"];
    if possible("a race for a backup") {
        for name in ["copy.db.partial", "copy.db"] {
            for user in [As::Root, As::Agent] {
                race(name, user, &BACKUP, 15);
            }
        }
    }
}
