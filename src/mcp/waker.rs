//! The second way to an idle agent. Its client's hook wakes it first; a client was seen to
//! drop that without a word, and then no hook waits until its next turn. This server runs
//! as long as its client does: it looks whether mail led to anything, and where it did
//! not, takes the next way into the client.
//!
//! What to do is decided by `model::wake`, as for a daemon. A wake is verified by a fetch
//! and by nothing else; each try is a row of the store, so that it is not made twice.

use std::fmt::Write as _;
use std::time::Duration;

use super::agent::Agent;
use crate::api::follow::{Begin, Cursor};
use crate::bridge::Bridge;
use crate::clients::{self, Addressee, Fired, Text, Way};
use crate::clock;
use crate::host;
use crate::model::process::ProcessId;
use crate::model::wake::{
    ClientWay, Mail, WakeOutcome, WakePolicy, WakeState, WakeStep, fail, step,
};
use crate::session::news::{newest, pointer, together};
use crate::session::notes::{AgentNote, Claimed, Notes, millis, most_wakes};
use crate::session::waking::{self, Begun, Unclaimed};
use crate::session::{Acting, Following, SessionError, follow};

/// Decides with the patience of the way that is under way, or next. The pauses after all
/// of them failed are as long as those after which the hook reminds its agent.
fn policy(ways: &[&dyn Way], state: WakeState) -> WakePolicy {
    let place = match state {
        WakeState::Due { adapter, .. } | WakeState::Fired { adapter, .. } => adapter,
        WakeState::Quiet | WakeState::BackingOff { .. } => 0,
    };
    WakePolicy {
        adapters: ways.len(),
        verify_within: ways.get(place).map_or(AT_MOST, |way| way.patience()),
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

/// How long after a look an agent that was in a turn is looked at again: at first, as its
/// end may be reported this moment, and at most.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const BUSY: Duration = Duration::from_secs(1);

/// The way to the mail, as this server calls it.
const HOW: &str = "with the tool check_messages";

/// How long one look at credentials and client holds.
const AT_MOST: Duration = Duration::from_secs(60);

/// The same while nothing comes and a daemon pushes what does: it says as well when a token
/// is replaced or a conversation closed.
const PUSHED: Duration = Duration::from_secs(180);

/// Wakes the agent of this client as long as it runs.
pub(super) async fn run(agent: Agent, client: ProcessId) {
    tokio::time::sleep(SETTLES).await;
    let mut waker = Waker {
        client,
        state: WakeState::Quiet,
        claimed: Vec::new(),
        reasons: Vec::new(),
        busy: FIRST_LOOK,
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
    /// How long an agent in a turn is left alone now.
    busy: Duration,
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
        let ways = clients::ways(self.client, &agent.client().name);
        if ways.is_empty() {
            tokio::time::sleep(AT_MOST).await;
            return Ok(());
        }
        let bridge = agent.bridge().await?;
        loop {
            let policy = policy(ways, self.state);
            let sessions = acting.members.iter();
            let sessions: Vec<_> = sessions.map(|one| one.caller.session.clone()).collect();
            let each = bridge.unread(&sessions).await?;
            let mail = together(&each);
            let to = To {
                bridge: &bridge,
                acting: &acting,
                notes: &notes,
                each: &each,
                mail,
            };
            self.look_up(ways, mail);
            // It may have been read before this server looked.
            waking::end_read(&bridge, (&acting, &notes), mail.oldest_unread).await;
            let now = clock::since_boot();
            let (next, what) = step(self.state, mail, now, &policy);
            let adapter = match what {
                WakeStep::Rest { until } => {
                    (self.state, self.busy) = (next, FIRST_LOOK);
                    return await_news(&bridge, &acting, mail, until).await;
                }
                WakeStep::Fire { adapter, .. }
                | WakeStep::Verified { adapter }
                | WakeStep::Unverified { adapter, .. } => adapter,
            };
            let Some(way) = ways.get(adapter) else {
                return Ok(());
            };
            if !matches!(what, WakeStep::Fire { .. }) {
                self.take_over(&notes);
                self.state = next;
                self.conclude(&to, *way, what, "the agent did not read")
                    .await;
                continue;
            }
            let told = to.told();
            let whom = to.addressee(&told, self.client, agent);
            let unclaimed = match adapter + 1 == ways.len() {
                true => Unclaimed::Made,
                false => Unclaimed::PassedOver,
            };
            let fired = self.fire((*way, unclaimed), (&whom, &told), &to).await?;
            let (why, adapters) = match fired {
                Fired::Done => {
                    self.state = next;
                    continue;
                }
                Fired::Busy => {
                    tokio::time::sleep(self.busy).await;
                    self.busy = (self.busy * 2).min(BUSY);
                    return Ok(());
                }
                Fired::Later => {
                    tokio::time::sleep(PAUSE).await;
                    return Ok(());
                }
                Fired::Failed(why) => (why, policy.adapters),
                // As if it were the last one.
                Fired::Held(why) => (format!("held: {why}"), adapter + 1),
            };
            let (next, failed) = fail(next, now, &WakePolicy { adapters, ..policy });
            self.state = next;
            self.conclude(&to, *way, failed, &why).await;
        }
    }

    /// Mail that came behind what the agent left unread is worth a try of its own, where
    /// no hook waits for it.
    fn look_up(&mut self, ways: &[&dyn Way], mail: Mail) {
        if let WakeState::BackingOff { mark, .. } = self.state
            && mail.newest_unread > Some(mark)
            && ways.iter().all(|way| way.kind() != ClientWay::Hook)
        {
            self.state = WakeState::Quiet;
        }
    }

    async fn fire(
        &mut self,
        (way, unclaimed): (&dyn Way, Unclaimed),
        (whom, before): (&Addressee, &AgentNote),
        to: &To<'_>,
    ) -> Result<Fired, SessionError> {
        if let Err(instead) = way.gate(whom).await {
            return Ok(instead);
        }
        // No other program may have written to it since that was looked at.
        let is_due = |told: &AgentNote| told.told_at == before.told_at;
        let (text, noted) = match self.claim((way.kind(), unclaimed), to, is_due).await? {
            Err(instead) => return Ok(instead),
            Ok(claimed) => claimed,
        };
        let fired = way.put(whom, &text).await;
        if fired == Fired::Done {
            return Ok(fired);
        }
        // Kept, the agent hears of it when it would be reminded.
        let _ = to.notes.change(&host::boot().id, |told| {
            if told.told_at == noted.told_at {
                told.untell(before);
            }
        });
        if matches!(fired, Fired::Busy | Fired::Later) {
            let claimed = std::mem::take(&mut self.claimed);
            waking::end(to.bridge, to.acting, claimed, WakeOutcome::Abandoned, None).await;
        }
        Ok(fired)
    }

    /// Claims the wake, and notes that the agent hears of the mail now. Returns the
    /// text for it.
    async fn claim(
        &mut self,
        way: (ClientWay, Unclaimed),
        to: &To<'_>,
        is_due: impl FnOnce(&AgentNote) -> bool,
    ) -> Result<Result<(Text, AgentNote), Fired>, SessionError> {
        let (who, what) = ((to.acting, to.notes), (to.each, newest(&to.mail)));
        let told = match waking::begin(to.bridge, who, what, way, is_due).await? {
            Begun::Here { claimed, told } => {
                self.claimed = claimed;
                told
            }
            Begun::Elsewhere => return Ok(Err(Fired::Later)),
            Begun::TooOften => {
                let why = format!("it was woken {} times within an hour", most_wakes());
                return Ok(Err(Fired::Failed(why)));
            }
            Begun::UnknownWay => {
                let why = "the daemon is older than this program, and does not know it";
                return Ok(Err(Fired::Failed(why.into())));
            }
        };
        let mut words = pointer(&to.mail, to.acting, HOW);
        // Claude Code drops a text that is the same as the one before.
        if told.reminders > 0 {
            let _ = write!(words, " This is reminder {}.", told.reminders);
        }
        let wake = self.claimed.first().map_or_else(
            || format!("mcp-bridge-{:x}", fastrand::u64(..)),
            |one| format!("mcp-bridge-wake-{}-{}", one.wake.id, one.wake.claim),
        );
        Ok(Ok((Text { wake, words }, told)))
    }

    /// Takes over what the hook claimed, for a try that came to nothing; not for one about
    /// later mail, which the hook may have claimed this moment.
    fn take_over(&mut self, notes: &Notes) {
        if let WakeState::Fired { mark: upto, .. } = self.state {
            self.claimed
                .extend(waking::taken(notes, |mark| mark <= upto));
        }
    }

    /// Writes down what came of the try, and `why` where that was nothing. A row that
    /// cannot be ended is taken over by the next program that wakes.
    async fn conclude(&mut self, to: &To<'_>, way: &dyn Way, what: WakeStep, why: &str) {
        let outcome = match what {
            WakeStep::Verified { .. } => WakeOutcome::Verified,
            WakeStep::Unverified { spent: true, .. } => WakeOutcome::Spent,
            _ => WakeOutcome::Unverified,
        };
        if outcome != WakeOutcome::Verified {
            self.reasons.push(format!("{}: {why}", way.kind().as_str()));
        }
        let reason = (outcome != WakeOutcome::Verified).then(|| self.reasons.join("; "));
        let mut claimed = std::mem::take(&mut self.claimed);
        if outcome == WakeOutcome::Spent && claimed.is_empty() {
            // No way could even be tried: the daemon alerts its operator of what stands in
            // the store.
            let claim = waking::claim(to.bridge, to.acting, to.each, way.kind()).await;
            claimed = claim.ok().flatten().unwrap_or_default();
        }
        waking::end(to.bridge, to.acting, claimed, outcome, reason).await;
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
    let longest = if bridge.is_door() { PUSHED } else { AT_MOST };
    let following = Following {
        begin,
        count: Some(1),
        limit: Some(limit.unwrap_or(longest).min(longest)),
        ..Following::default()
    };
    let (sink, refused) = (Box::new(|_| Ok(())), Box::new(|_| ()));
    follow(bridge, &acting.callers(), following, sink, refused).await?;
    Ok(())
}

/// Who is woken, and for what.
struct To<'a> {
    bridge: &'a Bridge,
    acting: &'a Acting,
    notes: &'a Notes,
    /// The mail of each of the agent's sessions.
    each: &'a [Mail],
    /// That of all of them.
    mail: Mail,
}

impl To<'_> {
    fn told(&self) -> AgentNote {
        self.notes.told(&host::boot().id)
    }

    /// What is known of the agent now.
    fn addressee(&self, told: &AgentNote, client: ProcessId, agent: &Agent) -> Addressee {
        let newest = newest(&self.mail);
        let now = millis(host::boot().now);
        let was_told = newest <= told.newest && !told.reminded_in(now).is_zero();
        let was_woken = told.was_woken_for(newest, now);
        Addressee {
            client,
            version: agent.client().version,
            threads: agent.threads(told),
            in_turn: self.mail.in_turn,
            bypasses: told.bypasses,
            has_waiter: self.notes.has_waiter(),
            was_woken,
            was_told,
        }
    }
}
