//! Where a play or a measurement runs: a scratch directory, the files in it that
//! daemons and agents read, and daemons as real processes. What is played there is
//! its user's: the demo's, or the bench's.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::clock;
use crate::credentials::Credentials;
use crate::leash::Leash;
use crate::model::session::Caller;
use crate::model::token::TokenStorage;

/// How long a daemon may take to start. Generous: a loaded machine is no failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// The directory, and what ends its processes with this one.
#[derive(Debug)]
pub struct Stage {
    directory: PathBuf,
    leash: Leash,
}

impl Stage {
    /// A stage in a directory that is there, and this user's alone.
    ///
    /// # Errors
    /// If there is no room for a pipe.
    pub fn new(directory: PathBuf) -> io::Result<Self> {
        let leash = Leash::new()?;
        Ok(Self { directory, leash })
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A file in the directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The store's file.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.file("bridge.db")
    }

    /// The credentials that [`Self::write_credentials`] writes.
    #[must_use]
    pub fn credentials(&self, name: &str) -> PathBuf {
        self.file(&format!("{name}.toml"))
    }

    /// Writes `NAME.toml`: the sessions that an agent acts for.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_credentials(&self, name: &str, callers: Vec<Caller>) -> anyhow::Result<()> {
        let credentials = Credentials {
            store: Some(self.database().display().to_string()),
            label: name.parse().ok(),
            callers,
            source: None,
        };
        Ok(credentials.write(&self.credentials(name), TokenStorage::Hashed)?)
    }

    fn config(&self, name: &str) -> PathBuf {
        // Beside the credentials, whose names end so, too.
        self.file(&format!("{name}.conf.toml"))
    }

    /// The state file of a daemon, beside which its sockets are.
    #[must_use]
    pub fn state_file(&self, name: &str) -> PathBuf {
        self.file(&format!("{name}.state.json"))
    }

    /// Writes a daemon's configuration: its role, this stage's store, and `text`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_config(&self, name: &str, role: &str, text: &str) -> io::Result<()> {
        let text = format!(
            "role = \"{role}\"\n\n[store]\nurl = {}\n\n[service]\nstate_file = {}\n\n{text}",
            quoted(&self.database()),
            quoted(&self.state_file(name)),
        );
        std::fs::write(self.config(name), text)
    }

    /// The `[[session]]` of an agent in its daemon's configuration: its credentials, and
    /// the process id that [`Self::write_pid`] writes down.
    #[must_use]
    pub fn session(&self, agent: &str) -> String {
        format!(
            "[[session]]\ncredentials = \"{agent}.toml\"\nproof = {{ pid_file = {} }}\n",
            quoted(&self.pid_file(agent)),
        )
    }

    fn pid_file(&self, agent: &str) -> PathBuf {
        self.file(&format!("{agent}.pid"))
    }

    /// Writes down the process of an agent, by which its daemon proves its life.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_pid(&self, agent: &str, pid: u32) -> io::Result<()> {
        // Replaced as a whole, so that no reader sees half of a number.
        let (file, new) = (self.pid_file(agent), self.file(&format!("{agent}.pid.new")));
        std::fs::write(&new, pid.to_string())?;
        std::fs::rename(new, file)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.file(&format!("{name}.log"))
    }

    /// Starts a process that ends with this one and calls [`crate::leash::hold`]; it
    /// logs to `NAME.log`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self, name: &str, command: &mut Command) -> anyhow::Result<Child> {
        // What this user set for programs of ours is not meant for these.
        for (variable, _) in std::env::vars_os() {
            if variable.as_encoded_bytes().starts_with(b"MCP_BRIDGE_") {
                command.env_remove(variable);
            }
        }
        self.leash.put_on(command)?;
        command
            .stderr(append(&self.log(name))?)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))
    }

    /// Starts a daemon with the configuration of this name, and waits until it says
    /// READY, as a service manager would. Returns how long that took, too. `command` is
    /// the daemon without arguments, perhaps behind another program.
    ///
    /// # Errors
    /// If it cannot be started, or is not ready in time: with the end of its log.
    pub async fn daemon(
        &self,
        name: &str,
        mut command: Command,
    ) -> anyhow::Result<(Child, Duration)> {
        let socket = self.file(&format!("{name}.notify"));
        // One of an earlier life of this daemon.
        let _ = std::fs::remove_file(&socket);
        let manager = UnixDatagram::bind(&socket)?;
        manager.set_nonblocking(true)?;
        let manager = tokio::net::UnixDatagram::from_std(manager)?;
        let started = clock::since_boot();
        command
            .arg("--config")
            .arg(self.config(name))
            .env("NOTIFY_SOCKET", &socket)
            .env_remove("WATCHDOG_USEC")
            .stdout(Stdio::null());
        let child = self.start(name, &mut command)?;
        let ready = async {
            let mut datagram = [0_u8; 4096];
            loop {
                let length = manager.recv(&mut datagram).await?;
                let text = String::from_utf8_lossy(&datagram[..length]);
                if text.lines().any(|line| line == "READY=1") {
                    return anyhow::Ok(clock::since_boot().saturating_sub(started));
                }
            }
        };
        let took = timeout(PATIENCE, ready)
            .await
            .with_context(|| self.last_words(name))??;
        Ok((child, took))
    }

    /// What a process that failed had to say.
    #[must_use]
    pub fn last_words(&self, name: &str) -> String {
        let mut text = String::new();
        let path = self.log(name);
        // Without a log there is nothing to quote.
        let _ = File::open(&path).and_then(|mut log| log.read_to_string(&mut text));
        let last: Vec<&str> = text.lines().rev().take(3).collect();
        format!(
            "{name} failed; its log {} ends: {}",
            path.display(),
            last.into_iter().rev().collect::<Vec<_>>().join(" / ")
        )
    }
}

/// The daemon that this program is under the daemon's name: Cargo builds only the
/// program that it runs.
///
/// # Errors
/// If the system does not tell which file this program is.
pub fn own_daemon() -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg0("mcp-bridged");
    Ok(command)
}

/// A path in a configuration.
#[must_use]
pub fn quoted(path: &Path) -> String {
    serde_json::json!(path).to_string()
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}
