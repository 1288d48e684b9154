//! The table of rights, written down here by hand: every operation, and each kind of
//! client that asks for it.

use std::collections::BTreeSet;

use mcp_bridge::api::{Method, routes};
use serde_json::{Value, json};

use super::ground::{Answer, Case, Ground, Login, SECRET_BODY, SECRET_TITLE, Socket};
use super::ground::{new_conversation, token};

/// Who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    /// Each program that reaches a socket.
    Anyone,
    /// Sessions, for themselves.
    Session,
    /// The sessions whose thing it is, and operators.
    Party,
    /// Operators.
    Operator,
}

use May::{Anyone, Operator, Party, Session};

const TABLE: &[(&str, May)] = &[
    ("health", Anyone),
    ("status", Anyone),
    ("daemons", Anyone),
    ("sessions", Anyone),
    ("conversations", Anyone),
    ("conversation", Anyone),
    ("tasks/counts", Anyone),
    ("unread", Anyone),
    ("lease", Anyone),
    ("alerts", Anyone),
    ("alerts/open", Anyone),
    ("limits", Anyone),
    ("token-storage", Anyone),
    ("verify", Anyone),
    ("conversations/create", Anyone),
    ("send", Session),
    ("fetch", Session),
    ("confirm", Session),
    ("peek", Session),
    ("acknowledge", Session),
    ("touch", Session),
    ("heartbeat", Session),
    ("agent/register", Session),
    ("wake/claim", Session),
    ("wake/end", Session),
    ("task/claim", Session),
    ("task/progress", Session),
    ("task/end", Session),
    ("tasks/add", Party),
    ("tasks", Party),
    ("task", Party),
    ("task/cancel", Party),
    ("task/reassign", Party),
    ("conversation/renew", Party),
    ("conversation/close", Party),
    ("conversation/rekey", Party),
    ("conversation/label", Operator),
    ("conversation/tokens", Operator),
    ("events", Operator),
    ("store/check", Operator),
    ("order", Operator),
    ("order/take-back", Operator),
    ("capacity", Operator),
    ("limits/set", Operator),
    ("token-storage/set", Operator),
    ("prune-foreign/set", Operator),
    // Beside the list of operations.
    ("follow", Session),
    ("events/follow", Operator),
    ("openapi.json", Anyone),
];

/// What is asked for, so that a caller with the right gets it.
fn body(name: &str, case: &Case, by: &Login) -> Value {
    let conversation = &case.id;
    match name {
        "conversation" | "conversation/close" | "conversation/tokens" => {
            json!({ "conversation": conversation })
        }
        "conversation/renew" => {
            json!({ "conversation": conversation, "until": "2201-01-01T00:00:00Z" })
        }
        "conversation/label" => {
            json!({ "conversation": conversation, "label": format!("l{}", &conversation[5..]) })
        }
        "conversation/rekey" => {
            json!({ "conversation": conversation, "session": "b", "token": token() })
        }
        "conversations/create" => json!({ "conversations": [new_conversation().2] }),
        "unread" => json!({ "sessions": [{ "conversation": conversation, "session": "b" }] }),
        "verify" => json!({ "sessions": [
            { "conversation": conversation, "session": "b", "token": case.b.token }
        ] }),
        "follow" => {
            let (conversation, side) = by.session.split_once('/').expect("a session");
            json!({ "sessions": [
                { "conversation": conversation, "session": side, "token": by.token }
            ] })
        }
        "sessions" => json!({ "ended_within_seconds": 60 }),
        "alerts" => json!({ "limit": 10 }),
        "send" => json!({ "messages": [{ "message": "hello" }] }),
        "fetch" | "peek" => json!({ "limit": 10 }),
        "confirm" => json!({ "fetch": case.fetch }),
        "acknowledge" => json!({ "messages": [case.message] }),
        "agent/register" => json!({ "client": "a client", "boot_id": "x", "pid_ns": 1 }),
        "wake/claim" => json!({ "mark": case.message, "way": "hook", "lease_seconds": 1 }),
        "wake/end" => json!({ "wake": { "id": 999, "claim": 1 }, "outcome": "spent" }),
        "task/claim" => json!({ "task": case.task }),
        "task/progress" => json!({ "task": case.task, "fence": case.fence, "note": "half" }),
        "task/end" => {
            json!({ "task": case.task, "fence": case.fence, "outcome": { "done": "well" } })
        }
        "tasks/add" => json!({ "tasks": [{ "role": "worker", "title": "another" }] }),
        "tasks" => json!({ "filter": { "states": [], "limit": 100 } }),
        "task" | "task/cancel" | "task/reassign" => json!({ "task": case.task }),
        "events" | "events/follow" => json!({ "filter": { "limit": 10 } }),
        "order" => json!({ "kind": "hold", "subject": "fleet", "seconds": 1 }),
        "order/take-back" => json!({ "kind": "hold", "subject": "fleet" }),
        "capacity" => {
            json!({ "session": { "conversation": conversation, "session": "b" }, "capacity": 3 })
        }
        "limits/set" => {
            json!({ "limits": { "per_minute": 0, "per_hour": 0, "per_day": 0 } })
        }
        "token-storage/set" => json!({ "storage": "hashed" }),
        "prune-foreign/set" => json!({ "prune": false }),
        _ => json!({}),
    }
}

/// The operations, and what is said beside the list.
fn all() -> Vec<(&'static str, Method)> {
    let mut all: Vec<_> = routes().into_iter().map(|r| (r.name, r.method)).collect();
    all.extend([
        ("follow", Method::Post),
        ("events/follow", Method::Post),
        ("openapi.json", Method::Get),
    ]);
    all
}

fn may(name: &str) -> May {
    let found = TABLE.iter().find(|(named, _)| *named == name);
    found.expect("it stands in the table").1
}

#[test]
fn table_the_list_and_the_document_name_the_same() {
    let table: BTreeSet<&str> = TABLE.iter().map(|(name, _)| *name).collect();
    let listed: BTreeSet<&str> = all().iter().map(|(name, _)| *name).collect();
    let ground = Ground::new();
    let document = ground.get(Socket::Api, None, "openapi.json").granted();
    let paths = document["paths"].as_object().expect("paths");
    let described: BTreeSet<&str> = paths
        .keys()
        .map(|path| path.strip_prefix("/v1/").expect("of this version"))
        .chain(["openapi.json"])
        .collect();
    assert_eq!(table, listed);
    assert_eq!(listed, described);
    ground.ends_sound(&[]);
}

fn ask(ground: &Ground, which: Socket, by: Option<&Login>, name: &str, body: &Value) -> Answer {
    match all()
        .iter()
        .find(|(named, _)| *named == name)
        .expect("known")
        .1
    {
        Method::Get => ground.get(which, by, name),
        Method::Post if name.ends_with("follow") => ground.begin_following(which, by, name, body),
        Method::Post => ground.ask(which, by, name, body),
    }
}

#[test]
fn each_client_gets_what_the_table_gives_it() {
    let ground = Ground::new();
    let stranger = Case::new(&ground);
    let mut wrong = Vec::new();
    for (name, _) in all() {
        let may = may(name);
        // Those that are refused come first: what is granted may end the thing.
        let case = Case::new(&ground);
        let stolen = Login {
            token: case.a.token.clone(),
            ..case.b.clone()
        };
        let forged = Login {
            token: token(),
            ..case.b.clone()
        };
        // A follower's tokens stand in the body, and need no header.
        let by_body = name == "follow";
        let own = match name {
            "tasks/add" | "task/cancel" | "task/reassign" => &case.a,
            _ => &case.b,
        };
        let unknown = match may {
            Anyone => 200,
            Session | Party => 401,
            Operator => 403,
        };
        let foreign = match (may, name) {
            (Anyone, _) => 200,
            // A foreigner may do that, and it is another thing that it does.
            (
                Session,
                "confirm" | "send" | "fetch" | "peek" | "touch" | "heartbeat" | "follow"
                | "agent/register" | "wake/claim" | "wake/end",
            ) => 200,
            (Party, "tasks" | "tasks/add") => 200,
            (Session, "acknowledge") => 404,
            (Session, _) => 409,
            (Party | Operator, _) => 403,
        };
        let operator = match (may, name) {
            (_, "follow") => 200,
            (Session, _) => 401,
            _ => 200,
        };
        let granted = match (may, name) {
            (Operator, _) => 403,
            _ => 200,
        };
        let none = |by: &Login| (!by_body).then(|| by.clone());
        let cells = [
            (
                "no token",
                Socket::Api,
                by_body.then_some(&forged),
                None,
                unknown,
            ),
            (
                "a forged token",
                Socket::Api,
                Some(&forged),
                none(&forged),
                unknown,
            ),
            (
                "the other side's token",
                Socket::Api,
                Some(&stolen),
                none(&stolen),
                unknown,
            ),
            (
                "a forged token at admin.sock",
                Socket::Admin,
                Some(&forged),
                none(&forged),
                unknown,
            ),
            (
                "a stranger",
                Socket::Api,
                Some(&stranger.a),
                none(&stranger.a),
                foreign,
            ),
            ("its own token", Socket::Api, Some(own), none(own), granted),
        ];
        for (who, socket, by, header, expected) in cells {
            let body = body(name, &case, by.unwrap_or(own));
            let answer = ask(&ground, socket, header.as_ref(), name, &body);
            if answer.status != expected {
                wrong.push(format!(
                    "{name} for {who}: {} and not {expected}: {}",
                    answer.status,
                    answer.text()
                ));
            }
            if expected != 200 || may == Anyone {
                let said = answer.text();
                for secret in [
                    SECRET_TITLE,
                    SECRET_BODY,
                    &case.a.token[5..],
                    &case.b.token[5..],
                ] {
                    if said.contains(secret) {
                        wrong.push(format!("{name} shows {who} what is not for it: {said}"));
                    }
                }
            }
        }
        let case = Case::new(&ground);
        let body = body(name, &case, &case.b);
        let answer = ask(&ground, Socket::Admin, None, name, &body);
        if answer.status != operator {
            wrong.push(format!(
                "{name} for an operator: {} {}",
                answer.status,
                answer.text()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    ground.ends_sound(&[SECRET_TITLE, SECRET_BODY, "mcpb_"]);
}
