//! What a session achieves with what is another's, and another user with the sockets.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::ground::{Case, Ground, Socket};

#[test]
fn a_session_confirms_no_fetch_but_its_own() {
    let ground = Ground::new();
    let (case, other) = (Case::new(&ground), Case::new(&ground));
    let theirs = json!({ "fetch": case.fetch });
    for thief in [&other.b, &other.a, &case.a] {
        ground.act(thief, "confirm", &theirs);
    }
    // Nothing was acknowledged: its reader is handed it again.
    let again = ground.act(&case.b, "fetch", &json!({}));
    let messages = again["messages"].as_array().expect("messages");
    assert!(
        messages.iter().any(|message| message["id"] == case.message),
        "{again}"
    );
    ground.act(&case.b, "confirm", &json!({ "fetch": again["id"] }));
    let rest = ground.act(&case.b, "fetch", &json!({}));
    assert_eq!(rest["messages"], json!([]));
    ground.ends_sound(&["mcpb_"]);
}

#[test]
fn a_fence_is_worth_nothing_to_another_session() {
    let ground = Ground::new();
    let (case, other) = (Case::new(&ground), Case::new(&ground));
    let progress = json!({ "task": case.task, "fence": case.fence, "note": "mine" });
    let end = json!({ "task": case.task, "fence": case.fence, "outcome": { "done": "mine" } });
    for thief in [&other.b, &other.a, &case.a] {
        for (name, body) in [("task/progress", &progress), ("task/end", &end)] {
            let answer = ground.ask(Socket::Api, Some(thief), name, body);
            assert_eq!(answer.status, 409, "{name}: {}", answer.text());
            assert_eq!(answer.json()["class"], "stale");
        }
    }
    let task = ground.act(&case.b, "task", &json!({ "task": case.task }));
    assert_eq!(task["task"]["state"], "leased", "{task}");
    assert_eq!(task["task"]["progress"], Value::Null);
    // A stranger's list has none of it.
    let all = json!({ "filter": { "states": [], "limit": 100 } });
    let listed = ground.act(&other.b, "tasks", &all);
    let listed = listed.as_array().expect("tasks");
    assert!(
        listed.iter().all(|task| task["id"] != case.task),
        "{listed:?}"
    );
    ground.ends_sound(&["mcpb_"]);
}

#[test]
fn audit_log_names_the_user_at_the_other_end() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let me = rustix::process::getuid().as_raw();
    // This process is not the daemon, and writes into the same store by itself.
    ground.act(
        &case.b,
        "send",
        &json!({ "messages": [{ "message": "by the door" }] }),
    );
    let subject = case.b.session.clone();
    let order = json!({ "kind": "drain", "subject": subject, "seconds": 60 });
    ground.order("order", &order);
    let pair = ground.rig.pair("beside");
    ground.rig.send(&pair.a, "by the file");
    let all = json!({ "filter": { "limit": 1000 } });
    let all = ground.order("events", &all);
    let all = all.as_array().expect("rows");
    let of = |action: &str, conversation: &str| {
        let mut rows = all.iter().rev();
        let row = rows.find(|row| {
            row["action"] == action
                && (conversation.is_empty() || row["conversation"] == conversation)
        });
        row.unwrap_or_else(|| panic!("{action} in {all:?}"))["details"].clone()
    };
    for action in [
        "send_message",
        "get_messages",
        "create_conversation",
        "task_added",
    ] {
        assert_eq!(of(action, &case.id)["uid"], json!(me), "{action}");
    }
    let by_file = of("send_message", pair.id.as_str());
    assert_eq!(by_file["uid"], Value::Null, "{by_file}");
    let by = all
        .iter()
        .rev()
        .find(|row| row["details"]["by"]["uid"].is_u64());
    let by = &by.expect("the order")["details"]["by"];
    assert_eq!(by["uid"], json!(me));
    assert!(by["user"].is_string(), "{by}");
    ground.ends_sound(&["mcpb_"]);
}

#[test]
fn order_is_recorded_with_its_user() {
    if !rustix::process::geteuid().is_root() {
        return skipped("only root can be another user");
    }
    let ground = Ground::new();
    let case = Case::new(&ground);
    let open = |path: std::path::PathBuf, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
    };
    open(ground.rig.dir.path().to_owned(), 0o755);
    open(ground.socket(Socket::Admin), 0o666);
    let body = json!({ "kind": "drain", "subject": case.b.session, "seconds": 60 });
    let ran = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["curl", "-s", "--unix-socket"])
        .arg(ground.socket(Socket::Admin))
        .args(["http://localhost/v1/order", "-d", &body.to_string()])
        .output();
    let Ok(ran) = ran else {
        return skipped("there is no setpriv");
    };
    if !ran.status.success() {
        return skipped("there is no curl");
    }
    let all = ground.order("events", &json!({ "filter": { "limit": 1 } }));
    let by = &all[0]["details"]["by"];
    assert_eq!(
        (&by["uid"], &by["user"]),
        (&json!(65_534), &json!("nobody")),
        "{all}"
    );
    ground.ends_sound(&[]);
}

#[test]
fn another_user_cannot_connect_to_a_user_s_sockets() {
    if !rustix::process::geteuid().is_root() {
        return skipped("only root can be another user");
    }
    let setpriv = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let mut probe = Command::new("setpriv");
    probe
        .args(setpriv)
        .args(["curl", "--version"])
        .stdout(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        return skipped("there is no setpriv, or no curl");
    }
    let ground = Ground::new();
    // The way is free, so that it is the socket that refuses.
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(ground.rig.dir.path(), open).expect("set");
    for socket in [Socket::Api, Socket::Admin] {
        let path = ground.socket(socket);
        let mode = std::fs::metadata(&path)
            .expect("a socket")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        let ask = |before: &[&str]| {
            let mut words = before.to_vec();
            words.extend(["curl", "-s", "-o", "/dev/null", "-m", "20", "--unix-socket"]);
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).arg(&path);
            command
                .arg("http://localhost/v1/health")
                .status()
                .expect("it ran")
        };
        let other: Vec<&str> = std::iter::once("setpriv").chain(setpriv).collect();
        assert_eq!(ask(&other).code(), Some(7), "curl could not connect");
        assert_eq!(ask(&["env"]).code(), Some(0));
    }
    ground.ends_sound(&[]);
}

#[expect(clippy::print_stdout, reason = "what is skipped is said")]
fn skipped(why: &str) {
    println!("skipped: {why}");
}
