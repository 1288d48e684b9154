//! Channels, and who may use them.

use jiff::Timestamp;

use crate::model::session::Conversation;
use crate::model::token::{Token, TokenStorage};
use crate::model::{ConversationId, Label, SessionKey};
#[cfg(doc)]
use crate::store::StoreError;
use crate::store::ops::{callers, conversations};
use crate::store::{Caller, NewConversation, Result, Store, Verified};

impl Store {
    /// Makes conversations, all of them or none. Returns how their tokens are
    /// kept.
    ///
    /// # Errors
    /// [`StoreError::LabelTaken`].
    pub async fn create_conversations(
        &self,
        new: &[NewConversation],
        now: Timestamp,
    ) -> Result<TokenStorage> {
        let new = new.to_vec();
        self.full
            .write("creating conversations", move |transaction| {
                conversations::create(transaction, &new, now)
            })
            .await
    }

    /// Gives an open conversation a label in the place of the one that it has.
    ///
    /// # Errors
    /// [`StoreError::NoConversation`], [`StoreError::Closed`],
    /// [`StoreError::LabelTaken`].
    pub async fn label_conversation(
        &self,
        id: &ConversationId,
        label: &Label,
        now: Timestamp,
    ) -> Result<()> {
        let (id, label) = (id.clone(), label.clone());
        self.full
            .write("labelling a conversation", move |transaction| {
                conversations::label(transaction, &id, &label, now)
            })
            .await
    }

    /// The tokens of both sides, if the store keeps them in the clear.
    ///
    /// # Errors
    /// [`StoreError::NoConversation`], [`StoreError::Closed`].
    pub async fn plain_tokens(&self, id: &ConversationId) -> Result<Option<[Token; 2]>> {
        let id = id.clone();
        self.reads
            .read("reading the tokens of a conversation", move |rows| {
                conversations::plain_tokens(rows, &id)
            })
            .await
    }

    /// All conversations, oldest first.
    pub async fn conversations(&self) -> Result<Vec<Conversation>> {
        self.reads
            .read("listing conversations", |rows| rows.conversations(None))
            .await
    }

    /// One conversation, by id.
    ///
    /// # Errors
    /// [`StoreError::NoConversation`].
    pub async fn conversation(&self, id: &ConversationId) -> Result<Conversation> {
        let id = id.clone();
        self.reads
            .read("reading a conversation", move |rows| {
                conversations::show(rows, &id)
            })
            .await
    }

    /// Moves the end of a conversation to `until`, never to an earlier time.
    /// Returns the end that now holds.
    ///
    /// # Errors
    /// [`StoreError::NoConversation`], [`StoreError::Closed`].
    pub async fn renew_conversation(
        &self,
        id: &ConversationId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Timestamp> {
        let id = id.clone();
        self.full
            .write("renewing a conversation", move |transaction| {
                conversations::renew(transaction, &id, until, now)
            })
            .await
    }

    /// Puts `token` in the place of a session's own, which ends with that.
    /// `presented` is the token that ends, where the session itself asks; an
    /// operator presents none. Returns how the token is kept.
    ///
    /// # Errors
    /// [`StoreError::WrongToken`], [`StoreError::NoConversation`],
    /// [`StoreError::Closed`], [`StoreError::Expired`].
    pub async fn rekey_session(
        &self,
        session: &SessionKey,
        presented: Option<&Token>,
        token: &Token,
        now: Timestamp,
    ) -> Result<TokenStorage> {
        let (session, presented, token) = (session.clone(), presented.cloned(), token.clone());
        self.full
            .write("replacing a token", move |transaction| {
                conversations::rekey(transaction, &session, presented.as_ref(), &token, now)
            })
            .await
    }

    /// Ends a conversation for good, for every reader of the shared tables.
    ///
    /// # Errors
    /// [`StoreError::NoConversation`], [`StoreError::Closed`].
    pub async fn close_conversation(&self, id: &ConversationId, now: Timestamp) -> Result<()> {
        let id = id.clone();
        self.full
            .write("closing a conversation", move |transaction| {
                conversations::close(transaction, &id, now)
            })
            .await
    }

    /// Verifies many callers at once; the answers stand in the order of the question.
    /// Counts as activity of no session.
    ///
    /// # Errors
    /// Only if the store itself failed.
    pub async fn verify(
        &self,
        callers: &[Caller],
        now: Timestamp,
    ) -> Result<Vec<Result<Verified>>> {
        let callers = callers.to_vec();
        self.reads
            .read("verifying credentials", move |rows| {
                callers::verify(rows, &callers, now)
            })
            .await
    }
}
