//! Those who receive: the path of `watch`, the daemon's, and a poller. The
//! bare floor is in [`super::floor`].

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::lines::Lines;
use super::orders::Orders;
use super::scratch::Login;
use mcp_bridge::bridge::{Begin, Bridge};
use mcp_bridge::doorbell::Mode;
use mcp_bridge::session::framing::MessageJson;
use mcp_bridge::session::{Following, follow};
use mcp_bridge::store::sqlite::{Create, SqliteStore};
use mcp_bridge::store::{Arrival, SharedStore};

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reader {
    /// What `mcp-bridge watch` does.
    Watch,
    /// What the daemon does: ids, handed to a task of the runtime.
    Daemon,
    /// inotify, lock probe, one row, one thread; none of our code.
    Floor,
    /// A question every 100 ms.
    Poll,
}

/// A reader's job.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReaderJob {
    pub(super) store: PathBuf,
    pub(super) login: Login,
    pub(super) reader: Reader,
    /// Where the times of the lines go.
    pub(super) stamps: PathBuf,
}

/// Reads until the parent has enough, then writes the times down.
pub(super) async fn run(job: ReaderJob, mut orders: Orders) -> anyhow::Result<()> {
    let ended = async move { while orders.recv().await.is_some() {} };
    match job.reader {
        Reader::Watch => watch(&job, ended).await,
        Reader::Daemon => daemon(&job, ended).await,
        Reader::Poll => poll(&job, ended).await,
        Reader::Floor => {
            let lines = super::floor::run(&job.store, &job.login, ended).await?;
            lines.save(&job.stamps)
        }
    }
}

async fn watch(job: &ReaderJob, ended: impl Future<Output = ()>) -> anyhow::Result<()> {
    let store: SharedStore = Arc::new(SqliteStore::open(&job.store, Create::No).await?);
    let bridge = Bridge::from(store);
    let lines = Arc::new(Mutex::new(Lines::default()));
    let sink = Arc::clone(&lines);
    let following = Following {
        begin: Begin::Now,
        ..Following::default()
    };
    let callers = [job.login.caller()?];
    let following = follow(
        &bridge,
        &callers,
        following,
        Box::new(move |message| {
            let mut lines = sink.lock().unwrap_or_else(PoisonError::into_inner);
            lines.write(message.id.0, &MessageJson::new(&message, None))
        }),
        Box::new(|_| {}),
    );
    tokio::select! {
        failed = following => drop(failed?),
        () = ended => {}
    }
    bridge.close().await;
    lines
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .save(&job.stamps)
}

/// A line about an arrival, whose text the daemon does not read.
#[derive(Serialize)]
struct Notice {
    id: i64,
    to: String,
}

async fn daemon(job: &ReaderJob, ended: impl Future<Output = ()>) -> anyhow::Result<()> {
    let store: SharedStore = Arc::new(SqliteStore::open(&job.store, Create::No).await?);
    let (arrived, mut arrivals) = mpsc::unbounded_channel::<Arrival>();
    let looks = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&looks);
    let doorbell = store.doorbell(
        Mode::Events,
        Box::new(move |look| {
            counted.fetch_add(1, Ordering::Relaxed);
            // A look that failed is made again by the next ring.
            for arrival in look
                .arrivals(&std::collections::HashSet::new())
                .unwrap_or_default()
            {
                let _ = arrived.send(arrival);
            }
        }),
    )?;
    let session = job.login.caller()?.session;
    let task = tokio::spawn(async move {
        let mut lines = Lines::default();
        while let Some(arrival) = arrivals.recv().await {
            if arrival.to == session {
                let notice = Notice {
                    id: arrival.id.0,
                    to: arrival.to.to_string(),
                };
                lines.write(arrival.id.0, &notice)?;
            }
        }
        anyhow::Ok(lines)
    });
    ended.await;
    drop(doorbell);
    store.close().await;
    let mut lines = task.await??;
    lines.looked_in_all(looks.load(Ordering::Relaxed));
    lines.save(&job.stamps)
}

async fn poll(job: &ReaderJob, ended: impl Future<Output = ()>) -> anyhow::Result<()> {
    let mut rows = super::floor::Rows::open(&job.store, &job.login)?;
    let mut lines = Lines::default();
    let mut clock = tokio::time::interval(Duration::from_millis(100));
    tokio::pin!(ended);
    loop {
        tokio::select! {
            () = &mut ended => return lines.save(&job.stamps),
            _ = clock.tick() => {
                lines.looked();
                rows.show(&mut lines)?;
            }
        }
    }
}
