//! Many servers and waiters on one machine, one of them killed every second.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::process::Child;
use std::time::{Duration, Instant};

use mcp_bridge::clock;

use crate::common::daemon::{LOCAL, Rig, full, wait_for};
use crate::fleet::{self, Job, Outcome};

#[test]
fn fleet() {
    fleet::run();
}

/// Killed, and waited for, however the test ends.
struct Parent(Child);

impl Parent {
    fn kill(&mut self) {
        // Ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Processes that have this directory as their home: process -> arguments.
fn at_home(rig: &Rig) -> BTreeSet<(i32, String)> {
    let home = format!("HOME={}\0", rig.path("").display());
    let home = home.replace("/\0", "\0");
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir("/proc").expect("processes").flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
        let environment = String::from_utf8_lossy(&read("environ")).into_owned();
        if format!("{environment}\0").contains(&home) {
            let words = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            found.insert((pid, words));
        }
    }
    found
}

/// The processor time that each thread of these processes has had, in nanoseconds. The
/// ticks of `/proc/PID/stat` round each process down, by more than it takes in half a
/// minute.
fn had(pids: &[i32]) -> BTreeMap<OsString, u64> {
    let tasks = |pid: &i32| std::fs::read_dir(format!("/proc/{pid}/task")).ok();
    let tasks = pids.iter().filter_map(tasks).flatten().flatten();
    let of = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        let nanos = stat.split_whitespace().next()?.parse().ok()?;
        Some((task.file_name(), nanos))
    };
    tasks.filter_map(of).collect()
}

/// What they have had since `before`. What a thread had that has ended meanwhile is not
/// known.
fn had_since(before: &BTreeMap<OsString, u64>, pids: &[i32]) -> Duration {
    let since = |(thread, nanos): (OsString, u64)| {
        let before = before.get(&thread).copied().unwrap_or_default();
        nanos.saturating_sub(before)
    };
    Duration::from_nanos(had(pids).into_iter().map(since).sum())
}

fn crowd(through_door: bool) {
    let rig = Rig::new();
    rig.without_limits();
    let (count, kills) = if full() { (50, 60) } else { (12, 10) };
    let pairs: Vec<_> = (0..count)
        .map(|n| rig.pair(&format!("agent-{n}")))
        .collect();
    let all: Vec<_> = pairs.iter().map(|pair| &pair.a).collect();
    rig.write_credentials("orchestrator", &all);
    for n in 0..count {
        std::fs::create_dir(rig.path(&format!("agent-{n}"))).expect("a directory");
    }
    std::fs::create_dir(rig.path("orchestrator")).expect("a directory");
    let daemon =
        through_door.then(|| rig.worker(&format!("{LOCAL}[api]\ntasks_per_hour = 1000000\n")));
    let store = match through_door {
        true => format!("unix:{}", rig.path("worker.state/api.sock").display()),
        false => rig.path("bridge.db").display().to_string(),
    };
    let job = Job {
        directory: rig.path("").components().collect(),
        store,
        agents: pairs.iter().map(|pair| pair.id.to_string()).collect(),
        kills,
    };
    let mut parent = Parent(fleet::start(&job));
    let outcome = fleet::outcome(&mut parent.0);
    let shown = Outcome {
        left: Vec::new(),
        wrong: Vec::new(),
        ..outcome
    };
    let (left, wrong) = (outcome.left, outcome.wrong);
    println!("{count} servers and waiters: {shown:?}");
    assert_eq!(wrong, Vec::<String>::new());
    let killed = shown.servers_killed + shown.waiters_killed;
    assert!(killed >= kills, "{shown:?}");
    assert!(shown.messages >= count * 2 && shown.tasks > 0, "{shown:?}");

    // Nothing is lost, and nothing there twice.
    let raw = rig.foreign();
    let number = |query: &str| -> usize {
        let found: i64 = raw
            .query_row(query, [], |row| row.get(0))
            .expect("a number");
        usize::try_from(found).expect("a count")
    };
    let jobs = "FROM messages WHERE message LIKE 'job %'";
    let answers = "FROM messages WHERE message LIKE 'done %' AND from_session = 'b'";
    for kind in [jobs, answers] {
        assert_eq!(
            number(&format!("SELECT count(*) {kind}")),
            shown.messages,
            "{kind}"
        );
        let different = format!("SELECT count(DISTINCT message) {kind}");
        assert_eq!(number(&different), shown.messages, "{kind}");
    }
    for kind in [jobs, answers] {
        assert_eq!(number(&format!("SELECT count(*) {kind} AND read = 0")), 0);
    }
    let once = "SELECT count(*) FROM bridge_task AS t WHERE state = 'done' AND fence = 1
        AND (SELECT group_concat(event, '+') FROM bridge_task_history AS h
             WHERE h.task_id = t.task_id) = 'added+claimed+done'";
    assert_eq!(number(once), shown.tasks);
    assert_eq!(number("SELECT count(*) FROM bridge_task"), shown.tasks);

    // One server and one waiter for each is all that there is.
    let running = || {
        let here = at_home(&rig).into_iter();
        let is_ours = |words: &str| words.contains("mcp-bridge ") && !words.contains("mcp-bridged");
        here.filter(|(_, words)| is_ours(words)).collect::<Vec<_>>()
    };
    wait_for("nothing but the servers and the waiters", || {
        (running().len() == 2 * count + 1).then_some(())
    });
    wait_for("the end of the last wakes", || {
        // Without a daemon, that of a waiter that was killed ends with its lease.
        let ended_by = match through_door {
            true => 0,
            false => clock::since_boot().as_millis(),
        };
        let open = format!(
            "SELECT count(*) FROM bridge_wake WHERE ended_ms IS NULL AND lease_boot_ms >= {ended_by}"
        );
        (number(&open) == 0).then_some(())
    });
    idles(&left, daemon.as_ref().map(|daemon| daemon.child.id()));

    // And nothing is left when their client is killed.
    parent.kill();
    wait_for("the end of all", || running().is_empty().then_some(()));
}

/// They do next to nothing while nothing comes.
fn idles(pids: &[i32], daemon: Option<u32>) {
    let long = Duration::from_secs(if full() { 30 } else { 3 });
    let daemon: Vec<i32> = daemon
        .and_then(|pid| pid.try_into().ok())
        .into_iter()
        .collect();
    // Waiters begin with three seconds in which their clients settle.
    std::thread::park_timeout(Duration::from_secs(6));
    let (before, begun) = ((had(pids), had(&daemon)), Instant::now());
    std::thread::park_timeout(long);
    let spent = had_since(&before.0, pids);
    let beside = had_since(&before.1, &daemon);
    let percent = |had: Duration| had.as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
    let (percent, beside) = (percent(spent), percent(beside));
    println!(
        "idle: {} processes take {percent:.2} % of a core, their daemon {beside:.2} %",
        pids.len()
    );
    // Without a daemon each of them watches the store by itself: right for a few, and
    // what a daemon is for where there are fifty.
    let most = if daemon.is_empty() { 10.0 } else { 1.0 };
    // Unoptimised, and beside other tests, it is to find what spins.
    let most = if full() { most } else { most * 5.0 };
    assert!(percent < most, "{percent}");
}

#[test]
fn killed_servers_and_waiters_lose_and_double_nothing() {
    crowd(true);
}

#[test]
fn servers_without_a_daemon_lose_nothing() {
    crowd(false);
}
