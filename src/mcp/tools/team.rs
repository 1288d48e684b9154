//! Tools about agents: the partner, the team, the agent itself.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Asked, Refusal, Tool, Who};
use crate::clock;
use crate::model::session::{SessionView, Status, session_name};
use crate::model::{SessionKey, Side};
use crate::text;
use crate::text::shown::shown;

/// Younger than this, a sign of life counts as one for the Python bridge's prompts.
const ALIVE_SECONDS: i64 = 120;

/// A session, as agents see it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Seen {
    name: String,
    conversation_id: String,
    session_id: String,
    role: String,
    /// Its own last status.
    status: Option<String>,
    /// Its last sign of life: a heartbeat, or a call of its own.
    last_heartbeat: Option<Timestamp>,
    /// How old that is.
    age_seconds: Option<i64>,
    /// Whether that is younger than two minutes.
    alive: bool,
    /// Messages that it has not read.
    unread: u64,
    /// Tasks that it has.
    tasks: u64,
}

impl Seen {
    fn of(view: &SessionView, now: Timestamp) -> Self {
        let beat = view.heartbeat.as_ref().map(|beat| beat.at);
        let last = beat.max(view.activity_at);
        let age = last.map(|last| now.duration_since(last).as_secs().max(0));
        Self {
            name: session_name(view.label.as_ref(), &view.key),
            conversation_id: view.key.conversation.to_string(),
            session_id: view.key.side.to_string(),
            role: view.role.clone(),
            status: view.reported.clone(),
            last_heartbeat: last,
            age_seconds: age,
            alive: age.is_some_and(|age| age < ALIVE_SECONDS),
            unread: view.unread,
            tasks: view.open_tasks,
        }
    }

    fn line(&self, now: Timestamp) -> String {
        let heard = match self.last_heartbeat {
            Some(at) => format!("heard {}", text::relative(at, now)),
            None => "never heard".to_owned(),
        };
        let status = self.status.as_deref().unwrap_or("no status");
        format!(
            "{} ({}): {}, {heard}, {}, {}",
            shown(&self.name),
            shown(&self.role),
            shown(status),
            text::count(self.unread, "unread message"),
            text::count(self.tasks, "task")
        )
    }
}

/// All sessions.
async fn all(asked: &Asked<'_>) -> Result<Vec<SessionView>, Refusal> {
    let bridge = asked.agent.bridge().await?;
    Ok(bridge.sessions(std::time::Duration::ZERO).await?)
}

/// These sessions. Most agents have one: no other needs to be looked at for it.
async fn these(asked: &Asked<'_>, sessions: &[SessionKey]) -> Result<Vec<Seen>, Refusal> {
    let found = match sessions {
        [one] => {
            let bridge = asked.agent.bridge().await?;
            bridge.sessions_of(&one.conversation).await?
        }
        _ => all(asked).await?,
    };
    Ok(seen(&found, |view| sessions.contains(&view.key)))
}

fn seen(sessions: &[SessionView], wanted: impl Fn(&SessionView) -> bool) -> Vec<Seen> {
    let now = clock::now();
    let wanted = sessions.iter().filter(|view| wanted(view));
    wanted.map(|view| Seen::of(view, now)).collect()
}

fn lines(sessions: &[Seen], none: &str) -> String {
    let now = clock::now();
    match sessions.is_empty() {
        true => none.to_owned(),
        false => sessions.iter().map(|one| one.line(now) + "\n").collect(),
    }
}

/// Several sessions.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Sessions {
    sessions: Vec<Seen>,
}

/// Reports the agent's own state.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct UpdateMyStatus {
    /// Your status now.
    status: Status,
    #[serde(flatten)]
    who: Who,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Updated {
    status: Status,
}

impl Tool for UpdateMyStatus {
    const NAME: &'static str = "update_my_status";
    const DESCRIPTION: &'static str = "Tells your partner and the operator your status: working, waiting (for a permission or an answer), blocked, or complete.";
    type Structured = Updated;

    async fn run(self, asked: &Asked<'_>) -> Result<(String, Updated), Refusal> {
        let bridge = asked.agent.bridge().await?;
        let status = self.status;
        for caller in self.who.acting(asked)?.callers() {
            bridge.say_status(&caller, status).await?;
        }
        let text = format!("Your status is {} now.", status.as_str());
        Ok((text, Updated { status }))
    }
}

/// Looks at the partner.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct CheckPartnerStatus {
    #[serde(flatten)]
    who: Who,
}

impl Tool for CheckPartnerStatus {
    const NAME: &'static str = "check_partner_status";
    const DESCRIPTION: &'static str = "Shows whether the agent that you work with is alive, its own status, and when it was last active.";
    const READS: bool = true;
    type Structured = Sessions;

    async fn run(self, asked: &Asked<'_>) -> Result<(String, Sessions), Refusal> {
        let acting = self.who.acting(asked)?;
        let callers = acting.callers().into_iter();
        let partners: Vec<SessionKey> = callers.map(|one| one.session.partner()).collect();
        let sessions = these(asked, &partners).await?;
        let text = lines(&sessions, "Your conversation has ended: tell your user.");
        Ok((text, Sessions { sessions }))
    }
}

/// Lists the team.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ListWorkers {
    /// Only of this role.
    #[serde(default)]
    role: Option<String>,
    /// Taken for the sake of agents that name themselves everywhere.
    #[serde(flatten)]
    _who: Who,
}

impl Tool for ListWorkers {
    const NAME: &'static str = "list_workers";
    const DESCRIPTION: &'static str = "Lists the agents of this store that do tasks: name, role, status, last activity, unread messages and tasks.";
    const READS: bool = true;
    type Structured = Sessions;

    async fn run(self, asked: &Asked<'_>) -> Result<(String, Sessions), Refusal> {
        let has_role =
            |view: &SessionView| self.role.as_ref().is_none_or(|role| view.role == *role);
        let sessions = seen(&all(asked).await?, |view| {
            view.key.side == Side::B && has_role(view)
        });
        let text = lines(&sessions, "No agents.");
        Ok((text, Sessions { sessions }))
    }
}

/// Says who the caller is.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct MyStatus {
    #[serde(flatten)]
    who: Who,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Myself {
    sessions: Vec<Seen>,
    /// The store, as credentials name it.
    store: String,
    /// How it is reached: `daemon`, or `embedded` if this program opens the file.
    way: &'static str,
    /// The version of this program.
    version: Value,
}

impl Tool for MyStatus {
    const NAME: &'static str = "my_status";
    const DESCRIPTION: &'static str =
        "Shows your session, your unread messages and tasks, and how the store is reached.";
    const READS: bool = true;
    type Structured = Myself;

    async fn run(self, asked: &Asked<'_>) -> Result<(String, Myself), Refusal> {
        let bridge = asked.agent.bridge().await?;
        let acting = self.who.acting(asked)?;
        let own: Vec<SessionKey> = acting
            .callers()
            .into_iter()
            .map(|one| one.session)
            .collect();
        let sessions = these(asked, &own).await?;
        let (way, words) = match bridge.is_door() {
            true => ("daemon", "through its daemon"),
            false => ("embedded", "by its file: no daemon serves it"),
        };
        let mut text = lines(&sessions, "Your conversation has ended: tell your user.");
        text.push_str(&format!("store {}, {words}\n", bridge.name()));
        let myself = Myself {
            sessions,
            store: bridge.name(),
            way,
            version: env!("CARGO_PKG_VERSION").into(),
        };
        Ok((text, myself))
    }
}
