//! What a hook does, and what it answers.

use std::time::Duration;

use serde_json::json;

use super::event::{Call, Event};
use super::helper;
use super::plan::{self, Plan, Tell};
use super::saying;
use crate::advice;
use crate::bridge::Bridge;
use crate::host;
use crate::liveness;
use crate::model::client::Client;
use crate::model::health::Turn;
use crate::model::process::ProcessId;
use crate::model::wake::Mail;
use crate::session::news::{names, newest, pointer, together};
use crate::session::notes::{AgentNote, Notes, Saying, millis};
use crate::session::registering;
use crate::session::{Access, Acting};

/// How long the store may take, unless [`PATIENCE_VARIABLE`] says otherwise. It stands
/// in the way of a turn.
const PATIENCE: Duration = Duration::from_millis(30);

/// Another time, for machines that are slower than their users.
const PATIENCE_VARIABLE: &str = "MCP_BRIDGE_HOOK_PATIENCE";

/// In which Claude Code tells its hooks its process.
const CLIENT_VARIABLE: &str = "CLAUDE_PID";

/// Does what the call asks for, and returns the JSON to answer, if any.
pub(super) async fn answer(access: &Access, call: &Call) -> anyhow::Result<Option<String>> {
    let plan = Plan::of(call);
    if !plan.says {
        return Ok(None);
    }
    let Some(acting) = access.acting_if_any()? else {
        return Ok(None);
    };
    let Some(notes) = Notes::of(&acting) else {
        return Ok(None);
    };
    let boot = host::boot();
    let now = millis(boot.now);
    let told = notes.told(&boot.id);
    if call.is_helper {
        let work = helper::acts(access, &acting, plan, &told, now);
        // What it did is not worth to be said later.
        if let Ok(Ok(true)) = tokio::time::timeout(patience(), work).await {
            notes.change(&boot.id, |told| {
                told.helped_at = now;
                told.waits = plan.waits;
            })?;
        }
        return Ok(None);
    }
    let last = told.turn.map(|(turn, _)| turn);
    let turn = plan.turn.or(last).unwrap_or(Turn::Outside);
    if call.event == Event::Activity
        && let Some((Turn::Inside, at)) = told.turn
        && now.saturating_sub(at) < saying::ACTIVITY_EVERY_MS
    {
        return Ok(None);
    }
    let begins = call.event == Event::SessionStart;
    let saying = Saying { turn, at: now };
    let work = ask(access, &acting, &notes, plan, (saying, begins), &told);
    let heard = match tokio::time::timeout(patience(), work).await {
        Ok(Ok(heard)) => heard,
        Ok(Err(error)) if is_refusal(&error) => {
            let text = format!("mcp-bridge: {error}\nTell your user.");
            let first = call.event == Event::SessionStart;
            return Ok(first.then(|| context(call, &text)));
        }
        Ok(Err(_)) | Err(_) => {
            saying::later(&notes, access, saying)?;
            return Ok(None);
        }
    };
    // As it is noted now: another program may have written to the agent meanwhile.
    Ok(notes.change(&boot.id, |told| {
        let answer = tell(call, plan.tell, &acting, &heard, told, now);
        note(call, plan, turn, &heard, told, now);
        answer
    })?)
}

/// The answer's text for the agent. Notes that the agent got it.
fn tell(
    call: &Call,
    what: Tell,
    acting: &Acting,
    heard: &Heard,
    told: &mut AgentNote,
    now: u64,
) -> Option<String> {
    let (mail, newest) = (&heard.mail, newest(&heard.mail));
    let answer = match what {
        Tell::Introduction => Some(context(call, &introduction(acting, mail))),
        Tell::Unread if mail.unread > 0 && !told.was_woken_for(newest, now) => {
            Some(context(call, &pointer(mail, acting, &how())))
        }
        Tell::News if newest > told.newest => Some(context(call, &pointer(mail, acting, &how()))),
        // The store heard that the turn goes on.
        Tell::GoOn if heard.goes_on => {
            told.blocks += 1;
            Some(
                json!({ "decision": "block", "reason": pointer(mail, acting, &how()) }).to_string(),
            )
        }
        _ => None,
    };
    if call.event == Event::Prompt || mail.unread == 0 {
        told.blocks = 0;
    }
    if answer.is_some() {
        told.tell(newest, now);
    }
    answer
}

/// Notes what the call said of the client.
fn note(call: &Call, plan: Plan, turn: Turn, heard: &Heard, told: &mut AgentNote, now: u64) {
    (told.waits, told.asks) = (plan.waits, false);
    told.bypasses = call.bypasses.unwrap_or(told.bypasses);
    if let Some(thread) = &call.thread {
        told.thread.clone_from(thread);
    }
    if told.turn.is_none_or(|(_, at)| at <= now) {
        told.turn = Some((if heard.goes_on { Turn::Inside } else { turn }, now));
    }
}

fn patience() -> Duration {
    let said = std::env::var(PATIENCE_VARIABLE).ok();
    let said = said.and_then(|said| humantime::parse_duration(&said).ok());
    said.unwrap_or(PATIENCE)
}

/// What a wake and an answer call the way to the mail.
pub(super) fn how() -> String {
    advice::as_given("with the tool check_messages (or the command `mcp-bridge check`)")
}

fn calls(client: ProcessId) -> bool {
    liveness::own().is_some_and(|own| liveness::is_below(own, client))
}

/// What the store said.
struct Heard {
    /// For all sessions of the agent.
    mail: Mail,
    goes_on: bool,
}

async fn ask(
    access: &Access,
    acting: &Acting,
    notes: &Notes,
    plan: Plan,
    (saying, begins): (Saying, bool),
    told: &AgentNote,
) -> anyhow::Result<Heard> {
    let bridge = access.open().await?;
    anyhow::ensure!(
        saying::catch_up(notes, &bridge, acting).await?,
        "another program reports the messages"
    );
    let goes_on = plan.tell == Tell::GoOn && goes_on(&bridge, acting, told).await?;
    let turn = if goes_on { Turn::Inside } else { saying.turn };
    let saying = Saying { turn, ..saying };
    let mail = together(&saying::say(&bridge, acting, saying).await?);
    saying::say_waiting(&bridge, acting, plan.waits, told).await?;
    if begins && let Some(client) = client() {
        // Its tools say it, too, and say more: this is for a client that has none of ours.
        let _ = registering::register(&bridge, acting, &client, true).await;
    }
    Ok(Heard { mail, goes_on })
}

/// The client that calls this hook, where that says which process it is. Another client
/// that it started has the variable, too.
fn client() -> Option<Client> {
    let pid = std::env::var(CLIENT_VARIABLE).ok()?.parse().ok()?;
    liveness::of(pid).filter(|client| calls(*client))?;
    Some(registering::client("claude-code", None, Some(pid)))
}

async fn goes_on(bridge: &Bridge, acting: &Acting, told: &AgentNote) -> anyhow::Result<bool> {
    let sessions = acting.members.iter();
    let sessions: Vec<_> = sessions.map(|one| one.caller.session.clone()).collect();
    let mail = together(&bridge.unread(&sessions).await?);
    let newest = mail.newest_unread.map(|id| id.0);
    Ok(plan::goes_on(newest, told.newest, told.blocks))
}

/// Whether the store refuses this session, as opposed to being away.
pub(super) fn is_refusal(error: &anyhow::Error) -> bool {
    let store = error.downcast_ref::<crate::store::StoreError>();
    store.is_some_and(crate::store::StoreError::is_refusal)
}

fn introduction(acting: &Acting, mail: &Mail) -> String {
    let who = names(acting);
    let mut text = format!(
        "mcp-bridge: you are {who}. Other agents send you messages; read them {}.",
        how()
    );
    if mail.unread > 0 {
        text.push('\n');
        text.push_str(&pointer(mail, acting, &how()));
    }
    text
}

fn context(call: &Call, text: &str) -> String {
    json!({ "hookSpecificOutput": {
        "hookEventName": call.name, "additionalContext": text } })
    .to_string()
}
