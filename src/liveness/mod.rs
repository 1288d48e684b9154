//! Proofs that an agent lives. A heartbeat without one proves only that our
//! own loop runs, which is what the scripts this replaces got wrong.

mod probe;
mod process;
mod registered;
mod watcher;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
#[cfg(test)]
use std::time::Duration;

use jiff::SignedDuration;

use crate::config::ProofSettings;
use crate::file_stamp::FileStamp;
use crate::files;
use crate::guarded;
use crate::model::process::ProcessId;
use crate::model::session::ProofKind;
use probe::Probe;
use process::Process;
pub use process::{began, ended, has_ended, is_below, is_stopped, of, own, owned, runs};
pub use registered::Registered;
pub use watcher::Watcher;

/// A pid file that is older than its process by more than this means another one.
/// Less may come of clocks that tick in steps.
const OLDER: SignedDuration = SignedDuration::from_secs(2);

/// What is known of an agent at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProofOutcome {
    /// It lives, and this proved it; its process, if that was the proof.
    Alive(ProofKind, Option<ProcessId>),
    /// Its process was there and has ended: confirmed.
    Exited,
    /// Nothing proves it; the words say why.
    Unproven(String),
    /// A probe was asked for the first time and has not answered yet.
    Asked,
}

/// The proof of one configured session (or several that one agent holds).
#[derive(Debug)]
pub struct Proof {
    settings: ProofSettings,
    state: State,
    /// A process that the file names and that began after the file was written.
    doubted: Option<ProcessId>,
    /// A process that counts at any time stamp of the file.
    believed: Option<ProcessId>,
    watcher: Watcher,
}

#[derive(Debug)]
enum State {
    /// Nothing to look at.
    None,
    /// No process has been found yet: the state of the file at the last look, and
    /// whether it named a process that was not there. A process that gets the number
    /// later is another one.
    Absent {
        seen: Option<FileStamp>,
        stale: bool,
    },
    /// A process that is watched, and the state of the file that named it.
    Watched(Arc<Process>, Option<FileStamp>),
    /// A process that ended, and the state of the file that named it: the number in
    /// there may meanwhile belong to another process.
    Ended(Option<FileStamp>),
    /// A command that is asked.
    Probed(Probe),
}

impl ProofOutcome {
    /// Whether it lacks a proof because no further file can be opened.
    #[must_use]
    pub fn lacks_files(&self) -> bool {
        matches!(self, Self::Unproven(why) if why.contains(files::TOO_MANY))
    }
}

impl Proof {
    /// Begins to look, with what the proofs of a daemon share.
    #[must_use]
    pub fn new(settings: &ProofSettings, watcher: &Watcher) -> Self {
        let state = match settings {
            ProofSettings::None => State::None,
            ProofSettings::Exec { command, timeout } => {
                State::Probed(Probe::new(command.clone(), *timeout))
            }
            ProofSettings::Pid(_) | ProofSettings::PidFile(_) => State::Absent {
                seen: None,
                stale: false,
            },
        };
        Self {
            settings: settings.clone(),
            state,
            doubted: None,
            believed: None,
            watcher: watcher.clone(),
        }
    }

    /// The settings that it was made from.
    #[must_use]
    pub fn settings(&self) -> &ProofSettings {
        &self.settings
    }

    /// The verdict now. Cheap: a running process is one poll(2), a probe is
    /// asked in the background and answers with its last result. `ask` is
    /// whether it is time to ask it again.
    pub fn check(&mut self, ask: bool) -> ProofOutcome {
        match self.lives(ask) {
            ProofOutcome::Alive(ProofKind::Process, id) if self.is_stopped() => {
                ProofOutcome::Alive(ProofKind::Stopped, id)
            }
            verdict => verdict,
        }
    }

    fn is_stopped(&self) -> bool {
        matches!(&self.state, State::Watched(process, _) if process.is_stopped())
    }

    fn lives(&mut self, ask: bool) -> ProofOutcome {
        match &self.settings {
            ProofSettings::Pid(pid) => {
                let pid = *pid;
                self.check_process(None, || Ok(pid))
            }
            ProofSettings::PidFile(path) => {
                let path: PathBuf = path.clone();
                let stamp = FileStamp::of(&path);
                self.check_process(stamp, || read_pid(&path))
            }
            ProofSettings::None | ProofSettings::Exec { .. } => match &mut self.state {
                State::Probed(probe) => probe.verdict(ask, &self.watcher),
                _ => ProofOutcome::Alive(ProofKind::None, None),
            },
        }
    }

    /// The process that is watched.
    #[must_use]
    pub fn process(&self) -> Option<ProcessId> {
        match &self.state {
            State::Watched(process, _) => Some(process.id()),
            _ => None,
        }
    }

    /// The number belonged to another process before. A proof by a number alone
    /// meant that one, which has ended; a pid file that is not older than the
    /// process of today means this one.
    pub fn mistaken(&mut self) -> bool {
        let State::Watched(_, seen) = self.state else {
            return false;
        };
        let by_number = matches!(self.settings, ProofSettings::Pid(_));
        if by_number {
            self.state = State::Ended(seen);
        }
        by_number
    }

    /// A heartbeat named this process before: if it is the one that is doubted for
    /// the time of its file, a clock was set since, and it is the agent. `true` if
    /// so; the next check says the same.
    pub fn believe(&mut self, known: ProcessId) -> bool {
        let same = self.doubted == Some(known) && known.start != 0;
        if same {
            self.believed = Some(known);
        }
        same
    }

    /// The process that a proof like this named before is known to have ended,
    /// and this one has found none: the same, without having watched it.
    /// `false` if it is no proof by a process, or there is one.
    pub fn missed(&mut self) -> bool {
        let State::Absent { seen, .. } = self.state else {
            return false;
        };
        self.state = State::Ended(seen);
        true
    }

    fn check_process(
        &mut self,
        stamp: Option<FileStamp>,
        named: impl FnOnce() -> Result<i32, String>,
    ) -> ProofOutcome {
        // The process that this proof has already seen, and whether it lives.
        let known = match &self.state {
            State::Watched(process, seen) => Some((process.is_alive(), *seen)),
            State::Ended(seen) => Some((false, *seen)),
            _ => None,
        };
        let same = self.process();
        match known {
            // A file that vanished does not end the process.
            Some((true, seen)) if seen == stamp || stamp.is_none() => {
                return ProofOutcome::Alive(ProofKind::Process, same);
            }
            // The number in there may meanwhile belong to another process.
            Some((false, seen)) if seen == stamp => {
                self.state = State::Ended(seen);
                return ProofOutcome::Exited;
            }
            _ => {}
        }
        // No process yet, or the file was written again: look up the process that it
        // names.
        let pid = match (named(), known) {
            (Ok(pid), _) => pid,
            // Being written at this moment; it is read again at the next check.
            (Err(_), Some((true, _))) => return ProofOutcome::Alive(ProofKind::Process, same),
            (Err(_), Some((false, seen))) => {
                self.state = State::Ended(seen);
                return ProofOutcome::Exited;
            }
            (Err(why), None) => {
                self.state = State::Absent {
                    seen: stamp,
                    stale: false,
                };
                return ProofOutcome::Unproven(why);
            }
        };
        let watched = self.watcher.watch(pid);
        let found = watched.as_ref().ok().map(|process| process.id());
        self.doubted = found.filter(|found| self.is_later(*found, stamp));
        match (watched, known) {
            // The file was written again, or copied, and still means an older one.
            (Ok(_), Some((false, _))) if self.doubted.is_some() => {
                self.state = State::Ended(stamp);
                ProofOutcome::Exited
            }
            (Ok(_), _) if self.doubted.is_some() || known.is_none() && self.is_stale(stamp) => {
                ProofOutcome::Unproven(format!(
                    "process {pid} started after its pid file was written, so it is another process; write the file again"
                ))
            }
            (Ok(process), _) => {
                let id = process.id();
                self.state = State::Watched(process, stamp);
                ProofOutcome::Alive(ProofKind::Process, Some(id))
            }
            (Err(_), Some((false, seen))) => {
                self.state = State::Ended(seen);
                ProofOutcome::Exited
            }
            // The one that was watched lives, but the file means another one.
            (Err(why), Some((true, _))) => ProofOutcome::Unproven(why),
            (Err(why), None) => {
                self.state = State::Absent {
                    seen: stamp,
                    stale: stamp.is_some() && process::is_free(pid),
                };
                ProofOutcome::Unproven(why)
            }
        }
    }

    /// Whether the process began after the file that names it was written.
    fn is_later(&self, process: ProcessId, stamp: Option<FileStamp>) -> bool {
        let written = stamp.and_then(|stamp| stamp.modified());
        let times = written.zip(process::began(process));
        self.believed != Some(process)
            && times.is_some_and(|(written, began)| began.duration_since(written) > OLDER)
    }

    /// The file is as it was when the process that it names was not there.
    fn is_stale(&self, stamp: Option<FileStamp>) -> bool {
        matches!(self.state, State::Absent { seen, stale: true } if seen == stamp)
    }
}

/// A pid file is a few digits; anything else there (a pipe without a writer, a device
/// without end) must not hold up the heartbeat.
fn read_pid(path: &Path) -> Result<i32, String> {
    let failed = |error: std::io::Error| format!("pid file {}: {error}", path.display());
    let file = guarded::open_through_links(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(64).read_to_end(&mut bytes).map_err(failed)?;
    String::from_utf8_lossy(&bytes)
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .filter(|pid| *pid > 0)
        .ok_or_else(|| format!("pid file {}: it contains no process id", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    struct Agent(Child);

    impl Agent {
        fn start() -> Self {
            Self(Command::new("sleep").arg("1000").spawn().expect("sleep"))
        }

        fn end(&mut self) {
            self.0.kill().expect("killed");
            self.0.wait().expect("ended");
        }
    }

    impl Drop for Agent {
        fn drop(&mut self) {
            // Ended already is as good.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    struct Case {
        dir: tempfile::TempDir,
        proof: Proof,
    }

    impl Case {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let settings = ProofSettings::PidFile(dir.path().join("pid"));
            let proof = Proof::new(&settings, &Watcher::new(Arc::default()));
            Self { dir, proof }
        }

        fn write(&self, text: &str) {
            std::fs::write(self.dir.path().join("pid"), text).expect("written");
        }

        fn check(&mut self) -> ProofOutcome {
            match self.proof.check(true) {
                ProofOutcome::Alive(kind, Some(id)) => {
                    assert!(runs(id), "{id:?}");
                    ProofOutcome::Alive(kind, None)
                }
                other => other,
            }
        }
    }

    /// Stands for any living process.
    const ALIVE: ProofOutcome = ProofOutcome::Alive(ProofKind::Process, None);

    #[tokio::test]
    async fn file_that_is_being_written_is_no_exit() {
        let (mut case, agent) = (Case::new(), Agent::start());
        let pid = agent.0.id().to_string();
        case.write(&pid);
        assert_eq!(case.check(), ALIVE);
        case.write("");
        assert_eq!(case.check(), ALIVE, "empty for a moment");
        case.write("restarting\n");
        assert_eq!(case.check(), ALIVE);
        case.write(&format!("{pid}\n"));
        assert_eq!(case.check(), ALIVE);
        std::fs::remove_file(case.dir.path().join("pid")).expect("removed");
        assert_eq!(case.check(), ALIVE, "a file that vanished ends no agent");
    }

    #[tokio::test]
    async fn next_agent_is_taken_when_the_file_names_it() {
        let (mut case, mut first) = (Case::new(), Agent::start());
        case.write(&first.0.id().to_string());
        assert_eq!(case.check(), ALIVE);
        first.end();
        assert_eq!(case.check(), ProofOutcome::Exited);
        case.write("half");
        assert_eq!(case.check(), ProofOutcome::Exited);
        let second = Agent::start();
        case.write(&format!("{}\n", second.0.id()));
        assert_eq!(case.check(), ALIVE);
    }

    #[tokio::test]
    async fn reused_number_is_no_life() {
        let (mut case, agent) = (Case::new(), Agent::start());
        case.write(&agent.0.id().to_string());
        assert_eq!(case.check(), ALIVE);
        let process = case.proof.process().expect("watched");
        let started = |start| ProcessId { start, ..process };
        let later = started(process.start + 1);
        assert!(!runs(later));
        assert!(later.took_the_number_of(&process));
        for same in [process, started(0)] {
            assert!(!same.took_the_number_of(&process), "unknown {same:?}");
            assert!(!process.took_the_number_of(&same), "unknown {same:?}");
        }
        assert!(has_ended(later) && !has_ended(process) && !has_ended(started(0)));
        // The file was written after this one began: it is meant.
        assert!(!case.proof.mistaken());
        assert_eq!(case.check(), ALIVE);
        // A number alone means the one that had it.
        let pid = i32::try_from(agent.0.id()).expect("a number");
        let mut proof = Proof::new(&ProofSettings::Pid(pid), &Watcher::new(Arc::default()));
        assert!(matches!(proof.check(true), ProofOutcome::Alive(..)));
        assert!(proof.mistaken());
        assert_eq!(proof.check(true), ProofOutcome::Exited);
    }

    #[tokio::test]
    async fn file_older_than_its_process_means_another_one() {
        let (mut case, agent) = (Case::new(), Agent::start());
        case.write(&agent.0.id().to_string());
        let path = case.dir.path().join("pid");
        let file = std::fs::File::options().write(true).open(&path);
        let file = file.expect("there");
        let written = file.metadata().expect("known").modified().expect("a time");
        let age = |days: u64| written - Duration::from_secs(days * 86_400);
        file.set_modified(age(7)).expect("set");
        let ProofOutcome::Unproven(why) = case.check() else {
            panic!("it is another one");
        };
        assert!(why.contains("write the file again"), "{why}");
        // One that a heartbeat named before is the agent: a clock was set.
        let id = case.proof.doubted.expect("doubted");
        let other = ProcessId {
            start: id.start + 1,
            ..id
        };
        assert!(!case.proof.believe(other) && case.proof.believe(id));
        assert_eq!(case.check(), ALIVE);
        // Nor does an old file mean the successor of one that ended.
        let (mut case, mut first) = (Case::new(), Agent::start());
        case.write(&first.0.id().to_string());
        assert_eq!(case.check(), ALIVE);
        first.end();
        let second = Agent::start();
        case.write(&second.0.id().to_string());
        let path = case.dir.path().join("pid");
        let file = std::fs::File::options()
            .write(true)
            .open(path)
            .expect("there");
        file.set_modified(age(7)).expect("set");
        assert_eq!(case.check(), ProofOutcome::Exited);
        case.write(&format!("{}\n", second.0.id()));
        assert_eq!(case.check(), ALIVE);
    }

    #[tokio::test]
    async fn missed_end_is_an_exit_until_a_new_file() {
        let (mut case, mut first) = (Case::new(), Agent::start());
        let pid = first.0.id().to_string();
        case.write(&pid);
        first.end();
        assert!(matches!(case.check(), ProofOutcome::Unproven(_)));
        assert!(case.proof.missed());
        assert_eq!(case.check(), ProofOutcome::Exited);
        std::fs::remove_file(case.dir.path().join("pid")).expect("removed");
        assert_eq!(case.check(), ProofOutcome::Exited);
        let second = Agent::start();
        case.write(&second.0.id().to_string());
        assert_eq!(case.check(), ALIVE);
        assert!(!case.proof.missed(), "there is one");
    }

    #[tokio::test]
    async fn file_of_an_absent_process_names_no_later_one() {
        let (mut case, agent) = (Case::new(), Agent::start());
        case.write(&agent.0.id().to_string());
        // As left by a boot in which another process had the number.
        case.proof.state = State::Absent {
            seen: FileStamp::of(&case.dir.path().join("pid")),
            stale: true,
        };
        for _ in 0..2 {
            let ProofOutcome::Unproven(why) = case.check() else {
                panic!("it is another one");
            };
            assert!(why.contains("write the file again"), "{why}");
        }
        case.write(&format!("{}\n", agent.0.id()));
        assert_eq!(case.check(), ALIVE);
    }

    #[tokio::test]
    async fn file_is_stale_once_its_process_was_absent() {
        let (mut case, mut agent) = (Case::new(), Agent::start());
        case.write("half");
        assert!(matches!(case.check(), ProofOutcome::Unproven(_)));
        assert!(
            !case
                .proof
                .is_stale(FileStamp::of(&case.dir.path().join("pid")))
        );
        agent.end();
        case.write(&agent.0.id().to_string());
        assert!(matches!(case.check(), ProofOutcome::Unproven(_)));
        assert!(
            case.proof
                .is_stale(FileStamp::of(&case.dir.path().join("pid")))
        );
    }

    #[tokio::test]
    async fn new_file_names_the_agent_after_a_missed_end() {
        let (mut case, agent) = (Case::new(), Agent::start());
        assert!(matches!(case.check(), ProofOutcome::Unproven(_)));
        case.write(&agent.0.id().to_string());
        assert!(case.proof.missed());
        assert_eq!(case.check(), ALIVE);
    }

    #[tokio::test]
    async fn bad_pid_file_is_named_without_delay() {
        let mut case = Case::new();
        let path = case.dir.path().join("pid");
        let mut said = Vec::new();
        let mut check = |case: &mut Case| match case.check() {
            ProofOutcome::Unproven(why) => said.push(why),
            other => panic!("{other:?}"),
        };
        check(&mut case);
        for text in ["", "agent", "-3", "0", "99999999999"] {
            case.write(text);
            check(&mut case);
        }
        std::fs::remove_file(&path).expect("removed");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("mkfifo").success());
        check(&mut case);
        assert!(said[0].contains("No such file"), "{said:?}");
        assert!(
            said[1..]
                .iter()
                .all(|why| why.ends_with("contains no process id")
                    || why.ends_with("a pipe, not a file")),
            "{said:?}"
        );
    }

    #[tokio::test]
    async fn stopped_process_is_recognised() {
        let agent = Agent::start();
        let pid = rustix::process::Pid::from_child(&agent.0);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("stopped");
        // Stopping takes a moment; each question is asked of a watch of its own.
        let settings = ProofSettings::Pid(pid.as_raw_nonzero().get());
        loop {
            let mut proof = Proof::new(&settings, &Watcher::new(Arc::default()));
            match proof.check(true) {
                ProofOutcome::Alive(ProofKind::Stopped, Some(_)) => break,
                ProofOutcome::Alive(ProofKind::Process, Some(_)) => tokio::task::yield_now().await,
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn an_endless_file_is_read_to_a_limit() {
        let settings = ProofSettings::PidFile("/dev/zero".into());
        let mut proof = Proof::new(&settings, &Watcher::new(Arc::default()));
        assert!(matches!(proof.check(true), ProofOutcome::Unproven(_)));
    }
}
