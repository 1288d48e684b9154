//! Over the backend in memory, which fails on request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use futures_util::future::join_all;
use jiff::Timestamp;

use super::*;
use crate::model::message::Draft;
use crate::model::token::Token;
use crate::model::{ConversationId, SessionKey, Side};
use crate::store::memory::{Memory, Step, Trouble, Troubles};
use crate::store::ops::{conversations, messages};
use crate::store::{Caller, NewConversation, Sent};

fn now() -> Timestamp {
    Timestamp::from_second(1_763_000_000).expect("in range")
}

fn sound() -> Troubles {
    Arc::new(|_| None)
}

/// A store with a conversation, and the caller of its side `a`.
async fn memory() -> (Memory, Caller) {
    let memory = Memory::default();
    let id: ConversationId = "conv_0123456789abcdef".parse().expect("an id");
    let token = |side| Token::generate(&SessionKey::new(id.clone(), side), &[7; 32]);
    let new = NewConversation {
        id: id.clone(),
        label: None,
        role_a: "orchestrator".into(),
        role_b: "worker".into(),
        token_a: token(Side::A),
        token_b: token(Side::B),
        expires_at: now() + jiff::SignedDuration::from_hours(3),
    };
    let made = vec![new.clone()];
    memory
        .open(&sound())
        .write("making one", move |transaction| {
            conversations::create(transaction, &made, now())
        })
        .await
        .expect("made");
    let caller = Caller {
        session: SessionKey::new(id, Side::A),
        token: new.token_a,
    };
    (memory, caller)
}

fn draft(text: &str) -> Draft {
    Draft::text(text.parse().expect("a body"))
}

async fn send(executor: &Executor, from: &Caller, draft: Draft) -> Result<Vec<Sent>> {
    let from = from.clone();
    let drafts = vec![draft];
    let clean = messages::clean(&drafts).expect("clean");
    executor
        .write("sending", move |transaction| {
            messages::send(transaction, &from, &drafts, &clean, now())
        })
        .await
}

/// The same on a task of its own.
fn ask(
    executor: &Arc<Executor>,
    from: &Caller,
    draft: Draft,
) -> tokio::task::JoinHandle<Result<Vec<Sent>>> {
    let (executor, from) = (Arc::clone(executor), from.clone());
    tokio::spawn(async move { send(&executor, &from, draft).await })
}

/// Waits until this number of writes is in the queue.
async fn queued(executor: &Executor, many: usize) {
    while executor.queued() < many {
        tokio::task::yield_now().await;
    }
}

/// Holds up an executor in a write of its own, until it is let go: what is asked
/// for meanwhile stands in its queue.
struct Held {
    go: mpsc::Sender<()>,
    over: tokio::task::JoinHandle<Result<()>>,
}

impl Held {
    async fn new(executor: &Arc<Executor>) -> Self {
        let (go, gone) = mpsc::channel::<()>();
        let (begun, begins) = oneshot::channel();
        let executor = Arc::clone(executor);
        let mut begun = Some(begun);
        let over = tokio::spawn(async move {
            executor
                .write("holding it up", move |_| {
                    if let Some(begun) = begun.take() {
                        let _ = begun.send(());
                        let _ = gone.recv();
                    }
                    Ok(())
                })
                .await
        });
        begins.await.expect("begun");
        Self { go, over }
    }

    async fn let_go(self) -> Result<()> {
        let _ = self.go.send(());
        self.over.await.expect("ran")
    }
}

/// Sends many at once, behind one that holds them up.
async fn crowd(
    executor: &Arc<Executor>,
    from: &Caller,
    texts: &[String],
) -> Vec<Result<Vec<Sent>>> {
    let held = Held::new(executor).await;
    let sends: Vec<_> = texts
        .iter()
        .map(|text| ask(executor, from, draft(text)))
        .collect();
    queued(executor, texts.len()).await;
    held.let_go().await.expect("it went on");
    join_all(sends)
        .await
        .into_iter()
        .map(|sent| sent.expect("ran"))
        .collect()
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("message {n}")).collect()
}

#[tokio::test]
async fn callers_that_wait_share_one_commit() {
    let (memory, from) = memory().await;
    let executor = Arc::new(memory.open(&sound()));
    let sent = crowd(&executor, &from, &texts(MOST)).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    assert_eq!(
        memory.commits(),
        3,
        "one before, the one that held them up, theirs"
    );
    assert_eq!(memory.texts().len(), MOST);
    assert_eq!(memory.audited("send_message"), MOST);
}

#[tokio::test]
async fn writes_beyond_the_bound_go_first_next() {
    let (memory, from) = memory().await;
    let executor = Arc::new(memory.open(&sound()));
    let texts = texts(2 * MOST + 1);
    let sent = crowd(&executor, &from, &texts).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    assert_eq!(
        memory.commits(),
        2 + 3,
        "two that are full, and the last one"
    );
    assert_eq!(memory.texts(), texts, "none overtook another");
}

/// A write that notes when it ran, by how many commits there were, and for how long it
/// works.
async fn noting(executor: &Executor, memory: &Memory, works: Duration) -> u64 {
    let memory = memory.clone();
    let ran = executor.write("noting", move |_| {
        let begun = clock::since_boot();
        while clock::since_boot().saturating_sub(begun) < works {
            std::thread::yield_now();
        }
        Ok(memory.commits())
    });
    ran.await.expect("committed")
}

#[tokio::test]
async fn no_write_joins_a_long_transaction() {
    let (memory, _) = memory().await;
    let executor = Arc::new(memory.open(&sound()));
    let held = Held::new(&executor).await;
    let work = [
        Duration::ZERO,
        LONGEST * 2,
        Duration::ZERO,
        LONGEST * 2,
        Duration::ZERO,
    ];
    let all = join_all(work.map(|works| noting(&executor, &memory, works)));
    tokio::pin!(all);
    assert!(futures_util::poll!(&mut all).is_pending());
    held.let_go().await.expect("it went on");
    let ran = all.await;
    assert!(ran.is_sorted(), "in order: {ran:?}");
    assert!(ran[1] < ran[2] && ran[3] < ran[4], "joined late: {ran:?}");
}

#[tokio::test]
async fn no_caller_is_answered_before_the_commit() {
    let (memory, from) = memory().await;
    let (at_commit, commits) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let troubles: Troubles = Arc::new(move |step| {
        if step == Step::Commit {
            let _ = at_commit.send(());
            // Ends when the test has let all go.
            let _ = gone.lock().expect("unpoisoned").recv();
        }
        None
    });
    let executor = Arc::new(memory.open(&troubles));
    let held = Held::new(&executor).await;
    let sends: Vec<_> = texts(8)
        .iter()
        .map(|text| ask(&executor, &from, draft(text)))
        .collect();
    queued(&executor, sends.len()).await;
    let held = tokio::spawn(held.let_go());
    let commit = async || loop {
        match commits.try_recv() {
            Ok(()) => break,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    commit().await;
    go.send(()).expect("it waits");
    commit().await;
    // All of them ran, and the engine is at work on their commit.
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert!(sends.iter().all(|sent| !sent.is_finished()));
    }
    assert!(memory.texts().is_empty());
    go.send(()).expect("it waits");
    for sent in join_all(sends).await {
        assert!(sent.expect("ran").is_ok());
    }
    held.await.expect("ran").expect("it went on");
    assert_eq!(memory.texts(), texts(8));
}

#[tokio::test]
async fn the_order_of_one_sender_is_kept() {
    let (memory, from) = memory().await;
    let executor = Arc::new(memory.open(&sound()));
    let held = Held::new(&executor).await;
    let texts = texts(50);
    // Asked for one after the other, answered together.
    let sends: Vec<_> = texts
        .iter()
        .map(|text| Box::pin(send(&executor, &from, draft(text))))
        .collect();
    let all = join_all(sends);
    tokio::pin!(all);
    assert!(futures_util::poll!(&mut all).is_pending());
    held.let_go().await.expect("it went on");
    assert!(all.await.iter().all(Result::is_ok));
    assert_eq!(memory.texts(), texts);
}

#[tokio::test]
async fn a_refused_write_takes_no_other_along() {
    let (memory, from) = memory().await;
    let stranger = Caller {
        token: Token::generate(&from.session, &[8; 32]),
        ..from.clone()
    };
    let executor = Arc::new(memory.open(&sound()));
    let held = Held::new(&executor).await;
    let sends = [&from, &stranger, &from, &stranger, &from]
        .map(|caller| ask(&executor, caller, draft("hello")));
    queued(&executor, sends.len()).await;
    held.let_go().await.expect("it went on");
    let sent: Vec<bool> = join_all(sends)
        .await
        .into_iter()
        .map(|sent| match sent.expect("ran") {
            Ok(_) => true,
            Err(StoreError::WrongToken(_)) => false,
            Err(other) => panic!("{other}"),
        })
        .collect();
    assert_eq!(sent, [true, false, true, false, true]);
    assert_eq!(memory.commits(), 3);
    // Nothing of what was refused is there, not even a row that it wrote before.
    assert_eq!(memory.texts().len(), 3);
    assert_eq!(memory.audited("send_message"), 3);
}

#[tokio::test]
async fn refused_write_is_rolled_back() {
    let (memory, from) = memory().await;
    let executor = Arc::new(memory.open(&sound()));
    let held = Held::new(&executor).await;
    let other = ask(&executor, &from, draft("kept"));
    let refused = {
        let (executor, from) = (Arc::clone(&executor), from.clone());
        tokio::spawn(async move {
            let drafts = vec![draft("written, then taken back")];
            let clean = messages::clean(&drafts).expect("clean");
            executor
                .write("sending", move |transaction| {
                    messages::send(transaction, &from, &drafts, &clean, now())?;
                    Err::<(), _>(StoreError::Closed(from.session.conversation.clone()))
                })
                .await
        })
    };
    queued(&executor, 2).await;
    held.let_go().await.expect("it went on");
    assert!(other.await.expect("ran").is_ok());
    assert!(matches!(
        refused.await.expect("ran"),
        Err(StoreError::Closed(_))
    ));
    assert_eq!(memory.texts(), ["kept"]);
}

/// Fails once, at the n-th step of this kind.
fn once(step: Step, nth: usize, trouble: Trouble) -> Troubles {
    let (count, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    Arc::new(move |at| {
        let hit = at == step
            && count.fetch_add(1, Ordering::Relaxed) == nth
            && !done.swap(true, Ordering::Relaxed);
        hit.then_some(trouble)
    })
}

#[tokio::test]
async fn writes_of_a_rolled_back_group_run_singly() {
    for (step, nth) in [
        (Step::Row, 5),
        (Step::Row, 30),
        (Step::Commit, 1),
        (Step::Begin, 1),
    ] {
        for trouble in [Trouble::Full, Trouble::Io, Trouble::Busy] {
            let (memory, from) = memory().await;
            let executor = Arc::new(memory.open(&once(step, nth, trouble)));
            let sent = crowd(&executor, &from, &texts(8)).await;
            assert!(
                sent.iter().all(Result::is_ok),
                "{step:?} {nth} {trouble:?}: {sent:?}"
            );
            assert_eq!(memory.texts(), texts(8), "each once, in order");
            // The one that held them up, what was taken back one by one, and the rest.
            assert!(memory.commits() > 3, "{step:?} {nth} {trouble:?}");
        }
    }
}

#[tokio::test]
async fn full_disk_fails_each_write_and_stores_nothing() {
    let (memory, from) = memory().await;
    let full = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&full);
    let troubles: Troubles = Arc::new(move |step| {
        (step == Step::Commit && seen.load(Ordering::Relaxed)).then_some(Trouble::Full)
    });
    let executor = Arc::new(memory.open(&troubles));
    let held = Held::new(&executor).await;
    let sends: Vec<_> = texts(5)
        .into_iter()
        .map(|text| ask(&executor, &from, draft(&text)))
        .collect();
    queued(&executor, sends.len()).await;
    full.store(true, Ordering::Relaxed);
    assert!(matches!(held.let_go().await, Err(StoreError::Full(_))));
    for sent in join_all(sends).await {
        assert!(matches!(sent.expect("ran"), Err(StoreError::Full(_))));
    }
    assert!(memory.texts().is_empty());
    full.store(false, Ordering::Relaxed);
    assert!(send(&executor, &from, draft("after it")).await.is_ok());
    assert_eq!(memory.texts(), ["after it"]);
}

#[tokio::test]
async fn caller_that_left_before_its_turn_writes_nothing() {
    let (memory, from) = memory().await;
    let executor = Arc::new(memory.open(&sound()));
    let held = Held::new(&executor).await;
    let left = ask(&executor, &from, draft("left"));
    let stayed = ask(&executor, &from, draft("stayed"));
    queued(&executor, 2).await;
    left.abort();
    assert!(left.await.expect_err("aborted").is_cancelled());
    held.let_go().await.expect("it went on");
    assert!(stayed.await.expect("ran").is_ok());
    assert_eq!(memory.texts(), ["stayed"]);
}

#[tokio::test]
async fn caller_that_left_meanwhile_writes_nothing() {
    let (memory, from) = memory().await;
    let other = Arc::new(memory.open(&sound()));
    let executor = Arc::new(memory.open(&sound()));
    let held = Held::new(&other).await;
    // The first waits for the lock, the others behind it.
    let first = ask(&executor, &from, draft("first"));
    while executor.queued() > 0 || executor.busy() == 0 {
        tokio::task::yield_now().await;
    }
    let others = ["left too", "stayed"].map(|text| ask(&executor, &from, draft(text)));
    queued(&executor, 2).await;
    let [left, stayed] = others;
    for gone in [first, left] {
        gone.abort();
        assert!(gone.await.expect_err("aborted").is_cancelled());
    }
    held.let_go().await.expect("it went on");
    assert!(stayed.await.expect("ran").is_ok());
    assert_eq!(memory.texts(), ["stayed"]);
}

#[tokio::test]
async fn write_without_a_caller_waits_for_no_lock() {
    let (memory, from) = memory().await;
    let other = Arc::new(memory.open(&sound()));
    let executor = Arc::new(memory.open(&sound()));
    let held = Held::new(&other).await;
    let asked = clock::since_boot();
    let left = ask(&executor, &from, draft("left"));
    while executor.queued() > 0 || executor.busy() == 0 {
        tokio::task::yield_now().await;
    }
    left.abort();
    let thread = executor.close().expect("it ran");
    let ended = tokio::task::spawn_blocking(move || thread.join()).await;
    ended.expect("joined").expect("no panic");
    let took = clock::since_boot().saturating_sub(asked);
    assert!(took < PATIENCE / 2, "{took:?}");
    held.let_go().await.expect("it went on");
    assert!(memory.texts().is_empty());
}

#[tokio::test]
async fn process_stopped_after_commit_has_stored() {
    let (memory, from) = memory().await;
    let executor = Arc::new(memory.open(&once(Step::Commit, 1, Trouble::Stop)));
    let drafts: Vec<Draft> = (0..4)
        .map(|n| {
            let id = format!("try-{n}").parse().expect("an id");
            Draft {
                client_id: Some(id),
                ..draft(&format!("message {n}"))
            }
        })
        .collect();
    let held = Held::new(&executor).await;
    let sends: Vec<_> = drafts
        .iter()
        .map(|draft| ask(&executor, &from, draft.clone()))
        .collect();
    queued(&executor, sends.len()).await;
    held.let_go().await.expect("before it stopped");
    for sent in join_all(sends).await {
        assert!(matches!(sent.expect("ran"), Err(StoreError::Stopped)));
    }
    assert_eq!(memory.texts().len(), 4, "it was committed");
    // As a client does that had no answer: the same ids again, elsewhere.
    let again = memory.open(&sound());
    for draft in drafts {
        let sent = send(&again, &from, draft).await.expect("known");
        assert!(sent[0].duplicate, "{sent:?}");
    }
    assert_eq!(memory.texts().len(), 4, "each once");
}

#[tokio::test]
async fn a_write_that_panics_takes_no_other_along() {
    let (memory, from) = memory().await;
    let executor = Arc::new(memory.open(&sound()));
    let held = Held::new(&executor).await;
    let defect = {
        let executor = Arc::clone(&executor);
        tokio::spawn(async move {
            executor
                .write::<(), _>("panicking", |_| {
                    std::panic::resume_unwind(Box::new("a defect"))
                })
                .await
        })
    };
    let other = ask(&executor, &from, draft("hello"));
    queued(&executor, 2).await;
    held.let_go().await.expect("it went on");
    assert!(defect.await.expect("ran").is_err());
    assert!(other.await.expect("ran").is_ok());
}

#[tokio::test]
async fn closed_executor_finishes_its_queue_only() {
    let (memory, from) = memory().await;
    let executor = Arc::new(memory.open(&sound()));
    let held = Held::new(&executor).await;
    let sent = ask(&executor, &from, draft("asked for"));
    queued(&executor, 1).await;
    let thread = executor.close().expect("it ran");
    let late = send(&executor, &from, draft("late")).await;
    assert!(matches!(late, Err(StoreError::Stopped)));
    held.let_go().await.expect("it went on");
    assert!(sent.await.expect("ran").is_ok());
    tokio::task::spawn_blocking(move || thread.join().expect("ended"))
        .await
        .expect("ran");
    assert_eq!(memory.texts(), ["asked for"]);
}

/// Random troubles at random steps, two processes, callers that retry under their
/// own ids until they have an answer: each message is there once, and none was
/// acknowledged that is not.
#[tokio::test]
async fn acknowledged_writes_are_stored_exactly_once() {
    for seed in 0..200_u64 {
        let (memory, from) = memory().await;
        let open = |seed: u64| {
            let random = Mutex::new(fastrand::Rng::with_seed(seed));
            let troubles: Troubles = Arc::new(move |step| {
                let mut random = random.lock().expect("unpoisoned");
                let often = if step == Step::Row { 200 } else { 10 };
                let hit = random.usize(0..often) == 0;
                let troubles = [Trouble::Busy, Trouble::Full, Trouble::Io, Trouble::Stop];
                hit.then(|| troubles[random.usize(..troubles.len())])
            });
            memory.open(&troubles)
        };
        let senders = (0..2_u64).map(|process| {
            let (from, open) = (from.clone(), &open);
            async move {
                let mut executor = Arc::new(open(seed * 1_000 + process));
                let mut lives = 0;
                let mut waiting: Vec<(String, Draft)> = (0..20)
                    .map(|n| {
                        let name = format!("{process}-{n}");
                        let draft = Draft {
                            client_id: Some(name.parse().expect("an id")),
                            ..draft(&name)
                        };
                        (name, draft)
                    })
                    .collect();
                let mut acknowledged = Vec::new();
                while !waiting.is_empty() {
                    let sends = waiting
                        .iter()
                        .map(|(_, draft)| send(&executor, &from, draft.clone()));
                    let mut answers = join_all(sends).await.into_iter();
                    let mut stopped = false;
                    waiting.retain(|(name, _)| match answers.next().expect("one each") {
                        Ok(_) => {
                            acknowledged.push(name.clone());
                            false
                        }
                        Err(StoreError::Stopped) => {
                            stopped = true;
                            true
                        }
                        Err(_) => true,
                    });
                    if stopped {
                        lives += 1;
                        executor = Arc::new(open(seed * 1_000 + process + 10 * lives));
                    }
                }
                acknowledged
            }
        });
        let mut acknowledged = join_all(senders).await.concat();
        let mut stored = memory.texts();
        acknowledged.sort_unstable();
        stored.sort_unstable();
        assert_eq!(acknowledged, stored, "seed {seed}");
    }
}
