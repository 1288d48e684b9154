//! Heartbeats: whose a session is, and what a beat changes.

use std::time::Duration;

use jiff::Timestamp;
use mcp_bridge::model::SessionKey;
use mcp_bridge::model::health::{Turn, TurnSaid};
use mcp_bridge::model::session::{Life, ProofKind, SessionView};
use mcp_bridge::model::task::TaskState;
use mcp_bridge::store::{
    Beat, BeatReport, BeatRound, Boot, DaemonInfo, DaemonRef, Process, ProcessId, Store,
    StoreError, TaskError, Why,
};

use super::Backend;
use super::work;
use crate::common::store::{Pair, at, boot, pair, pairs, receive, say};

const TTL: Duration = Duration::from_secs(20);

async fn register(store: &Store, name: &str) -> DaemonRef {
    let info = DaemonInfo {
        id: name.into(),
        role: "worker",
        host: "host".into(),
        boot_id: "x".into(),
        pid: 4_242,
    };
    store.register_daemon(&info, at(0)).await.expect("known")
}

pub(crate) async fn beat_with(
    store: &Store,
    daemon: &DaemonRef,
    sessions: &[&SessionKey],
    boot: &Boot,
    now: Timestamp,
    more: impl Fn(&mut BeatRound<'_>, &mut Vec<Beat>),
) -> BeatReport {
    let mut beats: Vec<Beat> = sessions
        .iter()
        .map(|session| Beat {
            session: (*session).clone(),
            proof: ProofKind::Process,
            process: None,
            renew_until: None,
        })
        .collect();
    let mut round = BeatRound {
        beats: &[],
        daemon,
        ttl: TTL,
        mirror: false,
        boot,
        now,
        wall: now,
    };
    more(&mut round, &mut beats);
    let round = BeatRound {
        beats: &beats,
        ..round
    };
    store.beat(&round).await.expect("beaten")
}

async fn beat(store: &Store, daemon: &DaemonRef, session: &SessionKey, boot: &Boot) -> BeatReport {
    beat_with(store, daemon, &[session], boot, at(1), |_, _| {}).await
}

fn all_beaten(count: u64) -> BeatReport {
    BeatReport {
        beaten: count,
        ..BeatReport::default()
    }
}

fn owned_by(session: &SessionKey, owner: &str) -> BeatReport {
    BeatReport {
        owned_elsewhere: vec![(session.clone(), owner.into())],
        ..BeatReport::default()
    }
}

async fn view(store: &Store, session: &SessionKey) -> SessionView {
    let sessions = store.sessions(at(0)).await.expect("listed");
    let found = sessions.into_iter().find(|view| view.key == *session);
    found.expect("it is there")
}

async fn seq(store: &Store, session: &SessionKey) -> i64 {
    let heartbeat = view(store, session).await.heartbeat;
    heartbeat.expect("it has one").seq
}

pub(crate) async fn a_daemon_s_epochs_grow(backend: &impl Backend) {
    let store = backend.open().await;
    let first = register(&store, "host:worker").await;
    let second = register(&*backend.open().await, "host:worker").await;
    let other = register(&store, "host:other").await;
    assert_eq!(first.id, second.id);
    assert!(first.epoch < second.epoch);
    assert_eq!(other.epoch, first.epoch);
}

pub(crate) async fn a_beat_counts_up(backend: &impl Backend) {
    let store = backend.open().await;
    let daemon = register(&store, "host:worker").await;
    let pair = pair(&store, at(0)).await;
    let session = &pair.b.session;
    assert_eq!(view(&store, session).await.life(at(0)), Life::Starting);
    for round in 1..=3 {
        let report = beat(&store, &daemon, session, &boot("x", 100)).await;
        assert_eq!(report, all_beaten(1));
        assert_eq!(seq(&store, session).await, round);
    }
    let shown = view(&store, session).await;
    let heartbeat = shown.heartbeat.clone().expect("it has one");
    assert_eq!((heartbeat.at, heartbeat.ttl), (at(1), TTL));
    assert_eq!(heartbeat.proof, ProofKind::Process);
    assert_eq!(heartbeat.daemon.as_deref(), Some("host:worker"));
    assert!(heartbeat.exited_at.is_none() && !heartbeat.released);
    assert_eq!(shown.life(at(21)), Life::Alive);
    assert_eq!(shown.life(at(22)), Life::Silent);
    let partner = view(&store, &pair.a.session).await;
    assert!(partner.heartbeat.is_none());
    // A heartbeat is not the agent's own activity.
    let mail = store.mail(std::slice::from_ref(session)).await;
    assert_eq!(mail.expect("looked")[0].acted_at, None);
    let nothing = beat_with(&store, &daemon, &[], &boot("x", 1), at(1), |_, _| {}).await;
    assert_eq!(nothing, BeatReport::default());
}

pub(crate) async fn two_live_daemons_do_not_share_a_session(backend: &impl Backend) {
    let store = backend.open().await;
    let system = register(&store, "host:system").await;
    let user = register(&store, "host:user").await;
    let pairs = pairs(&store, 3, at(0)).await;
    let sessions: Vec<&SessionKey> = pairs.iter().map(|pair| &pair.b.session).collect();
    let boot = boot("x", 100);
    beat(&store, &system, sessions[0], &boot).await;
    let report = beat_with(&store, &user, &sessions, &boot, at(2), |_, _| {}).await;
    assert_eq!(report.beaten, 2, "the others go on");
    let owned = [(sessions[0].clone(), "host:system".to_owned())];
    assert_eq!(report.owned_elsewhere, owned);
    assert_eq!(seq(&store, sessions[0]).await, 1, "it was touched");
    let report = beat_with(&store, &system, &sessions, &boot, at(3), |_, _| {}).await;
    assert_eq!(report.beaten, 1);
    assert_eq!(report.owned_elsewhere.len(), 2);
}

pub(crate) async fn a_released_session_is_free(backend: &impl Backend) {
    let store = backend.open().await;
    let old = register(&store, "host:old").await;
    let new = register(&store, "host:new").await;
    let pairs = pairs(&store, 2, at(0)).await;
    let (one, two) = (&pairs[0].b.session, &pairs[1].b.session);
    let boot = boot("x", 100);
    beat_with(&store, &old, &[one, two], &boot, at(1), |_, _| {}).await;
    let released = store
        .release(&old, Some(std::slice::from_ref(one)), at(2))
        .await;
    assert_eq!(released.expect("released"), 1);
    assert!(view(&store, one).await.heartbeat.expect("some").released);
    assert_eq!(beat(&store, &new, one, &boot).await, all_beaten(1));
    assert_eq!(
        beat(&store, &new, two, &boot).await,
        owned_by(two, "host:old")
    );
    assert_eq!(
        beat(&store, &old, one, &boot).await,
        owned_by(one, "host:new"),
        "it let go of it"
    );
    assert!(!view(&store, one).await.heartbeat.expect("some").released);
}

pub(crate) async fn a_silent_daemon_loses_its_session(backend: &impl Backend) {
    let store = backend.open().await;
    let silent = register(&store, "host:silent").await;
    let other = register(&store, "host:other").await;
    let pair = pair(&store, at(0)).await;
    let session = &pair.b.session;
    beat(&store, &silent, session, &boot("x", 100)).await;
    // By the boot clock: the wall clock may say what it likes.
    let late = at(9_000);
    let report = beat_with(&store, &other, &[session], &boot("x", 120), late, |_, _| {}).await;
    assert_eq!(report, owned_by(session, "host:silent"));
    let report = beat(&store, &other, session, &boot("x", 121)).await;
    assert_eq!(report, all_beaten(1));
    let report = beat(&store, &silent, session, &boot("x", 122)).await;
    assert_eq!(report, owned_by(session, "host:other"));
}

pub(crate) async fn another_boot_loses_its_session(backend: &impl Backend) {
    let store = backend.open().await;
    let before = register(&store, "host:before").await;
    let after = register(&store, "host:after").await;
    let pair = pair(&store, at(0)).await;
    let session = &pair.b.session;
    beat(&store, &before, session, &boot("x", 90_000)).await;
    let report = beat(&store, &after, session, &boot("y", 5)).await;
    assert_eq!(report, all_beaten(1), "its daemon died with that boot");
}

pub(crate) async fn older_life_of_a_daemon_takes_nothing_back(backend: &impl Backend) {
    let store = backend.open().await;
    let first = register(&store, "host:worker").await;
    let pair = pair(&store, at(0)).await;
    let session = &pair.b.session;
    beat(&store, &first, session, &boot("x", 100)).await;
    let second = register(&store, "host:worker").await;
    // The new life goes on at once, without waiting for the ttl.
    assert_eq!(
        beat(&store, &second, session, &boot("x", 101)).await,
        all_beaten(1)
    );
    let refused = owned_by(session, "host:worker");
    let late = |seconds| boot("x", seconds);
    assert_eq!(beat(&store, &first, session, &late(102)).await, refused);
    // Nor when the new one was silent for long, or stopped.
    assert_eq!(beat(&store, &first, session, &late(9_000)).await, refused);
    store.release(&second, None, at(9)).await.expect("released");
    assert_eq!(beat(&store, &first, session, &late(9_001)).await, refused);
    let noted = store.record_exit(session, &first, at(10)).await;
    assert!(!noted.expect("asked"));
    let released = store.release(&first, None, at(11)).await;
    assert_eq!(released.expect("asked"), 0);
}

pub(crate) async fn renewals_never_shorten_and_never_reopen(backend: &impl Backend) {
    let store = backend.open().await;
    let daemon = register(&store, "host:worker").await;
    let pairs = pairs(&store, 5, at(0)).await;
    let [plain, long, closed, spaced, taken] = &pairs[..] else {
        unreachable!()
    };
    store
        .renew_conversation(&long.id, at(90_000), at(1))
        .await
        .expect("renewed");
    store
        .close_conversation(&closed.id, at(2))
        .await
        .expect("closed");
    backend.foreign(&format!(
        "UPDATE conversations SET expires_at = '2025-11-13 20:00:00' WHERE id = '{}'",
        spaced.id
    ));
    let owner = register(&store, "host:owner").await;
    let boot = boot("x", 100);
    beat(&store, &owner, &taken.b.session, &boot).await;
    let sessions: Vec<&SessionKey> = pairs.iter().map(|pair| &pair.b.session).collect();
    let until = at(3_600 * 4);
    beat_with(&store, &daemon, &sessions, &boot, at(3), |_, beats| {
        for beat in beats {
            beat.renew_until = Some(until);
        }
    })
    .await;
    let end = async |pair: &Pair| {
        let shown = store.conversation(&pair.id).await.expect("shown");
        shown.expires_at.expect("readable")
    };
    assert_eq!(end(plain).await, until);
    assert_eq!(end(long).await, at(90_000));
    assert_eq!(end(closed).await, at(2), "closed is closed for all");
    let holds: Timestamp = "2025-11-13T20:00:00Z".parse().expect("a time");
    assert_eq!(end(spaced).await, holds);
    assert_eq!(end(taken).await, at(3 * 3_600), "not its own to renew");
}

pub(crate) async fn expired_conversation_is_renewed_for_its_last_keeper(backend: &impl Backend) {
    let store = backend.open().await;
    let earlier = register(&store, "host:worker").await;
    let pairs = pairs(&store, 8, at(0)).await;
    let [kept, called, open, unseen, elsewhere, exited, closed, cut] = &pairs[..] else {
        unreachable!()
    };
    let boot = boot("x", 100);
    let beaten = [kept, open, exited, closed, cut];
    let sessions: Vec<&SessionKey> = beaten.iter().map(|pair| &pair.b.session).collect();
    beat_with(&store, &earlier, &sessions, &boot, at(100), |_, _| {}).await;
    let other = register(&store, "host:other").await;
    beat(&store, &other, &elsewhere.b.session, &boot).await;
    let call = store.call_in(&called.b, TTL, None, &boot, at(100));
    call.await.expect("called");
    let exit = store.record_exit(&exited.b.session, &earlier, at(101));
    assert!(exit.await.expect("noted"));
    let close = store.close_conversation(&closed.id, at(101));
    close.await.expect("closed");
    for (end, pair) in [("2025-11-14T00:00:00", open), ("2025-11-13 02:14:00", cut)] {
        backend.foreign(&format!(
            "UPDATE conversations SET expires_at = '{end}' WHERE id = '{}'",
            pair.id
        ));
    }
    // Three hours later, in the daemon's next life.
    let (now, until) = (at(4 * 3_600), at(7 * 3_600));
    let daemon = register(&store, "host:worker").await;
    let all: Vec<SessionKey> = pairs
        .iter()
        .flat_map(|pair| [pair.b.session.clone(), pair.a.session.clone()])
        .collect();
    let renew = async || {
        let renewed = store.renew_expired(&daemon, &all, until, now).await;
        renewed.expect("renewed")
    };
    assert_eq!(
        renew().await,
        [kept.b.session.clone(), called.b.session.clone()]
    );
    assert_eq!(renew().await, [], "once");
    for pair in [unseen, elsewhere, exited, closed, cut] {
        let shown = store.conversation(&pair.id).await.expect("shown");
        assert!(shown.expires_at.is_some_and(|end| end < now), "{shown:?}");
    }
    let verified = store.verify(&[kept.b.clone(), kept.a.clone()], now).await;
    for verdict in verified.expect("asked") {
        assert_eq!(verdict.expect("it holds").expires_at, until);
    }
}

pub(crate) async fn the_mirror_touches_only_the_time(backend: &impl Backend) {
    let store = backend.open().await;
    let daemon = register(&store, "host:worker").await;
    let pairs = pairs(&store, 2, at(0)).await;
    let sessions: Vec<&SessionKey> = pairs.iter().map(|pair| &pair.b.session).collect();
    backend.foreign(&format!(
        "INSERT INTO session_status VALUES ('{}', 'b', 'blocked', '2025-11-13T02:13:20')",
        pairs[0].id
    ));
    let boot = boot("x", 100);
    let rows = || {
        backend.foreign(
            "SELECT session_id || ' ' || status || ' ' || last_heartbeat FROM session_status
             ORDER BY status",
        )
    };
    beat_with(&store, &daemon, &sessions, &boot, at(1), |_, _| {}).await;
    assert_eq!(rows(), ["b blocked 2025-11-13T02:13:20"], "not asked for");
    beat_with(&store, &daemon, &sessions, &boot, at(2), |round, _| {
        round.mirror = true;
    })
    .await;
    // Naive UTC: what Python's datetime.fromisoformat compares with utcnow().
    assert_eq!(
        rows(),
        [
            "b active 2025-11-13T02:13:22.000000",
            "b blocked 2025-11-13T02:13:22.000000"
        ]
    );
    let shown = view(&store, sessions[0]).await;
    assert_eq!(shown.reported.as_deref(), Some("blocked"));
    // Only what it owns: another daemon's word is not ours to give.
    let other = register(&store, "host:other").await;
    beat_with(&store, &other, &sessions, &boot, at(60), |round, _| {
        round.mirror = true;
    })
    .await;
    assert!(rows().iter().all(|row| row.ends_with("02:13:22.000000")));
}

pub(crate) async fn an_exit_is_noted_once_by_its_owner(backend: &impl Backend) {
    let store = backend.open().await;
    let daemon = register(&store, "host:worker").await;
    let other = register(&store, "host:other").await;
    let pair = pair(&store, at(0)).await;
    let session = &pair.b.session;
    let exit = async |daemon: &DaemonRef, second| {
        store
            .record_exit(session, daemon, at(second))
            .await
            .expect("asked")
    };
    assert!(!exit(&daemon, 1).await, "no daemon owns it yet");
    beat(&store, &daemon, session, &boot("x", 100)).await;
    assert!(!exit(&other, 2).await, "not the owner");
    let asked = [
        crate::common::store::Pair::random().a.session,
        session.clone(),
    ];
    let ended = async || store.ended(&asked).await.expect("looked");
    assert!(ended().await.is_empty());
    let before = seq(&store, session).await;
    assert!(exit(&daemon, 3).await);
    assert!(!exit(&daemon, 4).await, "noted twice");
    let shown = view(&store, session).await;
    assert_eq!(shown.life(at(5)), Life::Exited);
    let heartbeat = shown.heartbeat.expect("some");
    assert_eq!(heartbeat.exited_at, Some(at(3)));
    assert!(heartbeat.seq > before, "an observer would not see it");
    let rows = backend.foreign("SELECT count(*) FROM audit_log WHERE action = 'session_exited'");
    assert_eq!(rows, ["1"]);
    assert_eq!(ended().await.iter().collect::<Vec<_>>(), [session]);
    // The agent came back.
    beat(&store, &daemon, session, &boot("x", 110)).await;
    let heartbeat = view(&store, session).await.heartbeat.expect("some");
    assert_eq!(heartbeat.exited_at, None);
    assert!(ended().await.is_empty());
}

pub(crate) async fn missed_exit_is_noted_for_the_old_process(backend: &impl Backend) {
    let store = backend.open().await;
    let other = register(&store, "host:other").await;
    let first = register(&store, "host:worker").await;
    let pair = pair(&store, at(0)).await;
    let session = &pair.b.session;
    let named = |_: &mut BeatRound<'_>, beats: &mut Vec<Beat>| {
        beats[0].process = Some(ProcessId {
            pid: 1_000,
            start: 7,
        });
    };
    beat_with(&store, &first, &[session], &boot("x", 100), at(1), named).await;
    store.release(&first, None, at(2)).await.expect("released");
    let second = register(&store, "host:worker").await;
    let of = store.processes(std::slice::from_ref(session)).await;
    let process = of.expect("looked").remove(0).expect("one");
    let missed = async |daemon: &DaemonRef, process: &Process| {
        let noted = store.record_missed_exit(session, daemon, process, at(3));
        noted.await.expect("asked")
    };
    let boot_id = "y".to_owned();
    let of_another_boot = Process {
        boot_id,
        ..process.clone()
    };
    assert!(!missed(&second, &of_another_boot).await);
    let mut later = process.clone();
    later.id.start += 1;
    assert!(!missed(&second, &later).await, "another process");
    let before = seq(&store, session).await;
    assert!(
        missed(&other, &process).await,
        "by the program that can tell"
    );
    assert!(!missed(&second, &process).await, "noted twice");
    assert_eq!(view(&store, session).await.life(at(4)), Life::Exited);
    assert!(seq(&store, session).await > before);
    // The next agent is not the one that ended.
    beat(&store, &second, session, &boot("x", 110)).await;
    assert!(!missed(&first, &process).await, "an older life knows less");
}

/// It was not noted how the agent before ended: the heartbeat names another process.
pub(crate) async fn unconfirmed_mail_goes_to_the_successor(backend: &impl Backend) {
    let store = backend.open().await;
    let keeper = register(&store, "host:worker").await;
    let other = register(&store, "host:other").await;
    let successor = register(&store, "another-host:worker").await;
    let (here, rebooted) = (boot("x", 100), boot("y", 1));
    let elsewhere = Boot {
        pid_ns: 4_026_532_999,
        ..here.clone()
    };
    let process = |pid, start| ProcessId { pid, start };
    let first = process(1_000, 7);
    // The agent that beats after the first one, and whether it is another one.
    let cases = [
        ("the same", &keeper, Some(first), &here, false),
        (
            "another start",
            &keeper,
            Some(process(1_000, 8)),
            &here,
            true,
        ),
        (
            "another number",
            &keeper,
            Some(process(1_001, 9)),
            &here,
            true,
        ),
        ("of another boot", &other, Some(first), &rebooted, true),
        (
            "a start not known",
            &keeper,
            Some(process(1_000, 0)),
            &here,
            false,
        ),
        ("no process", &keeper, None, &here, false),
        (
            "another daemon's",
            &other,
            Some(process(1_001, 9)),
            &here,
            false,
        ),
        (
            "another namespace and start",
            &keeper,
            Some(process(1, 9)),
            &elsewhere,
            true,
        ),
        (
            "the same seen from another namespace",
            &keeper,
            Some(process(1, 7)),
            &elsewhere,
            false,
        ),
        (
            "another daemon's when the first let go",
            &successor,
            Some(process(1_001, 9)),
            &here,
            true,
        ),
    ];
    for (what, by, next, boot, succeeds) in cases {
        let pair = pair(&store, at(0)).await;
        let session = &pair.b.session;
        let beat_of = async |daemon, process, boot| {
            beat_with(&store, daemon, &[session], boot, at(1), |_, beats| {
                beats[0].process = process;
            })
            .await;
        };
        beat_of(&keeper, Some(first), &here).await;
        let call = store.call_in(&pair.b, TTL, Some(Turn::Inside), &here, at(1));
        assert!(call.await.expect("called").in_turn);
        beat_of(&keeper, Some(first), &here).await;
        say(&store, &pair.a, "in its hand", at(2)).await;
        assert_eq!(receive(&store, &pair.b, at(3)).await, ["in its hand"]);
        if by.id == successor.id {
            let keys = std::slice::from_ref(session);
            store
                .release(&keeper, Some(keys), at(3))
                .await
                .expect("let go");
        }
        beat_of(by, next, boot).await;
        let mail = store.mail(std::slice::from_ref(session)).await;
        assert_eq!(mail.expect("looked")[0].in_turn, !succeeds, "{what}");
        let got = receive(&store, &pair.b, at(4)).await;
        assert_eq!(got.is_empty(), !succeeds, "{what}: {got:?}");
        // And once only.
        beat_of(by, next, boot).await;
        assert!(receive(&store, &pair.b, at(5)).await.is_empty(), "{what}");
    }
}

pub(crate) async fn the_last_word_of_a_turn_counts(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    for (boot_id, seconds, turn, counts) in [
        ("x", 10, Turn::Inside, Turn::Inside),
        ("x", 20, Turn::Outside, Turn::Outside),
        ("x", 19, Turn::Inside, Turn::Outside),
        ("x", 20, Turn::Inside, Turn::Inside),
        ("x", 30, Turn::Unknown, Turn::Unknown),
        ("x", 29, Turn::Inside, Turn::Unknown),
        // Times of another boot are no earlier ones.
        ("y", 1, Turn::Inside, Turn::Inside),
        ("y", 0, Turn::Outside, Turn::Inside),
    ] {
        let said = TurnSaid {
            turn,
            at: Duration::from_secs(seconds),
        };
        let here = boot(boot_id, 100);
        let called = store.call_in_with(&pair.b, (TTL, Some(said)), &here, at(1));
        let in_turn = called.await.expect("called").in_turn;
        let case = format!("{turn:?}, {seconds} s after the boot {boot_id}");
        assert_eq!(in_turn, counts == Turn::Inside, "{case}");
        let shown = store.sessions(at(0)).await.expect("listed");
        let view = shown.iter().find(|view| view.key == pair.b.session);
        assert_eq!(view.expect("it is open").turn, counts, "{case}");
    }
}

/// Also if the two lives had the same: a lease rests on the life that it was given to.
pub(crate) async fn successor_gets_the_tasks_anew_under_a_new_fence(backend: &impl Backend) {
    let store = backend.open().await;
    let process = |pid, start| Some(ProcessId { pid, start });
    let (here, rebooted) = (boot("x", 100), boot("y", 1));
    let beat_of = async |daemon: &DaemonRef, session: &SessionKey, process, boot: &Boot| {
        beat_with(&store, daemon, &[session], boot, at(2), |_, beats| {
            beats[0].process = process;
        })
        .await
    };
    for (how, next_daemon, next_boot) in [
        ("a new process", "host:worker", &here),
        ("an end that was noted", "host:worker", &here),
        ("a call between", "host:worker", &here),
        ("another host name", "container:worker", &here),
        ("another boot", "host:worker", &rebooted),
    ] {
        let keeper = register(&store, "host:worker").await;
        let pair = pair(&store, at(0)).await;
        let session = &pair.b.session;
        beat_of(&keeper, session, process(1_000, 7), &here).await;
        let task = work::claimed(&store, &pair.b, how).await;
        store.release(&keeper, None, at(2)).await.expect("let go");
        let noted = how == "an end that was noted";
        if noted {
            let of = store.processes(std::slice::from_ref(session)).await;
            let of = of.expect("looked").remove(0).expect("one");
            let end = store.record_missed_exit(session, &keeper, &of, at(2));
            assert!(end.await.expect("noted"));
        }
        if how == "a call between" {
            let call = store.call_in(&pair.b, TTL, None, &here, at(2));
            call.await.expect("called");
        }
        let next = register(&store, next_daemon).await;
        let report = beat_of(&next, session, process(1_001, 9), next_boot).await;
        let succeeded: &[SessionKey] = if noted {
            &[]
        } else {
            std::slice::from_ref(session)
        };
        assert_eq!(report.succeeded, succeeded, "{how}");
        let shown = work::shown(&store, task.id).await;
        assert_eq!(shown.fence, task.fence.next(), "{how}");
        assert_eq!(shown.owner.as_ref(), Some(session), "{how}");
        let mail = receive(&store, &pair.b, at(3)).await;
        assert!(
            mail.len() == 1 && mail[0].starts_with(&format!("Task {}: {how}", task.id)),
            "{how}: {mail:?}"
        );
        let late = work::done("late");
        let old = store.end_task(&pair.b, task.id, task.fence, &late, at(4));
        assert!(
            matches!(work::refused(old.await), TaskError::StaleLease { .. }),
            "{how}"
        );
        // Once: the same life goes on with it.
        beat_of(&next, session, process(1_001, 9), next_boot).await;
        let again = work::shown(&store, task.id).await;
        assert_eq!(again.fence, shown.fence, "{how}");
        let history = work::events(&store, task.id).await;
        assert!(history.iter().any(|e| e.contains("exited")), "{history:?}");
    }
}

/// An agent that ends right after each task that it is given.
pub(crate) async fn crashing_agent_costs_no_task_and_gets_no_more(backend: &impl Backend) {
    let store = backend.open().await;
    let keeper = register(&store, "host:worker").await;
    let leader = work::lead(&store).await;
    let pair = pair(&store, at(0)).await;
    let session = &pair.b.session;
    let life = async |start| {
        beat_with(
            &store,
            &keeper,
            &[session],
            &boot("x", 100),
            at(2),
            |_, beats| {
                beats[0].process = Some(ProcessId { pid: 1_000, start });
            },
        )
        .await
    };
    let waiting = async || {
        let waiting = store.waiting_tasks(&[], work::WITHIN, at(2)).await;
        waiting.expect("looked").remove(0)
    };
    life(1).await;
    let id = work::add(&store, "innocent").await;
    let queued = work::shown(&store, id).await;
    let given = work::planned(&queued, Some(session), Why::Waited);
    work::make(&store, &leader, given).await;
    let crashes = async || work::seen(&store, session).await.crashes;
    // Once is no pattern: the next agent gets it at once.
    life(2).await;
    assert_eq!(crashes().await, 1);
    assert_eq!(work::shown(&store, id).await.owner.as_ref(), Some(session));
    // Twice is: the daemon that gives out tasks decides.
    life(3).await;
    assert_eq!(crashes().await, 2);
    let task = work::shown(&store, id).await;
    assert_eq!((task.state, task.owner), (TaskState::Queued, None));
    let task = waiting().await;
    assert_eq!(
        (task.losses, task.fetched),
        (0, false),
        "it was never fetched"
    );
    // What it had fetched counts, but one session counts once.
    for start in 4..8 {
        let task = work::claim(&store, &pair.b).await;
        assert_eq!(task.id, id);
        life(start).await;
    }
    assert_eq!(crashes().await, 6);
    assert_eq!(waiting().await.losses, 1);
    // A task that it ends shows that it was something else.
    let task = work::claim(&store, &pair.b).await;
    let done = work::done("it is");
    let end = store.end_task(&pair.b, id, task.fence, &done, at(3));
    end.await.expect("done");
    assert_eq!(crashes().await, 0);
}

pub(crate) async fn many_new_lives_at_once_are_taken_part_by_part(backend: &impl Backend) {
    let store = backend.open().await;
    let keeper = register(&store, "host:worker").await;
    let pairs = pairs(&store, 130, at(0)).await;
    let sessions: Vec<&SessionKey> = pairs.iter().map(|pair| &pair.b.session).collect();
    let life = async |sessions: &[&SessionKey], pid| {
        beat_with(
            &store,
            &keeper,
            sessions,
            &boot("x", 100),
            at(1),
            |_, beats| {
                for beat in beats {
                    beat.process = Some(ProcessId { pid, start: pid });
                }
            },
        )
        .await
    };
    assert_eq!(life(&sessions, 7).await, all_beaten(130));
    let first = life(&sessions, 8).await;
    assert_eq!((first.beaten, first.succeeded.len()), (100, 100));
    assert_eq!(first.postponed.len(), 30);
    let rest: Vec<&SessionKey> = first.postponed.iter().collect();
    let second = life(&rest, 8).await;
    assert_eq!((second.beaten, second.succeeded.len()), (30, 30));
    assert_eq!(life(&sessions, 8).await, all_beaten(130));
}

/// The successor may read before the first heartbeat that names it.
pub(crate) async fn unconfirmed_mail_is_handed_out_after_a_reboot(backend: &impl Backend) {
    let store = backend.open().await;
    let keeper = register(&store, "host:worker").await;
    let pairs = pairs(&store, 2, at(0)).await;
    for (pair, pid) in pairs.iter().zip([Some(1_000), None]) {
        let session = &pair.b.session;
        beat_with(
            &store,
            &keeper,
            &[session],
            &boot("x", 100),
            at(1),
            |_, beats| {
                beats[0].process = pid.map(|pid| ProcessId { pid, start: 7 });
            },
        )
        .await;
        say(&store, &pair.a, "in its hand", at(2)).await;
        receive(&store, &pair.b, at(3)).await;
    }
    let info = DaemonInfo {
        id: keeper.id.clone(),
        role: "worker",
        host: "host".into(),
        boot_id: "y".into(),
        pid: 4_243,
    };
    let keeper = store.register_daemon(&info, at(4)).await.expect("known");
    assert_eq!(receive(&store, &pairs[0].b, at(5)).await, ["in its hand"]);
    // What the successor has read by then is its own.
    beat_with(
        &store,
        &keeper,
        &[&pairs[0].b.session],
        &boot("y", 9),
        at(6),
        |_, beats| {
            beats[0].process = Some(ProcessId { pid: 900, start: 5 });
        },
    )
    .await;
    assert!(receive(&store, &pairs[0].b, at(7)).await.is_empty());
    // One that no process proves may well live elsewhere.
    assert!(receive(&store, &pairs[1].b, at(5)).await.is_empty());
}

pub(crate) async fn a_stopped_daemon_lets_go(backend: &impl Backend) {
    let store = backend.open().await;
    let daemon = register(&store, "host:worker").await;
    let pairs = pairs(&store, 3, at(0)).await;
    let sessions: Vec<&SessionKey> = pairs.iter().map(|pair| &pair.b.session).collect();
    beat_with(&store, &daemon, &sessions, &boot("x", 1), at(1), |_, _| {}).await;
    let listed = store.daemons().await.expect("listed");
    assert_eq!((listed[0].sessions, listed[0].stopped_at), (3, None));
    assert_eq!(
        store.release(&daemon, None, at(2)).await.expect("released"),
        3
    );
    assert_eq!(store.release(&daemon, None, at(3)).await.expect("again"), 0);
    for session in sessions {
        let shown = view(&store, session).await;
        // Judged by the default now: stopping a daemon loses no session.
        assert_eq!(shown.life(at(1 + 299)), Life::Alive);
        assert_eq!(shown.life(at(1 + 301)), Life::Silent);
    }
    // The word of an agent that no daemon keeps counts beyond that.
    let session = &pairs[0].b.session;
    backend.foreign(&format!(
        "INSERT INTO bridge_session (conversation_id, session_id, busy_until_ms)
         VALUES ('{}', 'b', {})
         ON CONFLICT DO UPDATE SET busy_until_ms = excluded.busy_until_ms",
        session.conversation,
        at(900).as_millisecond()
    ));
    let shown = view(&store, session).await;
    assert_eq!(shown.life(at(899)), Life::Alive);
    assert_eq!(shown.life(at(901)), Life::Silent);
    let listed = store.daemons().await.expect("listed");
    assert_eq!(listed[0].sessions, 0);
    assert!(listed[0].stopped_at.is_some());
}

pub(crate) async fn a_call_counts_as_life_and_steals_nothing(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    let ttl = Duration::from_secs(120);
    let calls = &pairs[0].b;
    say(&store, &pairs[0].a, "hello", at(1)).await;
    let mail = store
        .call_in(calls, ttl, None, &boot("x", 100), at(2))
        .await
        .expect("called");
    assert_eq!((mail.unread, mail.acted_at), (1, None));
    let heartbeat = view(&store, &calls.session).await.heartbeat.expect("some");
    assert_eq!((heartbeat.proof, heartbeat.ttl), (ProofKind::Call, ttl));
    assert_eq!(heartbeat.daemon, None);
    let status = backend.foreign("SELECT last_heartbeat FROM session_status");
    assert_eq!(status, ["2025-11-13T02:13:22.000000"]);
    // A daemon may take up what no daemon keeps.
    let daemon = register(&store, "host:worker").await;
    let report = beat(&store, &daemon, &calls.session, &boot("x", 101)).await;
    assert_eq!(report, all_beaten(1));
    // A call does not take it away again, and it is nothing that the agent did.
    let mail = store
        .call_in(calls, ttl, None, &boot("x", 102), at(3))
        .await
        .expect("called");
    assert_eq!(mail.acted_at, None);
    let counted = "SELECT max(activity_seq) FROM bridge_session WHERE session_id = 'b'";
    assert_eq!(backend.foreign(counted), ["2"]);
    let heartbeat = view(&store, &calls.session).await.heartbeat.expect("some");
    assert_eq!(heartbeat.daemon.as_deref(), Some("host:worker"));
    assert_eq!((heartbeat.proof, heartbeat.seq), (ProofKind::Process, 2));
    // Unless that daemon has been silent.
    store
        .call_in(calls, ttl, None, &boot("x", 9_000), at(4))
        .await
        .expect("called");
    let heartbeat = view(&store, &calls.session).await.heartbeat.expect("some");
    assert_eq!((heartbeat.daemon, heartbeat.proof), (None, ProofKind::Call));
    let mut stranger = calls.clone();
    stranger.token = pairs[1].b.token.clone();
    let refused = store
        .call_in(&stranger, ttl, None, &boot("x", 9_000), at(5))
        .await;
    assert!(matches!(refused, Err(StoreError::WrongToken(_))));
}

pub(crate) async fn a_thousand_sessions_in_one_beat(backend: &impl Backend) {
    let store = backend.open().await;
    let daemon = register(&store, "host:worker").await;
    let pairs = pairs(&store, 1_000, at(0)).await;
    let sessions: Vec<&SessionKey> = pairs.iter().map(|pair| &pair.b.session).collect();
    for round in 1..=2 {
        let boot = boot("x", 100 + round);
        let report = beat_with(&store, &daemon, &sessions, &boot, at(1), |round, beats| {
            round.mirror = true;
            for beat in beats {
                beat.renew_until = Some(at(50_000));
            }
        })
        .await;
        assert_eq!(report, all_beaten(1_000));
    }
    let shown = store.sessions(at(0)).await.expect("listed");
    let beaten = shown.iter().filter_map(|view| view.heartbeat.as_ref());
    assert_eq!(beaten.filter(|heartbeat| heartbeat.seq == 2).count(), 1_000);
    let ends: Vec<_> = shown.iter().map(|view| view.expires_at).collect();
    assert!(ends.iter().all(|end| *end == Some(at(50_000))));
    let mail = store
        .mail(
            &sessions
                .iter()
                .map(|key| (*key).clone())
                .collect::<Vec<_>>(),
        )
        .await;
    assert_eq!(mail.expect("looked").len(), 1_000);
}

pub(crate) async fn daemon_finds_a_later_one_of_its_name(backend: &impl Backend) {
    let store = backend.open().await;
    let first = register(&store, "host:worker").await;
    assert_eq!(store.namesake(&first).await.expect("asked"), None);
    let second = register(&store, "host:worker").await;
    register(&store, "host:other").await;
    let found = store.namesake(&first).await.expect("asked");
    assert!(found.is_some(), "another process has its name");
    assert_eq!(store.namesake(&second).await.expect("asked"), None);
    store.release(&second, None, at(9)).await.expect("stopped");
    assert_eq!(store.namesake(&first).await.expect("asked"), None);
}
