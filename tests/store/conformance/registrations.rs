//! Which client acts for a session.

use mcp_bridge::model::token::Token;
use mcp_bridge::store::{Boot, Caller, ProcessId, Registration, Store, StoreError};

use super::{Backend, work};
use crate::common::store::{at, boot, pair, pairs};

pub(crate) fn client(pid: i64) -> Registration {
    Registration {
        client: "claude-code".into(),
        version: Some("2.1.332".into()),
        boot_id: "x".into(),
        pid_ns: NAMESPACE,
        process: Some(ProcessId { pid, start: 7 }),
        uid: 1_000,
        directory: Some("/home/me/backend".into()),
    }
}

const NAMESPACE: i64 = 1;

fn here() -> Boot {
    Boot {
        pid_ns: NAMESPACE,
        ..boot("x", 100)
    }
}

/// The client that the store has of a session.
async fn registered(store: &Store, caller: &Caller) -> Option<Registration> {
    store.registration(caller, at(1)).await.expect("asked")
}

async fn register(store: &Store, caller: &Caller, client: Registration) -> bool {
    let registered = store.register_agent(caller, client, at(1));
    registered.await.expect("registered")
}

/// The sessions of clients that run here, by user.
async fn listed(store: &Store, uid: Option<u32>) -> Vec<String> {
    let found = store.registered_here(&here(), uid, at(2)).await;
    let found = found.expect("listed").into_iter();
    found
        .map(|one| {
            let process = one.registration.process_in(&here()).expect("a process");
            let state = match one.verified {
                Ok(verified) => verified.role,
                Err(error) => format!("{error:?}").chars().take(7).collect(),
            };
            format!("{} {} {state}", one.session, process.pid)
        })
        .collect()
}

pub(crate) async fn the_newest_client_counts(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    assert_eq!(registered(&store, &pair.b).await, None);
    assert!(register(&store, &pair.b, client(11)).await);
    assert!(!register(&store, &pair.b, client(11)).await, "known");
    assert_eq!(registered(&store, &pair.a).await, None);

    // Its hook knows less of the same process than its tools do.
    let mut less = client(11);
    (less.version, less.directory) = (None, None);
    assert!(!register(&store, &pair.b, less.clone()).await);
    assert_eq!(registered(&store, &pair.b).await, Some(client(11)));

    let views = store.sessions(at(1)).await.expect("listed").into_iter();
    let mine = views.filter(|view| view.key == pair.b.session);
    let mine: Vec<_> = mine
        .map(|view| (view.client, view.pid, view.activity_at))
        .collect();
    // It is nothing that the agent did.
    let title = "claude-code 2.1.332".to_owned();
    assert_eq!(mine, [(Some(title), Some(11), None)]);

    // Another process is another client, of which nothing is known.
    less.process = Some(ProcessId { pid: 12, start: 7 });
    assert!(register(&store, &pair.b, less.clone()).await);
    assert_eq!(registered(&store, &pair.b).await, Some(less));
    assert_eq!(store.check().await.expect("looked").problems, [""; 0]);
}

/// Without a heartbeat, nothing tells the end of the client before.
pub(crate) async fn a_new_client_without_a_daemon_keeps_its_tasks(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    register(&store, &pair.b, client(11)).await;
    let task = work::claimed(&store, &pair.b, "half done").await;
    assert!(register(&store, &pair.b, client(12)).await);
    let shown = work::shown(&store, task.id).await;
    assert_eq!(shown.owner.as_ref(), Some(&pair.b.session));
    assert_eq!(shown.fence, task.fence);
    // Its new agent gets the text by a claim, and its reports count.
    let again = store.claim_task(&pair.b, Some(task.id), at(5)).await;
    let again = again.expect("claimed").expect("its own");
    assert_eq!(
        (again.fence, again.title.as_str()),
        (task.fence, "half done")
    );
    let done = work::done("by the new one");
    let ended = store
        .end_task(&pair.b, task.id, task.fence, &done, at(6))
        .await;
    ended.expect("done");
}

pub(crate) async fn only_its_session_registers_a_client(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    let mut stranger = pairs[0].b.clone();
    stranger.token = pairs[1].b.token.clone();
    let refused = store.register_agent(&stranger, client(11), at(1)).await;
    let refused = refused.expect_err("a wrong token");
    assert!(matches!(refused, StoreError::WrongToken(_)), "{refused}");
    let refused = store.registration(&stranger, at(1)).await;
    let refused = refused.expect_err("a wrong token");
    assert!(matches!(refused, StoreError::WrongToken(_)), "{refused}");
    let closed = &pairs[1].b;
    let closing = store.close_conversation(&closed.session.conversation, at(1));
    closing.await.expect("closed");
    let refused = store.register_agent(closed, client(11), at(2)).await;
    let refused = refused.expect_err("it is over");
    assert!(matches!(refused, StoreError::Closed(_)), "{refused}");
}

pub(crate) async fn clients_of_this_machine_are_listed(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 6, at(0)).await;
    let elsewhere = Registration {
        boot_id: "y".into(),
        ..client(12)
    };
    let contained = Registration {
        pid_ns: NAMESPACE + 1,
        ..client(13)
    };
    let without = Registration {
        process: None,
        ..client(0)
    };
    let other_user = Registration {
        uid: 1_001,
        ..client(14)
    };
    let each = [client(11), elsewhere, contained, without, other_user];
    for (pair, client) in pairs.iter().zip(each) {
        assert!(register(&store, &pair.b, client).await);
    }
    // One process may act for several sessions.
    register(&store, &pairs[0].a, client(11)).await;
    register(&store, &pairs[5].b, client(15)).await;
    let closing = store.close_conversation(&pairs[5].b.session.conversation, at(1));
    closing.await.expect("closed");

    let mut mine = vec![
        format!("{} 11 orchestrator", pairs[0].a.session),
        format!("{} 11 worker", pairs[0].b.session),
    ];
    let theirs = format!("{} 14 worker", pairs[4].b.session);
    assert_eq!(listed(&store, Some(1_000)).await, mine);
    assert_eq!(listed(&store, Some(1_001)).await, [theirs.as_str()]);
    mine.push(theirs);
    mine.sort();
    assert_eq!(listed(&store, None).await, mine);
}

pub(crate) async fn a_new_token_forgets_the_client(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    for caller in [&pair.a, &pair.b] {
        register(&store, caller, client(11)).await;
    }
    let token = Token::generate(&pair.b.session, &[9; 32]);
    let presented = Some(&pair.b.token);
    let rekeyed = store.rekey_session(&pair.b.session, presented, &token, at(1));
    rekeyed.await.expect("rekeyed");
    let again = Caller {
        token,
        ..pair.b.clone()
    };
    assert_eq!(registered(&store, &again).await, None);
    assert_eq!(registered(&store, &pair.a).await, Some(client(11)));
}

pub(crate) async fn a_client_s_words_are_short_and_harmless(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let hostile = Registration {
        client: format!("\u{1b}[31m{}", "x".repeat(10_000)),
        version: Some(" \u{202e}\n".into()),
        directory: Some("/tmp/\u{7}".repeat(10_000)),
        ..client(11)
    };
    assert!(register(&store, &pair.b, hostile).await);
    let kept = registered(&store, &pair.b).await.expect("a client");
    let texts = [Some(kept.client), kept.version, kept.directory];
    for text in texts.into_iter().flatten() {
        let sound = |c: char| !c.is_control() && c != '\u{202e}';
        assert!(text.len() < 20_000 && text.chars().all(sound), "{text:?}");
    }
    let nameless = Registration {
        client: " ".into(),
        ..client(12)
    };
    assert!(register(&store, &pair.b, nameless).await);
    let kept = registered(&store, &pair.b).await.expect("a client");
    assert_eq!(kept.client, "unknown");
}
