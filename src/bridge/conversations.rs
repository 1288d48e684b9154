//! Conversations: made, named, renewed, given other tokens, closed.

use jiff::Timestamp;

use super::{Bridge, actor};
use crate::api::operations::{
    CloseConversation, Conversations, CreateConversations, LabelConversation, OneConversation,
    PlainTokens, Presented, Rekey, RenewConversation,
};
use crate::model::session::Conversation;
use crate::model::token::{Token, TokenStorage};
use crate::model::{ConversationId, Label, SessionKey};
use crate::store::{Caller, NewConversation, Result};

impl Bridge {
    /// Makes conversations, all of them or none. Returns how their tokens are kept.
    ///
    /// # Errors
    /// A label that is taken.
    pub async fn create_conversations(&self, new: &[NewConversation]) -> Result<TokenStorage> {
        let conversations = new.to_vec();
        self.ask_openly(CreateConversations { conversations }).await
    }

    /// Gives an open conversation a label in the place of the one that it has.
    ///
    /// # Errors
    /// No such conversation, or a closed one; a label that is taken.
    pub async fn label_conversation(&self, id: &ConversationId, label: &Label) -> Result<()> {
        let (conversation, label) = (id.clone(), label.clone());
        self.ask_as_operator(LabelConversation {
            conversation,
            label,
        })
        .await
    }

    /// The tokens of both sides, if the store keeps them in the clear.
    ///
    /// # Errors
    /// No such conversation, or a closed one.
    pub async fn plain_tokens(&self, id: &ConversationId) -> Result<Option<[Token; 2]>> {
        let conversation = id.clone();
        let tokens = self.ask_as_operator(PlainTokens { conversation }).await?;
        Ok(tokens.map(|tokens| tokens.map(|Presented(token)| token)))
    }

    /// All conversations, oldest first.
    ///
    /// # Errors
    /// If the store failed.
    pub async fn conversations(&self) -> Result<Vec<Conversation>> {
        self.ask_openly(Conversations {}).await
    }

    /// One conversation.
    ///
    /// # Errors
    /// No such conversation.
    pub async fn conversation(&self, id: &ConversationId) -> Result<Conversation> {
        let conversation = id.clone();
        self.ask_openly(OneConversation { conversation }).await
    }

    /// Moves the end of a conversation to `until`, never to an earlier time. Returns
    /// the end that now holds.
    ///
    /// # Errors
    /// No such conversation, or a closed one; another's.
    pub async fn renew_conversation(
        &self,
        id: &ConversationId,
        until: Timestamp,
    ) -> Result<Timestamp> {
        let conversation = id.clone();
        let renew = RenewConversation {
            conversation,
            until,
        };
        self.ask_by_right(renew).await
    }

    /// Puts `token` in the place of a session's own, which ends with that. `presented`
    /// is the token that ends, where the session itself asks; an operator presents
    /// none. Returns how the token is kept.
    ///
    /// # Errors
    /// A wrong token; no such conversation, or one that has ended.
    pub async fn rekey_session(
        &self,
        session: &SessionKey,
        presented: Option<&Token>,
        token: &Token,
    ) -> Result<TokenStorage> {
        let by = presented.map(|presented| Caller {
            session: session.clone(),
            token: presented.clone(),
        });
        let (session, token) = (session.clone(), token.clone());
        self.ask(Rekey { session, token }, actor(by.as_ref())).await
    }

    /// Closes a conversation for good.
    ///
    /// # Errors
    /// No such conversation, or a closed one; another's.
    pub async fn close_conversation(&self, id: &ConversationId) -> Result<()> {
        let conversation = id.clone();
        self.ask_by_right(CloseConversation { conversation }).await
    }
}
