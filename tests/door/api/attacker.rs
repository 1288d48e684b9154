//! Requests of an attacker who may use `api.sock`: malformed on purpose, smuggled, full
//! of characters that drive a terminal, with tokens of others. It gets what the table of
//! rights gives, and the daemon goes on.

use std::io::Write;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use super::ground::{
    Answer, Case, Ground, Login, SECRET_BODY, SECRET_TITLE, Socket, conversation, new_conversation,
    question, read, request, token,
};
use crate::common::daemon::{Rig, wait_for};

/// What is unread for side `b`.
fn unread(ground: &Ground, case: &Case) -> Value {
    let session = json!({ "conversation": case.id, "session": "b" });
    ground.order("unread", &json!({ "sessions": [session] }))[0]["unread"].clone()
}

/// Bytes that hold one request for a program, and perhaps another one for the next
/// program on the way. The second would send a message.
fn smuggled(case: &Case) -> Vec<(&'static str, Vec<u8>)> {
    let draft = json!({ "messages": [{ "message": "smuggled" }] });
    let inner = request(Some(&case.a), "send", draft.to_string().as_bytes());
    let n = inner.len();
    let outer = |head: &str, body: &[u8]| {
        let head = format!("POST /v1/unread HTTP/1.1\r\nHost: x\r\n{head}\r\n");
        [head.as_bytes(), body, &inner].concat()
    };
    let none = b"{\"sessions\":[]}";
    let chunked = b"0\r\n\r\n";
    vec![
        ("two lengths", outer(&format!("Content-Length: 15\r\nContent-Length: {}\r\n", n + 15), none)),
        ("a list of lengths", outer(&format!("Content-Length: 15, {}\r\n", n + 15), none)),
        ("a length with a sign", outer("Content-Length: +15\r\n", none)),
        ("a negative length", outer("Content-Length: -15\r\n", none)),
        ("a length beyond all numbers", outer("Content-Length: 99999999999999999999999\r\n", none)),
        ("a hexadecimal length", outer("Content-Length: 0xf\r\n", none)),
        ("a length and chunks", outer(&format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", n + 5), chunked)),
        ("chunks and a length", outer(&format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", n + 5), chunked)),
        ("chunks of another kind", outer("Transfer-Encoding: xchunked\r\n", chunked)),
        ("chunks that are no last coding", outer("Transfer-Encoding: chunked, identity\r\n", chunked)),
        ("chunks of HTTP/1.0", [
            b"POST /v1/unread HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".as_slice(),
            &inner,
        ].concat()),
        ("a chunk beyond all numbers", outer("Transfer-Encoding: chunked\r\n", b"fffffffffffffffff\r\n")),
        ("a chunk of no number", outer("Transfer-Encoding: chunked\r\n", b"xyz\r\n\r\n")),
        ("a folded line", outer("X: a\r\n b\r\nContent-Length: 15\r\n", none)),
        ("a folded length", outer("Content-Length:\r\n 15\r\n", none)),
        ("a space before the colon", outer("Content-Length : 15\r\n", none)),
        ("a zero byte in a header", outer("X: a\0b\r\nContent-Length: 15\r\n", none)),
        ("a bare carriage return", outer("X: a\rY: b\r\nContent-Length: 15\r\n", none)),
        ("a header without a colon", outer("Content-Length\r\n", none)),
        ("CONNECT", [b"CONNECT localhost:80 HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(), &inner].concat()),
        ("the preface of HTTP/2", [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".as_slice(), &inner].concat()),
        ("another version", [b"GET /v1/health HTTP/3.7\r\n\r\n".as_slice(), &inner].concat()),
        ("no version", [b"GET /v1/health\r\n\r\n".as_slice(), &inner].concat()),
        ("an odd method", [b"G\x1bT /v1/health HTTP/1.1\r\n\r\n".as_slice(), &inner].concat()),
        ("TLS", [b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".as_slice(), &inner].concat()),
    ]
}

#[test]
fn no_request_travels_hidden_in_another_one() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let before = unread(&ground, &case);
    let mut wrong = Vec::new();
    for (what, bytes) in smuggled(&case) {
        let answer = ground.send(Socket::Api, &bytes);
        let said = answer.text();
        // One answer at most, and no second one behind it.
        if said.contains("HTTP/1.1 200") || unread(&ground, &case) != before {
            wrong.push(format!("{what}: the hidden one was done"));
        }
        if answer.status == 200 || answer.status >= 500 && answer.status != 505 {
            wrong.push(format!("{what}: {} {said}", answer.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    ground.ends_sound(&["smuggled", "mcpb_"]);
}

#[test]
fn a_path_is_an_operation_s_or_nothing() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let ask = |target: &str| {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        ground.send(Socket::Api, bytes.as_bytes())
    };
    // As proxies ask.
    assert_eq!(ask("http://elsewhere.example/v1/health").status, 200);
    assert_eq!(ask("/v1/health?x=%00").status, 200);
    let long = format!("/v1/{}", "x".repeat(60_000));
    let longer = format!("/v1/{}", "x".repeat(1_000_000));
    for target in [
        "//v1/health",
        "/v1//health",
        "/v1/health/",
        "/v1%2fhealth",
        "/v1/%68ealth%00",
        "/v1/../v1/health",
        "/v1/%2e%2e/health",
        "/v1/..%2f..%2fetc/passwd",
        "/",
        "*",
        "/v2/health",
        "/v1/store%2Fcheck",
        "/v1/store/check/../../health",
        "/v1/HEALTH",
        "/V1/health",
        &long,
        &longer,
        "file:///etc/passwd",
        "\\v1\\health",
        "/v1/\u{9b}2Jhealth",
        "/v1/\u{202e}htlaeh",
    ] {
        let answer = ask(target);
        let short: String = target.chars().take(40).collect();
        assert!(
            (400..500).contains(&answer.status),
            "{short}: {}",
            answer.status
        );
        harmless(&answer, &short);
    }
    let lines = "X-Odd: 1\r\n".repeat(10_000);
    let many = format!("GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n");
    assert_eq!(ground.send(Socket::Api, many.as_bytes()).status, 431);
    let wide = format!(
        "GET /v1/health HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "x".repeat(1_000_000)
    );
    assert_eq!(ground.send(Socket::Api, wide.as_bytes()).status, 431);
    drop(case);
    ground.ends_sound(&["mcpb_", "\u{9b}", "\u{202e}"]);
}

/// What drives a terminal, or turns what stands behind it.
const ODD: &str = "\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\u{2066}\u{200b}\u{feff}\r\n\u{7}";

/// Nothing of that stands in an answer as it is.
#[track_caller]
fn harmless(answer: &Answer, what: &str) {
    let all = format!("{}{}", answer.head.replace("\r\n", ""), answer.text());
    let odd = all
        .chars()
        .find(|c| *c != '\n' && !matches!(c, ' '..='~') && ODD.contains(*c));
    assert_eq!(odd, None, "{what}: {all:?}");
}

#[test]
fn no_character_of_an_agent_drives_a_terminal() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let (id, _, wanted) = new_conversation();
    let odd = |key: &str| {
        let mut wanted = wanted.clone();
        wanted[key] = json!(format!("x{ODD}"));
        wanted
    };
    let draft = |key: &str| json!({ "messages": [{ "message": "x", key: format!("x{ODD}") }] });
    let end = json!({ "task": case.task, "fence": case.fence });
    let refused: Vec<(&str, &Login, Value)> = vec![
        (
            "conversations/create",
            &case.a,
            json!({ "conversations": [odd("role_a")] }),
        ),
        (
            "conversations/create",
            &case.a,
            json!({ "conversations": [odd("role_b")] }),
        ),
        (
            "conversations/create",
            &case.a,
            json!({ "conversations": [odd("label")] }),
        ),
        (
            "conversations/create",
            &case.a,
            json!({ "conversations": [odd("id")] }),
        ),
        (
            "conversations/create",
            &case.a,
            json!({ "conversations": [odd("token_a")] }),
        ),
        (
            "conversations/create",
            &case.a,
            json!({ "conversations": [odd("expires_at")] }),
        ),
        (
            "conversations/create",
            &case.a,
            json!({ "conversations": [odd(ODD)] }),
        ),
        (
            "conversation",
            &case.a,
            json!({ "conversation": format!("{id}{ODD}") }),
        ),
        (
            "conversation",
            &case.a,
            json!({ "conversation": "../../etc/passwd" }),
        ),
        (
            "unread",
            &case.a,
            json!({ "sessions": [{ "conversation": case.id, "session": ODD }] }),
        ),
        ("send", &case.a, draft("client_id")),
        ("send", &case.a, draft("action_type")),
        ("send", &case.a, draft(ODD)),
        ("send", &case.a, json!({ ODD: ODD })),
        ("confirm", &case.b, json!({ "fetch": [ODD] })),
        (
            "tasks/add",
            &case.a,
            json!({ "tasks": [{ "role": "w\u{202e}", "title": "x" }] }),
        ),
        (
            "tasks/add",
            &case.a,
            json!({ "tasks": [{ "role": "w", "title": "x", "client_id": ODD }] }),
        ),
        (
            "task/end",
            &case.b,
            json!({ "task": end["task"], "fence": end["fence"], "outcome": { ODD: "x" } }),
        ),
        ("tasks", &case.b, json!({ "filter": { "states": [ODD] } })),
        (
            "follow",
            &case.b,
            json!({ "begin": { "after": { ODD: 1 } } }),
        ),
    ];
    for (name, login, body) in refused {
        let answer = ground.ask(Socket::Api, Some(login), name, &body);
        assert!(
            (400..500).contains(&answer.status),
            "{name} {body}: {}",
            answer.text()
        );
        harmless(&answer, name);
    }
    // What may hold any character is handed out as it was, in JSON's own escapes.
    let text = format!("body {ODD}");
    let files = json!([format!("f{ODD}")]);
    ground.act(
        &case.a,
        "send",
        &json!({ "messages": [{ "message": text, "files": files }] }),
    );
    let task = json!({ "role": "worker", "title": "t\u{202e}t", "body": text });
    let added = ground.ask(
        Socket::Api,
        Some(&case.a),
        "tasks/add",
        &json!({ "tasks": [task] }),
    );
    let note = json!({ "task": case.task, "fence": case.fence, "note": text });
    ground.act(&case.b, "task/progress", &note);
    assert_eq!(added.status, 200, "{}", added.text());
    let all = json!({ "filter": { "states": [], "limit": 100 } });
    for (login, name, body) in [
        (&case.b, "peek", json!({})),
        (&case.b, "fetch", json!({})),
        (&case.a, "tasks", all.clone()),
        (&case.b, "tasks", all),
        (&case.b, "task", json!({ "task": case.task })),
    ] {
        let answer = ground.ask(Socket::Api, Some(login), name, &body);
        harmless(&answer, name);
        let shown = answer.granted().to_string();
        let wanted = json!(text).to_string();
        assert!(shown.contains(wanted.trim_matches('"')), "{name}: {shown}");
    }
    for (name, secret) in [("sessions", "worker"), ("alerts", "")] {
        let answer = ground.ask(Socket::Api, None, name, &json!({ "limit": 100 }));
        harmless(&answer, name);
        assert!(!answer.text().contains(SECRET_TITLE), "{secret}");
    }
    let odd = [
        "\u{1b}",
        "\u{9b}",
        "\u{202e}",
        "\u{200b}",
        SECRET_BODY,
        "mcpb_",
    ];
    ground.ends_sound(&odd);
}

#[test]
fn a_header_of_who_asks_stands_once() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let other = Case::new(&ground);
    let whole = |lines: &str| {
        let bytes = format!(
            "POST /v1/touch HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n{lines}\r\n{{}}"
        );
        ground.send(Socket::Api, bytes.as_bytes())
    };
    let session = |login: &Login| format!("MCP-Bridge-Session: {}\r\n", login.session);
    let bearer = |login: &Login| format!("Authorization: Bearer {}\r\n", login.token);
    let both = session(&case.b) + &bearer(&case.b);
    assert_eq!(whole(&both).status, 200);
    for lines in [
        both.clone() + &session(&other.b),
        both.clone() + &bearer(&other.b),
        session(&other.b) + &both,
        bearer(&other.b) + &both,
        both.replace('\r', "\u{9b}\r"),
        both.replace("Bearer", "Basic"),
        both.replace("Bearer ", "Bearer"),
        bearer(&case.b),
    ] {
        let answer = whole(&lines);
        assert!(
            matches!(answer.status, 400 | 401),
            "{lines}: {}",
            answer.text()
        );
        assert!(
            !answer.text().contains(&case.b.token[5..]),
            "{}",
            answer.text()
        );
    }
    ground.ends_sound(&["mcpb_"]);
}

/// Acts with a token; the status.
fn touch(ground: &Ground, session: &str, token: &str) -> u16 {
    let login = Login {
        session: session.to_owned(),
        token: token.to_owned(),
    };
    let answer = ground.ask(Socket::Api, Some(&login), "peek", &json!({}));
    assert!(!answer.text().contains(&token[5..]), "{}", answer.text());
    answer.status
}

#[test]
fn token_is_good_for_its_own_open_session_alone() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let (other, other_a, other_b) = conversation(&ground);
    let own = |token: &str| touch(&ground, &case.b.session, token);
    assert_eq!(own(&case.b.token), 200);
    for wrong in [&case.a.token, &other_a.token, &other_b.token, &token()] {
        assert_eq!(own(wrong), 401);
    }
    let digits = case.b.token[5..].to_owned();
    // The digits are a number, in which case means nothing; the word before them is none.
    assert_eq!(own(&format!("mcpb_{}", digits.to_uppercase())), 200);
    assert_eq!(own(&format!("MCPB_{digits}")), 400);
    assert_eq!(own(&format!("mcpb_{}", &digits[1..])), 400);
    assert_eq!(own(&format!("mcpb_{digits}0")), 400);
    assert_eq!(own(&format!("sha256:{digits}")), 400);
    // One that was replaced, and one of a conversation that was closed or has expired.
    let rekey = json!({ "conversation": other, "session": "b", "token": token() });
    ground.act(&other_b, "conversation/rekey", &rekey);
    assert_eq!(touch(&ground, &other_b.session, &other_b.token), 401);
    ground.order("conversation/close", &json!({ "conversation": other }));
    assert_eq!(touch(&ground, &other_a.session, &other_a.token), 403);
    let (id, tokens, mut wanted) = new_conversation();
    let soon = mcp_bridge::clock::now() + jiff::SignedDuration::from_millis(1_500);
    wanted["expires_at"] = json!(soon.to_string());
    ground.order(
        "conversations/create",
        &json!({ "conversations": [wanted] }),
    );
    let ended = wait_for("its end", || {
        let status = touch(&ground, &format!("{id}/a"), &tokens[0]);
        (status != 200).then_some(status)
    });
    assert_eq!(ended, 403);
    ground.ends_sound(&["mcpb_", &digits]);
}

#[test]
fn a_list_without_end_is_refused_in_words() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let session = json!({ "conversation": case.id, "session": "b" });
    let mut credential = session.clone();
    credential["token"] = json!(case.b.token);
    let ids = vec![case.message.clone(); 10_001];
    for (name, body) in [
        ("unread", json!({ "sessions": vec![session; 1_001] })),
        (
            "verify",
            json!({ "sessions": vec![credential.clone(); 1_001] }),
        ),
        ("follow", json!({ "sessions": vec![credential; 1_001] })),
        ("acknowledge", json!({ "messages": ids })),
    ] {
        let answer = ground.ask(Socket::Api, Some(&case.b), name, &body);
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
        let said = answer.json()["detail"].to_string();
        assert!(
            said.contains("1000") || said.contains("10000"),
            "{name}: {said}"
        );
        assert!(!said.contains(&case.b.token), "{said}");
    }
    let member = [
        "{\"limit\": 1, \"limit\": 2}",
        "{\"limit\": 1e400}",
        "{\"limit\": 18446744073709551616}",
    ];
    for body in member {
        let bytes = request(Some(&case.b), "peek", body.as_bytes());
        assert_eq!(ground.send(Socket::Api, &bytes).status, 400, "{body}");
    }
    let packed = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let bytes = request(Some(&case.b), "peek", &packed);
    let bytes = String::from_utf8_lossy(&bytes).into_owned();
    let head = bytes.split("\r\n\r\n").next().expect("a head");
    let head = format!("{head}\r\nContent-Encoding: gzip\r\n\r\n");
    let answer = ground.send(Socket::Api, &[head.as_bytes(), &packed].concat());
    assert_eq!(answer.status, 415, "{}", answer.text());
    assert!(answer.text().contains("compressed"), "{}", answer.text());
    ground.ends_sound(&["mcpb_"]);
}

#[test]
fn session_s_own_tasks_are_no_answer_without_end() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let task = json!({ "role": "worker", "title": "x", "body": "x".repeat(40_000) });
    for _ in 0..4 {
        ground.act(
            &case.a,
            "tasks/add",
            &json!({ "tasks": vec![task.clone(); 60] }),
        );
    }
    let ask = |limit: u32| {
        let body = json!({ "filter": { "limit": limit } });
        ground.ask(Socket::Api, Some(&case.a), "tasks", &body)
    };
    let all = ask(u32::MAX);
    assert_eq!(all.status, 400);
    assert!(
        all.text().contains("ask for fewer at once"),
        "{}",
        all.text()
    );
    assert_eq!(ask(50).granted().as_array().map(Vec::len), Some(50));
    // An operator is shown all of them.
    let all = ground.order("tasks", &json!({ "filter": { "limit": 1_000 } }));
    assert_eq!(all.as_array().map(Vec::len), Some(241));
    ground.ends_sound(&["xxxx", "mcpb_"]);
}

#[test]
fn connection_refused_before_its_body_takes_no_more() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    let before = unread(&ground, &case);
    let draft = json!({ "messages": [{ "message": "smuggled" }] });
    let inner = request(Some(&case.a), "send", draft.to_string().as_bytes());
    // Its body, which is not read, is the next request.
    for line in [
        "POST /v1/nowhere",
        "PUT /v1/send",
        "POST /v1/send",
        "GET /v1/health",
    ] {
        let head = format!(
            "{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            inner.len()
        );
        let mut stream = ground.connect(Socket::Api);
        stream
            .write_all(&[head.as_bytes(), &inner].concat())
            .expect("written");
        stream
            .write_all(&question(None, "health"))
            .unwrap_or_default();
        let all = read(&mut stream);
        assert!(!all.text().contains("duplicate"), "{line}: {}", all.text());
        assert_eq!(unread(&ground, &case), before, "{line}");
    }
    ground.ends_sound(&["smuggled", "mcpb_"]);
}

#[test]
fn link_in_place_of_a_socket_is_not_followed() {
    let rig = Rig::new();
    let directory = rig.path("worker.state");
    std::fs::create_dir(&directory).expect("made");
    let victim = rig.path("victim");
    std::fs::write(&victim, "as it was").expect("written");
    let mode = || std::fs::metadata(&victim).expect("it is there").mode();
    let before = mode();
    for name in ["api.sock", "api.new", "admin.sock", "admin.new"] {
        std::os::unix::fs::symlink(&victim, directory.join(name)).expect("planted");
    }
    let mut daemon = rig.worker("");
    daemon.says("listening at");
    let ground = Ground { rig, daemon };
    ground.answers();
    for which in [Socket::Api, Socket::Admin] {
        let made = std::fs::symlink_metadata(ground.socket(which)).expect("a socket");
        assert!(made.file_type().is_socket() && made.mode() & 0o777 == 0o600);
    }
    assert_eq!(std::fs::read_to_string(&victim).expect("text"), "as it was");
    assert_eq!(mode(), before);
    ground.ends_sound(&[]);
}

#[test]
fn a_directory_of_others_has_no_socket() {
    let rig = Rig::new();
    let directory = rig.path("worker.state");
    std::fs::create_dir(&directory).expect("made");
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&directory, open).expect("set");
    let mut daemon = rig.worker("");
    daemon.says("another user may write there");
    assert!(!directory.join("api.sock").exists());
    // It opens once they are kept out.
    let closed = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&directory, closed).expect("set");
    daemon.says("listening at");
    daemon.finish();
}

/// Does something in a thread that is another user; `false` where that cannot be tried.
#[cfg(target_os = "linux")]
fn as_another_user(ground: &Ground, act: impl FnOnce() + Send) -> bool {
    if !rustix::process::geteuid().is_root() {
        return false;
    }
    let open = |path: &std::path::Path, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("set");
    };
    open(ground.rig.dir.path(), 0o755);
    open(&ground.socket(Socket::Api), 0o666);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let uid = rustix::process::Uid::from_raw(65_534);
            rustix::thread::set_thread_uid(uid).expect("another user");
            act();
        });
        other.join().expect("it held");
    });
    true
}

#[cfg(target_os = "linux")]
#[test]
fn another_user_fills_no_store() {
    let ground = Ground::new();
    let case = Case::new(&ground);
    ground
        .rig
        .config("worker", "[api]\nstored_mib_per_day = 1\n");
    ground.daemon.reload();
    let texts: Vec<Value> = (0..10)
        .map(|_| json!({ "message": "x".repeat(40_000) }))
        .collect();
    let send = json!({ "messages": texts });
    let before = unread(&ground, &case);
    let socket = ground.socket(Socket::Api);
    let tried = as_another_user(&ground, || {
        let ask = |name: &str, body: &Value| {
            let mut stream = UnixStream::connect(&socket).expect("connected");
            let bytes = request(Some(&case.a), name, body.to_string().as_bytes());
            stream.write_all(&bytes).expect("asked");
            read(&mut stream)
        };
        assert_eq!(ask("send", &send).status, 200);
        assert_eq!(ask("send", &send).status, 200);
        let full = ask("send", &send);
        assert_eq!(full.status, 429);
        let full = full.text();
        assert!(full.contains("user 65534 may store 1 MiB a day"), "{full}");
        assert!(
            full.contains("[api] in the daemon's configuration"),
            "{full}"
        );
        // Rows that a request leaves in the audit log are counted, too.
        let until = json!({ "conversation": case.id, "until": "2200-01-01T00:00:00Z" });
        let mut renewals = (0..1_000).map(|_| ask("conversation/renew", &until).status);
        assert!(renewals.any(|status| status == 429), "endless renewals");
        // Its mail is still shown to it.
        assert_eq!(ask("peek", &json!({})).status, 200);
    });
    if !tried {
        println!("skipped: only root can be another user");
    } else {
        let more = before.as_u64().map(|before| before + 20);
        assert_eq!(unread(&ground, &case).as_u64(), more);
    }
    // The daemon's own user could write the file itself.
    for _ in 0..4 {
        ground.act(&case.a, "send", &send);
    }
    ground.ends_sound(&["xxxx", "mcpb_"]);
}
