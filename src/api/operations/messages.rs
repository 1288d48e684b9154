//! Messages: sent, fetched, acknowledged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MOST_SESSIONS, ensure_few};
use crate::api::{At, Operation, Rights, Route};
use crate::clock;
use crate::model::door::DoorError;
use crate::model::message::{Draft, Message};
use crate::model::session::Status;
use crate::model::token::{Token, presented};
use crate::model::wake::Mail;
use crate::model::wire::objects;
use crate::model::{MessageId, SessionKey};
use crate::store::fetches::Reader;
use crate::store::{Caller, FetchId, Fetched, Result, Sent, StoreError, Verified};

/// The most messages of one answer.
const PAGE: u32 = 1_000;

/// Messages for the partner, in order, all or none.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// The messages.
    #[serde(deserialize_with = "objects")]
    pub messages: Vec<Draft>,
}

impl Operation for Send {
    const ROUTE: Route =
        Route::once("send", Rights::SESSION, "Sends messages to the partner.").kept();
    type Answer = Vec<Sent>;

    /// Under an id of the sender's own a message is stored once.
    fn is_repeatable(&self) -> bool {
        self.messages.iter().all(|draft| draft.client_id.is_some())
    }

    async fn run(self, at: At<'_>) -> Result<Vec<Sent>> {
        let from = at.caller::<Self>()?;
        at.store.send(from, &self.messages, clock::now()).await
    }
}

/// Unread messages, oldest first. They are marked read, and are handed out again
/// unless `confirm` follows.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    /// Maximum number.
    #[serde(default = "most")]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: u32,
}

fn most() -> u32 {
    100
}

/// Maximum number of messages; the next call returns the rest.
fn page(limit: u32) -> Result<u32> {
    match limit {
        0 => Err(DoorError::Malformed(format!(
            "limit: 0 is out of range; choose from 1 to {PAGE}"
        ))
        .into()),
        limit => Ok(limit.min(PAGE)),
    }
}

impl Operation for Fetch {
    const ROUTE: Route = Route::post("fetch", Rights::SESSION, "Fetches unread messages.")
        .long()
        .kept();
    type Answer = Fetched;

    async fn run(self, at: At<'_>) -> Result<Fetched> {
        let caller = at.caller::<Self>()?;
        let limit = page(self.limit)?;
        // What one agent's process is about to show is not handed to another one.
        let reader = at.process.map_or_else(Reader::own, Reader::of);
        at.store
            .fetch_for(&reader, caller, limit, clock::now())
            .await
    }
}

/// The reply to a fetch was written: the session's next call acknowledges what was
/// in it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// The fetch.
    pub fetch: FetchId,
}

impl Operation for Confirm {
    const ROUTE: Route = Route::post(
        "confirm",
        Rights::SESSION,
        "Confirms that the answer to a fetch arrived.",
    );
    type Answer = ();

    async fn run(self, at: At<'_>) -> Result<()> {
        let by = &at.caller::<Self>()?.session;
        at.verified::<Self>().await?;
        at.store.fetch_written(by, &self.fetch, clock::now()).await
    }
}

/// Unread messages, and nothing is marked.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Peek {
    /// Only what came behind this one.
    #[serde(default)]
    pub after: Option<MessageId>,
    /// Maximum number.
    #[serde(default = "most")]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: u32,
}

impl Operation for Peek {
    const ROUTE: Route = Route::post("peek", Rights::SESSION, "Shows unread messages.").long();
    type Answer = Vec<Message>;

    async fn run(self, at: At<'_>) -> Result<Vec<Message>> {
        let caller = at.caller::<Self>()?;
        let limit = page(self.limit)?;
        at.store.peek(caller, self.after, limit, clock::now()).await
    }
}

/// Messages that are acknowledged at once, at most: no other writer waits long for it.
const MOST_ACKNOWLEDGED: usize = 10_000;

/// Acknowledges messages, all or none. Returns how many were not acknowledged before.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// The messages.
    #[schemars(length(max = 10_000))]
    pub messages: Vec<MessageId>,
}

impl Operation for Acknowledge {
    const ROUTE: Route = Route::post("acknowledge", Rights::SESSION, "Acknowledges messages.");
    type Answer = u64;

    async fn run(self, at: At<'_>) -> Result<u64> {
        let caller = at.caller::<Self>()?;
        ensure_few("messages", &self.messages, MOST_ACKNOWLEDGED)?;
        let now = clock::now();
        at.store.acknowledge(caller, &self.messages, now).await
    }
}

/// The session did something; nothing is acknowledged by that.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Touch {
    /// What its agent says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

impl Operation for Touch {
    const ROUTE: Route = Route::post("touch", Rights::SESSION, "Notes that the session acts.");
    type Answer = ();

    async fn run(self, at: At<'_>) -> Result<()> {
        let caller = at.caller::<Self>()?;
        match self.status {
            Some(status) => at.store.say_status(caller, status, clock::now()).await,
            None => at.store.touch(caller, clock::now()).await,
        }
    }
}

/// How much unread mail sessions have, in the order of the question.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unread {
    /// The sessions.
    #[schemars(length(max = 1_000))]
    pub sessions: Vec<SessionKey>,
}

impl Operation for Unread {
    const ROUTE: Route = Route::post(
        "unread",
        Rights::ANYONE,
        "Counts the unread messages of sessions.",
    )
    .long();
    type Answer = Vec<Mail>;

    async fn run(self, at: At<'_>) -> Result<Vec<Mail>> {
        ensure_few("sessions", &self.sessions, MOST_SESSIONS)?;
        at.store.mail(&self.sessions).await
    }
}

/// A session and its token.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// The session.
    #[serde(flatten)]
    pub session: SessionKey,
    /// Its token.
    #[serde(with = "presented")]
    #[schemars(with = "presented::Shape")]
    pub token: Token,
}

impl From<Caller> for Credential {
    fn from(caller: Caller) -> Self {
        let Caller { session, token } = caller;
        Self { session, token }
    }
}

impl From<Credential> for Caller {
    fn from(credential: Credential) -> Self {
        let Credential { session, token } = credential;
        Self { session, token }
    }
}

/// Whether tokens are right, in the order of the question.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// Sessions and their tokens.
    #[serde(deserialize_with = "objects")]
    #[schemars(length(max = 1_000))]
    pub sessions: Vec<Credential>,
}

/// Whether a token is right.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is.
    Verified(Verified),
    /// It is not, and why: what the program `mcp-bridge` makes its own error of.
    Refused(#[schemars(with = "serde_json::Value")] Box<StoreError>),
}

impl Operation for Verify {
    const ROUTE: Route = Route::post("verify", Rights::ANYONE, "Verifies tokens.").long();
    type Answer = Vec<Verdict>;

    async fn run(self, at: At<'_>) -> Result<Vec<Verdict>> {
        ensure_few("sessions", &self.sessions, MOST_SESSIONS)?;
        let callers: Vec<Caller> = self.sessions.into_iter().map(Caller::from).collect();
        let verdicts = at.store.verify(&callers, clock::now()).await?;
        let verdicts = verdicts.into_iter().map(|verdict| match verdict {
            Ok(verified) => Verdict::Verified(verified),
            Err(error) => Verdict::Refused(Box::new(error)),
        });
        Ok(verdicts.collect())
    }
}
