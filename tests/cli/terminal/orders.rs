//! What operators tell the orchestrator, and what `status` shows of it.

use insta::assert_snapshot;
use serde_json::json;

use super::team::Team;
use crate::common::scratch::wait_until;

#[test]
fn drained_session_gets_no_new_tasks() {
    let team = Team::new(2);
    team.add("one");
    team.add("two");
    team.worker(1, &["task", "claim", "1"]).ok();
    assert_snapshot!(team.run(&["drain", "team-1", "--for", "30m"]).ok().shows(), @"team-1/b is being drained for 30m: it gets no new tasks, and keeps 1 task");
    let until = team.session(1, "b")["draining_until"].clone();
    assert!(until.is_string(), "{until}");
    assert_eq!(team.session(1, "a")["draining_until"], json!(null));
    let page = team.run(&["status"]).ok().out;
    assert!(page.contains("active, draining"), "{page}");
    assert!(
        page.contains("team-1/b is being drained, ends in "),
        "{page}"
    );
    team.worker(1, &["task", "done", "1", "--fence", "1"]).ok();
    assert_snapshot!(team.worker(1, &["task", "claim"]).says(), @r"
    75: error: team-1/b is being drained: it gets no new tasks
      `mcp-bridge status` shows until when
    ");
    assert_snapshot!(team.run(&["task", "reassign", "2", "team-1/b"]).says(), @r"
    75: error: team-1/b is being drained: it gets no new tasks
      `mcp-bridge status` shows until when
    ");

    assert_snapshot!(team.run(&["drain", "team-1/b", "--off"]).ok().shows(), @"team-1/b gets new tasks again");
    assert_snapshot!(team.run(&["drain", "team-1/b", "--off"]).ok().shows(), @"team-1/b was not being drained");
    team.worker(1, &["task", "claim", "2"]).ok();
}

#[test]
fn whom_to_drain_is_named_without_a_doubt() {
    let team = Team::new(1);
    let host = |name: &str| {
        team.scratch.sql(&format!(
            "INSERT INTO bridge_daemon (daemon_id, epoch, role, host, boot_id, pid, version, started_ms)
             VALUES ('{name}:worker', 1, 'worker', '{name}', 'x', 17, '1', 0)"
        ));
    };
    host("laptop-2");
    host("team-1");
    assert_snapshot!(team.run(&["drain", "team-1"]).says(), @r"
    65: error: `team-1` is a session and a host
      write team-1/b for the session, or host:team-1 for the host
    ");
    assert_snapshot!(team.run(&["drain", "host:team-1"]).ok().shows(), @"host team-1 is being drained for 1h: it gets no new tasks");
    assert_snapshot!(team.run(&["drain", "team-1/a"]).ok().shows(), @"team-1/a is being drained for 1h: it gets no new tasks");
    assert_snapshot!(team.run(&["drain", "laptop-2", "--json"]).ok().json()["subject"].to_string(), @r#""host:laptop-2""#);
    assert_snapshot!(team.run(&["drain", "laptop-3"]).says(), @r"
    65: error: there is no session and no host `laptop-3`; did you mean `laptop-2`?
      `mcp-bridge status` shows the sessions and the daemons of this store
    ");
    assert_snapshot!(team.run(&["drain", "host:laptop-3"]).says(), @r"
    65: error: no daemon of this store is on a host `laptop-3`; did you mean `laptop-2`?
      `mcp-bridge status` shows the daemons by host and name
    ");
    assert_snapshot!(team.run(&["drain", "team-1/c"]).says(), @"65: error: `c` is not a side: use `a` (the orchestrator's side) or `b` (the worker's)");
    let id = team.session(1, "a")["conversation"].clone();
    let id = id.as_str().expect("an id");
    assert_snapshot!(team.run(&["drain", id]).ok().shows(), @"team-1/b is being drained for 1h: it gets no new tasks");
    assert_snapshot!(team.run(&["drain", "conv_xyz"]).says(), @"65: error: `conv_xyz` is not a conversation id: an id is `conv_` and 16 hexadecimal digits (0-9, a-f)");
    for args in [
        &["drain", "team-1/b", "--for", "31days"][..],
        &["drain", "team-1/b", "--for", "0s"],
        &["drain", "team-1/b", "--for", "1h", "--off"],
        &["hold", "on", "--for", "31days"],
        &["alert", "mute", "lots", "--for", "1h"],
        &["capacity", "team-1/b", "0"],
        &["capacity", "team-1/b", "many"],
    ] {
        assert_eq!(team.run(args).code, Some(2), "{args:?}");
    }
}

#[test]
fn orders_have_an_end_and_status_shows_them() {
    let team = Team::new(1);
    let held = team.run(&["hold", "on"]).ok();
    assert_snapshot!(held.shows(), @"the watchdog is on hold for 1h: it marks no silent session as lost");
    assert_snapshot!(held.says(), @"0: note: no orchestrator is active for this store now");
    assert_snapshot!(team.run(&["alert", "mute", "stalled", "--for", "2h"]).ok().shows(), @"alerts of the kind `stalled` are muted for 2h");
    let said = team
        .run(&["alert", "mute", "stalled", "--for", "2h", "--json"])
        .ok()
        .json();
    assert_eq!(
        (&said["kind"], &said["subject"]),
        (&json!("mute"), &json!("stalled"))
    );
    let controls = team.status()["controls"].clone();
    let kinds: Vec<_> = controls
        .as_array()
        .expect("a list")
        .iter()
        .map(|c| c["kind"].clone())
        .collect();
    assert_eq!(kinds, ["hold", "mute"]);
    let span = |n: usize| {
        let time = |key: &str| {
            controls[n][key]
                .as_str()
                .expect("a time")
                .parse::<jiff::Timestamp>()
                .expect("RFC 3339")
        };
        time("until").duration_since(time("since")).as_secs()
    };
    assert_eq!((span(0), span(1)), (3_600, 7_200));
    let page = team.run(&["status"]).ok().out;
    assert!(
        page.contains("the watchdog is on hold: no silent session is marked as lost, ends in "),
        "{page}"
    );
    assert!(
        page.contains("alerts of the kind stalled are muted, ends in "),
        "{page}"
    );

    assert_snapshot!(team.run(&["hold", "off"]).ok().shows(), @"the watchdog watches again");
    assert_snapshot!(team.run(&["hold", "off"]).ok().shows(), @"the watchdog was not on hold");
    assert_snapshot!(team.run(&["alert", "unmute", "stalled"]).ok().shows(), @"alerts of the kind `stalled` are sent again");
    assert_snapshot!(team.run(&["alert", "unmute", "stalled"]).ok().shows(), @"alerts of the kind `stalled` were not muted");
    // What has ended by itself is shown no more, and need not be taken back.
    team.run(&["hold", "on", "--for", "1s"]).ok();
    wait_until("it is over", || team.status()["controls"] == json!([]));
    let off = team.run(&["hold", "off", "--json"]).ok().json();
    assert_eq!(off, json!({"kind": "hold", "subject": "", "held": false}));
}

#[test]
fn a_capacity_is_kept_to() {
    let team = Team::new(1);
    for title in ["one", "two", "three"] {
        team.add(title);
    }
    assert_snapshot!(team.run(&["capacity", "team-1", "2"]).ok().shows(), @"team-1/b may have 2 tasks at once");
    assert_eq!(team.session(1, "b")["capacity"], 2);
    team.worker(1, &["task", "claim"]).ok();
    let page = team.run(&["status"]).ok().out;
    assert!(page.contains("1/2"), "{page}");
    team.worker(1, &["task", "claim"]).ok();
    assert_snapshot!(team.worker(1, &["task", "claim"]).says(), @r"
    75: error: team-1/b has 2 open tasks; its capacity is 2
      `mcp-bridge task claim 1` shows task 1 again; end it first: mcp-bridge task done 1 --fence 1
    ");
    assert_snapshot!(team.run(&["capacity", "team-1", "default"]).ok().shows(), @"team-1/b may have the number of tasks of the orchestrator's configuration");
    assert_eq!(team.session(1, "b")["capacity"], json!(null));
}

#[test]
fn alerts_are_listed_and_counted() {
    let team = Team::new(1);
    assert_snapshot!(team.run(&["alert", "list"]).ok().says(), @"0: no open alerts in <dir>/bridge.db; show past alerts with --all");
    for (kind, over) in [("stalled", "unixepoch() * 1000"), ("lost", "NULL")] {
        team.scratch.sql(&format!(
            "INSERT INTO bridge_alert (kind, subject, conversation_id, session_id, text, raised_by,
                 raised_ms, recovered_ms)
             SELECT '{kind}', conversation_id || '/b', conversation_id, 'b', 'what\u{1b}[2J was seen', 'x',
                    unixepoch() * 1000, {over} FROM bridge_conversation"
        ));
    }
    assert_snapshot!(team.run(&["alert", "list"]).ok().shows(), @r"
    ID  SINCE   KIND  ABOUT     STATE  WHAT
    2   0s ago  lost  team-1/b  open   what\u{1b}[2J was seen
    ");
    assert_snapshot!(team.run(&["alert", "list", "--all"]).ok().shows(), @r"
    ID  SINCE   KIND     ABOUT     STATE        WHAT
    1   0s ago  stalled  team-1/b  over 0s ago  what\u{1b}[2J was seen
    2   0s ago  lost     team-1/b  open         what\u{1b}[2J was seen
    ");
    let all = team.run(&["alert", "list", "--all", "--json"]).ok().json();
    assert_eq!(
        (&all[0]["kind"], &all[1]["kind"]),
        (&json!("stalled"), &json!("lost"))
    );
    assert_eq!(all[1]["recovered_at"], json!(null));
    let page = team.run(&["status"]).ok();
    assert!(
        page.shows()
            .contains("2 alerts in 24h, 1 open, last: team-1/b lost 0s ago"),
        "{page:?}"
    );
    // The list marks what could not be announced.
    team.scratch
        .sql("UPDATE bridge_alert SET raised_ms = raised_ms - 120000");
    assert_snapshot!(team.run(&["alert", "list"]).ok().shows(), @r"
    ID  SINCE   KIND  ABOUT     STATE           WHAT
    2   2m ago  lost  team-1/b  open, not sent  what\u{1b}[2J was seen
    ");
    let page = team.run(&["status"]).ok().shows();
    assert!(page.contains("1 open, 1 not sent, last"), "{page}");
    team.scratch.sql("UPDATE bridge_alert SET told = 1");
    let page = team.run(&["status"]).ok().shows();
    assert!(page.contains("1 open, last"), "{page}");
    let alerts = team.status()["alerts"].clone();
    assert_eq!(
        (&alerts["in_24h"], &alerts["open"], &alerts["last"]["kind"]),
        (&json!(2), &json!(1), &json!("lost"))
    );
}

#[test]
fn status_says_who_acts_and_takes_his_word() {
    let mut team = Team::at_work(1);
    let page = team.run(&["status"]).ok().out;
    let host = mcp_bridge::host::name();
    let user = mcp_bridge::host::user_name(rustix::process::geteuid().as_raw());
    let leader = format!("orchestrator {host}:{user}/orchestrator acting leader (epoch 1)");
    assert!(page.contains(&leader), "{page}");
    team.add("one");
    team.add("two");
    wait_until("one is given out", || team.status()["tasks"]["leased"] == 1);
    let page = team.run(&["status"]).ok().out;
    assert!(page.contains("tasks 1 queued, 1 leased\n"), "{page}");
    assert_eq!(team.session(1, "b")["tasks"], 1);
    assert_eq!(team.session(1, "b")["standing"], json!(null));

    // A verdict that no heartbeat shows: the session goes on beating.
    let stalled =
        "UPDATE bridge_session SET standing = 'stalled', standing_ms = (unixepoch() - 200) * 1000
                   WHERE session_id = 'b'";
    team.stop_orchestrator();
    team.scratch.sql(stalled);
    let status = team.status();
    assert_eq!(
        status["leader"],
        json!({"acts": false, "daemon": null, "epoch": 1})
    );
    assert_ne!(team.session(1, "b")["state"], "stalled");
    let page = team.run(&["status"]).ok().out;
    assert!(
        page.contains("orchestrator no leader: the last leader stopped (epoch 1)"),
        "{page}"
    );

    // The row alone tells of a holder that is gone without a word.
    team.start_orchestrator();
    team.kill_orchestrator();
    team.scratch.sql(stalled);
    assert_eq!(team.status()["leader"]["acts"], false);
    let page = team.run(&["status"]).ok().out;
    let gone = format!("no leader: {host}:{user}/orchestrator is gone (epoch 2)");
    assert!(page.contains(&gone), "{page}");
    team.scratch
        .sql("UPDATE bridge_daemon SET host = 'elsewhere' WHERE role = 'orchestrator'");
    // Of one elsewhere the lease tells, which does not move.
    assert_eq!(team.status()["leader"]["acts"], false);
    assert_ne!(team.session(1, "b")["state"], "stalled");
    let page = team
        .scratch
        .while_the_lead_is_renewed(|| team.run(&["status"]).ok().shows());
    assert!(page.contains("stalled 3m"), "{page}");
    team.scratch.sql(
        "INSERT INTO bridge_alert (kind, subject, text, raised_by, raised_ms)
         VALUES ('no-acting-leader', 'fleet', 'x', 'w', unixepoch() * 1000)",
    );
    assert_eq!(team.status()["leader"]["acts"], false);
}

#[test]
fn task_goes_on_after_its_agents_exit() {
    let mut team = Team::at_work(2);
    team.add("one");
    wait_until("it is given out", || {
        team.task("1")["owner_label"].is_string()
    });
    let label = team.task("1")["owner_label"]
        .as_str()
        .expect("a label")
        .to_owned();
    let number = if label == "team-1" { 1 } else { 2 };
    team.kill_agent(number);
    wait_until("another has it", || {
        let owner = team.task("1")["owner_label"].clone();
        owner.is_string() && owner != *label
    });
    let session = team.session(number, "b");
    assert_eq!(
        (&session["state"], &session["tasks"]),
        (&json!("exited"), &json!(0))
    );
    let alert = team.status()["alerts"]["last"].clone();
    assert_eq!(
        (&alert["kind"], &alert["session"]["session"]),
        (&json!("exited"), &json!("b"))
    );
    let old = team.worker(
        number,
        &["task", "progress", "1", "--fence", "1", "still here"],
    );
    assert_eq!(old.code, Some(76), "{old:?}");
    assert!(
        old.err
            .starts_with("error: STALE_LEASE: task 1 is now with team-"),
        "{old:?}"
    );
}
