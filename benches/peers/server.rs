//! A server of another project, for as long as the measurement takes.

use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, geteuid, kill_process};

/// Longer than any of them takes to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// The user that they run as where this is root: PostgreSQL refuses to be root.
const UID: u32 = 65_534;

/// A server; ended with this.
pub(crate) struct Server {
    child: Child,
    /// What ends it at once, together with the processes that it started.
    end: Signal,
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, self.end);
        }
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts it, and waits until its socket can be connected to.
    pub(crate) fn start(mut command: Command, socket: &Path, end: Signal) -> anyhow::Result<Self> {
        let log = tempfile::NamedTempFile::new()?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.reopen()?)
            .stderr(log.reopen()?)
            .spawn()?;
        let mut server = Self { child, end };
        let begun = Instant::now();
        while UnixStream::connect(socket).is_err() {
            let ended = server.child.try_wait()?.is_some();
            if ended || begun.elapsed() > PATIENCE {
                let said = std::fs::read_to_string(log.path()).unwrap_or_default();
                anyhow::bail!("{command:?} does not serve: {said}");
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Ok(server)
    }
}

/// A directory that the server may write.
pub(crate) fn directory(path: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(path)?;
    if geteuid().is_root() {
        chown(path, Some(UID), Some(UID))?;
    }
    Ok(())
}

/// A program of the server's, with no rights of root's.
pub(crate) fn command(program: &Path, directory: &Path) -> Command {
    let mut command = match geteuid().is_root() {
        true => {
            let id = UID.to_string();
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"])
                .arg(program);
            command
        }
        false => Command::new(program),
    };
    command.current_dir(directory).env("HOME", directory);
    command
}

/// Runs a program of the server's to its end.
pub(crate) fn run(mut command: Command) -> anyhow::Result<()> {
    let out = command.output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&out.stderr);
    anyhow::ensure!(out.status.success(), "{command:?}: {said}");
    Ok(())
}

/// A program, in one of these directories or on the path.
pub(crate) fn find(name: &str, elsewhere: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = elsewhere
        .iter()
        .cloned()
        .chain(std::env::split_paths(&path));
    all.map(|directory| directory.join(name))
        .find(|program| program.is_file())
}
