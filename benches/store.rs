//! The store's hot calls, on the disk that the temporary directory is on. What
//! they cost at FULL is mostly that disk's fsync.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot set up its case has nothing to say"
)]

#[path = "../tests/common/store.rs"]
mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use mcp_bridge::doorbell::Mode;
use mcp_bridge::model::alert::AlertKind;
use mcp_bridge::model::message::Draft;
use mcp_bridge::model::rate::RateLimits;
use mcp_bridge::model::session::ProofKind;
use mcp_bridge::model::standing::Standing;
use mcp_bridge::model::task::Fence;
use mcp_bridge::model::{SessionKey, TaskId};
use mcp_bridge::store::{
    Beat, BeatRound, Caller, Cursor, DaemonInfo, DaemonRef, Finding, Leader, Move, Moved, NewTask,
    SharedStore, Wanted, Why,
};
use tokio::runtime::Runtime;

use common::{Pair, Scratch, at, boot, draft, pairs, unlimited};

const SESSIONS: usize = 10_000;
const MESSAGES: usize = 100_000;

/// A store as it is after a long life: many sessions, many messages, most of
/// them read.
struct World {
    runtime: Runtime,
    scratch: Scratch,
    store: SharedStore,
    pairs: Vec<Pair>,
    daemon: DaemonRef,
    now: AtomicU64,
}

impl World {
    fn new() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let scratch = Scratch::new();
        let (store, pairs, daemon) = runtime.block_on(async {
            let store = scratch.make().await;
            unlimited(&store).await;
            let pairs = pairs(&store, SESSIONS / 2, at(0)).await;
            fill(&scratch, &pairs);
            let info = DaemonInfo {
                id: "host:worker".into(),
                role: "worker",
                host: "host".into(),
                boot_id: "x".into(),
                pid: 1,
            };
            let daemon = store.register_daemon(&info, at(0)).await.expect("known");
            store.checkpoint().await.expect("written back");
            (store, pairs, daemon)
        });
        Self {
            runtime,
            scratch,
            store,
            pairs,
            daemon,
            now: AtomicU64::new(10),
        }
    }

    fn callers(&self, count: usize) -> Vec<Caller> {
        let both = self.pairs.iter().flat_map(|pair| [&pair.a, &pair.b]);
        both.take(count).cloned().collect()
    }

    fn keys(&self, count: usize) -> Vec<SessionKey> {
        let callers = self.callers(count).into_iter();
        callers.map(|caller| caller.session).collect()
    }

    fn beats(&self, count: usize) -> Vec<Beat> {
        let keys = self.keys(count).into_iter();
        keys.map(|session| Beat {
            session,
            proof: ProofKind::Process,
            process: None,
            renew_until: None,
        })
        .collect()
    }

    async fn beat(&self, beats: &[Beat], mirror: bool) {
        let now = self.now.fetch_add(5, Ordering::Relaxed);
        let round = BeatRound {
            beats,
            daemon: &self.daemon,
            ttl: Duration::from_secs(20),
            mirror,
            boot: &boot("x", now),
            now: at(3),
            wall: at(3),
        };
        self.store.beat(&round).await.expect("beaten");
    }
}

/// Messages that were sent, fetched and acknowledged, nineteen of twenty; in
/// one transaction, which is faster than to live that life.
fn fill(scratch: &Scratch, pairs: &[Pair]) {
    let mut raw = scratch.raw();
    let all = raw.transaction().expect("begun");
    {
        let mut message = all
            .prepare(
                "INSERT INTO messages (conversation_id, from_session, to_session, message,
                     metadata, timestamp, read)
                 VALUES (?1, 'a', 'b', ?2, '{}', '2025-11-13T02:13:21.000000', ?3)",
            )
            .expect("good SQL");
        let mut receipt = all
            .prepare("INSERT INTO bridge_receipt VALUES (?1, ?2, 'b', ?3, 1, 1, 1)")
            .expect("good SQL");
        for n in 0..MESSAGES {
            let conversation = pairs[n % pairs.len()].id.as_str();
            let read = n % 20 != 0;
            let id = message
                .insert((conversation, "x".repeat(200), read))
                .expect("stored");
            if read {
                let fetch = format!("{n:032x}");
                receipt.execute((id, conversation, fetch)).expect("stored");
            }
        }
    }
    all.commit().expect("committed");
}

fn sending(criterion: &mut Criterion, world: &World) {
    let store = &*world.store;
    let from = &world.pairs[7].a;
    let one = [draft(&"x".repeat(200))];
    let hundred: Vec<Draft> = (0..100).map(|_| draft(&"x".repeat(200))).collect();
    let mut group = criterion.benchmark_group("send");
    for (name, drafts) in [("one", &one[..]), ("batch of 100", &hundred)] {
        group.bench_function(name, |bencher| {
            bencher
                .to_async(&world.runtime)
                .iter(async || store.send(from, drafts, at(3)).await.expect("sent"));
        });
    }
    // As a daemon's door has them: what waits shares a commit.
    let many: Vec<&Caller> = world.pairs[20..52].iter().map(|pair| &pair.a).collect();
    group.bench_function("32 callers at once", |bencher| {
        bencher.to_async(&world.runtime).iter(async || {
            let sends = many.iter().map(|from| store.send(from, &one, at(3)));
            futures_util::future::try_join_all(sends)
                .await
                .expect("sent")
        });
    });
    // The windows as they are by default, nearly full: a message a minute.
    let busy = &world.pairs[11];
    let minutes = AtomicU64::new(1);
    world.runtime.block_on(async {
        let until = at(100_000 * 60);
        store
            .renew_conversation(&busy.id, until, at(3))
            .await
            .expect("renewed");
        store
            .set_rate_limits(RateLimits::default())
            .await
            .expect("set");
    });
    group.bench_function("one, with limits", |bencher| {
        bencher.to_async(&world.runtime).iter(async || {
            let minute = minutes.fetch_add(1, Ordering::Relaxed);
            let now = at(i64::try_from(minute).expect("in range") * 60);
            store.send(&busy.a, &one, now).await.expect("sent")
        });
    });
    world.runtime.block_on(unlimited(store));
    group.finish();
    // No session has hundreds of thousands of unread messages.
    world
        .scratch
        .raw()
        .execute(
            "UPDATE messages SET read = 1 WHERE from_session = 'a' AND id > 100000",
            [],
        )
        .expect("read");
}

fn reading(criterion: &mut Criterion, world: &World) {
    let store = &*world.store;
    let quiet = &world.pairs[9];
    let mut group = criterion.benchmark_group("fetch");
    group.bench_function("nothing", |bencher| {
        bencher
            .to_async(&world.runtime)
            .iter(async || store.fetch(&quiet.b, 100, at(4)).await.expect("fetched"));
    });
    group.bench_function("one and its confirmation", |bencher| {
        bencher.to_async(&world.runtime).iter_batched(
            || {
                let (store, from) = (Arc::clone(&world.store), quiet.a.clone());
                let send = async move { common::say(&store, &from, "x", at(4)).await };
                // Set-up runs inside the runtime already: on a thread of its own.
                std::thread::scope(|scope| {
                    let sent = scope.spawn(|| world.runtime.handle().block_on(send));
                    sent.join().expect("sent")
                })
            },
            async |_| common::receive(store, &quiet.b, at(5)).await,
            BatchSize::PerIteration,
        );
    });
    group.finish();
    for count in [100, SESSIONS] {
        let keys = world.keys(count);
        criterion.bench_function(&format!("mail, {count} sessions"), |bencher| {
            bencher
                .to_async(&world.runtime)
                .iter(async || store.mail(&keys).await.expect("looked"));
        });
    }
    let callers = world.callers(100);
    criterion.bench_function("verify, 100 callers", |bencher| {
        bencher
            .to_async(&world.runtime)
            .iter(async || store.verify(&callers, at(4)).await.expect("verified"));
    });
    criterion.bench_function("sessions, 10000", |bencher| {
        bencher
            .to_async(&world.runtime)
            .iter(async || store.sessions(at(0)).await.expect("listed"));
    });
}

fn beating(criterion: &mut Criterion, world: &World) {
    for count in [100, SESSIONS] {
        let beats = world.beats(count);
        for (what, mirror) in [("", false), (", mirrored", true)] {
            criterion.bench_function(&format!("beat, {count} sessions{what}"), |bencher| {
                bencher
                    .to_async(&world.runtime)
                    .iter(async || world.beat(&beats, mirror).await);
            });
        }
    }
}

/// What an orchestrator reads: all of it, or that a daemon beat for all of it.
fn watching(criterion: &mut Criterion, world: &World) {
    let store = &*world.store;
    let read = async |wanted: Wanted<'_>| store.fleet(wanted, at(4)).await.expect("looked");
    let cursor = world.runtime.block_on(async {
        world.beat(&world.beats(SESSIONS), false).await;
        let cursor = read(Wanted::All).await.cursor;
        world.beat(&world.beats(SESSIONS), false).await;
        let changed = read(Wanted::Since(cursor)).await;
        assert_eq!(
            changed.sessions.len(),
            0,
            "bare heartbeats change nothing else"
        );
        assert_eq!(changed.pulses.len(), SESSIONS);
        cursor
    });
    let nothing = world.runtime.block_on(read(Wanted::All)).cursor;
    let looks: [(&str, Option<Cursor>); 3] = [
        ("fleet, all of 10000", None),
        ("fleet, 10000 heartbeats", Some(cursor)),
        ("fleet, nothing changed", Some(nothing)),
    ];
    for (name, since) in looks {
        criterion.bench_function(name, |bencher| {
            bencher
                .to_async(&world.runtime)
                .iter(async || read(since.map_or(Wanted::All, Wanted::Since)).await);
        });
    }
}

fn finding(session: &SessionKey, standing: Standing, seq: i64) -> Finding {
    let alert = match standing {
        Standing::Lost => Some(AlertKind::Lost),
        Standing::Stalled => Some(AlertKind::Stalled),
        _ => None,
    };
    Finding {
        session: session.clone(),
        standing,
        seq: Some(seq),
        activity: 0,
        foreign: String::new(),
        alert,
        what: "silent".into(),
        text: "what was seen".into(),
    }
}

/// What an orchestrator writes in a bad second: fifty verdicts, fifty moves.
fn deciding(criterion: &mut Criterion, world: &World) {
    let store = &*world.store;
    // Workers that never called, and whose last beat stands still from here on.
    let from = world.pairs.len() - 100;
    let keys: Vec<SessionKey> = world.pairs[from..]
        .iter()
        .map(|pair| pair.b.session.clone())
        .collect();
    let leader = Leader {
        daemon: world.daemon.clone(),
        epoch: 1,
    };
    let seq = world.runtime.block_on(async {
        let ttl = Duration::from_secs(10);
        let taken = store.take_lead(&world.daemon, None, ttl, at(4)).await;
        assert_eq!(taken.expect("asked").as_ref(), Some(&leader));
        store.set_capacity(None, 1_000, 3).await.expect("set");
        let seen = store.fleet(Wanted::These((&keys[..1]).into()), at(4)).await;
        let beat = seen.expect("looked").sessions[0].beat.clone();
        beat.expect("it was beaten").seq
    });
    let settle = async |keys: &[SessionKey], standing| {
        let found: Vec<_> = keys.iter().map(|key| finding(key, standing, seq)).collect();
        let settled = store
            .write_findings(&leader, &found, at(4))
            .await
            .expect("settled");
        assert!(settled.into_iter().all(|held| held), "{standing}");
    };
    let turns = AtomicU64::new(0);
    criterion.bench_function("settle, 50 lost or well", |bencher| {
        bencher.to_async(&world.runtime).iter(async || {
            let even = turns.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
            settle(
                &keys[..50],
                if even { Standing::Lost } else { Standing::Well },
            )
            .await;
        });
    });
    // From one half to the other and back: both stay stalled.
    let tasks: Vec<TaskId> = world.runtime.block_on(async {
        settle(&keys, Standing::Stalled).await;
        let new: Vec<NewTask> = (0..50)
            .map(|n| NewTask {
                role: "worker".into(),
                title: format!("task {n}").parse().expect("a title"),
                body: "x".repeat(500).parse().expect("a body"),
                files: vec!["src/a.rs".into()],
                client_id: None,
            })
            .collect();
        let added = store.add_tasks(None, &new, at(4)).await.expect("added");
        let ids: Vec<TaskId> = added.into_iter().map(|added| added.id).collect();
        for (id, key) in ids.iter().zip(&keys) {
            let given = store.reassign_task(*id, Some(key), at(4)).await;
            given.expect("given");
        }
        ids
    });
    let round = AtomicU64::new(1);
    criterion.bench_function("move, 50 tasks", |bencher| {
        bencher.to_async(&world.runtime).iter(async || {
            let round = round.fetch_add(1, Ordering::Relaxed);
            let heirs = if round % 2 == 1 {
                &keys[50..]
            } else {
                &keys[..50]
            };
            let moves: Vec<Move> = tasks
                .iter()
                .zip(heirs)
                .map(|(task, heir)| Move {
                    task: *task,
                    fence: Fence(i64::try_from(round).expect("few")),
                    to: Some(heir.clone()),
                    why: Why::Stalled,
                    give_up: None,
                })
                .collect();
            let made = store
                .move_tasks(&leader, &moves, at(4))
                .await
                .expect("made");
            let all = made.iter().all(|made| matches!(made, Moved::Made(_)));
            assert!(all && made.len() == 50, "{made:?}");
        });
    });
}

/// The reader on the doorbell's thread, with nothing to find.
fn looking(criterion: &mut Criterion, world: &World) {
    let (send, receive) = mpsc::channel();
    let bell = world
        .store
        .doorbell(
            Mode::Events,
            Box::new(move |look| {
                let started = std::time::Instant::now();
                for _ in 0..100 {
                    look.arrivals(&std::collections::HashSet::new())
                        .expect("a healthy store");
                }
                // The receiver has gone when the doorbell is taken down.
                let _ = send.send(started.elapsed() / 100);
            }),
        )
        .expect("mounted");
    criterion.bench_function("look with nothing new", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut total = Duration::ZERO;
            for _ in 0..rounds.div_ceil(100) {
                bell.ask();
                total += receive.recv().expect("a look");
            }
            total * 100 * u32::try_from(rounds).expect("few")
                / u32::try_from(rounds.div_ceil(100) * 100).expect("few")
        });
    });
}

fn all(criterion: &mut Criterion) {
    let world = World::new();
    looking(criterion, &world);
    sending(criterion, &world);
    reading(criterion, &world);
    beating(criterion, &world);
    watching(criterion, &world);
    deciding(criterion, &world);
}

criterion_group!(benches, all);
criterion_main!(benches);
