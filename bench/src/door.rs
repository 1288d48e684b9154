//! A daemon for a bench that asks through its door.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mcp_bridge::bridge::Bridge;
use mcp_bridge::stage::{Stage, own_daemon};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::child::await_end;

/// A short name, as a socket's path is short.
const NAME: &str = "d";

/// A worker daemon that has the store open; ended with this.
pub(super) struct Daemon {
    process: Child,
    /// Where it is asked.
    pub(super) socket: PathBuf,
    /// Ends it if this process is killed.
    _stage: Stage,
}

impl Daemon {
    /// Starts one over the store in this directory, and returns when it answers for it.
    pub(super) async fn start(directory: &Path) -> anyhow::Result<Self> {
        let stage = Stage::new(directory.to_owned())?;
        stage.write_config(NAME, "worker", "")?;
        let (process, _) = stage.daemon(NAME, own_daemon()?).await?;
        let socket = stage.file(&format!("{NAME}.state")).join("api.sock");
        let daemon = Self {
            process,
            socket,
            _stage: stage,
        };
        let answer = Bridge::through(&daemon.socket).answering().await;
        answer.context("mcp-bridged does not answer")?;
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok());
        // It may have ended by itself.
        let _ = pid
            .and_then(Pid::from_raw)
            .map(|pid| kill_process(pid, Signal::TERM));
        await_end(&mut self.process);
    }
}
