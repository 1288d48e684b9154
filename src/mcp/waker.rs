//! The second way to an idle agent. Its client's hook wakes it first; a client was seen to
//! drop that without a word, and then no hook waits until its next turn. This server runs
//! as long as its client does: it looks whether mail led to anything, and where it did
//! not, takes the next way into the client.
//!
//! What to do is decided by `model::wake`, as for a daemon. A wake is verified by a fetch
//! and by nothing else; each try is a row of the store, so that it is not made twice.

use std::time::Duration;

use super::agent::Agent;
use crate::api::follow::{Begin, Cursor};
use crate::bridge::Bridge;
use crate::clients::{self, ClaudeInbox};
use crate::clock;
use crate::host;
use crate::model::process::ProcessId;
use crate::model::wake::{
    ClientWay, Mail, WakeOutcome, WakePolicy, WakeState, WakeStep, fail, step,
};
use crate::session::news::{News, together};
use crate::session::notes::{Claimed, MOST_WAKES, Notes, millis};
use crate::session::{Acting, Following, SessionError, follow, waking};

/// How long a way has to lead to a fetch, and the pauses after all of them failed: as
/// long as those after which the hook reminds its agent.
fn policy(ways: &[ClientWay]) -> WakePolicy {
    WakePolicy {
        adapters: ways.len(),
        verify_within: Duration::from_secs(10),
        backoff: Duration::from_secs(300),
        backoff_max: Duration::from_secs(300 << 6),
    }
}

/// How long after its start a client takes no wake yet. It tells its agent itself then
/// what is unread.
const SETTLES: Duration = Duration::from_secs(5);

/// Between two looks where nothing can be done: the directory was not joined, the store
/// is away, another program is waking the agent.
const PAUSE: Duration = Duration::from_secs(5);

/// The way to the mail, as this server calls it.
const HOW: &str = "with the tool check_messages";

/// How long one look at credentials and client holds.
const AT_MOST: Duration = Duration::from_secs(60);

/// Wakes the agent of this client as long as it runs.
pub(super) async fn run(agent: Agent, client: ProcessId) {
    tokio::time::sleep(SETTLES).await;
    let mut waker = Waker {
        client,
        state: WakeState::Quiet,
        claimed: Vec::new(),
        reasons: Vec::new(),
    };
    let mut pause = PAUSE;
    loop {
        match waker.round(&agent).await {
            Ok(()) => pause = PAUSE,
            Err(_) => {
                agent.forget_bridge();
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(AT_MOST);
            }
        }
    }
}

struct Waker {
    client: ProcessId,
    state: WakeState,
    /// The rows of the try that is under way.
    claimed: Vec<Claimed>,
    /// Why the ways before failed, for the row of the last one.
    reasons: Vec<String>,
}

impl Waker {
    /// Steps until nothing is to be done before a time or before new mail, and waits for
    /// that.
    async fn round(&mut self, agent: &Agent) -> Result<(), SessionError> {
        let acting = agent.acting()?;
        let Some(notes) = Notes::of(&acting) else {
            std::future::pending::<()>().await;
            return Ok(());
        };
        let ways = clients::ways(self.client);
        if ways.is_empty() {
            tokio::time::sleep(AT_MOST).await;
            return Ok(());
        }
        let policy = policy(ways);
        let bridge = agent.bridge().await?;
        loop {
            let sessions = acting.members.iter();
            let sessions: Vec<_> = sessions.map(|one| one.caller.session.clone()).collect();
            let each = bridge.unread(&sessions).await?;
            let mail = together(&each);
            let now = clock::since_boot();
            let (next, what) = step(self.state, mail, now, &policy);
            match what {
                WakeStep::Rest { until } => {
                    self.state = next;
                    return await_news(&bridge, &acting, mail, until).await;
                }
                WakeStep::Fire { adapter, .. } => {
                    let Some(way) = ways.get(adapter) else {
                        return Ok(());
                    };
                    match self.fire(*way, &bridge, &acting, &notes, &each).await? {
                        Fired::Done => self.state = next,
                        Fired::Elsewhere => {
                            tokio::time::sleep(PAUSE).await;
                            return Ok(());
                        }
                        Fired::Failed(why) => {
                            self.reasons.push(format!("{}: {why}", way.as_str()));
                            let (next, failed) = fail(next, now, &policy);
                            self.state = next;
                            self.conclude(failed, &bridge, &acting).await;
                        }
                    }
                }
                WakeStep::Verified { .. } | WakeStep::Unverified { .. } => {
                    self.state = next;
                    if let WakeStep::Unverified { adapter, .. } = what
                        && let Some(way) = ways.get(adapter)
                    {
                        let why = format!("{}: no reading followed", way.as_str());
                        self.reasons.push(why);
                    }
                    self.take_over(&notes);
                    self.conclude(what, &bridge, &acting).await;
                }
            }
        }
    }

    async fn fire(
        &mut self,
        way: ClientWay,
        bridge: &Bridge,
        acting: &Acting,
        notes: &Notes,
        each: &[Mail],
    ) -> Result<Fired, SessionError> {
        match way {
            // It hears of the mail by itself; an agent in a turn is told by other hooks.
            ClientWay::Hook => {
                let is_busy = each.iter().any(|mail| mail.in_turn);
                Ok(match is_busy || notes.has_waiter() {
                    true => Fired::Done,
                    false => Fired::Failed("no hook of the client waits".into()),
                })
            }
            ClientWay::ClaudeInbox => self.fire_inbox(bridge, acting, notes, each).await,
            ClientWay::CodexQueue => Ok(Fired::Failed("the client is not Codex".into())),
        }
    }

    async fn fire_inbox(
        &mut self,
        bridge: &Bridge,
        acting: &Acting,
        notes: &Notes,
        each: &[Mail],
    ) -> Result<Fired, SessionError> {
        let boot = host::boot();
        let mut told = notes.told(&boot.id);
        if told.bypasses {
            // The client holds what comes from outside there, and takes this server for a
            // child of its own: that is not ours to use without its user's word.
            let why = "the client asks its user for no permission, and is woken by its hook alone";
            return Ok(Fired::Failed(why.into()));
        }
        let inbox = match ClaudeInbox::of(self.client) {
            Ok(inbox) => inbox,
            Err(why) => return Ok(Fired::Failed(why)),
        };
        if !told.wakes_again(millis(boot.now)) {
            let why = format!("it was woken {MOST_WAKES} times within an hour");
            return Ok(Fired::Failed(why));
        }
        let claimed = waking::claim(bridge, acting, each, ClientWay::ClaudeInbox).await?;
        let Some(claimed) = claimed else {
            return Ok(Fired::Elsewhere);
        };
        self.claimed = claimed;
        let news = News::of(each);
        told.tell(news.newest, millis(boot.now));
        // A wake that cannot be noted may be told twice.
        let _ = notes.tell(&told);
        Ok(match inbox.put(&news.text(acting, HOW)).await {
            Ok(()) => Fired::Done,
            Err(why) => Fired::Failed(why),
        })
    }

    /// The hook that claimed a wake has ended with it: what came of it is ours to say.
    fn take_over(&mut self, notes: &Notes) {
        let mut told = notes.told(&host::boot().id);
        if !told.claimed.is_empty() {
            self.claimed.append(&mut told.claimed);
            let _ = notes.tell(&told);
        }
    }

    /// Writes down what came of the try. A row that cannot be ended is taken over by the
    /// next who wakes.
    async fn conclude(&mut self, what: WakeStep, bridge: &Bridge, acting: &Acting) {
        let outcome = match what {
            WakeStep::Verified { .. } => WakeOutcome::Verified,
            WakeStep::Unverified { spent: true, .. } => WakeOutcome::Spent,
            _ => WakeOutcome::Unverified,
        };
        let reason = (outcome != WakeOutcome::Verified).then(|| self.reasons.join("; "));
        let claimed = std::mem::take(&mut self.claimed);
        waking::end(bridge, acting, claimed, outcome, reason).await;
        if outcome != WakeOutcome::Unverified {
            self.reasons.clear();
        }
    }
}

/// Waits for mail that came behind this one, and no longer than until then, since boot.
async fn await_news(
    bridge: &Bridge,
    acting: &Acting,
    mail: Mail,
    until: Option<Duration>,
) -> Result<(), SessionError> {
    let begin = match mail.newest_unread {
        None => Begin::Unread,
        Some(newest) => {
            let sessions = acting.members.iter();
            let each = sessions.map(|one| (one.caller.session.clone(), newest));
            Begin::After(each.collect::<Cursor>())
        }
    };
    let limit = until.map(|until| until.saturating_sub(clock::since_boot()));
    let following = Following {
        begin,
        count: Some(1),
        limit: Some(limit.unwrap_or(AT_MOST).min(AT_MOST)),
        ..Following::default()
    };
    let (sink, refused) = (Box::new(|_| Ok(())), Box::new(|_| ()));
    follow(bridge, &acting.callers(), following, sink, refused).await?;
    Ok(())
}

/// What came of the try to take a way.
enum Fired {
    /// It was taken.
    Done,
    /// Another program is waking the agent.
    Elsewhere,
    /// It cannot be taken, for this reason.
    Failed(String),
}
