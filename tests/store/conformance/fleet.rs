//! The fleet as an orchestrator reads it: all of it, what changed, or some.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;
use mcp_bridge::model::health::Turn;
use mcp_bridge::model::session::ProofKind;
use mcp_bridge::model::standing::Standing;
use mcp_bridge::model::{ConversationId, SessionKey, Side};
use mcp_bridge::store::{
    Beat, BeatRound, Caller, Cursor, Process, ProcessId, SeenBeat, SeenSession, Store, Wanted, Why,
};

use super::Backend;
use super::work::{
    TTL, add, beat, beat_with, claimed, daemon, done, lead, look, lose, make, planned, roomy, seen,
};
use crate::common::store::{Pair, at, boot, pair, pairs, receive, say};

async fn all(store: &Store) -> (Vec<SeenSession>, Cursor) {
    let fleet = store.fleet(Wanted::All, at(20)).await.expect("looked");
    (fleet.sessions, fleet.cursor)
}

/// Whole rows of all that is new, as an observer that knows nothing yet takes them.
async fn since(store: &Store, cursor: Cursor) -> (Vec<SeenSession>, Cursor) {
    let fleet = store.fleet(Wanted::Since(cursor), at(20)).await;
    let fleet = fleet.expect("looked");
    let pulses: Vec<SessionKey> = fleet.pulses.into_iter().map(|pulse| pulse.key).collect();
    let these = store.fleet(Wanted::These((&pulses).into()), at(20)).await;
    let mut sessions = fleet.sessions;
    sessions.extend(these.expect("looked").sessions);
    (sessions, fleet.cursor)
}

fn keys(sessions: &[SeenSession]) -> BTreeSet<String> {
    sessions.iter().map(|s| s.key.to_string()).collect()
}

/// The row of a session; of all of them if there is none, to be shown.
fn row(sessions: Vec<SeenSession>, session: &SessionKey) -> SeenSession {
    let keys = keys(&sessions);
    let found = sessions.into_iter().find(|seen| seen.key == *session);
    found.unwrap_or_else(|| panic!("{session} is not among {keys:?}"))
}

pub(crate) async fn a_row_tells_everything(backend: &impl Backend) {
    let store = backend.open().await;
    let named = Pair::random();
    let made = store
        .create_conversations(&[named.labelled("api", at(10_000))], at(0))
        .await;
    made.expect("made");
    let session = &named.b.session;
    let bare = SeenSession {
        key: session.clone(),
        label: Some("api".parse().expect("a label")),
        role: "worker".into(),
        host: None,
        beat: None,
        activity: 0,
        foreign: None,
        spoken: None,
        read_there: None,
        fetched: false,
        busy: None,
        turn: None,
        reported: None,
        unread: 0,
        open_tasks: 0,
        capacity: None,
        crashes: 0,
        standing: None,
        standing_seq: None,
    };
    assert_eq!(seen(&store, session).await, bare);
    assert_eq!(seen(&store, &named.a.session).await.role, "orchestrator");
    let keeper = daemon(&store, "hera").await;
    beat(&store, &keeper, &[session]).await;
    let task = claimed(&store, &named.b, "one").await;
    let busy = Duration::from_secs(90);
    let note = "x".parse().expect("a note");
    let noted = store
        .task_progress(&named.b, task.id, task.fence, &note, Some(busy), at(11))
        .await;
    noted.expect("noted");
    let set = store.set_session_capacity(session, Some(4)).await;
    set.expect("set");
    say(&store, &named.a, "hello", at(12)).await;
    lose(&store, &lead(&store).await, session).await;
    // A verdict ends a turn; this one began after it.
    backend.foreign(&format!(
        "UPDATE bridge_session SET turn = 'inside' WHERE conversation_id = '{}'",
        named.id
    ));
    let process = Process {
        boot_id: "x".into(),
        pid_ns: 4_026_531_836,
        id: ProcessId {
            pid: 1_000,
            start: 7,
        },
    };
    let expected = SeenSession {
        host: Some("hera".into()),
        beat: Some(SeenBeat {
            seq: 1,
            ttl: TTL,
            kept: true,
            exited: false,
            stopped: false,
            process: Some(process),
        }),
        activity: 2,
        busy: Some((1, busy)),
        turn: Some(true),
        unread: 1,
        open_tasks: 1,
        capacity: Some(4),
        standing: Some(Standing::Lost),
        standing_seq: Some(1),
        ..bare
    };
    assert_eq!(seen(&store, session).await, expected);
}

pub(crate) async fn row_shows_activity_through_the_other_bridge(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let sent = |from: &str, to: &str, time: &str, read: u8| {
        backend.foreign(&format!(
            "INSERT INTO messages (conversation_id, from_session, to_session, message, timestamp, read)
             VALUES ('{}', '{from}', '{to}', 'x', '{time}', {read})",
            pair.id
        ));
    };
    let marks = async || {
        let row = seen(&store, &pair.b.session).await;
        let elsewhere = row.is_elsewhere();
        (row.spoken, row.read_there, elsewhere, row.fetched)
    };
    assert_eq!(marks().await, (None, None, false, false));
    sent("a", "b", "2025-11-13T02:13:21", 0);
    assert_eq!(marks().await, (None, None, false, false), "not read yet");
    backend.foreign("UPDATE messages SET read = 1");
    assert_eq!(marks().await, (None, Some(1), true, false));
    sent("session_b", "a", "2025-11-13T02:13:22", 0);
    sent("b", "session_a", "2025-11-13T02:13:23", 0);
    let spoken = Some("2025-11-13T02:13:23".to_owned());
    assert_eq!(marks().await, (spoken.clone(), Some(1), true, false));
    // A script that beats marks mail read with no agent looking.
    backend.foreign(&format!(
        "INSERT INTO session_status (conversation_id, session_id, status, last_heartbeat)
         VALUES ('{}', 'b', 'active', '2025-11-13T02:13:20')",
        pair.id
    ));
    assert_eq!(marks().await, (spoken, None, true, false));
    // What our own reader read is no mark of the other bridge.
    assert_eq!(receive(&store, &pair.a, at(30)).await.len(), 2);
    let a = seen(&store, &pair.a.session).await;
    assert_eq!((a.read_there, a.fetched, a.is_unused()), (None, true, true));
}

pub(crate) async fn a_side_that_only_sends_is_unused(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let unused = async |session: &SessionKey| seen(&store, session).await.is_unused();
    assert!(unused(&pair.a.session).await);
    assert!(!unused(&pair.b.session).await, "an agent is awaited there");
    say(&store, &pair.a, "x", at(1)).await;
    say(&store, &pair.b, "an answer", at(2)).await;
    assert!(unused(&pair.a.session).await);
    // An operator reads the answer.
    assert_eq!(receive(&store, &pair.a, at(3)).await, ["an answer"]);
    assert!(unused(&pair.a.session).await);
    let keeper = daemon(&store, "hera").await;
    beat(&store, &keeper, &[&pair.a.session]).await;
    assert!(!unused(&pair.a.session).await, "a daemon keeps it");
}

pub(crate) async fn three_ways_to_the_same_row(backend: &impl Backend) {
    let store = backend.open().await;
    roomy(&store).await;
    let pairs = pairs(&store, 3, at(0)).await;
    let keeper = daemon(&store, "hera").await;
    for pair in &pairs {
        beat(&store, &keeper, &[&pair.b.session, &pair.a.session]).await;
        claimed(&store, &pair.b, "one").await;
        say(&store, &pair.a, "x", at(12)).await;
    }
    let (mut every, _) = all(&store).await;
    let (mut changed, _) = since(&store, Cursor::default()).await;
    let wanted: Vec<SessionKey> = every.iter().map(|seen| seen.key.clone()).collect();
    let these = store.fleet(Wanted::These((&wanted).into()), at(20)).await;
    let mut these = these.expect("looked").sessions;
    for list in [&mut every, &mut changed, &mut these] {
        list.sort_by_key(|seen| seen.key.to_string());
    }
    assert_eq!(every.len(), 6);
    assert_eq!(every, changed);
    assert_eq!(every, these);
}

pub(crate) async fn only_changed_rows_are_seen(backend: &impl Backend) {
    let store = backend.open().await;
    roomy(&store).await;
    let leader = lead(&store).await;
    let pairs = pairs(&store, 3, at(0)).await;
    // A daemon for each: what one of them writes is new of all its sessions.
    let keepers = [
        daemon(&store, "hera").await,
        daemon(&store, "ares").await,
        daemon(&store, "zeus").await,
    ];
    let (one, two) = (&pairs[0].b.session, &pairs[1].b.session);
    for (keeper, pair) in keepers.iter().zip(&pairs) {
        beat(&store, keeper, &[&pair.b.session]).await;
    }
    let keeper = &keepers[0];
    let mut cursor = all(&store).await.1;
    let mut expect = async |what: &str, expected: &[&SessionKey]| {
        let (changed, next) = since(&store, cursor).await;
        let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(keys(&changed), expected, "{what}");
        let (again, same) = since(&store, next).await;
        assert_eq!((again.len(), same), (0, next), "{what}: seen twice");
        cursor = next;
    };
    expect("nothing", &[]).await;
    beat(&store, keeper, &[one]).await;
    expect("a beat", &[one]).await;
    assert!(store.record_exit(one, keeper, at(2)).await.expect("noted"));
    expect("an exit", &[one]).await;
    beat(&store, keeper, &[one]).await;
    expect("a new agent", &[one]).await;
    let named = std::slice::from_ref(two);
    assert_eq!(
        store
            .release(&keepers[1], Some(named), at(2))
            .await
            .expect("done"),
        1
    );
    expect("a release", &[two]).await;
    let called = store
        .call_in(&pairs[1].b, TTL, None, &boot("x", 101), at(2))
        .await;
    called.expect("called in");
    expect("a call", &[two]).await;
    say(&store, &pairs[1].b, "x", at(3)).await;
    expect("a message that it sent", &[two]).await;
    let task = claimed(&store, &pairs[0].b, "one").await;
    expect("a claim", &[one]).await;
    store
        .reassign_task(task.id, Some(two), at(20))
        .await
        .expect("moved");
    expect("a move", &[one, two]).await;
    let note = "x".parse().expect("a note");
    let fence = task.fence.next();
    let minute = Some(Duration::from_secs(60));
    let noted = store
        .task_progress(&pairs[1].b, task.id, fence, &note, minute, at(21))
        .await;
    noted.expect("noted");
    expect("being busy", &[two]).await;
    let ended = store
        .end_task(&pairs[1].b, task.id, fence, &done("x"), at(22))
        .await;
    ended.expect("ended");
    expect("an end", &[two]).await;
    store.set_session_capacity(one, Some(3)).await.expect("set");
    expect("a capacity", &[one]).await;
    let given = store
        .reassign_task(add(&store, "two").await, Some(one), at(23))
        .await;
    expect("a gift", &[one]).await;
    lose(&store, &leader, one).await;
    expect("a finding", &[one]).await;
    let queued = planned(&given.expect("given"), None, Why::Lost);
    make(&store, &leader, queued).await;
    expect("a loss", &[one]).await;
    let waits = super::work::claim(&store, &pairs[1].b).await;
    expect("a claim of what it lost", &[two]).await;
    store
        .cancel_task(waits.id, None, at(24))
        .await
        .expect("cancelled");
    expect("a cancellation", &[two]).await;
    receive(&store, &pairs[2].b, at(25)).await;
    expect("a look at its mail", &[&pairs[2].b.session]).await;
    store
        .release(&keepers[2], None, at(26))
        .await
        .expect("released");
    expect("a daemon that stops", &[&pairs[2].b.session]).await;
}

pub(crate) async fn a_heartbeat_alone_is_a_pulse(backend: &impl Backend) {
    let store = backend.open().await;
    let (one, other) = (pair(&store, at(0)).await, pair(&store, at(0)).await);
    let daemon = daemon(&store, "host").await;
    let sessions = [&one.b.session, &other.b.session];
    beat(&store, &daemon, &sessions).await;
    let (_, cursor) = all(&store).await;
    beat(&store, &daemon, &sessions).await;
    // A session that does more than beat comes whole, and once.
    say(&store, &other.b, "hello", at(3)).await;
    let fleet = store.fleet(Wanted::Since(cursor), at(20)).await;
    let fleet = fleet.expect("looked");
    let [pulse] = &fleet.pulses[..] else {
        panic!("{:?}", fleet.pulses);
    };
    let whole = row(all(&store).await.0, &one.b.session);
    assert_eq!(pulse.key, one.b.session);
    assert_eq!(pulse.host, whole.host);
    assert_eq!(Some(&pulse.beat), whole.beat.as_ref());
    assert_eq!(pulse.foreign, whole.foreign);
    assert_eq!(pulse.reported, whole.reported);
    let moved = row(fleet.sessions, &other.b.session);
    assert_eq!(moved.beat.expect("a beat").seq, 2);
    // And then nothing is new.
    let fleet = store.fleet(Wanted::Since(fleet.cursor), at(20)).await;
    let fleet = fleet.expect("looked");
    assert!(fleet.pulses.is_empty() && fleet.sessions.is_empty());
}

pub(crate) async fn pages_hold_every_session_once(backend: &impl Backend) {
    let store = backend.open().await;
    pairs(&store, 7, at(0)).await;
    let whole = keys(&all(&store).await.0);
    assert_eq!(whole.len(), 14);
    for conversations in [1, 3, 7, 100] {
        let (mut after, mut seen, mut pages) = (None, Vec::new(), 0);
        loop {
            let page = Wanted::Page {
                after,
                conversations,
            };
            let page = store.fleet(page, at(20)).await.expect("looked");
            assert!(page.sessions.len() <= 2 * conversations as usize);
            seen.extend(page.sessions.iter().map(|seen| seen.key.to_string()));
            pages += 1;
            after = page.page_end;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 14, "pages of {conversations}");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), whole);
        assert!(pages >= 7_u32.div_ceil(conversations), "{pages}");
    }
}

pub(crate) async fn cleaning_up_hides_no_change(backend: &impl Backend) {
    let store = backend.open().await;
    let short = Pair::random();
    let made = store
        .create_conversations(&[short.wanted(at(100))], at(0))
        .await;
    made.expect("made");
    let pair = pair(&store, at(0)).await;
    let keeper = daemon(&store, "hera").await;
    beat(&store, &keeper, &[&pair.b.session]).await;
    // The newest of all changes is one of a conversation that ends.
    for _ in 0..3 {
        beat(&store, &keeper, &[&short.b.session]).await;
        say(&store, &short.b, "x", at(3)).await;
        receive(&store, &short.a, at(3)).await;
    }
    let cursor = all(&store).await.1;
    let keep = super::prune::keep(Duration::from_secs(10));
    store.prune(None, &keep, at(1_000)).await.expect("pruned");
    assert!(store.conversation(&short.id).await.is_err(), "it is gone");
    beat(&store, &keeper, &[&pair.b.session]).await;
    say(&store, &pair.a, "x", at(1_001)).await;
    let (changed, _) = since(&store, cursor).await;
    let expected = [&pair.a, &pair.b].map(|caller| caller.session.to_string());
    assert_eq!(keys(&changed), expected.into());
}

pub(crate) async fn only_open_conversations_are_in_it(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    let short = Pair::random();
    let made = store
        .create_conversations(&[short.wanted(at(15))], at(0))
        .await;
    made.expect("made");
    let keeper = daemon(&store, "hera").await;
    let sessions = [&pairs[0].b, &pairs[1].b, &short.b].map(|caller| &caller.session);
    beat(&store, &keeper, &sessions).await;
    let cursor = all(&store).await.1;
    store
        .close_conversation(&pairs[1].id, at(10))
        .await
        .expect("closed");
    let expected: BTreeSet<String> = [&pairs[0].a, &pairs[0].b]
        .map(|caller| caller.session.to_string())
        .into();
    assert_eq!(keys(&all(&store).await.0), expected);
    let changed = since(&store, Cursor::default()).await.0;
    assert_eq!(keys(&changed), [sessions[0].to_string()].into());
    for session in &sessions[1..] {
        assert_eq!(look(&store, session).await, None);
    }
    // A question for one session, or for what changed, finds that it ended.
    let gone = async |wanted: Wanted<'_>| {
        let fleet = store.fleet(wanted, at(20)).await.expect("looked");
        let gone = fleet.gone.iter().map(ToString::to_string);
        gone.collect::<BTreeSet<_>>()
    };
    let named: Vec<SessionKey> = sessions.map(Clone::clone).into();
    let ended: BTreeSet<String> = [1, 2].map(|n| sessions[n].to_string()).into();
    assert_eq!(gone(Wanted::These((&named).into())).await, ended);
    let closed: BTreeSet<String> = [&pairs[1].a, &pairs[1].b]
        .map(|caller| caller.session.to_string())
        .into();
    assert_eq!(gone(Wanted::Since(cursor)).await, closed);
    // Renewed, it is there again.
    let until = at(20) + SignedDuration::from_hours(1);
    let renewed = store.renew_conversation(&short.id, until, at(16)).await;
    renewed.expect("renewed");
    assert!(look(&store, &short.b.session).await.is_some());
}

pub(crate) async fn one_that_ended_with_a_task_is_still_watched(backend: &impl Backend) {
    let store = backend.open().await;
    roomy(&store).await;
    let pairs = pairs(&store, 2, at(0)).await;
    let closed = claimed(&store, &pairs[0].b, "one").await;
    store
        .close_conversation(&pairs[0].id, at(10))
        .await
        .expect("closed");
    let late = at(20) + SignedDuration::from_hours(4);
    claimed(&store, &pairs[1].b, "two").await;
    for (pair, now) in [(&pairs[0], at(20)), (&pairs[1], late)] {
        let fleet = store.fleet(Wanted::All, now).await.expect("looked");
        let session = row(fleet.sessions, &pair.b.session);
        // It is to be found lost, so that the task moves; it gets no other.
        assert_eq!((session.open_tasks, session.capacity), (1, Some(0)));
    }
    let leader = lead(&store).await;
    lose(&store, &leader, &pairs[0].b.session).await;
    make(&store, &leader, planned(&closed, None, Why::Lost)).await;
    assert_eq!(look(&store, &pairs[0].b.session).await, None);
}

pub(crate) async fn status_written_by_scripts_is_seen(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let session = &pair.b.session;
    let leader = lead(&store).await;
    let write = |side: &str, status: &str, heartbeat: &str| {
        backend.foreign(&format!(
            "INSERT INTO session_status VALUES ('{}', '{side}', '{status}', '2025-11-13{heartbeat}')
             ON CONFLICT (conversation_id, session_id)
             DO UPDATE SET status = excluded.status, last_heartbeat = excluded.last_heartbeat",
            pair.id
        ));
    };
    // The mark, if the word is this one, and the same in every look.
    let mark = async |word: &str| {
        let seen = seen(&store, session).await;
        assert_eq!(seen.reported.as_deref(), Some(word));
        let shown = store.sessions(at(0)).await.expect("listed");
        let shown = shown.into_iter().find(|shown| shown.key == *session);
        assert_eq!(shown.expect("listed").reported, seen.reported);
        seen.foreign
    };
    write("session_b", "active", "T02:20:00");
    let first = mark("active").await;
    assert!(first.is_some(), "a script's heartbeat");
    // It goes on, and an observer that was about to call the session lost is wrong.
    let lost = super::work::finding(&seen(&store, session).await, Standing::Lost);
    write("session_b", "active", "T02:20:30");
    let settled = store.write_findings(&leader, &[lost], at(40)).await;
    assert_eq!(settled.expect("asked"), [false]);
    let second = mark("active").await;
    assert!(second.is_some() && second != first);
    // A daemon's sign of life in that row is not its.
    let keeper = daemon(&store, "hera").await;
    beat_with(&store, &keeper, &[session], true).await;
    assert_eq!(mark("active").await, None);
    // The newer of the two counts, in any spelling; but a heartbeat takes back no word
    // of the agent's.
    write("b", "waiting", " 02:21:00");
    let third = mark("waiting").await;
    assert!(third.is_some() && third != second);
    write("session_b", "active", "T02:21:30");
    let fourth = mark("waiting").await;
    assert!(fourth.is_some() && fourth != third);
    write("session_b", "blocked", "T02:22:00");
    let fifth = mark("blocked").await;
    write("b", "working", "T02:21:59");
    assert_eq!(mark("blocked").await, fifth, "an older one");
    // In a pulse as in the whole row.
    let (_, cursor) = all(&store).await;
    beat(&store, &keeper, &[session]).await;
    let fleet = store.fleet(Wanted::Since(cursor), at(20)).await;
    let pulses = fleet.expect("looked").pulses;
    assert_eq!(
        (&pulses[0].foreign, pulses[0].reported.as_deref()),
        (&fifth, Some("blocked"))
    );
}

pub(crate) async fn foreign_mark_excludes_our_own_mirror(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let session = &pair.b.session;
    let keeper = daemon(&store, "hera").await;
    let mark = async || seen(&store, session).await.foreign;
    beat(&store, &keeper, &[session]).await;
    assert_eq!(mark().await, None);
    for _ in 0..2 {
        beat_with(&store, &keeper, &[session], true).await;
        assert_eq!(mark().await, None, "that was our own mirror");
    }
    backend.foreign(&format!(
        "UPDATE session_status SET status = 'waiting', last_heartbeat = '2025-11-13T02:20:00.5'
         WHERE conversation_id = '{}' AND session_id = 'b'",
        pair.id
    ));
    let first = mark().await.expect("another program wrote");
    assert_eq!(
        seen(&store, session).await.reported.as_deref(),
        Some("waiting")
    );
    beat(&store, &keeper, &[session]).await;
    assert_eq!(
        mark().await.as_ref(),
        Some(&first),
        "a beat that is not mirrored"
    );
    backend.foreign(&format!(
        "UPDATE session_status SET last_heartbeat = '2025-11-13T02:20:30.5'
         WHERE conversation_id = '{}' AND session_id = 'b'",
        pair.id
    ));
    assert!(
        mark().await.is_some_and(|second| second != first),
        "it goes on"
    );
    beat_with(&store, &keeper, &[session], true).await;
    assert_eq!(mark().await, None);
    // One that only that bridge knows.
    let id = ConversationId::from_random([9; 8]);
    backend.foreign(&format!(
        "INSERT INTO conversations VALUES ('{id}', 'boss', 'hand', 'x', 'y',
             '2025-11-13T02:13:20', '2025-11-13T05:13:20')"
    ));
    backend.foreign(&format!(
        "INSERT INTO session_status VALUES ('{id}', 'a', 'working', '2025-11-13T02:13:30')"
    ));
    let theirs = seen(&store, &SessionKey::new(id, Side::A)).await;
    assert!(theirs.foreign.is_some() && theirs.beat.is_none());
    assert_eq!(theirs.reported.as_deref(), Some("working"));
}

pub(crate) async fn unread_and_tasks_are_counted(backend: &impl Backend) {
    let store = backend.open().await;
    roomy(&store).await;
    let pairs = pairs(&store, 2, at(0)).await;
    let pair = &pairs[0];
    for n in 0..3 {
        say(&store, &pair.a, "x", at(n)).await;
    }
    backend.foreign(&format!(
        "INSERT INTO messages (conversation_id, from_session, to_session, message, timestamp)
         VALUES ('{}', 'session_a', 'session_b', 'x', '2025-11-13T02:13:30')",
        pair.id
    ));
    let first = claimed(&store, &pair.b, "one").await;
    claimed(&store, &pair.b, "two").await;
    // All calls say the same.
    let counts = async || {
        let seen = seen(&store, &pair.b.session).await;
        let mail = store.mail(std::slice::from_ref(&pair.b.session)).await;
        assert_eq!(mail.expect("looked")[0].unread, seen.unread);
        let shown = store.sessions(at(0)).await.expect("listed");
        let of = |caller: &Caller| shown.iter().find(|view| view.key == caller.session);
        let [a, b] = [&pair.a, &pair.b].map(|caller| of(caller).expect("listed").unread);
        assert_eq!(b, seen.unread);
        let conversation = store.conversation(&pair.id).await.expect("shown");
        assert_eq!(conversation.unread, a + b);
        let check = store.check().await.expect("checked");
        assert_eq!(check.unread, a + b);
        (seen.unread, seen.open_tasks)
    };
    assert_eq!(counts().await, (4, 2));
    // Handed out by a call that died: still owed.
    let fetched = store.fetch(&pair.b, 3, at(10)).await.expect("fetched");
    assert_eq!(counts().await, (4, 2));
    let fetch = fetched.id.expect("something");
    store
        .fetch_written(&pair.b.session, &fetch, at(11))
        .await
        .expect("confirmed");
    assert_eq!(counts().await, (1, 2));
    let ended = store
        .end_task(&pair.b, first.id, first.fence, &done("x"), at(12))
        .await;
    ended.expect("ended");
    assert_eq!(counts().await, (1, 1));
    let other = seen(&store, &pairs[1].b.session).await;
    assert_eq!((other.unread, other.open_tasks), (0, 0));
}

pub(crate) async fn kept_is_what_a_daemon_keeps(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let session = &pair.b.session;
    let kept = async || {
        seen(&store, session)
            .await
            .beat
            .map(|beat| (beat.kept, beat.exited))
    };
    store
        .call_in(&pair.b, TTL, None, &boot("x", 1), at(1))
        .await
        .expect("called");
    assert_eq!(kept().await, Some((false, false)), "it called by itself");
    let keeper = daemon(&store, "hera").await;
    beat(&store, &keeper, &[session]).await;
    assert_eq!(kept().await, Some((true, false)));
    assert!(
        store
            .record_exit(session, &keeper, at(2))
            .await
            .expect("noted")
    );
    assert_eq!(kept().await, Some((true, true)));
    beat(&store, &keeper, &[session]).await;
    store.release(&keeper, None, at(3)).await.expect("released");
    assert_eq!(kept().await, Some((false, false)));
}

pub(crate) async fn processes_are_shown_as_they_beat(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 3, at(0)).await;
    let keeper = daemon(&store, "hera").await;
    let sessions: Vec<SessionKey> = pairs.iter().map(|pair| pair.b.session.clone()).collect();
    beat(&store, &keeper, &[&sessions[0], &sessions[2]]).await;
    let known = store.processes(&sessions).await.expect("looked");
    let pids: Vec<Option<i64>> = known.iter().map(|p| p.as_ref().map(|p| p.id.pid)).collect();
    assert_eq!(
        pids,
        [Some(1_000), None, Some(1_001)],
        "in the order of the question"
    );
    let first = known[0].as_ref().expect("known");
    assert_eq!(
        (first.boot_id.as_str(), first.pid_ns, first.id.start),
        ("x", 4_026_531_836, 7)
    );
    // A beat that names no process leaves the one that is known.
    let bare = [Beat {
        session: sessions[0].clone(),
        proof: ProofKind::None,
        process: None,
        renew_until: None,
    }];
    let round = BeatRound {
        beats: &bare,
        daemon: &keeper,
        ttl: TTL,
        mirror: false,
        boot: &boot("x", 101),
        now: at(2),
        wall: at(2),
    };
    store.beat(&round).await.expect("beaten");
    let asked = [
        sessions[2].clone(),
        sessions[0].clone(),
        sessions[2].clone(),
    ];
    let known = store.processes(&asked).await.expect("looked");
    let there: Vec<bool> = known.iter().map(Option::is_some).collect();
    assert_eq!(there, [true, true, true]);
    assert_eq!(store.processes(&[]).await.expect("looked"), []);
}

pub(crate) async fn turn_stands_until_the_next_report(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let session = &pair.b.session;
    let told = async |turn: Option<Turn>| {
        let before = all(&store).await.1;
        let here = boot("x", 1);
        let mail = store.call_in(&pair.b, TTL, turn, &here, at(1)).await;
        let mail = mail.expect("called");
        // An observer hears of it.
        let seen = row(since(&store, before).await.0, session).turn;
        assert_eq!(mail.in_turn, seen == Some(true));
        // A turn is something that the agent did, a bare heartbeat is not.
        assert_eq!(mail.acted_at.is_some(), turn.is_some() || seen.is_some());
        seen
    };
    assert_eq!(told(None).await, None);
    assert_eq!(told(Some(Turn::Inside)).await, Some(true));
    assert_eq!(told(None).await, Some(true));
    assert_eq!(told(Some(Turn::Outside)).await, Some(false));
    assert_eq!(told(Some(Turn::Unknown)).await, None);
    assert_eq!(seen(&store, &pair.a.session).await.turn, None);
    let views = store.sessions(at(1)).await.expect("shown");
    assert!(views.iter().all(|view| view.turn == Turn::Unknown));
}

pub(crate) async fn view_tells_what_was_found_and_what_it_has(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let keeper = daemon(&store, "hera").await;
    beat(&store, &keeper, &[&pair.b.session]).await;
    let view = async || {
        let views = store.sessions(at(1)).await.expect("shown");
        let found = views.into_iter().find(|view| view.key == pair.b.session);
        found.expect("it is there")
    };
    let fresh = view().await;
    assert_eq!(
        (fresh.pid, fresh.host.as_deref()),
        (Some(1_000), Some("hera"))
    );
    assert_eq!((fresh.open_tasks, fresh.capacity), (0, None));
    assert_eq!((fresh.standing, fresh.standing_at), (None, None));
    let task = claimed(&store, &pair.b, "one").await;
    let note = "building".parse().expect("a note");
    let minute = Some(Duration::from_secs(60));
    store
        .task_progress(&pair.b, task.id, task.fence, &note, minute, at(20))
        .await
        .expect("noted");
    store
        .set_session_capacity(&pair.b.session, Some(3))
        .await
        .expect("set");
    let leader = lead(&store).await;
    lose(&store, &leader, &pair.b.session).await;
    let later = view().await;
    assert_eq!((later.open_tasks, later.capacity), (1, Some(3)));
    assert_eq!(later.standing, Some(Standing::Lost));
    assert!(later.standing_at.is_some());
    assert_eq!(later.busy_until, Some(at(80)));
}
