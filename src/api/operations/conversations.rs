//! Conversations: made, named, renewed, closed.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ensure_role;
use crate::api::{At, Operation, Quota, Rights, Route};
use crate::clock;
use crate::model::session::Conversation;
use crate::model::token::{Token, TokenStorage, presented};
use crate::model::wire::objects;
use crate::model::{ConversationId, Label, SessionKey, Side};
use crate::store::{Caller, NewConversation, Result, StoreError};

/// Makes conversations, all of them or none. Returns how their tokens are kept.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateConversations {
    /// Their ids and tokens are the caller's to choose, at random.
    #[serde(deserialize_with = "objects")]
    pub conversations: Vec<NewConversation>,
}

impl Operation for CreateConversations {
    const ROUTE: Route = Route::post(
        "conversations/create",
        Rights::ANYONE,
        "Creates conversations; the daemon's configuration limits how many.",
    )
    .kept();
    type Answer = TokenStorage;

    fn takes(&self) -> Option<(Quota, u64)> {
        Some((Quota::Conversations, self.conversations.len() as u64))
    }

    async fn run(self, at: At<'_>) -> Result<TokenStorage> {
        let new = &self.conversations;
        for conversation in new {
            ensure_role(&conversation.role_a)?;
            ensure_role(&conversation.role_b)?;
        }
        let made = at.store.create_conversations(new, clock::now()).await;
        match made {
            Err(StoreError::IdTaken(_) | StoreError::LabelTaken(_))
                if at.is_repeated && are_made(at, new).await? =>
            {
                at.store.token_storage().await
            }
            made => made,
        }
    }
}

/// Whether all of these are there, with these tokens: no other program has them.
async fn are_made(at: At<'_>, new: &[NewConversation]) -> Result<bool> {
    let sides = new.iter().flat_map(|one| {
        [(Side::A, &one.token_a), (Side::B, &one.token_b)].map(|(side, token)| Caller {
            session: SessionKey::new(one.id.clone(), side),
            token: token.clone(),
        })
    });
    let sides: Vec<Caller> = sides.collect();
    let verdicts = at.store.verify(&sides, clock::now()).await?;
    Ok(verdicts.iter().all(is_right))
}

/// Whether a token is right, also where its conversation has ended.
fn is_right<T>(verdict: &Result<T>) -> bool {
    matches!(
        verdict,
        Ok(_) | Err(StoreError::Expired { .. } | StoreError::Closed(_))
    )
}

/// All conversations, oldest first, those that have ended too.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Conversations {}

impl Operation for Conversations {
    const ROUTE: Route = Route::get("conversations", Rights::ANYONE, "Lists conversations.").long();
    type Answer = Vec<Conversation>;

    async fn run(self, at: At<'_>) -> Result<Vec<Conversation>> {
        at.store.conversations().await
    }
}

/// One conversation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneConversation {
    /// Which.
    pub conversation: ConversationId,
}

impl Operation for OneConversation {
    const ROUTE: Route = Route::post("conversation", Rights::ANYONE, "Shows a conversation.");
    type Answer = Conversation;

    async fn run(self, at: At<'_>) -> Result<Conversation> {
        at.store.conversation(&self.conversation).await
    }
}

/// Gives an open conversation a label in the place of the one that it has.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelConversation {
    /// Which.
    pub conversation: ConversationId,
    /// What people call it from now on.
    pub label: Label,
}

impl Operation for LabelConversation {
    const ROUTE: Route = Route::post(
        "conversation/label",
        Rights::OPERATOR,
        "Labels a conversation.",
    );
    type Answer = ();

    async fn run(self, at: At<'_>) -> Result<()> {
        let now = clock::now();
        at.store
            .label_conversation(&self.conversation, &self.label, now)
            .await
    }
}

/// The tokens of both sides, `a` first, if the store keeps them in the clear.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlainTokens {
    /// Of which conversation.
    pub conversation: ConversationId,
}

/// A token that travels to an operator.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Presented(
    #[serde(with = "presented")]
    #[schemars(with = "presented::Shape")]
    pub Token,
);

impl Operation for PlainTokens {
    const ROUTE: Route = Route::post(
        "conversation/tokens",
        Rights::OPERATOR,
        "Shows the tokens of a conversation, if the store keeps them in the clear.",
    );
    type Answer = Option<[Presented; 2]>;

    async fn run(self, at: At<'_>) -> Result<Self::Answer> {
        let tokens = at.store.plain_tokens(&self.conversation).await?;
        Ok(tokens.map(|tokens| tokens.map(Presented)))
    }
}

/// Moves the end of a conversation, never to an earlier time. Returns the end that
/// now holds.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewConversation {
    /// Which.
    pub conversation: ConversationId,
    /// The end.
    pub until: Timestamp,
}

impl Operation for RenewConversation {
    const ROUTE: Route = Route::post(
        "conversation/renew",
        Rights::EITHER,
        "Renews a conversation.",
    )
    .kept();
    type Answer = Timestamp;

    async fn run(self, at: At<'_>) -> Result<Timestamp> {
        ensure_party::<Self>(at, &self.conversation).await?;
        let now = clock::now();
        at.store
            .renew_conversation(&self.conversation, self.until, now)
            .await
    }
}

/// Closes a conversation for good.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseConversation {
    /// Which.
    pub conversation: ConversationId,
}

impl Operation for CloseConversation {
    const ROUTE: Route = Route::post(
        "conversation/close",
        Rights::EITHER,
        "Closes a conversation for good.",
    )
    .kept();
    type Answer = ();

    async fn run(self, at: At<'_>) -> Result<()> {
        ensure_party::<Self>(at, &self.conversation).await?;
        let closed = at
            .store
            .close_conversation(&self.conversation, clock::now());
        match closed.await {
            Err(StoreError::Closed(_)) if at.is_repeated => Ok(()),
            closed => closed,
        }
    }
}

/// Gives a session another token: the old one ends at once. Returns how the new one
/// is kept.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rekey {
    /// Whose.
    #[serde(flatten)]
    pub session: SessionKey,
    /// The new one.
    #[serde(with = "presented")]
    #[schemars(with = "presented::Shape")]
    pub token: Token,
}

impl Operation for Rekey {
    const ROUTE: Route = Route::post(
        "conversation/rekey",
        Rights::EITHER,
        "Replaces the token of a session; the old token is invalid at once.",
    )
    .kept();
    type Answer = TokenStorage;

    async fn run(self, at: At<'_>) -> Result<TokenStorage> {
        // The first time may have ended the token that comes with the second one.
        if at.is_repeated {
            let new = Caller {
                session: self.session.clone(),
                token: self.token.clone(),
            };
            let verdicts = at.store.verify(&[new], clock::now()).await?;
            if verdicts.iter().all(Result::is_ok) {
                return at.store.token_storage().await;
            }
        }
        let caller = at.verified::<Self>().await?;
        if let Some(caller) = caller
            && caller.session != self.session
        {
            return Err(At::refuse::<Self>(
                &caller.session,
                "a session can change only its own token",
            ));
        }
        let presented = caller.map(|caller| &caller.token);
        at.store
            .rekey_session(&self.session, presented, &self.token, clock::now())
            .await
    }
}

/// Refuses a session of another conversation.
async fn ensure_party<O: Operation>(at: At<'_>, conversation: &ConversationId) -> Result<()> {
    match at.verified::<O>().await? {
        Some(caller) if caller.session.conversation != *conversation => Err(At::refuse::<O>(
            &caller.session,
            "a session can do that only with its own conversation",
        )),
        _ => Ok(()),
    }
}
