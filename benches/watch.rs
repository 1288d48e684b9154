//! What one look of the orchestrator costs, and how that grows: with what
//! changed, and hardly with the fleet.

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot set up its case has nothing to say"
)]

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mcp_bridge::model::assignment::{AssignmentPolicy, Candidate, OpenTask, TaskPlace, plan};
use mcp_bridge::model::health::{Health, HealthPolicy};
use mcp_bridge::model::observer::{Beat, CorrelationPolicy, Observer, Sighting};
use mcp_bridge::model::{ConversationId, Fence, SessionKey, Side, TaskId};

const FLEETS: [usize; 4] = [10, 1_000, 10_000, 100_000];
const HOSTS: usize = 100;
const CHANGED: usize = 2_000;

fn key(n: usize) -> SessionKey {
    SessionKey::new(ConversationId::from_random(n.to_be_bytes()), Side::B)
}

fn fleet(sessions: usize) -> Vec<Sighting> {
    (0..sessions)
        .map(|n| Sighting {
            host: Some(format!("host-{}", n % HOSTS)),
            beat: Some(Beat {
                seq: 1,
                ttl: Duration::from_secs(20),
                kept: true,
                exited: false,
            }),
            activity: 1,
            open_tasks: 1,
            ..Sighting::new(key(n))
        })
        .collect()
}

fn observing(rows: &[Sighting], now: Duration) -> Observer {
    let policy = HealthPolicy::default();
    let mut observer = Observer::new(policy, CorrelationPolicy::default(), now);
    for row in rows {
        observer.sighted(row, now);
    }
    observer.due(now);
    observer
}

/// Some beat, the others are within their ttl: an ordinary look.
fn looks(criterion: &mut Criterion, name: &str, changed: impl Fn(usize) -> usize) {
    let mut group = criterion.benchmark_group(name);
    for sessions in FLEETS {
        let mut rows = fleet(sessions);
        let mut now = Duration::from_secs(1_000);
        let mut observer = observing(&rows, now);
        let (changed, mut at) = (changed(sessions), 0);
        group.throughput(Throughput::Elements(changed as u64));
        group.bench_function(BenchmarkId::from_parameter(sessions), |bencher| {
            bencher.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    now += Duration::from_millis(5);
                    let seen: Vec<usize> = (0..changed).map(|n| (at + n) % sessions).collect();
                    at = (at + changed) % sessions;
                    for &n in &seen {
                        let beat = rows[n].beat.as_mut().expect("it beats");
                        beat.seq += 1;
                    }
                    let begun = Instant::now();
                    for &n in &seen {
                        observer.sighted(&rows[n], now);
                    }
                    std::hint::black_box(observer.due(now));
                    spent += begun.elapsed();
                }
                spent
            });
        });
    }
    group.finish();
}

/// A tenth of the hosts falls silent at once.
fn losses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a tenth is lost");
    for sessions in FLEETS {
        let rows = fleet(sessions);
        let living: Vec<Sighting> = rows
            .iter()
            .enumerate()
            .filter(|(n, _)| n % 10 > 0)
            .map(|(_, row)| {
                let mut row = row.clone();
                row.beat.as_mut().expect("it beats").seq += 1;
                row
            })
            .collect();
        group.bench_function(BenchmarkId::from_parameter(sessions), |bencher| {
            bencher.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    let mut observer = observing(&rows, Duration::from_secs(1_000));
                    for row in &living {
                        observer.sighted(row, Duration::from_secs(1_012));
                    }
                    observer.due(Duration::from_secs(1_012));
                    let begun = Instant::now();
                    let lost = observer.due(Duration::from_secs(1_020));
                    spent += begun.elapsed();
                    assert_eq!(lost.len(), sessions.div_ceil(10), "the tenth, and no other");
                }
                spent
            });
        });
    }
    group.finish();
}

fn plans(criterion: &mut Criterion) {
    let roles = ["backend", "frontend", "review", "docs"];
    let mut group = criterion.benchmark_group("plan, as many tasks as sessions");
    for count in [10, 1_000, 10_000] {
        let tasks: Vec<OpenTask> = (1..)
            .take(count)
            .map(|id: usize| OpenTask {
                id: TaskId(i64::try_from(id).expect("few")),
                role: roles[id % 4].into(),
                place: if id.is_multiple_of(3) {
                    TaskPlace::Orphaned
                } else {
                    TaskPlace::Queued
                },
                fence: Fence(1),
                last_owner: Some(key(id % count)),
                losses: 0,
                fetched: true,
            })
            .collect();
        let sessions: Vec<Candidate> = (0..count)
            .map(|n| Candidate {
                key: key(n),
                role: roles[n % 4].into(),
                health: Health::Idle,
                draining: false,
                paused: false,
                open: 0,
                capacity: 3,
            })
            .collect();
        for budget in [50, usize::MAX] {
            let name = if budget == 50 { "50 moves" } else { "all" };
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| plan(&tasks, &sessions, &AssignmentPolicy::default(), budget));
            });
        }
    }
    group.finish();
}

fn all(criterion: &mut Criterion) {
    looks(criterion, "look, 2 % changed", |sessions| {
        (sessions / 50).max(1)
    });
    looks(criterion, "look, at most 2,000 changed", |sessions| {
        sessions.min(CHANGED)
    });
    looks(criterion, "look, one changed", |_| 1);
    losses(criterion);
    plans(criterion);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = all
}
criterion_main!(benches);
