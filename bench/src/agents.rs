//! The processes of `bench delivery`: senders and readers, one agent each or
//! several, each noting in its journal what it does.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, interval, sleep_until};

use super::journal::{Cause, Journal, Record};
use super::orders::Orders;
use super::scratch::Login;
use mcp_bridge::bridge::{Begin, Bridge, News, Subscription};
use mcp_bridge::clock;
use mcp_bridge::doorbell::{Doorbell, Mode};
use mcp_bridge::model::message::{Body, Draft};
use mcp_bridge::model::{MessageId, SessionKey, StoreName};
use mcp_bridge::store::sqlite::{Create, SqliteStore};
use mcp_bridge::store::{Caller, SharedStore};

/// An agent: its pair's number, and its side of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Agent {
    pub(super) pair: u32,
    pub(super) login: Login,
}

/// Where a sender goes on after its process was killed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Resume {
    /// The last number that it meant to send.
    pub(super) last: u64,
    /// Whether the store said that it has it; if not, it is sent again.
    pub(super) acknowledged: bool,
}

/// A sending process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SenderJob {
    pub(super) store: StoreName,
    pub(super) agents: Vec<Agent>,
    pub(super) duration: Duration,
    /// Messages a second, each agent.
    pub(super) rate: f64,
    /// Most bytes in a message.
    pub(super) size: u32,
    pub(super) journal: PathBuf,
    /// By pair; nothing for a sender that begins.
    pub(super) resume: Vec<(u32, Resume)>,
}

/// A reading process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ReceiverJob {
    pub(super) store: StoreName,
    pub(super) agents: Vec<Agent>,
    pub(super) journal: PathBuf,
    /// Whether to forget the first message.
    pub(super) lose_one: bool,
}

/// What a child says now and then, and last when it is done.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Messages sent, or had.
    pub(super) count: u64,
    /// Whether it listens, or has sent all.
    pub(super) ready: bool,
}

/// How often a child says how far it is.
const TELL: Duration = Duration::from_millis(250);
/// The readers' look at everything, also without a bell.
const FULL_LOOK: Duration = Duration::from_secs(5);
/// How long a store may refuse a message whose sender has no time left.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most messages in one fetch.
const FETCH: u32 = 100;

/// A way to the store, of a process or of one agent.
#[derive(Clone)]
struct Way {
    bridge: Bridge,
    /// The store, if it is open here.
    own: Option<SharedStore>,
}

impl Way {
    async fn to(store: &StoreName) -> anyhow::Result<Self> {
        if let Some(socket) = store.door() {
            let bridge = Bridge::through(socket);
            return Ok(Self { bridge, own: None });
        }
        let store = Arc::new(SqliteStore::open(store.file(), Create::No).await?);
        Ok(Self {
            bridge: Arc::clone(&store).into(),
            own: Some(store),
        })
    }
}

/// Sends for the job's duration, then says that it is done.
pub(super) async fn send(job: SenderJob, mut orders: Orders) -> anyhow::Result<()> {
    let journal = Arc::new(Journal::open(&job.journal)?);
    journal.note(&Record::Began)?;
    let count = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + job.duration;
    let mut agents = JoinSet::new();
    for agent in &job.agents {
        agents.spawn(send_as(
            Way::to(&job.store).await?,
            agent.clone(),
            Pace {
                until,
                rate: job.rate,
                size: job.size,
                resume: job
                    .resume
                    .iter()
                    .find(|(pair, _)| *pair == agent.pair)
                    .map(|(_, resume)| *resume)
                    .unwrap_or_default(),
            },
            Arc::clone(&journal),
            Arc::clone(&count),
        ));
    }
    let say = |ready| {
        super::print_json(&Progress {
            count: count.load(Ordering::Relaxed),
            ready,
        })
    };
    let mut tell = interval(TELL);
    loop {
        tokio::select! {
            agent = agents.join_next() => match agent {
                Some(ended) => ended??,
                None => break,
            },
            order = orders.recv() => if order.is_none() { return Ok(()) },
            _ = tell.tick() => say(false)?,
        }
    }
    say(true)?;
    while orders.recv().await.is_some() {}
    Ok(())
}

struct Pace {
    until: Instant,
    rate: f64,
    size: u32,
    resume: Resume,
}

/// One agent, with a store of its own: as agents are, and so that the time of
/// its commit is its own.
async fn send_as(
    store: Way,
    agent: Agent,
    pace: Pace,
    journal: Arc<Journal>,
    count: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    let caller = agent.login.caller()?;
    let pair = agent.pair;
    let mut next = Instant::now();
    let Resume { last, acknowledged } = pace.resume;
    let in_doubt = last > 0 && !acknowledged;
    if in_doubt {
        // Under the same client id: it is one message, whether the store had
        // it already or not.
        send_one(&store, &caller, pair, last, &pace, &journal).await?;
        count.fetch_add(1, Ordering::Relaxed);
    }
    for seq in last + 1.. {
        // Agents do not work in step: between nothing and twice the mean.
        next += Duration::from_secs_f64(2.0 * fastrand::f64() / pace.rate);
        // One that cannot keep up has still only the time that it was given.
        if next.max(Instant::now()) >= pace.until {
            break;
        }
        sleep_until(next).await;
        journal.note(&Record::Intent { pair, seq })?;
        send_one(&store, &caller, pair, seq, &pace, &journal).await?;
        count.fetch_add(1, Ordering::Relaxed);
    }
    store.bridge.close().await;
    Ok(())
}

/// Sends until the store has it.
async fn send_one(
    store: &Way,
    caller: &Caller,
    pair: u32,
    seq: u64,
    pace: &Pace,
    journal: &Journal,
) -> anyhow::Result<()> {
    let mut draft = Draft::text(body(pair, seq, pace.size)?);
    draft.client_id = Some(format!("bench-{pair}-{seq}").parse()?);
    let end = pace.until.max(Instant::now() + PATIENCE);
    loop {
        let begun = clock::monotonic_nanos();
        match store
            .bridge
            .send(caller, std::slice::from_ref(&draft))
            .await
        {
            Ok(sent) => {
                let sent = sent.first().context("nothing was sent")?;
                return journal.note(&Record::Sent {
                    pair,
                    seq,
                    id: sent.id.0,
                    committed_at: store.own.as_ref().map_or(begun, |own| own.committed_at()),
                    again: sent.duplicate,
                });
            }
            Err(error) => {
                let why = error.to_string();
                journal.note(&Record::Refused { pair, seq, why })?;
                anyhow::ensure!(Instant::now() < end, "sending: {error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// `seq` and a filling of random length, most often short: the same for every sender of
/// this message, also after a kill, or it would be another message.
fn body(pair: u32, seq: u64, size: u32) -> anyhow::Result<Body> {
    let random = fastrand::Rng::with_seed(seq << 16 ^ u64::from(pair)).f64();
    let filling = (f64::from(size) * random.powi(3)) as usize;
    let text: String = std::iter::once(format!("{seq} "))
        .chain(std::iter::repeat_n("work ".to_owned(), filling / 5))
        .collect();
    Ok(text.parse()?)
}

/// Reads until there are no more orders; the order to drain makes a last look.
pub(super) async fn receive(job: ReceiverJob, mut orders: Orders) -> anyhow::Result<()> {
    let store = Way::to(&job.store).await?;
    let journal = Arc::new(Journal::open(&job.journal)?);
    journal.note(&Record::Began)?;
    let count = Arc::new(AtomicU64::new(0));
    let (drain, draining) = watch::channel(false);

    let mut bells = HashMap::<SessionKey, Arc<Notify>>::new();
    let mut agents = JoinSet::new();
    let mut callers = Vec::new();
    for (n, agent) in job.agents.into_iter().enumerate() {
        let rung = Arc::new(Notify::new());
        let caller = agent.login.caller()?;
        bells.insert(caller.session.clone(), Arc::clone(&rung));
        callers.push(caller);
        let reader = ReaderAgent {
            bridge: store.bridge.clone(),
            agent,
            journal: Arc::clone(&journal),
            count: Arc::clone(&count),
            lose: job.lose_one && n == 0,
        };
        agents.spawn(reader.run(rung, draining.clone()));
    }

    let (failed, mut failures) = mpsc::unbounded_channel();
    let heard = move |id: MessageId, to: &SessionKey| {
        let Some(bell) = bells.get(to) else {
            return Ok(());
        };
        let at = clock::monotonic_nanos();
        bell.notify_one();
        journal.note(&Record::Seen { id: id.0, at })
    };
    let ears = listen(&store, callers, heard, failed)?;

    let mut tell = interval(TELL);
    loop {
        tokio::select! {
            agent = agents.join_next() => match agent {
                Some(ended) => ended??,
                None => break,
            },
            Some(error) = failures.recv() => return Err(error.context("reading what is new")),
            order = orders.recv() => match order {
                Some(_) => drain.send(true)?,
                None => return Ok(()),
            },
            _ = tell.tick() => super::print_json(&Progress {
                count: count.load(Ordering::Relaxed),
                ready: true,
            })?,
        }
    }
    drop(ears);
    store.bridge.close().await;
    Ok(())
}

/// What is held while a process listens.
enum Ears {
    Own(#[expect(dead_code, reason = "held for its drop")] Doorbell),
    Daemon(AbortHandle),
}

impl Drop for Ears {
    fn drop(&mut self) {
        if let Self::Daemon(following) = self {
            following.abort();
        }
    }
}

/// Hands each message of these sessions to `heard`, by the store's doorbell or by its
/// daemon.
fn listen(
    store: &Way,
    callers: Vec<Caller>,
    mut heard: impl FnMut(MessageId, &SessionKey) -> anyhow::Result<()> + Send + 'static,
    failed: mpsc::UnboundedSender<anyhow::Error>,
) -> anyhow::Result<Ears> {
    if let Some(own) = &store.own {
        let doorbell = own.doorbell(
            Mode::Events,
            Box::new(move |look| {
                let new = look.arrivals(&HashSet::new());
                let noted = new.map_err(anyhow::Error::from).and_then(|new| {
                    let mut each = new.iter();
                    each.try_for_each(|arrival| heard(arrival.id, &arrival.to))
                });
                if let Err(error) = noted {
                    let _ = failed.send(error);
                }
            }),
        )?;
        return Ok(Ears::Own(doorbell));
    }
    let subscription = Subscription {
        callers,
        begin: Begin::Unread,
        poll: false,
        full_look: FULL_LOOK,
    };
    let bridge = store.bridge.clone();
    let sink = Box::new(move |news| {
        if let News::Message(message) = news {
            heard(message.id, &message.recipient()).map_err(std::io::Error::other)?;
        }
        Ok(ControlFlow::Continue(()))
    });
    let following = tokio::spawn(async move {
        if let Err(error) = bridge.follow(&subscription, sink).await {
            let _ = failed.send(error.into());
        }
    });
    Ok(Ears::Daemon(following.abort_handle()))
}

struct ReaderAgent {
    bridge: Bridge,
    agent: Agent,
    journal: Arc<Journal>,
    count: Arc<AtomicU64>,
    lose: bool,
}

impl ReaderAgent {
    async fn run(
        mut self,
        rung: Arc<Notify>,
        mut drain: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let mut full_look = interval(FULL_LOOK);
        loop {
            let by = tokio::select! {
                () = rung.notified() => Cause::Ring,
                _ = full_look.tick() => Cause::FullLook,
                _ = drain.wait_for(|drain| *drain) => Cause::LastLook,
            };
            self.fetch(by).await?;
            if by == Cause::LastLook {
                return Ok(());
            }
        }
    }

    /// All that is there. It is noted before the fetch is confirmed, so that
    /// an agent that is killed in between is handed it again.
    async fn fetch(&mut self, by: Cause) -> anyhow::Result<()> {
        let caller = self.agent.login.caller()?;
        loop {
            let fetched = self.bridge.fetch(&caller, FETCH).await?;
            let at = clock::monotonic_nanos();
            let mut numbers = Vec::with_capacity(fetched.messages.len());
            for message in &fetched.messages {
                let seq = message.message.split(' ').next().unwrap_or_default();
                let seq = seq.parse().context("a message without its number")?;
                if std::mem::take(&mut self.lose) {
                    continue;
                }
                numbers.push(seq);
                self.journal.note(&Record::Got {
                    pair: self.agent.pair,
                    seq,
                    id: message.id.0,
                    at,
                    by,
                })?;
                self.count.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(fetch) = &fetched.id {
                self.bridge.confirm(&caller, fetch).await?;
            }
            for seq in numbers {
                let pair = self.agent.pair;
                self.journal.note(&Record::Confirmed { pair, seq })?;
            }
            if fetched.messages.is_empty() || fetched.remaining == 0 {
                return Ok(());
            }
        }
    }
}
