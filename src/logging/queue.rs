//! The bounded queue in front of a log's reader.
//!
//! A journal, a pipe or a terminal may stand still, and a write to it waits for as
//! long: one thread waits, and no duty. What does not fit into the queue is counted,
//! and the count stands at the place where it is missing.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much may wait: a minute of a busy orchestrator's debug records.
const LIMITS: Limits = Limits {
    records: 16_384,
    bytes: 8 * 1024 * 1024,
};

/// Where records go. Both may wait for as long as they like.
pub(super) trait Sink: Send + 'static {
    /// Writes one record, or gives it up.
    fn write(&mut self, record: &[u8]);

    /// The record that tells that some are missing here.
    fn missing(&self, count: u64) -> Vec<u8>;
}

/// How much a record matters when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rank {
    /// Counted, and lost.
    Ordinary,
    /// Has as much room again: an alert.
    Alert,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    records: usize,
    bytes: usize,
}

enum Entry {
    Record(Vec<u8>),
    /// This number is missing at this place.
    Missing(u64),
}

/// Cheap to clone; its thread ends with the process.
#[derive(Clone)]
pub(super) struct Queue(Arc<Shared>);

struct Shared {
    limits: Limits,
    waiting: Mutex<Waiting>,
    /// Something came.
    filled: Condvar,
    /// Everything was written.
    emptied: Condvar,
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// One is being written.
    busy: bool,
}

impl Queue {
    /// Starts the thread that writes.
    pub(super) fn spawn(sink: impl Sink) -> std::io::Result<Self> {
        Self::with_limits(LIMITS, sink)
    }

    fn with_limits(limits: Limits, mut sink: impl Sink) -> std::io::Result<Self> {
        let queue = Self(Arc::new(Shared {
            limits,
            waiting: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        }));
        let read = queue.clone();
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || {
                loop {
                    match read.next() {
                        Entry::Record(record) => sink.write(&record),
                        Entry::Missing(count) => sink.write(&sink.missing(count)),
                    }
                }
            })?;
        Ok(queue)
    }

    /// Hands a record over. Never waits for the reader.
    pub(super) fn push(&self, record: Vec<u8>, rank: Rank) {
        let Limits { records, bytes } = self.0.limits;
        let times = match rank {
            Rank::Ordinary => 1,
            Rank::Alert => 2,
        };
        let mut waiting = self.lock();
        let fits = waiting.entries.len() < records * times
            && waiting.bytes + record.len() <= bytes * times;
        if fits {
            waiting.bytes += record.len();
            waiting.entries.push_back(Entry::Record(record));
        } else if let Some(Entry::Missing(count)) = waiting.entries.back_mut() {
            *count += 1;
        } else {
            waiting.entries.push_back(Entry::Missing(1));
        }
        drop(waiting);
        self.0.filled.notify_one();
    }

    /// Waits until everything is written, for at most this long; whether it is.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut waiting = self.lock();
        while waiting.busy || !waiting.entries.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.0.emptied.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// The next entry, once there is one. What this returned last counts as
    /// written.
    fn next(&self) -> Entry {
        let mut waiting = self.lock();
        waiting.busy = false;
        loop {
            if let Some(entry) = waiting.entries.pop_front() {
                if let Entry::Record(record) = &entry {
                    waiting.bytes -= record.len();
                }
                waiting.busy = true;
                return entry;
            }
            self.0.emptied.notify_all();
            let woken = self.0.filled.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Shows what it was given, and waits for leave after each.
    struct Gate {
        shown: Sender<String>,
        leave: Receiver<()>,
    }

    impl Sink for Gate {
        fn write(&mut self, record: &[u8]) {
            let _ = self
                .shown
                .send(String::from_utf8_lossy(record).into_owned());
            // Without its other end it stands still no more.
            let _ = self.leave.recv();
        }

        fn missing(&self, count: u64) -> Vec<u8> {
            format!("{count} missing").into_bytes()
        }
    }

    /// A queue whose reader stands still in the middle of its first record.
    fn stuck(limits: Limits) -> (Queue, Receiver<String>, Sender<()>) {
        let (shown, seen) = channel();
        let (go, leave) = channel();
        let queue = Queue::with_limits(limits, Gate { shown, leave }).expect("a thread");
        queue.push(b"first".to_vec(), Rank::Ordinary);
        assert_eq!(seen.recv_timeout(PATIENCE).as_deref(), Ok("first"));
        (queue, seen, go)
    }

    fn rest(queue: &Queue, seen: &Receiver<String>, go: Sender<()>) -> Vec<String> {
        drop(go);
        assert!(queue.flush(PATIENCE));
        seen.try_iter().collect()
    }

    #[test]
    fn records_beyond_the_limit_are_counted_in_place() {
        let limits = Limits {
            records: 3,
            bytes: 1_000,
        };
        let (queue, seen, go) = stuck(limits);
        for number in 1..=10 {
            queue.push(number.to_string().into_bytes(), Rank::Ordinary);
        }
        queue.push(b"alert".to_vec(), Rank::Alert);
        queue.push(b"11".to_vec(), Rank::Ordinary);
        assert_eq!(
            rest(&queue, &seen, go),
            ["1", "2", "3", "7 missing", "alert", "1 missing"]
        );
        // There is room again.
        queue.push(b"12".to_vec(), Rank::Ordinary);
        assert!(queue.flush(PATIENCE));
        assert_eq!(seen.try_recv().as_deref(), Ok("12"));
    }

    #[test]
    fn the_bytes_are_limited_too() {
        let limits = Limits {
            records: 1_000,
            bytes: 10,
        };
        let (queue, seen, go) = stuck(limits);
        queue.push(vec![b'x'; 8], Rank::Ordinary);
        queue.push(vec![b'y'; 8], Rank::Ordinary);
        queue.push(vec![b'z'; 2], Rank::Ordinary);
        queue.push(vec![b'a'; 8], Rank::Alert);
        queue.push(vec![b'b'; 80], Rank::Alert);
        assert_eq!(
            rest(&queue, &seen, go),
            ["xxxxxxxx", "1 missing", "zz", "aaaaaaaa", "1 missing"]
        );
    }

    #[test]
    fn a_flush_waits_no_longer_than_it_may() {
        let (queue, _seen, _go) = stuck(LIMITS);
        assert!(!queue.flush(Duration::from_millis(10)));
    }

    #[test]
    fn full_queue_delays_no_writer() {
        let (queue, seen, go) = stuck(LIMITS);
        for _ in 0..200_000 {
            queue.push(vec![b'x'; 100], Rank::Ordinary);
        }
        let rest = rest(&queue, &seen, go);
        assert_eq!(rest.len(), LIMITS.records + 1);
        let missing = 200_000 - LIMITS.records;
        assert_eq!(rest.last(), Some(&format!("{missing} missing")));
    }
}
