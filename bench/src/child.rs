//! The processes of a measurement: how they are started, get their orders, and surely
//! end.
//!
//! A child takes one line of JSON, its job, and further lines as orders. The
//! end of its stdin is the end of its work, so that none outlives its parent;
//! tokens travel there too, never in arguments.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};

use super::agents::{ReceiverJob, SenderJob};
use super::orders::orders;
use super::readers::ReaderJob;
use super::writers::WriterJob;

/// What a child is to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub(super) enum Job {
    Writer(WriterJob),
    Reader(ReaderJob),
    Sender(SenderJob),
    Receiver(ReceiverJob),
    /// Does nothing, as an agent does most of the time.
    Idle,
}

/// The child's side.
pub(super) async fn run() -> anyhow::Result<()> {
    // The end of stdin is enough for a child that listens; this one is for a
    // child that is stuck.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let mut orders = orders()?;
    let job = orders.recv().await.context("no job came")?;
    match serde_json::from_str(&job).context("the job is malformed")? {
        Job::Writer(job) => super::writers::run(job, orders).await,
        Job::Reader(job) => super::readers::run(job, orders).await,
        Job::Sender(job) => super::agents::send(job, orders).await,
        Job::Receiver(job) => super::agents::receive(job, orders).await,
        Job::Idle => {
            while orders.recv().await.is_some() {}
            Ok(())
        }
    }
}

/// The parent's side. Dropping it kills the child, and waits for its death: it
/// must not make files in a directory that is being removed.
pub(super) struct Child {
    process: tokio::process::Child,
    orders: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

/// How long a child may take to say or do something that it owes. Generous: a
/// loaded machine is no failure.
const PATIENCE: Duration = Duration::from_secs(60);

impl Child {
    pub(super) async fn start(job: &Job) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut process = Command::new(&program)
            .arg("child")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let orders = process.stdin.take();
        let stdout = process.stdout.take().context("no pipe from a child")?;
        let mut child = Self {
            process,
            orders,
            lines: BufReader::new(stdout).lines(),
        };
        child.order(&serde_json::to_string(job)?).await?;
        Ok(child)
    }

    /// Its process id.
    pub(super) fn id(&self) -> anyhow::Result<u32> {
        self.process
            .id()
            .context("a process of the measurement ended too early")
    }

    /// Gives an order.
    pub(super) async fn order(&mut self, order: &str) -> anyhow::Result<()> {
        let orders = self.orders.as_mut().context("the child was dismissed")?;
        orders
            .write_all(format!("{order}\n").as_bytes())
            .await
            .context("a process of the measurement ended too early")
    }

    /// The next line it says, parsed.
    pub(super) async fn hear<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line())
            .await
            .context("a process of the measurement says nothing")??
            .context("a process of the measurement ended too early")?;
        serde_json::from_str(&line).with_context(|| format!("what a child said: {line}"))
    }

    /// Kills it as nothing can be killed politely, and waits until it is gone.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.start_kill()?;
        self.process.wait().await?;
        Ok(())
    }

    /// Lets it end and waits until it did.
    pub(super) async fn finish(mut self) -> anyhow::Result<()> {
        drop(self.orders.take());
        self.ended().await
    }

    /// Waits for a child that ends by itself.
    pub(super) async fn ended(mut self) -> anyhow::Result<()> {
        // What it still says must not fill the pipe.
        let end = async {
            while self.lines.next_line().await?.is_some() {}
            self.process.wait().await
        };
        let status = tokio::time::timeout(PATIENCE, end)
            .await
            .context("a process of the measurement does not end")??;
        anyhow::ensure!(
            status.success(),
            "a process of the measurement failed: {status}"
        );
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Neither fails for a child that is alive, and one that has ended
        // needs neither.
        let _ = self.process.start_kill();
        await_end(&mut self.process);
    }
}

/// Waits for a process that was killed, where nothing can be awaited: the
/// directory that it works in is removed next.
pub(super) fn await_end(process: &mut tokio::process::Child) {
    for _ in 0..5_000 {
        if !matches!(process.try_wait(), Ok(None)) {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
