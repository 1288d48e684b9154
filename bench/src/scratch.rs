//! The scratch store, and the circumstances that every latency depends on.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::stats::{Histogram, Micros};
use crate::args::Place;
use mcp_bridge::clock;
use mcp_bridge::model::rate::RateLimits;
use mcp_bridge::model::token::Token;
use mcp_bridge::model::{ConversationId, SessionKey, Side};
use mcp_bridge::session::made::{caller, planned};
use mcp_bridge::store::Caller;
use mcp_bridge::store::sqlite::{Create, SqliteStore};

/// A directory that goes when the last of these is dropped, unless it was to be kept: a
/// part that still works in it when a measurement is interrupted has one.
#[derive(Debug, Clone)]
pub(super) struct Scratch(Arc<TempDir>);

impl Scratch {
    pub(super) fn new(place: &Place) -> anyhow::Result<Self> {
        let parent = place.dir.clone().unwrap_or_else(std::env::temp_dir);
        let mut dir = tempfile::Builder::new()
            .prefix("mcp-bridge-bench.")
            .tempdir_in(&parent)
            .with_context(|| format!("making a scratch directory in {}", parent.display()))?;
        dir.disable_cleanup(place.keep);
        let scratch = Self(Arc::new(dir));
        if let Some(warning) = scratch.warning() {
            writeln!(anstream::stderr(), "{warning}")?;
        }
        Ok(scratch)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A file system without a disk makes every fsync free.
    fn warning(&self) -> Option<String> {
        let kind = file_system(self.path());
        (kind == "tmpfs" || kind == "ramfs").then(|| {
            format!(
                "warning: {} is on {kind}, where an fsync costs nothing: \
                 name a directory on a disk with --dir",
                self.path().display()
            )
        })
    }
}

/// One side of a conversation, with what proves it; travels to a child.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Login {
    conversation: ConversationId,
    side: Side,
    token: String,
}

impl Login {
    fn of(caller: &Caller) -> Self {
        Self {
            conversation: caller.session.conversation.clone(),
            side: caller.session.side,
            token: caller.token.expose().to_owned(),
        }
    }

    pub(super) fn caller(&self) -> anyhow::Result<Caller> {
        Ok(Caller {
            session: SessionKey::new(self.conversation.clone(), self.side),
            token: Token::parse(&self.token)?,
        })
    }

    pub(super) fn conversation(&self) -> &ConversationId {
        &self.conversation
    }
}

/// A sender and its reader.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) sender: Login,
    pub(super) reader: Login,
}

/// Makes a store without rate limits, with this number of pairs.
pub(super) async fn make_store(path: &Path, pairs: u32) -> anyhow::Result<Vec<Pair>> {
    let now = clock::now();
    let ends = now + jiff::SignedDuration::from_hours(24 * 7);
    let store = SqliteStore::open(path, Create::Yes).await?;
    store.set_rate_limits(RateLimits::NONE).await?;
    let (mut new, mut made) = (Vec::new(), Vec::new());
    for _ in 0..pairs {
        let planned = planned(None, ["sender", "reader"], ends)?;
        let login = |side| Login::of(&caller(&planned, side));
        made.push(Pair {
            sender: login(Side::A),
            reader: login(Side::B),
        });
        new.push(planned);
    }
    store.create_conversations(&new, now).await?;
    store.close().await;
    Ok(made)
}

/// What the figures were measured on.
#[derive(Debug, Serialize)]
pub(super) struct Environment {
    pub(super) directory: PathBuf,
    pub(super) file_system: String,
    pub(super) kernel: String,
    pub(super) cores: usize,
    pub(super) sqlite: &'static str,
    pub(super) load_before: Option<f64>,
    pub(super) load_after: Option<f64>,
    /// One write of 4 KiB and its fdatasync, in this directory.
    pub(super) fsync_us: Option<Micros>,
}

impl Environment {
    pub(super) fn of(directory: &Path) -> Self {
        let uname = rustix::system::uname();
        Self {
            directory: directory.to_owned(),
            file_system: file_system(directory),
            kernel: format!(
                "{} {}",
                uname.sysname().to_string_lossy(),
                uname.release().to_string_lossy()
            ),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            sqlite: rusqlite::version(),
            load_before: load(),
            load_after: None,
            fsync_us: None,
        }
    }

    /// Closes it, with the fsyncs that were measured along the way.
    pub(super) fn close(&mut self, fsync: &Histogram) {
        self.load_after = load();
        self.fsync_us = fsync.micros();
    }

    /// Two lines for people.
    pub(super) fn describe(&self) -> String {
        let load = |load: Option<f64>| load.map_or("?".into(), |load| format!("{load:.2}"));
        let fsync = self.fsync_us.map_or("not measured".into(), |us| {
            format!(
                "p50 {}, p99 {}",
                super::stats::time(us.p50),
                super::stats::time(us.p99)
            )
        });
        format!(
            "{}, {} cores, SQLite {}, load {} before and {} after\n{} in {}, fsync {fsync}",
            self.kernel,
            self.cores,
            self.sqlite,
            load(self.load_before),
            load(self.load_after),
            self.file_system,
            self.directory.parent().unwrap_or(&self.directory).display(),
        )
    }
}

fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}

/// Times `count` fsyncs of 4 KiB each, the unit that a commit writes.
pub(super) fn time_fsync(directory: &Path, count: u32, into: &mut Histogram) -> anyhow::Result<()> {
    let file = tempfile::tempfile_in(directory)?;
    let page = [0x5a_u8; 4096];
    for n in 0..u64::from(count) {
        let start = clock::monotonic_nanos();
        file.write_all_at(&page, n * 4096)?;
        file.sync_data()?;
        into.record(clock::monotonic_nanos() - start);
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn file_system(path: &Path) -> String {
    let Ok(stat) = rustix::fs::statfs(path) else {
        return "unknown file system".into();
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "magic numbers have 32 bits"
    )]
    let magic = stat.f_type as u32;
    // statfs(2)
    match magic {
        0xEF53 => "ext4".into(),
        0x5846_5342 => "xfs".into(),
        0x9123_683E => "btrfs".into(),
        0x2FC1_2FC1 => "zfs".into(),
        0xF2F5_2010 => "f2fs".into(),
        0x794C_7630 => "overlay".into(),
        0x0102_1994 => "tmpfs".into(),
        0x8584_58F6 => "ramfs".into(),
        other => format!("file system {other:#x}"),
    }
}

#[cfg(not(target_os = "linux"))]
fn file_system(_: &Path) -> String {
    "unknown file system".into()
}
