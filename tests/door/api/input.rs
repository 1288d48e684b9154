//! Requests that are wrong: each is refused by name, and changes nothing.

use serde_json::{Value, json};

use super::ground::{Answer, Case, Ground, SECRET_BODY, Socket, new_conversation, request};

/// A problem document of that status, which a person can act on.
#[track_caller]
fn refused(answer: &Answer, status: u16, words: &str) {
    let said = answer.text();
    assert_eq!(answer.status, status, "{said}");
    assert!(
        answer.head.contains("application/problem+json"),
        "{answer:?}"
    );
    let problem = answer.json();
    assert_eq!(problem["status"], status);
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains(words), "`{words}` in: {detail}");
    assert!(detail.len() < 2_000, "{detail}");
    assert!(
        problem["type"]
            .as_str()
            .is_some_and(|kind| kind.starts_with("urn:mcp-bridge:problem:"))
    );
}

#[test]
fn invalid_request_is_refused_by_name() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let raw = |name: &str, body: &[u8]| {
        let bytes = request(Some(&case.b), name, body);
        ground.send(Socket::Api, &bytes)
    };
    refused(&raw("send", b"{\"messages\": ["), 400, "not JSON");
    refused(&raw("send", b"\x00\xff\xfe"), 400, "not JSON");
    refused(&raw("send", b"[]"), 400, "a list");
    refused(&raw("send", b" [[]]"), 400, "a list");
    refused(&raw("send", b"{}"), 400, "messages");
    refused(
        &raw("send", b"{\"messages\": [], \"force\": true}"),
        400,
        "force",
    );
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    refused(&raw("send", &deep), 400, "malformed");
    let deep = format!(
        "{{\"messages\": {}{}}}",
        "[".repeat(1_000),
        "]".repeat(1_000)
    );
    refused(&raw("send", deep.as_bytes()), 400, "malformed");
    // What stands in the wrong place may be a secret, and may be long.
    let secret = json!({ "messages": SECRET_BODY.repeat(10_000) });
    let answer = raw("send", secret.to_string().as_bytes());
    refused(&answer, 400, "a text");
    assert!(!answer.text().contains(SECRET_BODY), "{}", answer.text());
    let nul = json!({ "messages": [{ "message": "a\0b" }] });
    refused(&raw("send", nul.to_string().as_bytes()), 400, "NUL");
    let long = json!({ "messages": [{ "message": "x".repeat(50_001) }] });
    refused(&raw("send", long.to_string().as_bytes()), 400, "50000");
    let path = json!({ "messages": [{ "message": "x", "files": ["x".repeat(5_000)] }] });
    refused(&raw("send", path.to_string().as_bytes()), 400, "4096");
    let path =
        json!({ "tasks": [{ "role": "worker", "title": "x", "files": ["x".repeat(5_000)] }] });
    let answer = ground.ask(Socket::Api, Some(&case.a), "tasks/add", &path);
    refused(&answer, 400, "4096");
    let files = json!({ "tasks": [{ "role": "worker", "title": "x", "files": vec!["x"; 1_000] }] });
    let answer = ground.ask(Socket::Api, Some(&case.a), "tasks/add", &files);
    refused(&answer, 400, "files");
    refused(&raw("no/such", b"{}"), 404, "openapi.json");
    let wrong_way = b"PUT /v1/send HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = ground.send(Socket::Api, wrong_way);
    refused(&answer, 405, "openapi.json");
    assert!(
        answer.head.to_lowercase().contains("allow: post"),
        "{answer:?}"
    );
    // A request that names a session is not an operator's by mistake.
    let session = &case.b.session;
    let nameless = format!(
        "GET /v1/store/check HTTP/1.1\r\nHost: x\r\nConnection: close\r\nMCP-Bridge-Session: {session}\r\n\r\n"
    );
    let answer = ground.send(Socket::Admin, nameless.as_bytes());
    refused(&answer, 400, "Authorization");
    let more = vec![b' '; 5 * 1024 * 1024];
    refused(&raw("send", &more), 413, "too long");
    let form = b"POST /v1/send HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n{}";
    let answer = ground.send(Socket::Api, form);
    assert!(matches!(answer.status, 401 | 415), "{answer:?}");
    ground.ends_sound(&[SECRET_BODY, "mcpb_"]);
}

/// A schema of the document, without what it refers to.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(name) => document
            .pointer(name.trim_start_matches('#'))
            .expect("it is there"),
        None => schema,
    }
}

/// Whether a schema is that of an object with members of its own, or of a choice among
/// some that are.
fn is_object(document: &Value, schema: &Value) -> bool {
    let schema = resolved(document, schema);
    schema["properties"].is_object()
}

#[test]
fn list_in_place_of_an_object_is_refused() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let document = ground.get(Socket::Api, None, "openapi.json").granted();
    let mut tried = Vec::new();
    let paths = document["paths"].as_object().expect("paths");
    for (path, methods) in paths {
        let name = path.trim_start_matches("/v1/");
        let schema = &methods["post"]["requestBody"]["content"]["application/json"]["schema"];
        let members = resolved(&document, schema)["properties"].as_object();
        for (member, schema) in members.into_iter().flatten() {
            let schema = resolved(&document, schema);
            let (body, place) = if is_object(&document, schema) {
                (json!({ member: [1, 2] }), member.clone())
            } else if schema["type"] == "array" && is_object(&document, &schema["items"]) {
                (json!({ member: [["x", 1]] }), format!("{member}[0]"))
            } else {
                continue;
            };
            // By the socket where it may be asked.
            let mut answers = [(Socket::Admin, None), (Socket::Api, Some(&case.a))]
                .map(|(socket, login)| ground.ask(socket, login, name, &body))
                .into_iter()
                .filter(|answer| !matches!(answer.status, 401 | 403));
            let answer = answers.next().expect("one may");
            refused(
                &answer,
                400,
                &format!("{place}: invalid type: sequence, expected an object"),
            );
            tried.push(format!("{name} {member}"));
        }
    }
    assert!(tried.len() >= 8, "{tried:?}");
    ground.ends_sound(&["mcpb_"]);
}

#[test]
fn wrong_member_is_named_by_its_place() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let wrong = json!({ "messages": [{ "message": "x" }, { "message": "y", "files": [1] }] });
    let answer = ground.ask(Socket::Api, Some(&case.b), "send", &wrong);
    refused(&answer, 400, "messages[1].files[0]: invalid type: integer");
    let unread = ground.act(&case.a, "peek", &json!({}));
    let texts = unread["messages"].to_string() + &unread.to_string();
    assert!(!texts.contains("\"x\""), "nothing was stored: {texts}");
    ground.ends_sound(&[]);
}

#[test]
fn zero_is_no_number_of_messages() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    ground.act(
        &case.a,
        "send",
        &json!({ "messages": [{ "message": "one" }] }),
    );
    for name in ["fetch", "peek"] {
        let answer = ground.ask(Socket::Api, Some(&case.b), name, &json!({ "limit": 0 }));
        refused(
            &answer,
            400,
            "limit: 0 is out of range; choose from 1 to 1000",
        );
    }
    let unread = ground.act(&case.b, "fetch", &json!({}));
    assert!(
        unread.to_string().contains("\"one\""),
        "nothing was taken: {unread}"
    );
    // Lists of what there is are as long as they are asked to be.
    let none = json!({ "filter": { "limit": 0 } });
    assert_eq!(ground.order("tasks", &none), json!([]));
    assert_eq!(ground.order("events", &none), json!([]));
    assert_eq!(ground.order("alerts", &json!({ "limit": 0 })), json!([]));
    let some = json!({ "filter": {} });
    for name in ["tasks", "events"] {
        assert_ne!(ground.order(name, &some), json!([]), "{name}");
    }
    ground.ends_sound(&["mcpb_"]);
}

#[test]
fn connection_with_an_unread_request_announces_its_end() {
    let ground = Ground::new();
    // A client that reuses it would lose its next request, which it may not repeat.
    let long = 5 * 1024 * 1024;
    for (line, length, sent, status) in [
        ("POST /v1/nowhere", 2, 0, 404),
        ("POST /v1/send", 2, 0, 401),
        ("DELETE /v1/send", 2, 0, 405),
        ("POST /v1/conversations/create", long, long, 413),
    ] {
        let head = format!("{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        let bytes = [head.as_bytes(), &vec![b' '; sent]].concat();
        let answer = ground.send(Socket::Api, &bytes);
        assert_eq!(answer.status, status, "{line}");
        let said = answer.head.to_ascii_lowercase();
        assert!(said.contains("connection: close"), "{line}: {said}");
    }
    // One that was read goes on, also after a wrong request.
    let wrong = "POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]";
    let last = request(None, "verify", b"[]");
    let both = ground.send(Socket::Api, &[wrong.as_bytes(), &last].concat());
    assert!(both.text().contains("HTTP/1.1 400"), "{both:?}");
    assert!(!both.head.to_ascii_lowercase().contains("connection: close"));
    ground.ends_sound(&[]);
}

#[test]
fn numbers_out_of_all_measure_do_no_harm() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let numbers: [Value; 9] = [
        json!(-1),
        json!(-0.5),
        json!(1e300),
        json!(1e18),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(0),
        json!("1"),
        Value::Null,
    ];
    let as_b = |name: &str, body: Value| ground.ask(Socket::Api, Some(&case.b), name, &body);
    let mut wrong = Vec::new();
    for number in numbers {
        let n = &number;
        let answers = [
            ("heartbeat", as_b("heartbeat", json!({ "ttl_seconds": n }))),
            (
                "progress",
                as_b(
                    "task/progress",
                    json!({
                        "task": case.task, "fence": case.fence, "note": "x", "busy_for_seconds": n
                    }),
                ),
            ),
            (
                "fence",
                as_b(
                    "task/end",
                    json!({
                        "task": case.task, "fence": n, "outcome": { "done": "x" }
                    }),
                ),
            ),
            ("task", as_b("task", json!({ "task": n }))),
            ("fetch", as_b("fetch", json!({ "limit": n }))),
            ("peek", as_b("peek", json!({ "after": n }))),
            (
                "acknowledge",
                as_b("acknowledge", json!({ "messages": [n] })),
            ),
            (
                "tasks",
                as_b("tasks", json!({ "filter": { "states": [], "limit": n } })),
            ),
            ("alerts", as_b("alerts", json!({ "limit": n }))),
            (
                "sessions",
                as_b("sessions", json!({ "ended_within_seconds": n })),
            ),
            (
                "renew",
                as_b(
                    "conversation/renew",
                    json!({ "conversation": case.id, "until": n }),
                ),
            ),
            (
                "events",
                ground.ask(
                    Socket::Admin,
                    None,
                    "events",
                    &json!({ "filter": { "limit": n } }),
                ),
            ),
            (
                "order",
                ground.ask(
                    Socket::Admin,
                    None,
                    "order",
                    &json!({
                        "kind": "mute", "subject": "stalled", "seconds": n
                    }),
                ),
            ),
            (
                "capacity",
                ground.ask(
                    Socket::Admin,
                    None,
                    "capacity",
                    &json!({
                        "session": { "conversation": case.id, "session": "b" }, "capacity": n
                    }),
                ),
            ),
        ];
        for (name, answer) in answers {
            if answer.status == 0 || answer.status >= 500 {
                wrong.push(format!("{name} {n}: {} {}", answer.status, answer.text()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // And all that was stored can be read.
    ground.order("sessions", &json!({}));
    ground.order("task", &json!({ "task": case.task }));
    ground.get(Socket::Admin, None, "status").granted();
    ground.get(Socket::Admin, None, "store/check").granted();
    ground.ends_sound(&[SECRET_BODY, "mcpb_"]);
}

#[test]
fn a_conversation_of_odd_words_is_not_made() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let made = |change: &dyn Fn(&mut Value)| {
        let (_, _, mut wanted) = new_conversation();
        change(&mut wanted);
        let body = json!({ "conversations": [wanted] });
        ground.ask(Socket::Api, None, "conversations/create", &body)
    };
    let escape = made(&|wanted| wanted["role_a"] = json!("\u{1b}[2Jadmin"));
    refused(&escape, 400, "printable");
    refused(
        &made(&|wanted| wanted["role_b"] = json!("x".repeat(65))),
        400,
        "64",
    );
    refused(&made(&|wanted| wanted["role_b"] = json!("")), 400, "role");
    refused(
        &made(&|wanted| wanted["id"] = json!("conv_1")),
        400,
        "conversation id",
    );
    refused(
        &made(&|wanted| wanted["token_a"] = json!("short")),
        400,
        "token",
    );
    // An id that is taken is not taken over.
    let taken = made(&|wanted| wanted["id"] = json!(case.id));
    refused(&taken, 409, &case.id);
    ground.act(&case.b, "touch", &json!({}));
    let role = json!({ "tasks": [{ "role": "\u{7}", "title": "x" }] });
    let answer = ground.ask(Socket::Api, Some(&case.a), "tasks/add", &role);
    refused(&answer, 400, "printable");
    ground.ends_sound(&[SECRET_BODY, "mcpb_"]);
}
