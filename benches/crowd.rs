//! Many connections that only send, beside one writer that does nothing else but
//! insert rows and commit: what sharing commits gets out of a disk. All in one run, in
//! turns, on the disk that the temporary directory is on.
//!
//! That writer has the table of messages as every program on a store has it, with the
//! two indexes, which cost two pages for each conversation in a commit; and once more a
//! table without any. It checks no token, keeps no limit and writes no audit log.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark says what it found, and one that cannot set up its case has nothing \
              to say"
)]

#[path = "../tests/common/store.rs"]
mod common;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mcp_bridge::store::{Caller, SharedStore};

use common::{Scratch, at, draft, pairs, unlimited};

/// Connections, and rows in a transaction of the writer beside them.
const MANY: usize = 32;
const ROUNDS: usize = 7;

/// The share of that writer's rows that the connections are to reach.
const GOAL: f64 = 0.6;

/// A program that only inserts messages.
struct Bare {
    store: rusqlite::Connection,
    conversations: Vec<String>,
}

impl Bare {
    fn new(path: &Path, indexes: &str, callers: &[Caller]) -> Self {
        let store = rusqlite::Connection::open(path).expect("opened");
        store
            .execute_batch(&format!(
                "PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = FULL;
                 CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT,
                     conversation_id TEXT NOT NULL, from_session TEXT NOT NULL,
                     to_session TEXT NOT NULL, message TEXT NOT NULL, metadata TEXT,
                     timestamp TEXT NOT NULL, read INTEGER DEFAULT 0);
                 {indexes}"
            ))
            .expect("made");
        let callers = callers.iter();
        let conversations = callers.map(|caller| caller.session.conversation.to_string());
        Self {
            store,
            conversations: conversations.collect(),
        }
    }

    /// Rows a second, `each` in each transaction, each of another conversation.
    fn rows(&mut self, each: usize, text: &str) -> f64 {
        let (begun, mut rows) = (Instant::now(), 0_u32);
        let mut next = self.conversations.iter().cycle();
        while begun.elapsed() < round() {
            let all = self.store.transaction().expect("begun");
            let mut insert = all
                .prepare_cached(
                    "INSERT INTO messages (conversation_id, from_session, to_session, message,
                         metadata, timestamp)
                     VALUES (?1, 'a', 'b', ?2, '{\"action_type\":\"info\"}',
                         '2025-11-13T02:13:21.000000')",
                )
                .expect("good SQL");
            for conversation in next.by_ref().take(each) {
                insert.execute([conversation, text]).expect("stored");
                rows += 1;
            }
            drop(insert);
            all.commit().expect("committed");
        }
        f64::from(rows) / begun.elapsed().as_secs_f64()
    }
}

/// The indexes of a store's messages.
const INDEXES: &str = "CREATE INDEX unread ON messages (conversation_id, to_session, id, read)
     WHERE read = 0;
 CREATE INDEX sent ON messages (conversation_id, from_session, timestamp);";

/// Whether this is a measurement, and no test that it still runs.
fn measures() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// How long each has its turn.
fn round() -> Duration {
    match measures() {
        true => Duration::from_secs(1),
        false => Duration::from_millis(10),
    }
}

/// Messages a second over these connections, each of which sends the next one when the
/// last one was acknowledged.
async fn sent(store: &SharedStore, callers: &[Caller], text: &str) -> f64 {
    let (count, over) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let begun = Instant::now();
    let senders: Vec<_> = callers
        .iter()
        .map(|from| {
            let (store, from, drafts) = (Arc::clone(store), from.clone(), [draft(text)]);
            let (count, over) = (Arc::clone(&count), Arc::clone(&over));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    store.send(&from, &drafts, at(3)).await.expect("sent");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(round()).await;
    over.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.expect("ended");
    }
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let count = count.load(Ordering::Relaxed) as f64;
    count / begun.elapsed().as_secs_f64()
}

/// What one fsync of a page takes here.
fn fsync(directory: &Path) -> Duration {
    let mut file = std::fs::File::create(directory.join("fsync")).expect("made");
    let mut took: Vec<Duration> = (0..200)
        .map(|_| {
            file.write_all(&[7; 4096]).expect("written");
            let begun = Instant::now();
            file.sync_data().expect("synced");
            begun.elapsed()
        })
        .collect();
    took.sort_unstable();
    took[took.len() / 2]
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let scratch = Scratch::new();
    let text = "x".repeat(200);
    let (store, callers) = runtime.block_on(async {
        let store = scratch.make().await;
        unlimited(&store).await;
        let pairs = pairs(&store, MANY, at(0)).await;
        let callers: Vec<Caller> = pairs.into_iter().map(|pair| pair.a).collect();
        (store, callers)
    });
    let directory = scratch.path().parent().expect("a directory").to_owned();
    let mut indexed = Bare::new(&directory.join("indexed.db"), INDEXES, &callers);
    let mut plain = Bare::new(&directory.join("plain.db"), "", &callers);
    let syncs = fsync(&directory);
    let rounds = if measures() { ROUNDS } else { 1 };
    let mut figures: [Vec<f64>; 5] = Default::default();
    for round in 0..=rounds {
        let found = [
            plain.rows(MANY, &text),
            indexed.rows(1, &text),
            indexed.rows(MANY, &text),
            runtime.block_on(sent(&store, &callers[..1], &text)),
            runtime.block_on(sent(&store, &callers, &text)),
        ];
        // The first fills caches and files.
        if round > 0 {
            for (figures, found) in figures.iter_mut().zip(found) {
                figures.push(found);
            }
        }
    }
    runtime.block_on(store.close());
    let [plain, one, many, alone, crowd] = figures.map(median);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("messages a second, median of {rounds} rounds in turns");
    println!("  {MANY} rows a commit, no index           {plain:>8.0}");
    println!("  1 row a commit, the store's indexes    {one:>8.0}");
    println!("  {MANY} rows a commit, the store's indexes{many:>8.0}");
    println!("  1 connection that sends                {alone:>8.0}");
    println!("  {MANY} connections that send              {crowd:>8.0}");
    let share = crowd / many;
    let reached = if share >= GOAL { "reached" } else { "MISSED" };
    println!(
        "{MANY} connections to {MANY} rows a commit: {share:.2} (goal {GOAL}: {reached}); \
         without indexes {:.2}",
        crowd / plain
    );
    println!("one fsync {syncs:?}; load {}", load.trim());
}
