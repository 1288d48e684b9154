//! The daemon is killed at every point of a commit that 32 programs share through its
//! door. What was acknowledged is there, what was refused is not, nothing is there
//! twice, and what one sender sent stands in its order.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mcp_bridge::bridge::{Begin, Bridge, Ending, News, Subscription};
use mcp_bridge::model::door::DoorError;
use mcp_bridge::model::message::Draft;
use mcp_bridge::model::rate::RateLimits;
use mcp_bridge::model::task::{Fence, TaskId};
use mcp_bridge::store::{Caller, NewTask, StoreError, TaskError};
use rustix::process::Signal;
use tokio::runtime::Runtime;

use crate::common::daemon::{PATIENCE, Pair, Rig, full, wait_for};

const PROGRAMS: usize = 32;

/// This number of them have a follower as well.
const FOLLOWED: usize = 4;

/// When in a commit the daemon is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Point {
    /// At any time: also while a group is put together, before anything is written.
    AnyTime,
    /// The group's first pages are in the log, and nothing is on the disk.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "no inotify"))]
    Log,
    /// Some time behind that: while it waits for the disk, between the commit and the
    /// bell, between the answers.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "no inotify"))]
    BehindTheLog,
    /// The bell was rung, and the answers are to be given.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "no inotify"))]
    Bell,
}

/// What one program heard.
#[derive(Debug, Default)]
struct ProgramLog {
    /// Messages that were acknowledged to it: all up to this one.
    sent: AtomicUsize,
    /// Tasks whose end was acknowledged to it: all up to this one.
    done: AtomicUsize,
    /// Calls whose answer did not come.
    unanswered: AtomicUsize,
    /// What should not have been said.
    wrong: Mutex<Vec<String>>,
}

/// What a follower heard, in its order.
type Heard = Arc<Mutex<Vec<String>>>;

struct Fleet {
    runtime: Runtime,
    rig: Rig,
    config: PathBuf,
    pairs: Vec<Arc<Pair>>,
    told: Vec<Arc<ProgramLog>>,
    stop: Arc<AtomicBool>,
    programs: Vec<tokio::task::JoinHandle<()>>,
    followed: Vec<(Heard, tokio::task::JoinHandle<()>)>,
}

impl Fleet {
    fn new() -> Self {
        let rig = Rig::new();
        rig.block_on(rig.store.set_rate_limits(RateLimits::NONE))
            .expect("set");
        let pairs: Vec<Arc<Pair>> = (0..PROGRAMS)
            .map(|n| Arc::new(rig.pair_without_file(&format!("program-{n}"))))
            .collect();
        let config = rig.config("worker", "[api]\ntasks_per_hour = 1000000\n");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let told = pairs.iter().map(|_| Arc::default()).collect();
        Self {
            runtime,
            rig,
            config,
            pairs,
            told,
            stop: Arc::default(),
            programs: Vec::new(),
            followed: Vec::new(),
        }
    }

    fn bridge(&self) -> Bridge {
        Bridge::through(&self.rig.path("worker.state/api.sock"))
    }

    fn begin(&mut self) {
        for (pair, told) in self.pairs.iter().zip(&self.told) {
            let program = program(
                self.bridge(),
                Arc::clone(pair),
                Arc::clone(told),
                Arc::clone(&self.stop),
            );
            self.programs.push(self.runtime.spawn(program));
        }
        for pair in &self.pairs[..FOLLOWED] {
            let heard = Arc::new(Mutex::new(Vec::new()));
            let follower = follow(self.bridge(), pair.b.clone(), Arc::clone(&heard));
            self.followed.push((heard, self.runtime.spawn(follower)));
        }
    }

    fn answers(&self) -> usize {
        let each = self.told.iter();
        each.map(|told| told.sent.load(Ordering::Relaxed) + told.done.load(Ordering::Relaxed))
            .sum()
    }

    /// One daemon's life; how many answers it gave.
    fn round(&self, point: Point) -> usize {
        let before = self.answers();
        let mut daemon = self.rig.daemon(&self.config);
        let enough = before + fastrand::usize(50..400);
        wait_for("answers", || {
            self.nothing_is_wrong();
            (self.answers() >= enough).then_some(())
        });
        self.wait_for(point);
        daemon.signal(Signal::KILL);
        daemon.wait();
        self.answers() - before
    }

    /// Returns at this point of some commit.
    #[cfg(target_os = "linux")]
    fn wait_for(&self, point: Point) {
        use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
        let file = match point {
            Point::AnyTime => return,
            Point::Log | Point::BehindTheLog => "bridge.db-wal",
            Point::Bell => "bridge.db-bell",
        };
        let watch = init(CreateFlags::CLOEXEC).expect("inotify");
        add_watch(&watch, self.rig.path(file), WatchFlags::MODIFY).expect("watched");
        let mut event = [0; 64];
        rustix::io::read(&watch, &mut event).expect("a write");
        if point == Point::BehindTheLog {
            // A sleep is coarser than what it is to hit.
            let end = Instant::now() + Duration::from_micros(fastrand::u64(..1_500));
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn wait_for(&self, _: Point) {}

    #[track_caller]
    fn nothing_is_wrong(&self) {
        for told in &self.told {
            let wrong = told.wrong.lock().expect("one at a time");
            assert!(wrong.is_empty(), "{wrong:#?}");
        }
    }

    /// Lets all end what they are doing, with a daemon that stays, and looks.
    fn judge(&mut self) {
        let mut last = self.rig.daemon(&self.config);
        last.says("listening at");
        self.stop.store(true, Ordering::Relaxed);
        let programs = std::mem::take(&mut self.programs);
        self.runtime.block_on(async {
            for program in programs {
                let ended = tokio::time::timeout(PATIENCE, program).await;
                ended.expect("it ends in time").expect("it did not panic");
            }
        });
        self.nothing_is_wrong();
        for (n, (heard, follower)) in self.followed.drain(..).enumerate() {
            let sent = self.told[n].sent.load(Ordering::Relaxed);
            wait_for("the last message", || {
                (heard.lock().expect("one at a time").len() >= sent).then_some(())
            });
            follower.abort();
            let expected: Vec<String> = (1..=sent).map(|n| n.to_string()).collect();
            assert_eq!(*heard.lock().expect("one at a time"), expected, "followed");
        }
        assert_eq!(last.stop(), Some(0));
        self.stored();
    }

    fn stored(&self) {
        let raw = self.rig.foreign();
        let whole: String = raw
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .expect("checked");
        assert_eq!(whole, "ok");
        let each = |sql: &str| -> BTreeMap<String, Vec<String>> {
            let mut statement = raw.prepare(sql).expect("good SQL");
            let mut rows = statement.query([]).expect("it runs");
            let mut found = BTreeMap::<String, Vec<String>>::new();
            while let Some(row) = rows.next().expect("a row") {
                let (of, text): (String, String) = row.try_into().expect("two texts");
                found.entry(of).or_default().push(text);
            }
            found
        };
        let messages = each(
            "SELECT conversation_id, message FROM messages
             WHERE from_session = 'a' AND to_session = 'b' ORDER BY id",
        );
        let tasks = each(
            "SELECT creator, client_id || ' ' || state || ' ' || result || ' ' || fence
                || ' ' || attempts || ' '
                || (SELECT group_concat(event, '+') FROM bridge_task_history AS h
                    WHERE h.task_id = t.task_id)
             FROM bridge_task AS t ORDER BY task_id",
        );
        for (pair, told) in self.pairs.iter().zip(&self.told) {
            let sent = told.sent.load(Ordering::Relaxed);
            let expected: Vec<String> = (1..=sent).map(|n| n.to_string()).collect();
            let found = messages.get(pair.id.as_str()).cloned().unwrap_or_default();
            assert_eq!(found, expected, "what {} sent", pair.name);
            let done = told.done.load(Ordering::Relaxed);
            let expected: Vec<String> = (1..=done)
                .map(|n| format!("t-{n} done result {n} 1 1 added+claimed+done"))
                .collect();
            let creator = pair.a.session.to_string();
            let found = tasks.get(&creator).cloned().unwrap_or_default();
            assert_eq!(found, expected, "the tasks of {}", pair.name);
        }
    }
}

fn message(text: &str, id: Option<String>, task: Option<TaskId>) -> Draft {
    let client_id = id.map(|id| id.parse().expect("an id"));
    Draft {
        client_id,
        task,
        ..Draft::text(text.parse().expect("a text"))
    }
}

/// Whether a call had no answer: its daemon is away, or went away.
fn is_unanswered(error: &StoreError) -> bool {
    let StoreError::Door(error) = error else {
        return false;
    };
    matches!(
        error,
        DoorError::Cut { .. } | DoorError::Unreachable(..) | DoorError::NoStore(_)
    )
}

/// Asks until there is an answer.
macro_rules! until_answered {
    ($told:expr, $ask:expr) => {{
        let end = Instant::now() + PATIENCE;
        loop {
            match $ask.await {
                Err(error) if is_unanswered(&error) && Instant::now() < end => {
                    $told.unanswered.fetch_add(1, Ordering::Relaxed);
                }
                answer => break answer,
            }
        }
    }};
}

/// A program that sends, adds a task, claims it and does it, again and again. It asks
/// for the same until it has its answer.
async fn program(bridge: Bridge, pair: Arc<Pair>, told: Arc<ProgramLog>, stop: Arc<AtomicBool>) {
    let (a, b) = (&pair.a, &pair.b);
    let wrong = |what: String| told.wrong.lock().expect("one at a time").push(what);
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let one = [message(&n.to_string(), Some(format!("m-{n}")), None)];
        let sent = until_answered!(told, bridge.send(a, &one));
        if let Err(error) = sent {
            return wrong(format!("message {n}: {error}"));
        }
        told.sent.store(n, Ordering::Relaxed);
        // The second of them is refused, and with it the first.
        let nowhere = Some(TaskId(i64::MAX));
        let two = [
            message("refused", Some(format!("r-{n}")), None),
            message("refused", None, nowhere),
        ];
        let refused = until_answered!(told, bridge.send(a, &two));
        if !matches!(refused, Err(StoreError::Task(TaskError::NoTask(_)))) {
            return wrong(format!("{n} was not refused: {refused:?}"));
        }
        let new = [NewTask {
            role: "backend".into(),
            title: format!("task {n}").parse().expect("a title"),
            body: String::new().parse().expect("a body"),
            files: Vec::new(),
            client_id: Some(format!("t-{n}").parse().expect("an id")),
        }];
        let added = until_answered!(told, bridge.add_tasks(Some(a), &new));
        let task = match added {
            Ok(added) => added[0].id,
            Err(error) => return wrong(format!("task {n}: {error}")),
        };
        let claimed = until_answered!(told, bridge.claim_task(b, Some(task)));
        if !matches!(&claimed, Ok(Some(claimed)) if claimed.fence == Fence(1)) {
            return wrong(format!("claim {n}: {claimed:?}"));
        }
        let result = || Ending::Done(format!("result {n}").parse().expect("a result"));
        let ended = until_answered!(told, bridge.end_task(b, task, Fence(1), result()));
        if let Err(error) = ended {
            return wrong(format!("end {n}: {error}"));
        }
        told.done.store(n, Ordering::Relaxed);
    }
}

async fn follow(bridge: Bridge, caller: Caller, heard: Heard) {
    let mut subscription = Subscription {
        callers: vec![caller],
        begin: Begin::Unread,
        poll: false,
        full_look: Duration::from_secs(5),
    };
    loop {
        let cursor = Arc::new(Mutex::new(mcp_bridge::bridge::Cursor::default()));
        let (heard, passed) = (Arc::clone(&heard), Arc::clone(&cursor));
        let sink = Box::new(move |news| {
            if let News::Message(message) = news {
                passed.lock().expect("one at a time").pass(&message);
                heard.lock().expect("one at a time").push(message.message);
            }
            Ok(ControlFlow::Continue(()))
        });
        // A daemon that stays away for longer than it waits.
        let _ = bridge.follow(&subscription, sink).await;
        let cursor = cursor.lock().expect("one at a time").clone();
        if cursor.iter().next().is_some() {
            subscription.begin = Begin::After(cursor);
        }
    }
}

#[test]
fn kill_within_a_shared_commit_loses_nothing() {
    let mut fleet = Fleet::new();
    let each = if full() { 50 } else { 3 };
    let mut plan = vec![Point::AnyTime; each];
    if cfg!(target_os = "linux") {
        plan.extend([Point::Log, Point::BehindTheLog, Point::Bell].repeat(each));
    }
    fastrand::shuffle(&mut plan);
    // Where no daemon ever was, no program waits for one.
    let mut first = fleet.rig.daemon(&fleet.config);
    first.says("listening at");
    first.kill();
    fleet.begin();
    let mut answers = BTreeMap::<Point, (usize, usize)>::new();
    for point in plan {
        let given = fleet.round(point);
        let count = answers.entry(point).or_default();
        *count = (count.0 + 1, count.1 + given);
    }
    fleet.judge();
    let unanswered: usize = fleet
        .told
        .iter()
        .map(|told| told.unanswered.load(Ordering::Relaxed))
        .sum();
    println!("kills, and answers before them: {answers:?}; {unanswered} calls failed");
    assert!(fleet.answers() > 0);
}
