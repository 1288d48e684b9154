//! What programs of one agent leave for the next: what the agent heard of, how it was
//! woken, and what could not be written to the store yet. Small files of this user's
//! own, named after the sessions that the agent acts for.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::Acting;
use crate::guarded;
use crate::model::health::Turn;
use crate::model::{MessageId, SessionKey};
use crate::store::{WakeRef, locate};

/// Bytes that wait for the store at most. The oldest is what is given up: the turn that
/// is true now was said last.
const MOST_WAITING: u64 = 64 << 10;

/// How long after a wake its turn begins at most.
const WAKE_MS: u64 = 10_000;

/// When an agent is first reminded of mail that it heard of and left unread.
const REMINDED_AFTER_MS: u64 = 300_000;

/// Wakes within an hour at most, unless [`MOST_WAKES_VARIABLE`] says otherwise. Two agents
/// that wake each other without end cost their users money.
const MOST_WAKES: usize = 60;

/// Another number, for agents that are meant to answer more often.
const MOST_WAKES_VARIABLE: &str = "MCP_BRIDGE_WAKES_PER_HOUR";

/// Wakes within an hour at most.
pub(crate) fn most_wakes() -> usize {
    let said = std::env::var(MOST_WAKES_VARIABLE).ok();
    said.and_then(|said| said.parse().ok())
        .unwrap_or(MOST_WAKES)
}

const HOUR_MS: u64 = 3_600_000;

/// The files of one agent.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    directory: PathBuf,
    name: String,
}

/// What an agent heard of, and when it was woken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AgentNote {
    /// The newest message that it heard of.
    pub(crate) newest: i64,
    /// When it heard of that one last, and how often it was reminded since:
    /// milliseconds since boot.
    pub(crate) told_at: u64,
    pub(crate) reminders: u32,
    /// How often in a row it was made to go on when it stopped.
    pub(crate) blocks: u32,
    /// The turn that the store heard of last, and when: milliseconds since boot.
    pub(crate) turn: Option<(Turn, u64)>,
    /// When the store heard last of what a helper of its does: milliseconds since boot.
    pub(crate) helped_at: u64,
    /// Whether the store holds that it waits.
    pub(crate) waits: bool,
    /// It waits by its client's own note, which no hook reported.
    pub(crate) asks: bool,
    /// The boot that these times are of.
    pub(crate) boot: String,
    /// When its client was woken lately: milliseconds since boot.
    pub(crate) wakes: Vec<u64>,
    /// The wakes that the client's hook claimed, the last of each session, until what came
    /// of them is known.
    pub(crate) claimed: Vec<Claimed>,
    /// The client says that it asks its user for no permission.
    pub(crate) bypasses: bool,
    /// The client's name for the conversation that its hooks reported last.
    pub(crate) thread: String,
}

/// The claimed wake of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claimed {
    /// Whose.
    pub(crate) session: SessionKey,
    /// Which.
    pub(crate) wake: WakeRef,
    /// The newest message that it is about.
    pub(crate) mark: MessageId,
}

impl AgentNote {
    /// The agent hears now of its mail, up to this message.
    pub(crate) fn tell(&mut self, newest: i64, now: u64) {
        self.reminders = match newest > self.newest {
            true => 0,
            false => self.reminders.saturating_add(1),
        };
        self.newest = self.newest.max(newest);
        self.told_at = now;
    }

    /// It was not delivered after all: as it was before.
    pub(crate) fn untell(&mut self, before: &Self) {
        self.newest = before.newest;
        self.told_at = before.told_at;
        self.reminders = before.reminders;
        self.wakes.pop();
    }

    /// How long until an agent that left its mail unread is reminded of it: longer
    /// after each time.
    pub(crate) fn reminded_in(&self, now: u64) -> Duration {
        let pause = REMINDED_AFTER_MS << self.reminders.min(6);
        Duration::from_millis((self.told_at + pause).saturating_sub(now))
    }

    /// Whether the agent may be woken: it was not woken too often within the last hour.
    pub(crate) fn may_wake(&self, now: u64) -> bool {
        let lately = self.wakes.iter();
        let lately = lately.filter(|at| now.saturating_sub(**at) < HOUR_MS);
        lately.count() < most_wakes()
    }

    /// The agent is woken now for its mail, up to this message.
    pub(crate) fn wake(&mut self, newest: i64, now: u64) {
        self.wakes.retain(|at| now.saturating_sub(*at) < HOUR_MS);
        self.wakes.push(now);
        self.tell(newest, now);
    }

    /// Whether the turn that begins now is the one that a wake for this message led to:
    /// its agent heard of it this moment.
    pub(crate) fn was_woken_for(&self, newest: i64, now: u64) -> bool {
        let woken = self.wakes.last();
        newest == self.newest && woken.is_some_and(|at| now.saturating_sub(*at) < WAKE_MS)
    }
}

/// What waits to be said to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saying {
    /// What the client said of its turn.
    pub(crate) turn: Turn,
    /// When it said so: milliseconds since boot.
    pub(crate) at: u64,
}

impl Notes {
    /// Those of the agent that acts for these sessions; none where this user has no
    /// place for them.
    pub(crate) fn of(acting: &Acting) -> Option<Self> {
        let directory = locate::notes_directory()?.join("hooks");
        let mut digest = Sha256::new();
        digest.update(acting.store.as_deref().unwrap_or_default());
        for member in &acting.members {
            digest.update(format!("\n{}", member.caller.session));
        }
        let name = hex::encode(&digest.finalize()[..12]);
        Some(Self { directory, name })
    }

    /// What it heard of, on this boot.
    pub(crate) fn told(&self, boot: &str) -> AgentNote {
        let told: AgentNote = self.read("json").unwrap_or_default();
        match told.boot == boot {
            true => told,
            // Times of an earlier boot mean nothing now.
            false => AgentNote {
                newest: told.newest,
                boot: boot.to_owned(),
                ..AgentNote::default()
            },
        }
    }

    /// Changes what is noted of it, one program at a time. `change` gets what is noted
    /// now: another program may have written to the agent since this one looked.
    /// Returns what `change` does.
    pub(crate) fn change<T>(
        &self,
        boot: &str,
        change: impl FnOnce(&mut AgentNote) -> T,
    ) -> io::Result<T> {
        self.prepare()?;
        let _lock = self.lock("lock", FlockOperation::LockExclusive)?;
        let noted = self.told(boot);
        let mut told = noted.clone();
        let done = change(&mut told);
        if told != noted {
            self.put_told(&told)?;
        }
        Ok(done)
    }

    fn put_told(&self, told: &AgentNote) -> io::Result<()> {
        let text = serde_json::to_vec(told)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(&text)?;
        file.persist(self.path("json"))?;
        Ok(())
    }

    /// Keeps something for the store behind what waits already.
    pub(crate) fn keep(&self, saying: Saying) -> io::Result<()> {
        self.prepare()?;
        let _lock = self.lock("lock", FlockOperation::LockExclusive)?;
        let mut waiting = self.waiting()?;
        waiting.push(saying);
        self.put(&waiting)
    }

    /// What waits, oldest first.
    pub(crate) fn waiting(&self) -> io::Result<Vec<Saying>> {
        match guarded::read(&self.path("waiting"), 2 * MOST_WAITING) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
            Ok(text) => {
                let lines = text.split(|byte| *byte == b'\n');
                Ok(lines
                    .filter_map(|l| serde_json::from_slice(l).ok())
                    .collect())
            }
        }
    }

    /// The first `count` of what waits were said.
    pub(crate) fn said(&self, count: usize) -> io::Result<()> {
        let _lock = self.lock("lock", FlockOperation::LockExclusive)?;
        let mut waiting = self.waiting()?;
        waiting.drain(..count.min(waiting.len()));
        self.put(&waiting)
    }

    /// The right to say what waits, which one program has at a time.
    pub(crate) fn turn_to_say(&self) -> io::Result<Option<File>> {
        self.try_lock("saying")
    }

    /// The right to be the agent's process that goes on trying to say it.
    pub(crate) fn turn_to_flush(&self) -> io::Result<Option<File>> {
        self.try_lock("flush")
    }

    fn try_lock(&self, kind: &str) -> io::Result<Option<File>> {
        self.prepare()?;
        match self.lock(kind, FlockOperation::NonBlockingLockExclusive) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            lock => lock.map(Some),
        }
    }

    /// The file that the agent's one waiter has locked, and writes its process to.
    pub(crate) fn waiter(&self) -> io::Result<File> {
        self.prepare()?;
        Ok(guarded::open_or_make(&self.path("waiter"), 0o600)?.0)
    }

    /// Whether the client's hook waits for mail just now.
    pub(crate) fn has_waiter(&self) -> bool {
        let file = guarded::open(&self.path("waiter"));
        file.is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
    }

    fn put(&self, waiting: &[Saying]) -> io::Result<()> {
        let mut lines: Vec<Vec<u8>> = Vec::with_capacity(waiting.len());
        let mut room = MOST_WAITING;
        for saying in waiting.iter().rev() {
            let mut line = serde_json::to_vec(saying)?;
            line.push(b'\n');
            let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
            match room.checked_sub(length) {
                Some(left) => room = left,
                None => break,
            }
            lines.push(line);
        }
        lines.reverse();
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(&lines.concat())?;
        file.persist(self.path("waiting"))?;
        Ok(())
    }

    fn prepare(&self) -> io::Result<()> {
        let mut private = std::fs::DirBuilder::new();
        private.recursive(true).mode(0o700).create(&self.directory)
    }

    fn lock(&self, kind: &str, how: FlockOperation) -> io::Result<File> {
        let (file, _) = guarded::open_or_make(&self.path(kind), 0o600)?;
        flock(&file, how)?;
        Ok(file)
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.directory.join(format!("{}.{kind}", self.name))
    }

    fn read<T: DeserializeOwned>(&self, kind: &str) -> Option<T> {
        let text = guarded::read(&self.path(kind), MOST_WAITING).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

/// A time since boot in the milliseconds that notes have.
pub(crate) fn millis(since_boot: Duration) -> u64 {
    u64::try_from(since_boot.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes() -> (tempfile::TempDir, Notes) {
        let scratch = tempfile::tempdir().expect("a directory");
        let directory = scratch.path().join("hooks");
        let name = "agent".to_owned();
        (scratch, Notes { directory, name })
    }

    const BEGIN: Saying = Saying {
        turn: Turn::Inside,
        at: 7,
    };
    const END: Saying = Saying {
        turn: Turn::Outside,
        at: 8,
    };

    #[test]
    fn waiting_notes_keep_their_order() {
        let (_scratch, notes) = notes();
        assert_eq!(notes.waiting().expect("read"), []);
        for saying in [BEGIN, END, BEGIN] {
            notes.keep(saying).expect("kept");
        }
        notes.said(2).expect("noted");
        notes.keep(END).expect("kept");
        assert_eq!(notes.waiting().expect("read"), [BEGIN, END]);
        notes.said(9).expect("noted");
        assert_eq!(notes.waiting().expect("read"), []);
    }

    #[test]
    fn newest_note_is_kept_through_a_long_outage() {
        let (_scratch, notes) = notes();
        let many = vec![BEGIN; 6_000];
        notes.prepare().expect("a directory");
        notes.put(&many).expect("written");
        notes.keep(END).expect("kept");
        let waiting = notes.waiting().expect("read");
        assert!((1_000..6_000).contains(&waiting.len()), "{}", waiting.len());
        assert_eq!(waiting.last(), Some(&END));
    }

    #[test]
    fn one_program_stores_the_waiting_notes() {
        let (_scratch, notes) = notes();
        let first = notes.turn_to_say().expect("a lock");
        assert!(first.is_some());
        assert!(notes.turn_to_say().expect("looked").is_none());
        drop(first);
        assert!(notes.turn_to_say().expect("a lock").is_some());
    }

    #[test]
    fn concurrent_programs_undo_nothing() {
        let (_scratch, notes) = notes();
        let one = |at: u64| {
            let changed = notes.change("b", |told| told.wakes.push(at));
            changed.expect("noted");
        };
        std::thread::scope(|scope| {
            for program in 0..4 {
                scope.spawn(move || (0..50).for_each(|count| one(50 * program + count)));
            }
        });
        assert_eq!(notes.told("b").wakes.len(), 200);
    }

    #[test]
    fn times_of_another_boot_are_forgotten() {
        let (_scratch, notes) = notes();
        let told = AgentNote {
            newest: 7,
            blocks: 2,
            told_at: 3,
            reminders: 1,
            turn: Some((Turn::Inside, 5)),
            waits: true,
            boot: "one".into(),
            wakes: vec![1, 2],
            ..AgentNote::default()
        };
        notes.prepare().expect("a directory");
        notes.put_told(&told).expect("written");
        assert_eq!(notes.told("one"), told);
        let later = notes.told("two");
        assert_eq!((later.newest, later.blocks, later.wakes.len()), (7, 0, 0));
    }

    #[test]
    fn an_agent_is_reminded_less_and_less_often() {
        let mut told = AgentNote::default();
        told.tell(7, 1_000);
        assert_eq!(told.reminded_in(1_000), Duration::from_secs(300));
        told.tell(7, 301_000);
        assert_eq!(told.reminded_in(301_000), Duration::from_secs(600));
        (0..99).for_each(|_| told.tell(7, 301_000));
        assert_eq!(told.reminded_in(301_000), Duration::from_secs(19_200));
        told.tell(8, 301_000);
        assert_eq!(told.reminded_in(301_500), Duration::from_millis(299_500));
    }

    #[test]
    fn a_file_with_anything_in_it_is_read() {
        let (_scratch, notes) = notes();
        notes.prepare().expect("a directory");
        std::fs::write(notes.path("json"), "[1,2").expect("written");
        std::fs::write(
            notes.path("waiting"),
            "x\n{\"turn\":\"inside\",\"at\":7}\n\n{\"turn\":9,\"at\":8}",
        )
        .expect("written");
        assert_eq!(notes.told("b").newest, 0);
        assert_eq!(notes.waiting().expect("read"), [BEGIN]);
    }
}
