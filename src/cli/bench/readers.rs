//! Those who receive: the path of `watch`, the daemon's, and a poller. The
//! bare floor is in [`super::floor`].

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::child::Orders;
use super::scratch::Login;
use crate::cli::follow::{Begin, Following, follow};
use crate::cli::output::MessageJson;
use crate::clock;
use crate::doorbell::Mode;
use crate::store::sqlite::{Create, SqliteStore};
use crate::store::{Arrival, SharedStore};

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reader {
    /// What `mcp-bridge watch` does.
    Watch,
    /// What the daemon does: ids, handed to a task of the runtime.
    Daemon,
    /// inotify, lock probe, one row, one thread; nothing of ours.
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

/// Times by message id, as one process saw them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Stamps {
    times: Vec<(i64, u64)>,
    /// Looks that were needed for all of them, if somebody counted.
    pub(super) looks: Option<u64>,
}

impl Stamps {
    pub(super) fn add(&mut self, stamp: (i64, u64)) {
        self.times.push(stamp);
    }

    pub(super) fn last(&self) -> i64 {
        self.times.last().map_or(0, |&(id, _)| id)
    }

    pub(super) fn in_order(&self) -> &[(i64, u64)] {
        &self.times
    }

    pub(super) fn by_id(&self) -> HashMap<i64, u64> {
        self.times.iter().copied().collect()
    }

    pub(super) fn save(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, serde_json::to_vec(self)?).context("writing down the times")
    }

    pub(super) fn load(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).context("reading what a child measured")?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}

/// Writes lines to stdout and notes when each was written.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line: Vec<u8>,
    stamps: Stamps,
}

impl Lines {
    /// One line, as JSON; its time is when the pipe has it.
    pub(super) fn write(&mut self, id: i64, line: &impl Serialize) -> std::io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        let mut out = std::io::stdout().lock();
        out.write_all(&self.line)?;
        out.flush()?;
        self.stamps.add((id, clock::monotonic_nanos()));
        Ok(())
    }

    pub(super) fn looked(&mut self) {
        *self.stamps.looks.get_or_insert(0) += 1;
    }

    pub(super) fn save(&self, path: &Path) -> anyhow::Result<()> {
        self.stamps.save(path)
    }
}

/// Reads until the parent wants no more, then writes the times down.
pub(super) async fn run(job: ReaderJob, mut orders: Orders) -> anyhow::Result<()> {
    let ended = async move { while orders.recv().await.is_some() {} };
    match job.reader {
        Reader::Watch => watch(&job, ended).await,
        Reader::Daemon => daemon(&job, ended).await,
        Reader::Poll => poll(&job, ended).await,
        Reader::Floor => super::floor::run(&job, ended).await,
    }
}

async fn watch(job: &ReaderJob, ended: impl Future<Output = ()>) -> anyhow::Result<()> {
    let store: SharedStore = Arc::new(SqliteStore::open(&job.store, Create::No).await?);
    let lines = Arc::new(Mutex::new(Lines::default()));
    let sink = Arc::clone(&lines);
    let following = Following {
        begin: Begin::Now,
        ..Following::default()
    };
    let callers = [job.login.caller()?];
    let following = follow(
        &store,
        &callers,
        following,
        Box::new(move |message| {
            let mut lines = sink.lock().unwrap_or_else(PoisonError::into_inner);
            lines.write(message.id.0, &MessageJson::new(message, None))
        }),
    );
    tokio::select! {
        failed = following => drop(failed?),
        () = ended => {}
    }
    store.close().await;
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
            for arrival in look.arrivals().unwrap_or_default() {
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
    lines.stamps.looks = Some(looks.load(Ordering::Relaxed));
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
