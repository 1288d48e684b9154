//! Conversations: made, named, renewed, given other tokens, closed.

use jiff::Timestamp;

use super::Bridge;
use crate::clock;
use crate::model::session::Conversation;
use crate::model::token::{Token, TokenStorage};
use crate::model::{ConversationId, Label, SessionKey};
use crate::store::{NewConversation, Result};

impl Bridge {
    /// Makes conversations, all of them or none. Returns how their tokens are kept.
    ///
    /// # Errors
    /// A label that is taken.
    pub async fn create_conversations(&self, new: &[NewConversation]) -> Result<TokenStorage> {
        self.store.create_conversations(new, clock::now()).await
    }

    /// Gives an open conversation a label in the place of the one that it has.
    ///
    /// # Errors
    /// No such conversation, or a closed one; a label that is taken.
    pub async fn label_conversation(&self, id: &ConversationId, label: &Label) -> Result<()> {
        self.store.label_conversation(id, label, clock::now()).await
    }

    /// The tokens of both sides, if the store keeps them in the clear.
    ///
    /// # Errors
    /// No such conversation, or a closed one.
    pub async fn plain_tokens(&self, id: &ConversationId) -> Result<Option<[Token; 2]>> {
        self.store.plain_tokens(id).await
    }

    /// All conversations, oldest first.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn conversations(&self) -> Result<Vec<Conversation>> {
        self.store.conversations().await
    }

    /// One conversation.
    ///
    /// # Errors
    /// No such conversation.
    pub async fn conversation(&self, id: &ConversationId) -> Result<Conversation> {
        self.store.conversation(id).await
    }

    /// Moves the end of a conversation to `until`, never to an earlier time.
    /// Returns the end that now holds.
    ///
    /// # Errors
    /// No such conversation, or a closed one.
    pub async fn renew_conversation(
        &self,
        id: &ConversationId,
        until: Timestamp,
    ) -> Result<Timestamp> {
        self.store.renew_conversation(id, until, clock::now()).await
    }

    /// Puts `token` in the place of a session's own, which ends with that.
    /// `presented` is the token that ends, where the session itself asks; an
    /// operator presents none. Returns how the token is kept.
    ///
    /// # Errors
    /// A wrong token; no such conversation, or one that has ended.
    pub async fn rekey_session(
        &self,
        session: &SessionKey,
        presented: Option<&Token>,
        token: &Token,
    ) -> Result<TokenStorage> {
        let now = clock::now();
        self.store
            .rekey_session(session, presented, token, now)
            .await
    }

    /// Ends a conversation for good.
    ///
    /// # Errors
    /// No such conversation, or a closed one.
    pub async fn close_conversation(&self, id: &ConversationId) -> Result<()> {
        self.store.close_conversation(id, clock::now()).await
    }
}
