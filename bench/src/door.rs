//! A daemon for a bench that asks through its door.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

/// Longer than it takes to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A worker daemon that has the store open; ended with this.
pub(super) struct Daemon {
    process: Child,
    /// Where it is asked.
    pub(super) socket: PathBuf,
}

impl Daemon {
    /// Starts one in this directory, and returns when it answers for this store.
    pub(super) async fn start(directory: &Path, store: &Path) -> anyhow::Result<Self> {
        let program = directory.join("mcp-bridged");
        std::os::unix::fs::symlink(std::env::current_exe()?, &program)?;
        let (config, state) = (directory.join("door.toml"), directory.join("s.json"));
        let text = format!(
            "role = \"worker\"\n[store]\nurl = {:?}\n[service]\nstate_file = {:?}\n",
            store.display().to_string(),
            state.display().to_string()
        );
        std::fs::write(&config, text)?;
        let log = std::fs::File::create(directory.join("door.log"))?;
        let process = Command::new(program)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .context("mcp-bridged cannot be started")?;
        let socket = state.with_extension("").join("api.sock");
        let daemon = Self { process, socket };
        let until = Instant::now() + PATIENCE;
        while UnixStream::connect(&daemon.socket).is_err() {
            anyhow::ensure!(Instant::now() < until, "mcp-bridged does not answer");
            sleep(Duration::from_millis(5)).await;
        }
        let bridge = mcp_bridge::bridge::Bridge::through(&daemon.socket);
        bridge.answering().await?;
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw);
        // It may have ended by itself.
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        let _ = self.process.wait();
    }
}
