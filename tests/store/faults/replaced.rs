//! The file at the path is not the one that is open.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mcp_bridge::doorbell::Mode;
use mcp_bridge::model::session::ProofKind;
use mcp_bridge::store::sqlite::Create;
use mcp_bridge::store::{
    AuditFilter, Beat, BeatRound, DaemonRef, ErrorClass, SharedStore, StoreError,
};

use crate::common::store::{
    Pair, Scratch, at, boot, draft, open, pair, receive, say, try_open, unlimited, until,
};

/// Every call that reads or writes; what each of them says.
async fn refusals(store: &SharedStore, pair: &Pair) -> Vec<(&'static str, StoreError)> {
    let (now, session) = (at(50), [pair.b.session.clone()]);
    let beats = [Beat {
        session: pair.b.session.clone(),
        proof: ProofKind::None,
        process: None,
        renew_until: None,
    }];
    let round = BeatRound {
        beats: &beats,
        daemon: &DaemonRef {
            id: "host:worker".into(),
            epoch: 1,
        },
        ttl: Duration::from_secs(20),
        mirror: true,
        boot: &boot("x", 1),
        now,
        wall: now,
    };
    let new = [Pair::random().wanted(at(100))];
    let filter = AuditFilter {
        limit: 1,
        ..AuditFilter::default()
    };
    let minute = Duration::from_secs(60);
    let mut refusals = Vec::new();
    macro_rules! refused {
        ($($call:ident($($argument:expr),*)),* $(,)?) => {
            $(match store.$call($($argument),*).await {
                Ok(_) => panic!("{} was answered", stringify!($call)),
                Err(error) => refusals.push((stringify!($call), error)),
            })*
        };
    }
    refused!(
        send(&pair.a, &[draft("x")], now),
        fetch(&pair.b, 9, now),
        peek(&pair.b, None, 9, now),
        acknowledge(&pair.b, &[], now),
        mail(&session),
        beat(&round),
        call_in(&pair.b, minute, None, &boot("x", 1), now),
        create_conversations(&new, now),
        close_conversation(&pair.id, now),
        renew_conversation(&pair.id, at(90_000), now),
        verify(std::slice::from_ref(&pair.b), now),
        conversations(),
        conversation(&pair.id),
        sessions(at(0)),
        audit(&filter),
        check(),
        probe(),
    );
    refusals
}

/// Opens a store, does `damage` to its files, and sees everything refused and
/// the doorbell's look report it. Then `repair`, and everything goes on; what
/// was acknowledged is there in either case.
async fn is_noticed(
    damage: impl Fn(&Scratch),
    repair: Option<&dyn Fn(&Scratch)>,
    named: impl Fn(&Scratch) -> std::path::PathBuf,
) {
    let scratch = Scratch::new();
    let store = scratch.make().await;
    let pair = pair(&store, at(0)).await;
    let heard: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let sink = Arc::clone(&heard);
    let bell = store
        .doorbell(
            Mode::Events,
            Box::new(move |look| {
                if let Err(error) = look.arrivals(&std::collections::HashSet::new()) {
                    sink.lock().expect("whole").push(error.to_string());
                }
            }),
        )
        .expect("mounted");
    let mut acknowledged = Vec::new();
    for n in 0..5 {
        let text = format!("{n}");
        say(&store, &pair.a, &text, at(1)).await;
        acknowledged.push(text);
    }
    damage(&scratch);
    let path = named(&scratch);
    for (call, error) in refusals(&store, &pair).await {
        assert!(
            matches!(&error, StoreError::Replaced(which) if *which == path),
            "{call}: {error}"
        );
        assert_eq!(error.class(), ErrorClass::Unavailable);
        assert!(error.is_outage());
    }
    assert!(
        store.doorbell(Mode::Poll, Box::new(|_| {})).is_err(),
        "a doorbell was mounted on it"
    );
    let said = until("the look to report it", async || {
        heard.lock().expect("whole").pop()
    })
    .await;
    assert!(said.contains(&path.display().to_string()), "{said}");
    drop(bell);
    if let Some(repair) = repair {
        repair(&scratch);
        say(&store, &pair.a, "on it goes", at(60)).await;
        acknowledged.push("on it goes".into());
        assert_eq!(receive(&store, &pair.b, at(61)).await, acknowledged);
        store.close().await;
        return;
    }
    store.close().await;
    let again = scratch.open().await;
    assert_eq!(receive(&again, &pair.b, at(61)).await, acknowledged);
    let check = again.check().await.expect("checked");
    assert!(check.problems.is_empty(), "{:?}", check.problems);
}

fn rename(from: &Path, to: &Path) {
    std::fs::rename(from, to).expect("renamed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renamed_away_and_back() {
    is_noticed(
        |scratch| rename(&scratch.path(), &scratch.beside(".old")),
        Some(&|scratch: &Scratch| rename(&scratch.beside(".old"), &scratch.path())),
        Scratch::path,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_by_another_store() {
    let other = Scratch::new();
    other.make().await.close().await;
    is_noticed(
        |scratch| {
            rename(&scratch.path(), &scratch.beside(".old"));
            std::fs::copy(other.path(), scratch.path()).expect("copied");
        },
        Some(&|scratch: &Scratch| rename(&scratch.beside(".old"), &scratch.path())),
        Scratch::path,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_by_its_own_copy() {
    is_noticed(
        |scratch| {
            rename(&scratch.path(), &scratch.beside(".old"));
            std::fs::copy(scratch.beside(".old"), scratch.path()).expect("copied");
        },
        Some(&|scratch: &Scratch| rename(&scratch.beside(".old"), &scratch.path())),
        Scratch::path,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_deleted() {
    // Its content is still in our hands: the last close writes it back.
    is_noticed(
        |scratch| std::fs::remove_file(scratch.beside("-wal")).expect("removed"),
        None,
        |scratch| scratch.beside("-wal"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_s_index_is_deleted() {
    is_noticed(
        |scratch| std::fs::remove_file(scratch.beside("-shm")).expect("removed"),
        None,
        |scratch| scratch.beside("-shm"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted() {
    let scratch = Scratch::new();
    let store = scratch.make().await;
    let pair = pair(&store, at(0)).await;
    say(&store, &pair.a, "hello", at(1)).await;
    std::fs::remove_file(scratch.path()).expect("removed");
    for (call, error) in refusals(&store, &pair).await {
        assert!(matches!(error, StoreError::Replaced(_)), "{call}: {error}");
    }
    // A daemon waits for it; and no process puts an empty one in its place.
    let error = try_open(&scratch.path(), Create::No).await;
    assert!(matches!(error, Err(StoreError::Lost { .. })), "{error:?}");
    let error = try_open(&scratch.path(), Create::Yes).await;
    let error = error.expect_err("something of it is left");
    let StoreError::Remains(path, left) = &error else {
        panic!("{error}");
    };
    assert_eq!((path, left), (&scratch.path(), &scratch.beside("-wal")));
    assert!(!scratch.path().exists(), "it was made all the same");
    store.close().await;
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(scratch.beside(suffix));
    }
    scratch.make().await.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_after_the_file_went_away() {
    for round in 0..20 {
        let scratch = Scratch::fast();
        let store = scratch.make().await;
        let pair = pair(&store, at(0)).await;
        unlimited(&store).await;
        let gone = Arc::new(AtomicBool::new(false));
        let writer = {
            let (store, pair, gone) = (Arc::clone(&store), pair.clone(), Arc::clone(&gone));
            tokio::spawn(async move {
                for n in 0.. {
                    let late = gone.load(Ordering::SeqCst);
                    let sent = store.send(&pair.a, &[draft(&format!("{n}"))], at(1)).await;
                    match sent {
                        Ok(_) => assert!(!late, "round {round}: stored in a file that is gone"),
                        Err(StoreError::Replaced(_)) => return n,
                        Err(other) => panic!("round {round}: {other}"),
                    }
                }
                0
            })
        };
        let enough = round % 7;
        until("some messages", async || {
            let mail = store.mail(std::slice::from_ref(&pair.b.session)).await;
            (mail.expect("looked")[0].unread >= enough).then_some(())
        })
        .await;
        rename(&scratch.path(), &scratch.beside(".old"));
        gone.store(true, Ordering::SeqCst);
        let acknowledged: usize = writer.await.expect("no panic");
        // The old file has all of them, and perhaps the one that was refused.
        rename(&scratch.beside(".old"), &scratch.path());
        let got = receive(&store, &pair.b, at(2)).await;
        assert!((acknowledged..=acknowledged + 1).contains(&got.len()));
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commit_into_a_vanished_file_is_not_acknowledged() {
    let scratch = Scratch::new();
    let store = scratch.make().await;
    let pair = pair(&store, at(0)).await;
    // Another process has the write lock: the call has looked at the file and waits.
    let mut raw = scratch.raw();
    let held = raw
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .expect("the lock");
    let drafts = [draft("too late")];
    let mut send = std::pin::pin!(store.send(&pair.a, &drafts, at(1)));
    let pending = std::future::poll_fn(|context| {
        std::task::Poll::Ready(send.as_mut().poll(context).is_pending())
    });
    assert!(pending.await, "it did not wait for the lock");
    rename(&scratch.path(), &scratch.beside(".old"));
    drop(held);
    let sent = send.await;
    assert!(matches!(sent, Err(StoreError::Replaced(_))), "{sent:?}");
    rename(&scratch.beside(".old"), &scratch.path());
    say(&store, &pair.a, "in time", at(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn symbolic_link_is_the_store_it_points_to() {
    let scratch = Scratch::new();
    let elsewhere = Scratch::new();
    let link = elsewhere.directory().join("link.db");
    std::os::unix::fs::symlink(scratch.path(), &link).expect("linked");
    // Nothing behind it is not a store to be made.
    assert!(matches!(
        try_open(&link, Create::Yes).await,
        Err(StoreError::Missing(_))
    ));
    let direct = scratch.make().await;
    let pair = pair(&direct, at(0)).await;
    let linked = open(&link, Create::No).await;
    let heard: Arc<std::sync::Mutex<Vec<i64>>> = Arc::default();
    let sink = Arc::clone(&heard);
    let bell = linked
        .doorbell(
            Mode::Events,
            Box::new(move |look| {
                let new = look
                    .arrivals(&std::collections::HashSet::new())
                    .unwrap_or_default();
                let new = new.iter().map(|arrival| arrival.id.0);
                sink.lock().expect("whole").extend(new);
            }),
        )
        .expect("mounted");
    let first = say(&direct, &pair.a, "from the one", at(1)).await;
    let second = say(&linked, &pair.a, "from the other", at(2)).await;
    until("both", async || {
        (*heard.lock().expect("whole") == [first, second]).then_some(())
    })
    .await;
    drop(bell);
    assert!(scratch.beside("-bell").exists(), "one bell for both");
    let entries = std::fs::read_dir(elsewhere.directory()).expect("listed");
    assert_eq!(entries.count(), 1, "something was put beside the link");
    let check = linked.check().await.expect("checked");
    assert!(check.log_bytes > 0, "it looked for the log beside the link");
    assert_eq!(linked.location().file(), link, "named as people name it");
    // Pointed elsewhere, it is another store.
    let other = Scratch::new();
    other.make().await.close().await;
    std::fs::remove_file(&link).expect("removed");
    std::os::unix::fs::symlink(other.path(), &link).expect("linked");
    let error = linked.send(&pair.a, &[draft("x")], at(3)).await;
    assert!(matches!(error, Err(StoreError::Replaced(path)) if path == link));
    say(&direct, &pair.a, "unmoved", at(4)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relative_path_means_the_same_for_life() {
    let scratch = Scratch::new();
    scratch.make().await.close().await;
    let here = std::env::current_dir().expect("somewhere");
    let up: std::path::PathBuf = here.components().skip(1).map(|_| "..").collect();
    let relative = up.join(scratch.path().strip_prefix("/").expect("absolute"));
    assert!(relative.is_relative());
    let store = open(&relative, Create::No).await;
    assert!(store.location().file().is_absolute());
    let pair = pair(&store, at(0)).await;
    say(&store, &pair.a, "hello", at(1)).await;
    let direct = scratch.open().await;
    assert_eq!(receive(&direct, &pair.b, at(2)).await, ["hello"]);
}
