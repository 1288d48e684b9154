//! Message delivery, tried over random histories against a model: nothing that
//! was acknowledged to its sender is lost, order is kept, everything arrives at
//! least once, and nothing comes again after its reply was confirmed.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

use crate::common::store as common;
use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use mcp_bridge::model::{MessageId, Side};
use mcp_bridge::store::sqlite::Create;
use mcp_bridge::store::{FetchId, SharedStore, StoreError};
use proptest::prelude::*;

use crate::common::store::{Pair, Scratch, at, draft, named, unlimited};

/// What may happen, to either side of either conversation.
#[derive(Debug, Clone)]
enum Step {
    /// This number of messages in one batch.
    Send { count: u8 },
    /// One message under a client id that may have been used before.
    Retry { id: u8 },
    /// A fetch whose reply arrives at once, later or never.
    Fetch { limit: u8, confirm: Confirm },
    /// The oldest reply that is under way arrives.
    Confirm,
    /// An explicit acknowledgement of the n-th message ever sent to this side.
    Acknowledge { nth: u8 },
    /// The store's handle is dropped and opened again, replies and all.
    Crash,
    /// The conversation expires, is used, and is renewed.
    Expire,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Confirm {
    AtOnce,
    Later,
    Never,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u8..4).prop_map(|count| Step::Send { count }),
        2 => (0_u8..6).prop_map(|id| Step::Retry { id }),
        6 => (
            1_u8..6,
            prop_oneof![Just(Confirm::AtOnce), Just(Confirm::Later), Just(Confirm::Never)],
        )
            .prop_map(|(limit, confirm)| Step::Fetch { limit, confirm }),
        2 => Just(Step::Confirm),
        2 => (0_u8..20).prop_map(|nth| Step::Acknowledge { nth }),
        1 => Just(Step::Crash),
        1 => Just(Step::Expire),
    ]
}

/// What one side should see.
#[derive(Debug, Default)]
struct Inbox {
    /// Acknowledged to the sender, by id, in order.
    sent: BTreeMap<MessageId, String>,
    /// Whose reply was confirmed, or who were acknowledged by id.
    done: BTreeSet<MessageId>,
    /// Handed out at least once.
    seen: BTreeSet<MessageId>,
    /// The last fetch that handed out each message; an earlier one's late
    /// confirmation says nothing about it.
    holder: BTreeMap<MessageId, FetchId>,
    /// Replies under way.
    under_way: Vec<FetchId>,
    client_ids: BTreeMap<u8, MessageId>,
}

impl Inbox {
    fn confirm(&mut self, fetch: &FetchId) {
        let held = self.holder.iter().filter(|(_, holder)| *holder == fetch);
        self.done.extend(held.map(|(id, _)| *id));
    }

    /// What the next fetch must begin with.
    fn owed(&self) -> Vec<MessageId> {
        let owed = self.sent.keys().filter(|id| !self.done.contains(id));
        owed.copied().collect()
    }
}

struct History {
    scratch: Scratch,
    store: SharedStore,
    pairs: Vec<Pair>,
    inboxes: BTreeMap<(usize, Side), Inbox>,
    second: i64,
    words: u32,
}

impl History {
    async fn new() -> Self {
        let scratch = Scratch::fast();
        let store = common::open(&scratch.path(), Create::Yes).await;
        unlimited(&store).await;
        Self {
            pairs: common::pairs(&store, 2, at(0)).await,
            scratch,
            store,
            inboxes: BTreeMap::new(),
            second: 0,
            words: 0,
        }
    }

    async fn step(&mut self, pair: usize, side: Side, step: &Step) -> Result<(), TestCaseError> {
        self.second += 1;
        let now = at(self.second);
        let caller = self.pairs[pair].side(side).clone();
        match *step {
            Step::Send { count } => {
                let texts: Vec<String> = (0..count).map(|_| self.word()).collect();
                let drafts: Vec<_> = texts.iter().map(|text| draft(text)).collect();
                let sent = self.store.send(&caller, &drafts, now).await.expect("sent");
                let inbox = self.inboxes.entry((pair, side.other())).or_default();
                for (sent, text) in sent.iter().zip(texts) {
                    let newest = inbox.sent.keys().next_back();
                    prop_assert!(newest.is_none_or(|newest| *newest < sent.id));
                    inbox.sent.insert(sent.id, text);
                }
            }
            Step::Retry { id } => {
                let text = format!("named {id}");
                let drafts = [named(&text, &format!("id-{id}"))];
                let sent = self.store.send(&caller, &drafts, now).await.expect("sent");
                let inbox = self.inboxes.entry((pair, side.other())).or_default();
                let known = inbox.client_ids.insert(id, sent[0].id);
                prop_assert_eq!(sent[0].duplicate, known.is_some());
                prop_assert!(known.is_none_or(|known| known == sent[0].id));
                inbox.sent.entry(sent[0].id).or_insert(text);
            }
            Step::Fetch { limit, confirm } => {
                let fetched = self
                    .store
                    .fetch(&caller, u32::from(limit), now)
                    .await
                    .expect("fetched");
                let inbox = self.inboxes.entry((pair, side)).or_default();
                let got: Vec<MessageId> = fetched.messages.iter().map(|m| m.id).collect();
                let owed = inbox.owed();
                let expected = &owed[..owed.len().min(usize::from(limit))];
                prop_assert_eq!(&got[..], expected, "lost, repeated or out of order");
                prop_assert_eq!(fetched.remaining, (owed.len() - got.len()) as u64);
                for message in &fetched.messages {
                    prop_assert_eq!(&message.message, &inbox.sent[&message.id]);
                }
                inbox.seen.extend(&got);
                let Some(id) = fetched.id else {
                    return Ok(());
                };
                for message in got {
                    inbox.holder.insert(message, id.clone());
                }
                match confirm {
                    Confirm::AtOnce => {
                        let by = &caller.session;
                        self.store.fetch_written(by, &id, now).await.expect("heard");
                        inbox.confirm(&id);
                    }
                    Confirm::Later => inbox.under_way.push(id),
                    Confirm::Never => {}
                }
            }
            Step::Confirm => {
                let inbox = self.inboxes.entry((pair, side)).or_default();
                if !inbox.under_way.is_empty() {
                    let id = inbox.under_way.remove(0);
                    let by = &caller.session;
                    self.store.fetch_written(by, &id, now).await.expect("heard");
                    inbox.confirm(&id);
                }
            }
            Step::Acknowledge { nth } => {
                let inbox = self.inboxes.entry((pair, side)).or_default();
                let wanted = inbox.sent.keys().nth(usize::from(nth)).copied();
                let id = wanted.unwrap_or(MessageId(1_000_000));
                let answer = self.store.acknowledge(&caller, &[id], now).await;
                match wanted {
                    Some(_) => {
                        prop_assert!(answer.is_ok(), "{answer:?}");
                        inbox.done.insert(id);
                        inbox.seen.insert(id);
                    }
                    None => prop_assert!(matches!(answer, Err(StoreError::NoMessage(..)))),
                }
            }
            Step::Crash => {
                self.store.close().await;
                self.store = self.scratch.open().await;
            }
            Step::Expire => {
                let id = &self.pairs[pair].id;
                let later = now + SignedDuration::from_hours(24 * 365);
                let refused = self.store.fetch(&caller, 1, later).await;
                let expired = matches!(refused, Err(StoreError::Expired { .. }));
                prop_assert!(expired, "{refused:?}");
                let end = now + SignedDuration::from_hours(4);
                self.store
                    .renew_conversation(id, end, now)
                    .await
                    .expect("renewed");
            }
        }
        Ok(())
    }

    fn word(&mut self) -> String {
        self.words += 1;
        format!("message {}", self.words)
    }

    /// In the end every session reads everything.
    async fn finish(&mut self) -> Result<(), TestCaseError> {
        for pair in 0..self.pairs.len() {
            for side in Side::BOTH {
                let session = [self.pairs[pair].side(side).session.clone()];
                let owed = self.inboxes.entry((pair, side)).or_default().owed().len();
                let mail = self.store.mail(&session).await.expect("looked");
                prop_assert_eq!(mail[0].unread, owed as u64);
                let all = Step::Fetch {
                    limit: u8::MAX,
                    confirm: Confirm::AtOnce,
                };
                self.step(pair, side, &all).await?;
                let inbox = &self.inboxes[&(pair, side)];
                prop_assert!(inbox.sent.keys().eq(&inbox.seen), "never handed out");
                let mail = self.store.mail(&session).await.expect("looked");
                prop_assert_eq!(mail[0].unread, 0);
            }
        }
        Ok(())
    }
}

/// Short by default; `PROPTEST_CASES` and `MCP_BRIDGE_TEST_FULL` make it long.
fn cases() -> ProptestConfig {
    let mut config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = if common::full() { 2_000 } else { 80 };
    }
    config
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn messages_arrive_once_and_in_order(
        steps in proptest::collection::vec((0_usize..2, any::<bool>(), step()), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut history = History::new().await;
            for (pair, side, step) in &steps {
                let side = if *side { Side::A } else { Side::B };
                history.step(*pair, side, step).await?;
            }
            let verdict = history.finish().await;
            history.store.close().await;
            verdict
        })?;
    }
}
