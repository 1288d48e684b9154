//! Damaged files: refused, or reported by `check`; never a panic, and never an
//! empty store in silence.

use std::path::Path;

use mcp_bridge::model::MessageId;
use mcp_bridge::store::sqlite::Create;
use mcp_bridge::store::{AuditFilter, ErrorClass, StoreError};

use crate::common::store as common;
use crate::common::store::{PATIENCE, Pair, Scratch, at, draft, try_open, unlimited};

const MESSAGES: u64 = 200;

/// A store with something in it, closed, all of it in the one file.
async fn sound() -> (Scratch, Pair, Vec<u8>) {
    let scratch = Scratch::fast();
    let store = scratch.make().await;
    unlimited(&store).await;
    let pair = common::pairs(&store, 20, at(0)).await.remove(7);
    let drafts: Vec<_> = (0..MESSAGES)
        .map(|n| draft(&format!("message {n}: {}", "words ".repeat(20))))
        .collect();
    store.send(&pair.a, &drafts, at(1)).await.expect("sent");
    store.close().await;
    let bytes = std::fs::read(scratch.path()).expect("read");
    assert!(!scratch.beside("-wal").exists(), "not all in one file");
    (scratch, pair, bytes)
}

/// Opens the file in any state and tries everything. What comes back is no panic; and
/// if neither opening nor the check complains, then nothing is missing.
async fn survives(path: &Path, pair: &Pair) -> Result<(), StoreError> {
    let store = try_open(path, Create::Yes).await?;
    let now = at(2);
    let _ = store.conversations().await;
    let _ = store.conversation(&pair.id).await;
    let _ = store.sessions(at(0)).await;
    let _ = store.daemons().await;
    let _ = store.mail(std::slice::from_ref(&pair.b.session)).await;
    let _ = store.verify(std::slice::from_ref(&pair.b), now).await;
    let _ = store.peek(&pair.b, None, 500, now).await;
    let filter = AuditFilter {
        limit: 500,
        ..AuditFilter::default()
    };
    let _ = store.audit(&filter).await;
    let checked = store.check().await;
    // Only now, because it writes.
    let _ = store.send(&pair.a, &[draft("one more")], now).await;
    let _ = store.fetch(&pair.b, 500, now).await;
    let _ = store.acknowledge(&pair.b, &[MessageId(3)], now).await;
    store.close().await;
    let check = checked?;
    if check.problems.is_empty() {
        assert_eq!((check.conversations, check.messages), (20, MESSAGES));
    }
    Ok(())
}

/// The same in a task of its own, so that a panic names its case.
async fn try_case(name: &str, bytes: &[u8], pair: &Pair) -> Option<StoreError> {
    let scratch = Scratch::fast();
    std::fs::write(scratch.path(), bytes).expect("written");
    let (path, pair) = (scratch.path(), pair.clone());
    let case = tokio::spawn(async move { survives(&path, &pair).await });
    let outcome = tokio::time::timeout(PATIENCE, case).await;
    let outcome = outcome.unwrap_or_else(|_| panic!("{name}: it hangs"));
    let error = outcome
        .unwrap_or_else(|panic| panic!("{name}: {panic}"))
        .err();
    if let Some(error) = &error {
        let made_new = matches!(error, StoreError::Missing(_) | StoreError::Full(_));
        assert!(!made_new, "{name}: {error}");
        assert!(error.is_outage(), "{name}: {error}");
    }
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits() {
    let (_scratch, pair, sound) = sound().await;
    let seeds = if common::full() { 3_000 } else { 200 };
    let mut refused = 0;
    for seed in 0..seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = sound.clone();
        // A third of them where the structure is: headers and the schema.
        let reach = if seed % 3 == 0 { 2_000 } else { bytes.len() };
        for _ in 0..random.usize(1..12) {
            bytes[random.usize(..reach)] ^= 1 << random.u32(..8);
        }
        let name = format!("seed {seed}");
        refused += u32::from(try_case(&name, &bytes, &pair).await.is_some());
    }
    assert!(refused > 0, "nothing was ever noticed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_is_not_text() {
    let (_scratch, pair, sound) = sound().await;
    let name = b"session_a_role TEXT";
    let mut bytes = sound.clone();
    let places = (0..bytes.len() - name.len()).filter(|at| sound[*at..].starts_with(name));
    for place in places {
        bytes[place + name.len() - 3] ^= 0x80;
    }
    assert!(bytes != sound, "the schema was not found");
    let error = try_case("a byte of a column's type", &bytes, &pair).await;
    assert!(matches!(error, Some(StoreError::Corrupt(..))), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overwritten_pages() {
    let (_scratch, pair, sound) = sound().await;
    let pages = sound.len() / 4_096;
    for page in 0..pages {
        let mut bytes = sound.clone();
        let mut random = fastrand::Rng::with_seed(page as u64);
        for byte in &mut bytes[page * 4_096..(page + 1) * 4_096] {
            *byte = if page % 2 == 0 { 0 } else { random.u8(..) };
        }
        try_case(&format!("page {page}"), &bytes, &pair).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncation() {
    let (_scratch, pair, sound) = sound().await;
    let mut lengths = vec![
        1, 15, 16, 99, 100, 511, 512, 1_000, 4_095, 4_096, 4_097, 8_192,
    ];
    lengths.extend((10_000..sound.len()).step_by(7_001));
    lengths.push(sound.len() - 1);
    for length in lengths {
        let error = try_case(&format!("{length} bytes"), &sound[..length], &pair).await;
        if length < 8_192 {
            let error = error.unwrap_or_else(|| panic!("{length} bytes: opened"));
            assert_eq!(error.class(), ErrorClass::Unusable, "{length}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_that_is_no_database() {
    let (_scratch, pair, sound) = sound().await;
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = (0..20_000).map(|_| random.u8(..)).collect();
    let mut header_alone = b"SQLite format 3\0".to_vec();
    header_alone.extend(&noise);
    let mut wrong_name = sound.clone();
    wrong_name[..16].copy_from_slice(b"SQLite format 2\0");
    let text = b"this is a text file, not a database\n".repeat(200);
    for (name, bytes) in [
        ("noise", &noise),
        ("a header and noise", &header_alone),
        ("another format", &wrong_name),
        ("text", &text),
        ("zeros", &vec![0; 8_192]),
        ("a byte", &vec![7]),
    ] {
        let scratch = Scratch::fast();
        std::fs::write(scratch.path(), bytes).expect("written");
        for create in [Create::No, Create::Yes] {
            let error = try_open(&scratch.path(), create).await;
            let error = error.expect_err(name);
            assert!(
                matches!(error, StoreError::NotADatabase(_) | StoreError::Corrupt(..)),
                "{name}: {error}"
            );
        }
        let after = std::fs::read(scratch.path()).expect("read");
        assert!(after == *bytes, "{name}: it was written to");
        try_case(name, bytes, &pair).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_log_never_leaves_an_empty_store() {
    let scratch = Scratch::fast();
    let store = scratch.make().await;
    unlimited(&store).await;
    let pair = common::pair(&store, at(0)).await;
    let drafts: Vec<_> = (0..50).map(|n| draft(&format!("{n}"))).collect();
    store.send(&pair.a, &drafts, at(1)).await.expect("sent");
    // As a power failure leaves it: the log was never written back.
    let file = std::fs::read(scratch.path()).expect("read");
    let log = std::fs::read(scratch.beside("-wal")).expect("read");
    store.close().await;
    for seed in 0..if common::full() { 500 } else { 40 } {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut damaged = log.clone();
        let reach = if seed % 2 == 0 { 60 } else { log.len() };
        for _ in 0..random.usize(1..6) {
            damaged[random.usize(..reach)] ^= 1 << random.u32(..8);
        }
        if seed % 5 == 0 {
            damaged.truncate(random.usize(..log.len()));
        }
        let copy = Scratch::fast();
        std::fs::write(copy.path(), &file).expect("written");
        std::fs::write(copy.beside("-wal"), &damaged).expect("written");
        let store = try_open(&copy.path(), Create::No).await;
        let store = store.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        // Whole transactions, from the front: SQLite's own promise.
        let check = store.check().await.expect("checked");
        assert!(
            check.problems.is_empty(),
            "seed {seed}: {:?}",
            check.problems
        );
        assert!([0, 50].contains(&check.messages), "seed {seed}: a part");
        store.close().await;
    }
}
