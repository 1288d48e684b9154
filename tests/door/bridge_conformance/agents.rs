//! Which client acts for a session, and which process is believed to be it.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mcp_bridge::bridge::{Bridge, Registered};
use mcp_bridge::model::client::Client;
use mcp_bridge::model::process::ProcessId;
use mcp_bridge::store::{Caller, StoreError};
use mcp_bridge::{host, liveness};

use super::site::{Site, pair, pairs};

/// A process that lives until the test is over.
struct Agent(Child);

impl Agent {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().expect("started"))
    }

    fn process(&self) -> ProcessId {
        let pid = i32::try_from(self.0.id()).expect("a process id");
        liveness::of(pid).expect("a process")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sleep() -> Agent {
    Agent::start(Command::new("sleep").arg("1000"))
}

/// One that another user runs; where this is no root, root's first.
fn of_another_user() -> (Option<Agent>, ProcessId) {
    if !rustix::process::geteuid().is_root() {
        return (None, liveness::of(1).expect("the first process"));
    }
    let mut command = Command::new("setpriv");
    let agent = Agent::start(command.args([
        "--reuid",
        "61234",
        "--regid",
        "61234",
        "--clear-groups",
        "sleep",
        "1000",
    ]));
    let pid = agent.0.id();
    let is_theirs = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains("Uid:\t61234\t61234")
    };
    crate::common::daemon::wait_for("another user's process", || is_theirs().then_some(()));
    let process = agent.process();
    (Some(agent), process)
}

fn client(process: Option<ProcessId>) -> Client {
    Client {
        name: "claude-code".into(),
        version: Some("2.1.332".into()),
        boot: host::boot(),
        process,
        directory: Some("/home/me/backend".into()),
    }
}

async fn register(bridge: &Bridge, caller: &Caller, client: Client) -> Registered {
    let registered = bridge.register_agent(caller, client, false).await;
    registered.expect("registered")
}

/// The same for one that yields to the one that it finds.
async fn offer(bridge: &Bridge, caller: &Caller, client: Client) -> Registered {
    let registered = bridge.register_agent(caller, client, true).await;
    registered.expect("registered")
}

/// The client and its process, as people see them.
async fn shown(bridge: &Bridge, caller: &Caller) -> (Option<String>, Option<i64>) {
    let sessions = bridge.sessions(Duration::ZERO).await.expect("listed");
    let mine = sessions
        .into_iter()
        .find(|view| view.key == caller.session)
        .expect("the session");
    (mine.client, mine.pid)
}

pub(crate) async fn a_client_s_own_process_is_believed(site: &Site) {
    let bridge = site.bridge().await;
    let own = &pair(&bridge).await.b;
    let agent = sleep();
    let process = agent.process();
    let registered = register(&bridge, own, client(Some(process))).await;
    assert_eq!((registered.pid, registered.why), (Some(process.pid), None));
    let title = Some("claude-code 2.1.332".to_owned());
    let now = shown(&bridge, own).await;
    assert_eq!(now, (title.clone(), Some(process.pid)));
    // Without a process it is a client all the same.
    let registered = register(&bridge, own, client(None)).await;
    assert_eq!((registered.pid, registered.why), (None, None));
    assert_eq!(shown(&bridge, own).await, (title, None));
}

pub(crate) async fn a_process_that_is_not_proven_proves_nothing(site: &Site) {
    let bridge = site.bridge().await;
    let own = &pair(&bridge).await.b;
    let agent = sleep();
    let process = agent.process();
    let (_held, foreign) = of_another_user();
    let reused = ProcessId {
        start: process.start + 1,
        ..process
    };
    let (mut elsewhere, mut contained) = (client(Some(process)), client(Some(process)));
    elsewhere.boot.id = "another".into();
    contained.boot.pid_ns += 1;
    for (claim, because) in [
        (client(Some(foreign)), "does not belong to user"),
        (client(Some(reused)), "another process"),
        (elsewhere, "another machine"),
        (contained, "another pid namespace"),
    ] {
        let registered = register(&bridge, own, claim).await;
        let why = registered.why.expect("a reason");
        assert!(why.contains(because) && why.contains("ttl"), "{why}");
        assert_eq!(registered.pid, None, "{because}");
        assert_eq!(shown(&bridge, own).await.1, None, "{because}");
    }
}

pub(crate) async fn only_its_session_registers_a_client(site: &Site) {
    let bridge = site.bridge().await;
    let pairs = pairs(&bridge, 2).await;
    let mut stranger = pairs[0].b.clone();
    stranger.token = pairs[1].b.token.clone();
    let refused = bridge.register_agent(&stranger, client(None), false).await;
    let refused = refused.expect_err("a wrong token");
    assert!(matches!(refused, StoreError::WrongToken(_)), "{refused}");
}

pub(crate) async fn a_client_that_runs_keeps_its_place(site: &Site) {
    let bridge = site.bridge().await;
    let own = &pair(&bridge).await.b;
    // A shell, and a process that it started.
    let shell = Agent::start(Command::new("sh").args(["-c", "sleep 1000 & echo $!; wait"]));
    let above = shell.process();
    let children = format!("/proc/{0}/task/{0}/children", above.pid);
    let child = crate::common::daemon::wait_for("a child of the shell", || {
        let children = std::fs::read_to_string(&children).ok()?;
        children.split_whitespace().next()?.parse().ok()
    });
    let below = liveness::of(child).expect("a process");
    register(&bridge, own, client(Some(above))).await;
    // What the agent itself started is no other agent.
    let kept = register(&bridge, own, client(Some(below))).await;
    assert_eq!(kept.pid, Some(above.pid));
    assert!(kept.why.is_some_and(|why| why.contains("already")));
    // A hook yields to any that runs; another client takes its place.
    let other = sleep();
    let kept = offer(&bridge, own, client(Some(other.process()))).await;
    assert_eq!(kept.pid, Some(above.pid));
    let taken = register(&bridge, own, client(Some(other.process()))).await;
    assert_eq!(taken.pid, Some(other.process().pid));
    drop(other);
    // One that has ended keeps nothing.
    let taken = offer(&bridge, own, client(Some(below))).await;
    assert_eq!((taken.pid, taken.why), (Some(below.pid), None));
    if let Some(child) = rustix::process::Pid::from_raw(child) {
        let _ = rustix::process::kill_process(child, rustix::process::Signal::KILL);
    }
}

/// What the store alone is asked for, in the words of its suite.
pub(crate) async fn the_newest_client_counts(site: &Site) {
    let bridge = site.bridge().await;
    let own = &pair(&bridge).await.b;
    let (first, second) = (sleep(), sleep());
    for agent in [&first, &second] {
        let registered = register(&bridge, own, client(Some(agent.process()))).await;
        assert_eq!(registered.pid, Some(agent.process().pid));
    }
    assert_eq!(shown(&bridge, own).await.1, Some(second.process().pid));
}
