//! What is refused of tasks: each gets its exit code, the thing's name and the
//! remedy.

use insta::assert_snapshot;
use serde_json::json;

use super::team::Team;
use crate::common::scratch::wait_until;

#[test]
fn invalid_texts_are_refused() {
    let team = Team::new(1);
    let add = |more: &[&str], input: &[u8]| {
        let all: Vec<&str> = ["task", "add", "--role", "backend"]
            .iter()
            .chain(more)
            .copied()
            .collect();
        team.scratch
            .outcome_with_input(team.scratch.bridge(&all), input)
    };
    let long = "ä".repeat(40_001);
    assert_snapshot!(add(&["--title", "t", "--body", "-"], long.as_bytes()).says(), @"65: error: the body has 40001 characters, 40000 are allowed; put the rest in a file and name it");
    assert_snapshot!(add(&["--title", "t", "--body-file", "-"], b"a\xff").says(), @"65: error: the body is not UTF-8 (first wrong byte at 1); put binary data in a file and give its path");
    assert_snapshot!(add(&["--title", "a\nb"], b"").says(), @"65: error: the title has a line break or a control character at byte 1; use one plain line");
    assert_snapshot!(add(&["--title", ""], b"").says(), @"65: error: the title is empty");
    assert_snapshot!(add(&["--title", "t", "--body-file", "none.md"], b"").says(), @r"
    65: error: none.md cannot be read: No such file or directory (os error 2)
      name an existing file that this user may read
    ");
    for args in [
        &["task", "add", "--title", "t"][..],
        &["task", "add", "--role", "", "--title", "t"],
        &["task", "add", "--from", "x", "--title", "t"],
        &["task", "done", "1"],
        &["task", "done", "1", "--fence", "0"],
        &["task", "done", "one", "--fence", "1"],
        &[
            "task",
            "progress",
            "1",
            "--fence",
            "1",
            "x",
            "--busy-for",
            "31m",
        ],
        &["task", "reassign", "1"],
        &["task", "reassign", "1", "team-1", "--queue"],
    ] {
        assert_eq!(team.worker(1, args).code, Some(2), "{args:?}");
    }
    assert_snapshot!(team.run(&["task", "claim"]).says().lines().next().unwrap_or_default(), @"77: error: no credentials: this command acts for a session");
    assert_snapshot!(team.run(&["task", "add", "--role", "r", "--title", "t", "--as", "x"]).says().lines().next().unwrap_or_default(), @"77: error: no credentials: this command acts for a session");
    assert_eq!(team.scratch.number("SELECT count(*) FROM bridge_task"), 0);

    let secret = add(&["--title", "t", "--body", "password=hunter2hunter2"], b"").ok();
    assert_snapshot!(secret.says(), @r"
    0: note: no orchestrator runs: a queued task waits until a worker claims it (`mcp-bridge task claim`) or an orchestrator's daemon runs
    secrets redacted: password
    ");
    assert!(
        !team
            .run(&["task", "show", "1"])
            .ok()
            .out
            .contains("hunter2")
    );
    team.worker(1, &["task", "claim", "1"]).ok();
    assert_snapshot!(team.worker(1, &["task", "progress", "1", "--fence", "1", " "]).says(), @"65: error: the progress note is empty");
}

#[test]
fn task_for_an_unknown_role_is_warned_of() {
    let team = Team::new(1);
    let added = team
        .run(&["task", "add", "--role", "bakend", "--title", "t"])
        .ok();
    assert_snapshot!(added.says(), @"0: note: no open session has the role `bakend`; did you mean `backend`? (there are backend, orchestrator); the task waits for such a session
note: no orchestrator runs: a queued task waits until a worker claims it (`mcp-bridge task claim`) or an orchestrator's daemon runs");
    assert_snapshot!(added.shows(), @"task 1 queued");
    assert_snapshot!(team.worker(1, &["task", "claim", "1"]).says(), @r"
    65: error: task 1 is for the role `bakend`, and team-1/b is `backend`
      `mcp-bridge task claim` without a number gives you one of yours
    ");
}

#[test]
fn taken_task_and_old_fence_are_refused() {
    let team = Team::new(2);
    team.add("one");
    team.add("two");
    team.worker(1, &["task", "claim", "1"]).ok();
    assert_snapshot!(team.worker(2, &["task", "claim", "1"]).says(), @r"
    65: error: task 1 is with team-1/b
      `mcp-bridge task claim` without a number gives you one that is free
    ");
    assert_snapshot!(team.worker(1, &["task", "claim", "2"]).says(), @r"
    75: error: team-1/b has 1 open task; its capacity is 1
      `mcp-bridge task claim 1` shows task 1 again; end it first: mcp-bridge task done 1 --fence 1
    ");
    assert_snapshot!(team.worker(1, &["task", "claim", "9"]).says(), @r"
    65: error: there is no task 9
      `mcp-bridge task list` shows the tasks
    ");

    assert_snapshot!(team.run(&["task", "reassign", "1", "team-2"]).ok().shows(), @"task 1 team-1/b -> team-2/b (fence 2)");
    let stale = [
        team.worker(1, &["task", "progress", "1", "--fence", "1", "on it"]),
        team.worker(1, &["task", "done", "1", "--fence", "1", "done"]),
        team.worker(1, &["task", "fail", "1", "--fence", "1", "why"]),
        team.worker(
            1,
            &["task", "progress", "1", "--fence", "1", "on it", "--json"],
        ),
    ];
    assert_snapshot!(crate::common::scratch::all_say(&stale), @r"
    76: error: STALE_LEASE: task 1 is now with team-2/b, and is not yours any more (your fence is 1, it is 2 now)
      stop working on it and push nothing of it; `mcp-bridge task claim` gives you new work
    ");
    // Another's fence does not help either.
    assert_snapshot!(team.worker(1, &["task", "done", "1", "--fence", "2"]).says(), @r"
    76: error: STALE_LEASE: task 1 is now with team-2/b, and is not yours any more
      stop working on it and push nothing of it; `mcp-bridge task claim` gives you new work
    ");
    team.worker(2, &["task", "done", "1", "--fence", "2", "mine"])
        .ok();
    assert_snapshot!(team.worker(1, &["task", "done", "1", "--fence", "1"]).says(), @r"
    76: error: STALE_LEASE: task 1 is done already, and is not yours any more (your fence is 1, it is 2 now)
      stop working on it and push nothing of it; `mcp-bridge task claim` gives you new work
    ");
    assert_snapshot!(team.worker(2, &["task", "claim", "1"]).says(), @r"
    65: error: task 1 is over: done
      for details: mcp-bridge task show 1
    ");
    assert_snapshot!(team.run(&["task", "cancel", "1"]).says(), @r"
    65: error: task 1 is over: done
      for details: mcp-bridge task show 1
    ");
    assert_eq!(team.task("1")["result"], "mine");
    assert_eq!(team.task("1")["attempts"], 2);
}

#[test]
fn a_dead_session_gets_nothing_by_hand_either() {
    let team = Team::new(2);
    team.add("one");
    team.worker(1, &["task", "claim", "1"]).ok();
    team.worker(2, &["heartbeat"]).ok();
    team.scratch.sql(
        "UPDATE bridge_session SET standing = 'lost' WHERE session_id = 'b' AND conversation_id =
             (SELECT conversation_id FROM bridge_conversation WHERE label = 'team-2')",
    );
    assert_snapshot!(team.run(&["task", "reassign", "1", "team-2"]).says(), @r"
    65: error: team-2/b cannot take task 1: its agent is gone
      `mcp-bridge status` shows other sessions; --queue lets the orchestrator choose
    ");
    team.run(&["conversation", "close", "team-2"]).ok();
    assert_snapshot!(team.run(&["task", "reassign", "1", "team-2"]).says(), @r"
    65: error: team-2/b cannot take task 1: its conversation was closed
      `mcp-bridge status` shows other sessions; --queue lets the orchestrator choose
    ");
    assert_snapshot!(team.run(&["task", "reassign", "1", "teem-1"]).says(), @r"
    65: error: there is no conversation `teem-1`; did you mean `team-1`?
      `mcp-bridge conversation list --all` shows the conversations of this store
    ");
    assert_eq!(team.task("1")["owner_label"], "team-1");
    assert_snapshot!(team.run(&["task", "reassign", "1", "--queue"]).ok().shows(), @"task 1 queued");
    assert!(
        team.mail("team-1.b")
            .concat()
            .contains("Stop working on it")
    );
}

#[test]
fn session_whose_agent_ended_gets_no_task() {
    let mut team = Team::at_work(1);
    team.kill_agent(1);
    let ended = "SELECT count(*) FROM bridge_heartbeat WHERE exited_ms IS NOT NULL";
    wait_until("its end is noted", || team.scratch.number(ended) == 1);
    team.add("one");
    assert_snapshot!(team.worker(1, &["task", "claim"]).says(), @r"
    75: error: the agent process of team-1/b has ended: it gets no task
      start the agent, and see that its proof (the pid file, for example) names the new process; its daemon notices within seconds
    ");
    assert_snapshot!(team.run(&["task", "reassign", "1", "team-1"]).says(), @r"
    65: error: team-1/b cannot take task 1: its agent's process has ended, and its proof names no new one
      `mcp-bridge status` shows other sessions; --queue lets the orchestrator choose
    ");
    assert_eq!(team.task("1")["fence"], 0);
}

#[test]
fn one_client_id_is_one_task() {
    let team = Team::new(1);
    let add = |title: &str| {
        team.run(&[
            "task", "add", "--role", "backend", "--title", title, "--id", "x",
        ])
    };
    add("one").ok();
    assert_snapshot!(add("one").ok().shows(), @"task 1 was added already: queued");
    assert_snapshot!(add("two").says(), @r"
    65: error: client id `x` was already used for task 1, with another text
      give every task its own id
    ");
}

#[test]
fn task_that_was_never_given_is_not_lost() {
    let team = Team::new(1);
    team.add("one");
    assert_snapshot!(team.worker(1, &["task", "done", "1", "--fence", "1"]).says(), @r"
    65: error: task 1 was not claimed: it waits in the queue
      claim it first: mcp-bridge task claim 1
    ");
}

#[test]
fn agent_of_several_sessions_must_name_one() {
    let team = Team::new(2);
    team.add("one");
    let many = |args: &[&str]| {
        let mut command = team.scratch.bridge(args);
        command.env("MCP_BRIDGE_CREDENTIALS", team.scratch.path("credentials"));
        team.scratch.outcome(command)
    };
    assert_snapshot!(many(&["task", "claim"]).says(), @r"
    65: error: which session? the credentials have 4 sessions: team-1/a, team-1/b, team-2/a, team-2/b
      name one: --as team-1/a
    ");
    many(&["task", "claim", "--as", "team-2/b"]).ok();
    assert_eq!(team.task("1")["owner_label"], "team-2");
    many(&["task", "done", "1", "--fence", "1", "--as", "team-2/b"]).ok();
    many(&[
        "task", "add", "--role", "backend", "--title", "two", "--as", "team-2/a",
    ])
    .ok();
    let creator = team.task("2")["creator"].clone();
    assert_eq!(
        creator,
        team.session(2, "a")
            .as_object()
            .map(|s| json!({"conversation": s["conversation"], "session": s["session"]}))
            .expect("a session")
    );
}
