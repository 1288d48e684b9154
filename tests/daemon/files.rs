//! How many files a daemon may have open: the soft limit is raised; under a hard
//! one those agents live that fit, and the limit is named.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

use crate::common::daemon::{Agent, Daemon, Pair, QUICK, Rig, full, session, wait_for};

/// A daemon with a session for each of these processes, started under a limit.
fn start(rig: &Rig, limit: &str, pids: &[String]) -> Daemon {
    let mut text = QUICK.to_owned();
    for (n, pid) in pids.iter().enumerate() {
        let pair: Pair = rig.pair_without_file(&format!("n-{n}"));
        rig.write_credentials(&format!("n-{n}"), &[&pair.b]);
        text.push_str(&session(&format!("n-{n}"), &format!("{{ pid = {pid} }}")));
    }
    let config = rig.config("worker", &text);
    let script = format!("{limit}; exec \"$0\" \"$@\"");
    let mut command = rig.command_behind(&["sh", "-c", &script], &config);
    Daemon::start(&mut command, &config)
}

fn alive(rig: &Rig) -> i64 {
    let query = "SELECT count(*) FROM bridge_heartbeat WHERE seq > 1 AND proof = 'process'";
    let raw = rig.foreign();
    raw.query_row(query, [], |row| row.get(0)).expect("counted")
}

fn agents(count: usize) -> (Vec<Agent>, Vec<String>) {
    let agents: Vec<Agent> = (0..count).map(|_| Agent::start()).collect();
    let pids = agents
        .iter()
        .map(|agent| agent.0.id().to_string())
        .collect();
    (agents, pids)
}

#[test]
fn more_agents_than_the_soft_limit_live() {
    let (count, limit) = if full() { (1_300, 1_024) } else { (200, 128) };
    let rig = Rig::new();
    let (_agents, pids) = agents(count);
    let mut daemon = start(&rig, &format!("ulimit -Sn {limit}"), &pids);
    daemon.ready();
    wait_for("all agents to be alive", || {
        (alive(&rig) == i64::try_from(count).expect("few")).then_some(())
    });
}

#[test]
fn sessions_within_the_limit_of_files_live() {
    let rig = Rig::new();
    let (_agents, pids) = agents(200);
    let daemon = start(&rig, "ulimit -n 128", &pids);
    wait_for("those that fit to be alive", || {
        (alive(&rig) >= 60).then_some(())
    });
    let state = daemon.shows("the limit", |state| {
        format!("{state:?}").contains("too many open files (the limit is 128)")
    });
    let (_, said) = daemon.finish();
    said.never("ermission denied");
    assert!(
        format!("{state:?}").contains("136 agents without proof"),
        "{state:?}"
    );
    assert_eq!(alive(&rig), 64);
}

#[test]
fn one_process_of_many_sessions_is_one_file() {
    let rig = Rig::new();
    let agent = Agent::start();
    let pids = vec![agent.0.id().to_string(); 200];
    let _daemon = start(&rig, "ulimit -n 128", &pids);
    wait_for("all sessions to be alive", || {
        (alive(&rig) == 200).then_some(())
    });
}

#[test]
fn command_has_the_limit_of_the_daemons_start() {
    let rig = Rig::new();
    rig.pair("one");
    let probe = "{ exec = [\"sh\", \"-c\", \"sleep 0.1; test $(ulimit -Sn) = 200\"] }";
    let config = rig.config("worker", &format!("{QUICK}{}", session("one", probe)));
    let mut command =
        rig.command_behind(&["sh", "-c", "ulimit -Sn 200; exec \"$0\" \"$@\""], &config);
    let mut daemon = Daemon::start(&mut command, &config);
    daemon.ready();
    daemon.shows("it alive", |state| {
        format!("{state:?}").contains("1 session alive")
    });
}
