//! `mcp-bridge doctor wake`: a wake that is tried, from the commit of a message until the
//! agent has read it.
//!
//! What is seen of it is what the store has: the message, who claimed the wake and by
//! which way, the turn that its client reported, and the reading. The first of these
//! that does not come is the gate that failed.

use std::time::Duration;

use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use serde_json::json;

use super::finding::{self, Finding, Level};
use super::width;
use crate::bridge::Bridge;
use crate::cli::completions;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::output::{print, print_json};
use crate::clock;
use crate::exit::Exit;
use crate::model::MessageId;
use crate::model::message::Draft;
use crate::model::session::{SessionView, Status};
use crate::model::standing::Standing;
use crate::model::wake::Mail;
use crate::session::known::to_join;
use crate::session::{NamedSession, session};
use crate::store::Caller;

/// Test whether a message wakes a session's agent
///
/// Sends the session a message that needs no answer and follows each step: which
/// adapter was used, when the turn began, when the agent read the message. If a step
/// fails, the command names it and says what to do.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge -c backend-1/a doctor wake
  mcp-bridge -c team.orchestrator doctor wake backend-2
  mcp-bridge -c backend-1/a doctor wake --timeout 2m --json

The message comes from the session's partner, so the command needs the partner's
credentials. The agent sees a real message and spends a turn on it.

Exit codes: 0 the agent was woken and read the message, 1 it did not.")]
pub(super) struct WakeArgs {
    /// Session to wake; optional if the credentials have only one partner
    #[arg(value_name = "SESSION", add = ArgValueCandidates::new(completions::sessions))]
    session: Option<String>,
    /// Give up after this time
    #[arg(long = "timeout", alias = "for", value_name = "DURATION", default_value = "1m",
          value_parser = humantime::parse_duration)]
    limit: Duration,
}

/// What is said of an agent whose client asks its user something.
const WAITS: &str = "held: the client waits for its user, for a permission or an answer; \
                     the agent is not interrupted";

/// What the agent reads.
const TEXT: &str = "This is a test: does a message wake you? Do nothing and send no answer.";

/// Between two looks: what is measured is a matter of milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Between two looks at who wakes, which reads every session.
const VIEW_EVERY: Duration = Duration::from_millis(250);

/// How long a way may take until it claims the wake.
const CLAIMED_WITHIN: Duration = Duration::from_secs(15);

pub(super) async fn run(args: WakeArgs, context: &Context) -> anyhow::Result<Exit> {
    let (bridge, acting) = context.open_acting().await?;
    let named = match args.session {
        Some(name) => session(&bridge, &name).await?,
        None => match acting.members.as_slice() {
            [only] => NamedSession {
                key: only.caller.session.partner(),
                name: only.partner_name(),
            },
            members => {
                let what = format!(
                    "the credentials have {} sessions: name the session to wake; `mcp-bridge status` lists them",
                    members.len()
                );
                return Err(CliError::Usage(what).into());
            }
        },
    };
    let sender = acting.members.iter();
    let sender = sender.map(|member| &member.caller);
    let mut sender = sender.filter(|caller| caller.session.partner() == named.key);
    let Some(sender) = sender.next() else {
        return Err(CliError::NotThePartner(named.name).into());
    };
    let mut trial = Trial {
        bridge,
        named,
        findings: Vec::new(),
        took: Took::default(),
        waits: false,
        was: None,
    };
    trial.run(sender, args.limit).await?;
    let Trial {
        findings,
        took,
        named,
        bridge,
        ..
    } = trial;
    bridge.close().await;
    let is_well = findings.iter().all(|finding| finding.level < Level::Fail);
    if context.json() {
        print_json(&json!({
            "session": named.key, "name": named.name, "woken": is_well,
            "claimed_ms": took.claimed.map(millis), "turn_ms": took.turn.map(millis),
            "read_ms": took.read.map(millis), "way": took.way, "findings": findings,
        }))?;
    } else {
        print(&finding::page(&findings, width()))?;
    }
    Ok(match is_well {
        true => Exit::Success,
        false => Exit::Failure,
    })
}

/// Whether the session's client says that it waits.
fn waits(view: &SessionView) -> bool {
    view.reported.as_deref() == Some(Status::Waiting.as_str())
}

/// A wake's number, and how it ended: one wake ends like another.
type LastWake = (Option<i64>, Option<String>);

fn last_wake(view: &SessionView) -> LastWake {
    (view.wake_id, view.wake.clone())
}

/// Whether no way is left.
fn is_spent(wake: &str) -> bool {
    wake.contains(": spent")
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

/// How long each step took, from the commit on.
#[derive(Debug, Default)]
struct Took {
    claimed: Option<Duration>,
    way: Option<String>,
    turn: Option<Duration>,
    read: Option<Duration>,
}

struct Trial {
    bridge: Bridge,
    named: NamedSession,
    findings: Vec<Finding>,
    took: Took,
    /// The client waits for its user, as it says.
    waits: bool,
    /// What came of the last wake before, if no way was left then: none is tried at once.
    was: Option<String>,
}

impl Trial {
    async fn run(&mut self, sender: &Caller, limit: Duration) -> anyhow::Result<()> {
        let before = self.mail().await?;
        let view = self.view().await?;
        if !self.is_there(view.as_ref()) {
            return Ok(());
        }
        let wake_before = view.as_ref().map(last_wake).unwrap_or_default();
        self.was = wake_before.1.clone().filter(|wake| is_spent(wake));
        self.waits = view.as_ref().is_some_and(waits);
        if self.waits {
            self.findings.push(Finding::note("turn", WAITS));
        } else if before.in_turn {
            let text = "the agent is in a turn: it is not interrupted, and reads the message when the turn ends";
            self.findings.push(Finding::note("turn", text));
        }
        if before.unread > 0 {
            let count = crate::text::count(before.unread, "message");
            let text =
                format!("{count} unread already: perhaps no new wake comes for the test message");
            self.findings.push(Finding::note("mail", text));
        }
        let draft = Draft::text(TEXT.parse()?);
        let sent = self.bridge.send(sender, &[draft]).await?;
        let begun = clock::since_boot();
        let Some(id) = sent.first().map(|sent| sent.id) else {
            return Ok(());
        };
        let text = format!("message {id} to {}", self.named.name);
        self.findings.push(Finding::ok("sent", text));
        self.watch((before, wake_before), id, begun, limit).await?;
        self.conclude(limit);
        Ok(())
    }

    /// Whether there is an agent to be woken, as far as the store knows.
    fn is_there(&mut self, view: Option<&SessionView>) -> bool {
        let name = &self.named.name;
        let start = format!(
            "in its directory run `mcp-bridge join {}` and `mcp-bridge setup claude`, then start the client there",
            to_join(name)
        );
        let Some(view) = view else {
            let text = format!("{name} is not an open session");
            self.findings.push(Finding::fail("session", text, ""));
            return false;
        };
        let (gone, text) = match view.standing {
            Some(standing @ (Standing::Exited | Standing::Lost)) => (
                true,
                format!("{name} is {}: it has no agent", standing.as_str()),
            ),
            _ if view.client_runs == Some(false) || view.is_stopped() => {
                let client = view.client.as_deref().unwrap_or("its client");
                let pid = view.pid.map(|pid| format!(" (pid {pid})"));
                let pid = pid.unwrap_or_default();
                let (what, remedy) = match (view.client_runs, view.pid) {
                    (Some(false), _) => (
                        "has ended",
                        "start the client again in the session's directory".to_owned(),
                    ),
                    (_, Some(pid)) => (
                        "is stopped (Ctrl-Z, or a signal)",
                        format!("let it go on: `fg` in its terminal, or kill -CONT {pid}"),
                    ),
                    (_, None) => (
                        "is stopped (Ctrl-Z, or a signal)",
                        "let it go on: `fg` in its terminal".to_owned(),
                    ),
                };
                let text = format!("{name}: {client}{pid} {what}");
                self.findings.push(Finding::fail("session", text, remedy));
                return false;
            }
            _ if view.heartbeat.is_none() && view.activity_at.is_none() => {
                (true, format!("{name}: no agent has acted for it yet"))
            }
            _ => {
                let client = view.client.as_deref().unwrap_or("an agent");
                (false, format!("{name}: {client}"))
            }
        };
        self.findings.push(match gone {
            true => Finding::fail("session", text, start),
            false => Finding::ok("session", text),
        });
        !gone
    }

    async fn watch(
        &mut self,
        (before, wake_before): (Mail, LastWake),
        id: MessageId,
        begun: Duration,
        limit: Duration,
    ) -> anyhow::Result<()> {
        let mut viewed = Duration::ZERO;
        loop {
            let mail = self.mail().await?;
            let took = clock::since_boot().saturating_sub(begun);
            if self.took.turn.is_none() && (mail.in_turn || mail.acted_at != before.acted_at) {
                self.took.turn = Some(took);
            }
            let is_read = mail.oldest_unread.is_none_or(|oldest| oldest > id);
            if is_read || took.saturating_sub(viewed) >= VIEW_EVERY {
                viewed = took;
                let view = self.view().await?;
                self.waits = view.as_ref().is_some_and(waits);
                let wake = view.as_ref().map(last_wake).unwrap_or_default();
                if wake != wake_before
                    && let Some(wake) = wake.1
                {
                    self.took.claimed.get_or_insert(took);
                    self.took.way = Some(wake);
                }
            }
            if is_read {
                self.took.turn.get_or_insert(took);
                self.took.read = Some(took);
                return Ok(());
            }
            let way = self.took.way.as_deref();
            if way.is_some_and(is_spent) {
                return Ok(());
            }
            let is_late = self.took.claimed.is_none() && self.took.turn.is_none();
            if took >= limit || is_late && took >= CLAIMED_WITHIN.min(limit) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Says what was seen, up to the first step that did not come.
    fn conclude(&mut self, limit: Duration) {
        let ms = |time: Duration| format!("{} ms", millis(time));
        let limit = humantime::format_duration(limit);
        let Took {
            way, turn, read, ..
        } = &self.took;
        if read.is_none()
            && let Some(way) = way
                .as_ref()
                .or(self.was.as_ref())
                .filter(|way| is_spent(way))
        {
            let remedy = match way.contains("held: ") {
                true => {
                    "do as the reason says; and a hook that waits wakes it all the same: in \
                         its directory run `mcp-bridge setup claude`, and start the client anew"
                }
                false => {
                    "each way says why it failed; a hook needs `mcp-bridge setup claude` in \
                          its directory, and the client started anew"
                }
            };
            self.findings
                .push(Finding::fail("wake", way.clone(), remedy));
            return;
        }
        if read.is_none() && self.waits {
            let remedy = "answer on the screen of the client what it asks: the agent hears of \
                          its mail then";
            self.findings.push(Finding::fail("turn", WAITS, remedy));
            return;
        }
        match (way, turn) {
            (Some(way), _) => self.findings.push(Finding::ok("wake", way.clone())),
            (None, Some(_)) => {
                let text =
                    "no adapter claimed the wake: the agent looked on its own, or follows a watch";
                self.findings.push(Finding::note("wake", text));
            }
            (None, None) => {
                let text = format!(
                    "no adapter tried to wake it within {}",
                    humantime::format_duration(CLAIMED_WITHIN)
                );
                let remedy = "neither the hooks nor the MCP server of its client run: in its directory run `mcp-bridge setup claude`, trust the directory, and restart the client; a daemon that keeps the session needs [wake]";
                self.findings.push(Finding::fail("wake", text, remedy));
                return;
            }
        }
        match (turn, read) {
            (Some(turn), Some(read)) => {
                let text = format!("began {} after the commit", ms(*turn));
                self.findings.push(Finding::ok("turn", text));
                let text = format!("{} after the commit", ms(*read));
                self.findings.push(Finding::ok("read", text));
            }
            (Some(turn), None) => {
                let text = format!("began {} after the commit", ms(*turn));
                self.findings.push(Finding::ok("turn", text));
                let remedy = "the agent had a turn and did not read: make sure that it has the tool check_messages and the permission to use it";
                let text = format!("not within {limit}");
                self.findings.push(Finding::fail("read", text, remedy));
            }
            (None, _) => {
                let remedy = "the client accepted the wake but started no turn: look at its screen; it may wait for a permission or for its user";
                let text = format!("no turn began within {limit}");
                self.findings.push(Finding::fail("turn", text, remedy));
            }
        }
    }

    async fn mail(&self) -> anyhow::Result<Mail> {
        let key = std::slice::from_ref(&self.named.key);
        let mail = self.bridge.unread(key).await?;
        Ok(mail.into_iter().next().unwrap_or_default())
    }

    async fn view(&self) -> anyhow::Result<Option<SessionView>> {
        let views = self.bridge.sessions(Duration::ZERO).await?;
        Ok(views.into_iter().find(|view| view.key == self.named.key))
    }
}
