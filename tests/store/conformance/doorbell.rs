//! The doorbell: every commit is seen, of any process.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_bridge::clock;
use mcp_bridge::doorbell::{Doorbell, Mode};
use mcp_bridge::model::message::Message;
use mcp_bridge::model::session::ProofKind;
use mcp_bridge::model::token::Token;
use mcp_bridge::model::{MessageId, SessionKey};
use mcp_bridge::store::{
    Arrival, Beat, BeatRound, DaemonRef, ProcessId, SharedStore, Signal, Signalled, Store,
};

use super::Backend;
use crate::common::store::{at, boot, pair, pairs, receive, say, until};

/// What a doorbell reported so far.
#[derive(Clone, Default)]
struct Heard {
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    looks: Arc<Mutex<u64>>,
}

impl Heard {
    fn listen(&self, store: &Store, mode: Mode) -> Doorbell {
        let heard = self.clone();
        store
            .doorbell(
                mode,
                Box::new(move |look| {
                    let new = look
                        .arrivals(&std::collections::HashSet::new())
                        .expect("a healthy store");
                    heard.arrivals.lock().expect("whole").extend(new);
                    *heard.looks.lock().expect("whole") += 1;
                }),
            )
            .expect("mounted")
    }

    fn so_far(&self) -> Vec<Arrival> {
        self.arrivals.lock().expect("whole").clone()
    }

    fn looks(&self) -> u64 {
        *self.looks.lock().expect("whole")
    }

    async fn wait_for(&self, id: i64) {
        let what = format!("message {id} to be pushed");
        until(&what, async || {
            let heard = self.so_far();
            heard.iter().any(|new| new.id.0 == id).then_some(())
        })
        .await;
    }
}

fn insert(backend: &impl Backend, session: &SessionKey, text: &str) -> i64 {
    let id = backend.foreign(&format!(
        "INSERT INTO messages (conversation_id, from_session, to_session, message, timestamp)
         VALUES ('{}', '{}', '{}', '{text}', '2025-11-13T02:13:20') RETURNING id",
        session.conversation,
        session.side.other(),
        session.side,
    ));
    id[0].parse().expect("a number")
}

pub(crate) async fn our_own_commits_ring(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    let heard = Heard::default();
    let _bell = heard.listen(&store, Mode::Events);
    for n in 0..50 {
        let pair = &pairs[n % 2];
        let begun = clock::monotonic_nanos();
        let id = say(&store, &pair.a, "x", at(1)).await;
        assert!(store.committed_at() > begun, "the time of the commit");
        heard.wait_for(id).await;
        let last = heard.so_far().pop();
        let expected = Arrival {
            id: MessageId(id),
            to: pair.b.session.clone(),
            message: None,
        };
        assert_eq!(last, Some(expected));
    }
    assert_eq!(heard.so_far().len(), 50, "one was reported twice");
}

pub(crate) async fn another_process_s_commits_ring(backend: &impl Backend) {
    let (watching, writing) = (backend.open().await, backend.open().await);
    let pair = pair(&writing, at(0)).await;
    let heard = Heard::default();
    let _bell = heard.listen(&watching, Mode::Events);
    for _ in 0..50 {
        let id = say(&writing, &pair.b, "x", at(1)).await;
        heard.wait_for(id).await;
    }
    assert_eq!(heard.so_far().len(), 50);
}

pub(crate) async fn foreign_commits_ring(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let heard = Heard::default();
    let _bell = heard.listen(&store, Mode::Events);
    for _ in 0..20 {
        let id = insert(backend, &pair.b.session, "x");
        heard.wait_for(id).await;
    }
    assert_eq!(heard.so_far().len(), 20);
}

pub(crate) async fn rolled_back_message_is_not_reported(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let heard = Heard::default();
    let _bell = heard.listen(&store, Mode::Events);
    store
        .set_rate_limits(mcp_bridge::model::rate::RateLimits {
            per_minute: 2,
            ..mcp_bridge::model::rate::RateLimits::NONE
        })
        .await
        .expect("set");
    let three: Vec<_> = (0..3).map(|_| crate::common::store::draft("x")).collect();
    assert!(store.send(&pair.a, &three, at(1)).await.is_err());
    let id = say(&store, &pair.a, "kept", at(2)).await;
    heard.wait_for(id).await;
    assert_eq!(heard.so_far().len(), 1, "{:?}", heard.so_far());
}

pub(crate) async fn older_message_is_not_reported(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    say(&store, &pair.a, "old", at(1)).await;
    let heard = Heard::default();
    let bell = heard.listen(&store, Mode::Events);
    let id = say(&store, &pair.a, "new", at(2)).await;
    heard.wait_for(id).await;
    assert_eq!(heard.so_far().len(), 1);
    drop(bell);
    // Taken down, it is silent.
    let looks = heard.looks();
    say(&store, &pair.a, "unheard", at(3)).await;
    assert_eq!(heard.looks(), looks);
}

pub(crate) async fn messages_are_handed_over_whole(backend: &impl Backend) {
    let store = backend.open().await;
    let pairs = pairs(&store, 2, at(0)).await;
    let wanted = HashSet::from([pairs[0].b.session.clone()]);
    let heard: Arc<Mutex<Vec<Message>>> = Arc::default();
    let sink = Arc::clone(&heard);
    let _bell = store
        .doorbell(
            Mode::Events,
            Box::new(move |look| {
                let new = look.messages(&wanted).expect("a healthy store");
                sink.lock().expect("whole").extend(new);
            }),
        )
        .expect("mounted");
    say(&store, &pairs[1].a, "another's", at(1)).await;
    say(&store, &pairs[0].b, "the other way", at(1)).await;
    backend.foreign(&format!(
        "INSERT INTO messages (conversation_id, from_session, to_session, message, timestamp)
         VALUES ('{}', 'system', 'session_b', x'ff', 'odd')",
        pairs[0].id
    ));
    say(&store, &pairs[0].a, "for us", at(2)).await;
    let got = until("both messages", async || {
        let heard = heard.lock().expect("whole").clone();
        (heard.len() >= 2).then_some(heard)
    })
    .await;
    let texts: Vec<&str> = got.iter().map(|message| &*message.message).collect();
    assert_eq!(texts, ["\u{fffd}", "for us"]);
    let fetched = store.fetch(&pairs[0].b, 9, at(3)).await.expect("fetched");
    assert_eq!(got, fetched.messages, "pushed and fetched differ");
}

pub(crate) async fn polling_finds_the_same(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let heard = Heard::default();
    let _bell = heard.listen(&store, Mode::Poll);
    for round in 0..5 {
        let id = if round % 2 == 0 {
            say(&store, &pair.a, "ours", at(1)).await
        } else {
            insert(backend, &pair.b.session, "theirs")
        };
        heard.wait_for(id).await;
    }
    assert_eq!(heard.so_far().len(), 5);
}

pub(crate) async fn asking_looks_at_once(backend: &impl Backend) {
    let store = backend.open().await;
    let heard = Heard::default();
    let bell = heard.listen(&store, Mode::Poll);
    let before = heard.looks();
    bell.ask();
    until("a look", async || (heard.looks() > before).then_some(())).await;
}

/// One beat, as a daemon's heartbeat duty does it.
async fn beat(store: &SharedStore, session: &SessionKey) {
    let daemon = DaemonRef {
        id: "host:worker".into(),
        epoch: 1,
    };
    let beats = [Beat {
        session: session.clone(),
        proof: ProofKind::None,
        process: None,
        renew_until: None,
    }];
    let round = BeatRound {
        beats: &beats,
        daemon: &daemon,
        ttl: Duration::from_secs(20),
        mirror: false,
        boot: &boot("x", 1),
        now: at(1),
        wall: at(1),
    };
    store.beat(&round).await.expect("beaten");
}

pub(crate) async fn heartbeats_bring_no_arrivals(backend: &impl Backend) {
    let store = backend.open().await;
    let pair = pair(&store, at(0)).await;
    let heard = Heard::default();
    let _bell = heard.listen(&store, Mode::Events);
    for _ in 0..20 {
        beat(&store, &pair.b.session).await;
    }
    let id = say(&store, &pair.a, "x", at(2)).await;
    heard.wait_for(id).await;
    assert_eq!(heard.so_far().len(), 1);
}

/// What a doorbell's looks found signalled.
#[derive(Default)]
struct Signals(Arc<Mutex<Vec<Signalled>>>);

impl Signals {
    fn listen(&self, store: &Store) -> Doorbell {
        let sink = Arc::clone(&self.0);
        let listen = move |look: &mut dyn mcp_bridge::store::Look| {
            let signalled = look.signalled().expect("a healthy store");
            sink.lock().expect("whole").push(signalled);
            let unseen = look.arrivals(&HashSet::new());
            unseen.expect("a healthy store");
        };
        let bell = store.doorbell(Mode::Events, Box::new(listen));
        bell.expect("mounted")
    }

    /// The next look that found any.
    async fn next(&self, what: &str) -> Signalled {
        until(what, async || {
            let heard = std::mem::take(&mut *self.0.lock().expect("whole"));
            let news = heard.iter().find(|one| **one != Signalled::default());
            news.copied()
        })
        .await
    }
}

pub(crate) async fn a_lost_right_is_signalled(backend: &impl Backend) {
    let (watching, store) = (backend.open().await, backend.open().await);
    let [one, other] = [pair(&store, at(0)).await, pair(&store, at(0)).await];
    let signals = Signals::default();
    let _bell = signals.listen(&watching);
    let signalled = async |what: &str, wanted: Signalled| signals.next(what).await == wanted;
    let (work, access, agents) = (Signal::Work, Signal::Access, Signal::Agents);
    let of = |which: &[Signal]| Signalled {
        work: which.contains(&work),
        access: which.contains(&access),
        agents: which.contains(&agents),
        owed: false,
    };
    // A task is nothing to those who follow mail.
    super::work::add(&store, "one").await;
    assert!(signalled("a task to be signalled", of(&[work])).await);
    let client = super::registrations::client(11);
    let registered = store.register_agent(&one.a, client, at(1));
    registered.await.expect("registered");
    assert!(signalled("a client to be signalled", of(&[agents])).await);
    let token = Token::generate(&one.b.session, &[9; 32]);
    let presented = Some(&one.b.token);
    let rekeyed = store.rekey_session(&one.b.session, presented, &token, at(1));
    rekeyed.await.expect("rekeyed");
    assert!(signalled("a new token to be signalled", of(&[access, agents])).await);
    let closed = store.close_conversation(&other.b.session.conversation, at(2));
    closed.await.expect("closed");
    assert!(signalled("a closed conversation to be signalled", of(&[work, access])).await);
}

pub(crate) async fn mail_that_is_owed_again_is_signalled(backend: &impl Backend) {
    let (watching, store) = (backend.open().await, backend.open().await);
    let pair = pair(&store, at(0)).await;
    let session = &pair.b.session;
    let keeper = super::work::daemon(&store, "hera").await;
    let beat_of = async |process| {
        let here = boot("x", 100);
        super::heartbeats::beat_with(&store, &keeper, &[session], &here, at(1), |_, beats| {
            beats[0].process = Some(process);
        })
        .await;
    };
    let process = |pid, start| ProcessId { pid, start };
    beat_of(process(1_000, 7)).await;
    let signals = Signals::default();
    let _bell = signals.listen(&watching);
    say(&store, &pair.a, "in its hand", at(2)).await;
    receive(&store, &pair.b, at(3)).await;
    // Its successor is to get it, and no message comes for that.
    beat_of(process(1_001, 9)).await;
    until("its mail to be signalled", async || {
        let heard = signals.0.lock().expect("whole");
        heard.iter().any(|one| one.owed).then_some(())
    })
    .await;
}

pub(crate) async fn work_is_signalled(backend: &impl Backend) {
    let (watching, store) = (backend.open().await, backend.open().await);
    let pair = pair(&store, at(0)).await;
    let session = &pair.b.session;
    let keeper = super::work::daemon(&store, "hera").await;
    super::work::beat(&store, &keeper, &[session]).await;
    let heard = Heard::default();
    let signals: Arc<Mutex<u64>> = Arc::default();
    let (sink, count) = (heard.clone(), Arc::clone(&signals));
    let listen = move |look: &mut dyn mcp_bridge::store::Look| {
        if look.signalled().expect("a healthy store").work {
            *count.lock().expect("whole") += 1;
        }
        let new = look
            .arrivals(&std::collections::HashSet::new())
            .expect("a healthy store");
        sink.arrivals.lock().expect("whole").extend(new);
    };
    let bell = watching.doorbell(Mode::Events, Box::new(listen));
    let _bell = bell.expect("mounted");
    let mut told = 0;
    let mut signalled = async |what: &str| {
        let now = until(what, async || {
            let now = *signals.lock().expect("whole");
            (now > told).then_some(now)
        })
        .await;
        assert_eq!(now, told + 1, "{what}: it is said once");
        told = now;
        // What is no work brings a look, and no signal.
        let id = say(&store, &pair.a, "x", at(2)).await;
        heard.wait_for(id).await;
        assert_eq!(
            *signals.lock().expect("whole"),
            told,
            "a message is no work"
        );
    };
    let id = super::work::add(&store, "one").await;
    signalled("a task to be signalled").await;
    let task = super::work::claim(&store, &pair.b).await;
    signalled("a claim to be signalled").await;
    let done = super::work::done("x");
    let ended = store.end_task(&pair.b, id, task.fence, &done, at(3)).await;
    ended.expect("ended");
    signalled("an end to be signalled").await;
    assert!(
        store
            .record_exit(session, &keeper, at(4))
            .await
            .expect("noted")
    );
    signalled("an exit to be signalled").await;
    let drain = mcp_bridge::store::Control {
        kind: mcp_bridge::store::ControlKind::Drain,
        subject: "host:hera".into(),
        since: at(5),
        until: at(50),
    };
    store.set_control(&drain).await.expect("set");
    signalled("a control to be signalled").await;
    let cleared = store.clear_control(drain.kind, &drain.subject, at(6)).await;
    assert!(cleared.expect("cleared"));
    signalled("its end to be signalled").await;
    let leader = super::work::lead(&store).await;
    signalled("a new leader to be signalled").await;
    store.give_up_lead(&leader).await.expect("given up");
    signalled("the free lead to be signalled").await;
    store
        .set_session_capacity(session, Some(2))
        .await
        .expect("set");
    signalled("a capacity to be signalled").await;
    let leader = super::work::lead(&store).await;
    signalled("the next leader to be signalled").await;
    // It would ring the duty that planned it, which would plan it again.
    let void = super::work::planned(&task, Some(session), mcp_bridge::store::Why::Waited);
    super::work::void(super::work::make(&store, &leader, void).await);
    let id = say(&store, &pair.a, "x", at(60)).await;
    heard.wait_for(id).await;
    assert_eq!(
        *signals.lock().expect("whole"),
        told,
        "a void move is no work"
    );
}
