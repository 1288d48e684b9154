//! Conversations: each call hands its operation to an executor.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::fault::Fault;
use super::rows::{newest_audit, party};
use crate::model::session::Conversation;
use crate::model::token::{Token, TokenStorage};
use crate::model::{ConversationId, Label};
use crate::store::ops::{callers, conversations};
use crate::store::{Caller, Conversations, NewConversation, Result, Verified};

#[async_trait]
impl Conversations for SqliteStore {
    async fn create_conversations(
        &self,
        new: &[NewConversation],
        now: Timestamp,
    ) -> Result<TokenStorage> {
        let new = new.to_vec();
        self.full
            .write("making conversations", move |transaction| {
                conversations::create(transaction, &new, now)
            })
            .await
    }

    async fn label_conversation(
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

    async fn plain_tokens(&self, id: &ConversationId) -> Result<Option<[Token; 2]>> {
        let id = id.clone();
        self.reads
            .read("reading the tokens of a conversation", move |rows| {
                conversations::plain_tokens(rows, &id)
            })
            .await
    }

    async fn conversations(&self) -> Result<Vec<Conversation>> {
        self.reads
            .read("listing conversations", |rows| rows.conversations(None))
            .await
    }

    async fn conversation(&self, id: &ConversationId) -> Result<Conversation> {
        let id = id.clone();
        self.reads
            .read("reading a conversation", move |rows| {
                conversations::show(rows, &id)
            })
            .await
    }

    async fn renew_conversation(
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

    async fn close_conversation(&self, id: &ConversationId, now: Timestamp) -> Result<()> {
        let id = id.clone();
        self.full
            .write("closing a conversation", move |transaction| {
                conversations::close(transaction, &id, now)
            })
            .await
    }

    async fn verify(&self, callers: &[Caller], now: Timestamp) -> Result<Vec<Result<Verified>>> {
        let callers = callers.to_vec();
        self.reads
            .read("verifying credentials", move |rows| {
                callers::verify(rows, &callers, now)
            })
            .await
    }
}

impl SqliteStore {
    /// [`callers::authenticate`] for the calls that still hold their own SQL.
    pub(super) async fn authenticate(
        &self,
        connection: &mut SqliteConnection,
        caller: &Caller,
        now: Timestamp,
    ) -> std::result::Result<Verified, Fault> {
        let party = party(connection, &caller.session)
            .await?
            .ok_or_else(|| callers::nowhere(self.path(), &caller.session.conversation))?;
        let now = match callers::set_time(&party, now) {
            Some(now) => now,
            None => callers::row_time(newest_audit(connection).await?, now),
        };
        Ok(callers::judge(party, caller, now)?)
    }
}
