//! Tools for messages. The names, arguments and limits of the Python bridge's are kept,
//! so that prompts that were written for it go on working.

use std::time::Duration;

use rmcp::model::ProgressNotificationParam;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::{Asked, Refusal, Tool, Who};
use crate::bridge::{Begin, Bridge};
use crate::clock;
use crate::model::message::{ActionType, Draft, MAX_FILES};
use crate::session::framing::{MailJson, NOTICE, SentJson, Styles};
use crate::session::mail::{self, Fetched, Live};
use crate::session::{Following, SessionError, follow, made};
use crate::text::shown::shown;

/// Messages that one answer holds at most.
const PAGE: u32 = 100;

/// How long a call may wait: clients give up after a minute.
const LONGEST_WAIT: u64 = 50;

/// How often a client that asked for it hears that a call still waits.
const PROGRESS: Duration = Duration::from_secs(10);

/// Makes a conversation.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct CreateConversation {
    /// What you do, for example `orchestrator`; 3 to 100 characters.
    my_role: String,
    /// What your partner does, for example `backend worker`; 3 to 100 characters.
    partner_role: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Created {
    conversation_id: String,
    session_id: &'static str,
    token: String,
    partner_session_id: &'static str,
    partner_token: String,
    expires_at: jiff::Timestamp,
    credentials: Option<[String; 2]>,
}

impl Tool for CreateConversation {
    const NAME: &'static str = "create_conversation";
    const DESCRIPTION: &'static str = "Creates a conversation between you and another agent. Returns your token and your partner's token: give the partner its token over a channel that you trust.";
    type Structured = Created;

    async fn run(self, asked: &Asked<'_>) -> Result<(String, Created), Refusal> {
        for (name, role) in [
            ("my_role", &self.my_role),
            ("partner_role", &self.partner_role),
        ] {
            if !(3..=100).contains(&role.chars().count()) {
                let what = format!("{name}: between 3 and 100 characters");
                return Err(Refusal::arguments(what));
            }
        }
        let bridge = asked.agent.bridge().await?;
        let made = made::conversation(&bridge, &self.my_role, &self.partner_role).await?;
        let [token, partner_token] = made
            .tokens
            .each_ref()
            .map(|token| token.expose().to_owned());
        let (id, end) = (made.id.to_string(), made.expires_at);
        let mut text = format!(
            "Conversation {id} is created. It ends at {end}, unless it is renewed.\n\
             You: session_id a, token {token}\nYour partner: session_id b, token {partner_token}\n"
        );
        let files = made
            .files
            .map(|files| files.map(|file| file.display().to_string()));
        if let Some([own, partners]) = &files {
            text.push_str(&format!(
                "Credentials: {own} is yours, {partners} is your partner's. After `mcp-bridge join FILE` in its directory, an agent needs no token in its calls.\n"
            ));
        }
        let created = Created {
            conversation_id: id,
            session_id: "a",
            token,
            partner_session_id: "b",
            partner_token,
            expires_at: end,
            credentials: files,
        };
        Ok((text, created))
    }
}

/// Sends a message.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct SendToPartner {
    /// The text; at most 50,000 characters.
    message: String,
    /// Kind of message, for its reader.
    #[serde(default)]
    #[schemars(extend("enum" = ["question", "info", "proposal", "blocked", "complete", null]))]
    action_type: Option<String>,
    /// Files that the message is about; at most 20.
    #[serde(default)]
    files_involved: Option<Vec<String>>,
    /// Only if you have several partners: the name of the one, as list_workers shows it.
    #[serde(default)]
    to: Option<String>,
    /// Your own id for the message: sent twice with the same id, it is stored once. Use it to repeat a call without an answer.
    #[serde(default)]
    client_id: Option<String>,
    #[serde(flatten)]
    who: Who,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SentOut {
    id: i64,
    to: String,
    /// Kinds of secrets that were removed from the text.
    redacted: Vec<Value>,
}

impl Tool for SendToPartner {
    const NAME: &'static str = "send_to_partner";
    const DESCRIPTION: &'static str =
        "Sends a message to the agent that you work with. Secrets are removed before it is stored.";
    type Structured = SentOut;

    async fn run(self, asked: &Asked<'_>) -> Result<(String, SentOut), Refusal> {
        let files = self.files_involved.unwrap_or_default();
        if files.len() > MAX_FILES {
            let what = format!(
                "files_involved: {} files; {MAX_FILES} are allowed",
                files.len()
            );
            return Err(Refusal::arguments(what));
        }
        let action = self.action_type.as_deref().map(str::parse::<ActionType>);
        let client_id = self.client_id.as_deref().map(str::parse);
        let draft = Draft {
            client_id: client_id.transpose().map_err(Refusal::arguments)?,
            action_type: action.transpose().map_err(Refusal::arguments)?,
            files,
            ..Draft::text(self.message.parse().map_err(Refusal::arguments)?)
        };
        let bridge = asked.agent.bridge().await?;
        let mut acting = self.who.acting(asked)?;
        if acting.members.len() > 1 || self.to.is_some() {
            acting.learn_labels(&bridge).await?;
        }
        let member = acting.sender_to(self.to.as_deref())?;
        let sent = bridge.send(&member.caller, &[draft]).await?;
        let Some(sent) = sent.first() else {
            return Err(Refusal::arguments(
                "the bridge did not report whether the message was stored",
            ));
        };
        let json = serde_json::to_value(SentJson::new(sent, &member.caller.session, None));
        let redacted = json.map_err(Refusal::arguments)?["redacted"].take();
        let redacted = redacted.as_array().cloned().unwrap_or_default();
        let to = member.partner_name();
        let mut text = format!("Message {} is sent to {}.", sent.id, shown(&to));
        if !redacted.is_empty() {
            let kinds = redacted
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>();
            text.push_str(&format!(" Removed from it: {}.", kinds.join(", ")));
        }
        let id = sent.id.0;
        Ok((text, SentOut { id, to, redacted }))
    }
}

/// Reads mail.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct CheckMessages {
    #[serde(flatten)]
    who: Who,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Read {
    /// How to read them.
    notice: &'static str,
    /// Oldest first: id, conversation, label, from, to, message, metadata, sent_at.
    messages: Vec<Value>,
    /// Number of messages that are still unread: call again.
    remaining: u64,
}

impl Tool for CheckMessages {
    const NAME: &'static str = "check_messages";
    const DESCRIPTION: &'static str = "Reads your unread messages from other agents and marks them as read. Call it when mcp-bridge reports messages, and before you end your work.";
    type Structured = Read;

    async fn run(self, asked: &Asked<'_>) -> Result<(String, Read), Refusal> {
        let bridge = asked.agent.bridge().await?;
        let verified = mail::verify(&bridge, self.who.acting(asked)?).await?;
        read(asked, &bridge, verified).await
    }
}

async fn read(
    asked: &Asked<'_>,
    bridge: &Bridge,
    (live, refused): (Vec<Live>, Vec<mail::Refusal>),
) -> Result<(String, Read), Refusal> {
    let fetched = mail::fetch(bridge, live, PAGE).await?;
    let mut text = match (fetched.mail.is_empty(), fetched.remaining) {
        (true, 0) => "No unread messages.".to_owned(),
        // They come again if that call does not end well.
        (true, held) => format!(
            "No unread messages, except {held} that another call of this session is reading: \
             call check_messages again if they do not appear there."
        ),
        (false, _) => Styles::default().mail(&fetched, clock::now()),
    };
    if !fetched.mail.is_empty() && fetched.remaining > 0 {
        text.push_str(&format!(
            "\n{} more: call check_messages again.",
            fetched.remaining
        ));
    }
    for one in refused.iter().chain(&fetched.refused) {
        text.push_str(&format!(
            "\n{}: {}",
            one.member.name(),
            one.error.headline()
        ));
    }
    let structured = structured(&fetched)?;
    // An answer that is not wanted any more is not written, and its mail comes again.
    if !asked.context.ct.is_cancelled() {
        asked.agent.hand_out(asked.context.id.clone(), fetched);
    }
    Ok((text, structured))
}

fn structured(fetched: &Fetched) -> Result<Read, Refusal> {
    let mut json = serde_json::to_value(MailJson::from(fetched)).map_err(Refusal::arguments)?;
    Ok(Read {
        notice: NOTICE,
        messages: match json["messages"].take() {
            Value::Array(messages) => messages,
            _ => Vec::new(),
        },
        remaining: fetched.remaining,
    })
}

/// Waits for mail, and reads it.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct WaitForMessages {
    /// Seconds to wait, 50 at most.
    #[serde(default)]
    timeout: Option<f64>,
    #[serde(flatten)]
    who: Who,
}

impl Tool for WaitForMessages {
    const NAME: &'static str = "wait_for_messages";
    const DESCRIPTION: &'static str = "Waits for a message from another agent and reads it. Returns as soon as a message comes, or after the timeout (50 seconds at most) without one. Use it when you cannot continue without an answer.";
    type Structured = Read;

    async fn run(self, asked: &Asked<'_>) -> Result<(String, Read), Refusal> {
        let most = Duration::from_secs(LONGEST_WAIT);
        let limit = match self.timeout {
            None => most,
            Some(seconds) => Duration::try_from_secs_f64(seconds)
                .map_err(|_| Refusal::arguments("timeout: at most 50 seconds, and not negative"))?
                .min(most),
        };
        let bridge = asked.agent.bridge().await?;
        let begun = Instant::now();
        let mut verified = mail::verify(&bridge, self.who.acting(asked)?).await?;
        while !verified.0.is_empty() {
            let left = limit.saturating_sub(begun.elapsed());
            let ended = tokio::select! {
                ended = wait(&bridge, &verified.0, left) => ended,
                never = progress(asked) => match never {},
                () = asked.context.ct.cancelled() => break,
            };
            let Err(error) = ended else { break };
            // One of several whose conversation ends as the wait begins does not stand in
            // the others' way; the reading reports later ends.
            let again = mail::verify(&bridge, self.who.acting(asked)?).await?;
            if again.0.len() >= verified.0.len() {
                return Err(error.into());
            }
            verified = again;
        }
        read(asked, &bridge, verified).await
    }
}

/// Waits for a message to one of these sessions.
async fn wait(bridge: &Bridge, live: &[Live], limit: Duration) -> Result<(), SessionError> {
    let callers: Vec<_> = live.iter().map(|one| one.member.caller.clone()).collect();
    let following = Following {
        begin: Begin::Unread,
        count: Some(1),
        limit: Some(limit),
        ..Following::default()
    };
    let (sink, refused) = (Box::new(|_| Ok(())), Box::new(|_| ()));
    follow(bridge, &callers, following, sink, refused).await?;
    Ok(())
}

/// Tells a client that asked for it, again and again, that the call still waits.
async fn progress(asked: &Asked<'_>) -> std::convert::Infallible {
    let mut told = 0.0;
    loop {
        tokio::time::sleep(PROGRESS).await;
        if let Some(token) = asked.context.meta.get_progress_token() {
            told += PROGRESS.as_secs_f64();
            let progress = ProgressNotificationParam::new(token, told);
            // A client that does not take it is found by its pipe.
            let _ = asked.context.peer.notify_progress(progress).await;
        }
    }
}
