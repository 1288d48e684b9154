//! The senders: our own store, and a program that does not know us.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::lines::Stamps;
use super::orders::Orders;
use super::scratch::Login;
use mcp_bridge::clock;
use mcp_bridge::doorbell::Bell;
use mcp_bridge::model::message::{Body, Draft};
use mcp_bridge::model::timestamp;
use mcp_bridge::store::sqlite::{Create, Durability, SqliteStore};
use mcp_bridge::store::{Caller, Store};

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Writer {
    /// The product's `send`.
    Ours,
    /// The Python bridge's statements over a connection made for each message,
    /// as that bridge does; rings nothing.
    Foreign,
    /// The same over one connection.
    ForeignKept,
    /// The same statements over one connection, and the doorbell after them. The same
    /// work as our own writer, with only the bell of our code.
    Ringing,
}

/// Where the time of a row begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum From {
    /// When COMMIT had returned, on the thread that made it.
    Commit,
    /// When the writer called `send`.
    Send,
}

/// A writer's job.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WriterJob {
    pub(super) store: PathBuf,
    pub(super) login: Login,
    pub(super) writer: Writer,
    /// `synchronous=FULL`, or NORMAL.
    pub(super) full: bool,
    pub(super) from: From,
    pub(super) messages: u32,
    pub(super) gap: Duration,
    pub(super) size: u32,
    /// Where the times of the commits go.
    pub(super) stamps: PathBuf,
}

/// What a writer says when it is done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Done {
    /// Id of its last message.
    pub(super) last: i64,
}

/// Sends unmeasured messages until the order to go, then the measured ones,
/// and says so.
pub(super) async fn run(job: WriterJob, mut orders: Orders) -> anyhow::Result<()> {
    let mut hand = Hand::new(&job).await?;
    let text = text(job.size);
    loop {
        hand.send(&text).await?;
        tokio::select! {
            order = orders.recv() => match order {
                Some(_) => break,
                None => return Ok(()),
            },
            () = pause(job.gap) => {}
        }
    }
    let mut stamps = Stamps::default();
    for _ in 0..job.messages {
        pause(job.gap).await;
        stamps.add(hand.send(&text).await?);
        if orders.is_closed() {
            return Ok(());
        }
    }
    stamps.save(&job.stamps)?;
    super::print_json(&Done {
        last: stamps.last(),
    })?;
    while orders.recv().await.is_some() {}
    hand.close().await;
    Ok(())
}

/// About the gap: in step with a poller's clock a writer would measure the
/// phase between the two.
async fn pause(gap: Duration) {
    tokio::time::sleep(gap.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
}

fn text(size: u32) -> String {
    "All tests pass; the parser is next. "
        .chars()
        .cycle()
        .take(size as usize)
        .collect()
}

enum Hand {
    Ours(Box<Store>, Caller, From),
    Foreign {
        path: PathBuf,
        kept: Option<Box<Connection>>,
        bell: Option<Bell>,
        login: Login,
        full: bool,
    },
}

impl Hand {
    async fn new(job: &WriterJob) -> anyhow::Result<Self> {
        let durability = if job.full {
            Durability::Full
        } else {
            Durability::Normal
        };
        Ok(match job.writer {
            Writer::Ours => Self::Ours(
                Box::new(
                    SqliteStore::open_with_durability(&job.store, Create::No, durability).await?,
                ),
                job.login.caller()?,
                job.from,
            ),
            kind => Self::Foreign {
                path: job.store.clone(),
                kept: (kind != Writer::Foreign)
                    .then(|| connect(&job.store, job.full).map(Box::new))
                    .transpose()?,
                bell: (kind == Writer::Ringing).then(|| Bell::new(beside(&job.store, "-bell"))),
                login: job.login.clone(),
                full: job.full,
            },
        })
    }

    /// Sends one; its id, and when its time begins: mostly, when COMMIT had returned.
    async fn send(&mut self, text: &str) -> anyhow::Result<(i64, u64)> {
        match self {
            Self::Ours(store, caller, from) => {
                let begun = clock::monotonic_nanos();
                let draft = Draft::text(text.parse::<Body>()?);
                let sent = store.send(caller, &[draft], clock::now()).await?;
                let id = sent.first().context("nothing was sent")?.id;
                let at = match from {
                    From::Commit => store.committed_at(),
                    From::Send => begun,
                };
                Ok((id.0, at))
            }
            Self::Foreign {
                path,
                kept,
                bell,
                login,
                full,
            } => {
                let sent = match kept {
                    Some(connection) => insert(connection, login, text),
                    None => insert(&connect(path, *full)?, login, text),
                }?;
                if let Some(bell) = bell {
                    bell.ring();
                }
                Ok(sent)
            }
        }
    }

    async fn close(self) {
        if let Self::Ours(store, ..) = self {
            store.close().await;
        }
    }
}

fn beside(store: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", store.display()))
}

fn connect(path: &Path, full: bool) -> anyhow::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    let level = if full { "FULL" } else { "NORMAL" };
    connection.pragma_update(None, "synchronous", level)?;
    Ok(connection)
}

/// What the Python bridge writes for a message.
fn insert(connection: &Connection, login: &Login, text: &str) -> anyhow::Result<(i64, u64)> {
    let (now, conversation) = (timestamp::to_text(clock::now()), login.conversation());
    connection.execute_batch("BEGIN")?;
    connection
        .prepare_cached(
            "INSERT INTO messages (conversation_id, from_session, to_session, message, metadata, timestamp)
             VALUES (?1, 'a', 'b', ?2, '{}', ?3)",
        )?
        .execute((conversation.as_str(), text, &now))?;
    let id = connection.last_insert_rowid();
    connection
        .prepare_cached(
            "INSERT INTO audit_log (conversation_id, session_id, action, details, timestamp)
             VALUES (?1, 'a', 'send_message', '{}', ?2)",
        )?
        .execute((conversation.as_str(), &now))?;
    connection.execute_batch("COMMIT")?;
    Ok((id, clock::monotonic_nanos()))
}
