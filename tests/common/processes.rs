//! Which processes are there, and that none is left.
#![allow(unreachable_pub, reason = "two test programs share it")]

use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Processes that name `directory` in their arguments, with their ids.
pub fn left_running(directory: &Path) -> Vec<(i32, String)> {
    let wanted = directory.display().to_string();
    std::fs::read_dir("/proc")
        .expect("processes")
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let id = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            Some((id, String::from_utf8_lossy(&line).replace('\0', " ")))
        })
        .filter(|(_, line)| line.contains(&wanted))
        .collect()
}

/// Whether it holds soon; longer than anything takes on the slowest machine.
fn soon(mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if holds() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Ends `parent` by a signal when at least `many` processes work in
/// `directory`, and waits until none is left.
pub fn end_with(parent: &mut Child, signal: Signal, directory: &Path, many: usize) -> ExitStatus {
    let all = soon(|| left_running(directory).len() >= many);
    let pid = Pid::from_raw(parent.id().try_into().expect("a number")).expect("a process");
    kill_process(pid, signal).expect("it runs");
    let ended = parent.wait().expect("it ends");
    let gone = soon(|| left_running(directory).is_empty());
    let left = left_running(directory);
    for (pid, _) in &left {
        // Not even by a test.
        let _ = kill_process(Pid::from_raw(*pid).expect("a process"), Signal::KILL);
    }
    assert!(all, "it never had all of its processes");
    assert!(gone, "{signal:?}: left running: {left:#?}");
    ended
}
