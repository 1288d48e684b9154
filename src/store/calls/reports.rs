//! What people ask about.

use jiff::Timestamp;

use crate::clock;
use crate::model::ConversationId;
use crate::model::rate::RateLimits;
use crate::model::session::SessionView;
use crate::model::token::TokenStorage;
use crate::store::ops::audit;
use crate::store::ops::settings::{self, Setting};
use crate::store::ops::status;
use crate::store::{
    AuditCursor, AuditEntry, AuditFilter, AuditPage, DaemonView, Result, Status, Store, StoreCheck,
};

impl Store {
    /// What `status` shows, as of one commit.
    pub async fn status(&self, now: Timestamp) -> Result<Status> {
        self.reads
            .read("reading its status", move |rows| status::status(rows, now))
            .await
    }

    /// Every session of every conversation that is open, and of those that
    /// ended within `since`.
    pub async fn sessions(&self, since: Timestamp) -> Result<Vec<SessionView>> {
        self.reads
            .read("listing sessions", move |rows| rows.sessions(since, None))
            .await
    }

    /// The same of one conversation.
    pub async fn sessions_of(
        &self,
        conversation: &ConversationId,
        since: Timestamp,
    ) -> Result<Vec<SessionView>> {
        let of = conversation.clone();
        self.reads
            .read("listing sessions", move |rows| {
                rows.sessions(since, Some(&of))
            })
            .await
    }

    /// Daemons that are known, by name.
    pub async fn daemons(&self) -> Result<Vec<DaemonView>> {
        self.reads
            .read("listing daemons", |rows| rows.daemons())
            .await
    }

    /// The newest audit rows, newest last.
    pub async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>> {
        let filter = filter.clone();
        self.reads
            .read("reading the audit log", move |rows| rows.audited(&filter))
            .await
    }

    /// What a filter admits behind a cursor, oldest first; without one, the newest.
    pub async fn audit_page(
        &self,
        filter: &AuditFilter,
        behind: Option<AuditCursor>,
    ) -> Result<AuditPage> {
        let filter = filter.clone();
        self.reads
            .read("reading the audit log", move |rows| {
                audit::page(rows, &filter, behind)
            })
            .await
    }

    /// The limits that every sender on this store keeps.
    pub async fn rate_limits(&self) -> Result<RateLimits> {
        self.reads
            .read("reading the limits", settings::rate_limits)
            .await
    }

    /// Sets them.
    pub async fn set_rate_limits(&self, limits: RateLimits) -> Result<()> {
        let settings = vec![
            ("rate.per_minute", limits.per_minute.to_string()),
            ("rate.per_hour", limits.per_hour.to_string()),
            ("rate.per_day", limits.per_day.to_string()),
        ];
        self.order("setting the limits", settings).await
    }

    /// How new tokens are kept.
    pub async fn token_storage(&self) -> Result<TokenStorage> {
        self.reads
            .read("reading how tokens are kept", settings::token_storage)
            .await
    }

    /// Sets how new tokens are kept.
    pub async fn set_token_storage(&self, storage: TokenStorage) -> Result<()> {
        let settings = vec![("token_storage", storage.as_str().to_owned())];
        self.order("setting the token storage", settings).await
    }

    /// Sets whether rows of the shared tables are deleted in an adopted store.
    pub async fn set_prune_foreign(&self, prune: bool) -> Result<()> {
        let word = if prune { "on" } else { "off" };
        let settings = vec![(settings::PRUNE_FOREIGN, word.to_owned())];
        self.order("setting what is deleted", settings).await
    }

    /// A thorough look: integrity, versions, sizes.
    pub async fn check(&self) -> Result<StoreCheck> {
        self.reads.read("checking it", |rows| rows.check()).await
    }

    /// Settings that an operator orders.
    async fn order(&self, doing: &'static str, settings: Vec<Setting>) -> Result<()> {
        let now = clock::now();
        self.full
            .write(doing, move |transaction| {
                settings::order(transaction, &settings, now)
            })
            .await
    }
}
