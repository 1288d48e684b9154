//! What the service manager lets a service reach: the user who asks may reach more.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::heard::Home;
use crate::command::{self, Ended};

/// Of one service of the machine; what is empty restricts nothing.
#[derive(Debug, Default)]
pub(super) struct Sandbox {
    unit: String,
    /// `ProtectSystem=strict`: nothing but `writable` can be written.
    strict: bool,
    /// `ProtectHome=`: homes can be read at most.
    homes: bool,
    /// `PrivateTmp=`: other files than ours.
    own_tmp: bool,
    writable: Vec<PathBuf>,
    /// Its own directories, which can be written as well.
    own: Vec<PathBuf>,
}

const ASKED: &str = "--property=ProtectSystem,ProtectHome,PrivateTmp,ReadWritePaths,StateDirectory,RuntimeDirectory,CacheDirectory,LogsDirectory";
/// systemd answers at once, or not at all.
const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER: usize = 16_384;

/// What keeps the instance's service from a file; nothing where there is no such
/// service or no systemd to ask.
pub(super) async fn of(home: Home, instance: &str) -> Sandbox {
    if home != Home::System {
        return Sandbox::default();
    }
    let unit = format!("mcp-bridged@{instance}.service");
    let command = ["systemctl", "show", ASKED, &unit].map(str::to_owned);
    let ended = command::run(&command::Request {
        command: &command,
        environment: &[],
        input: Vec::new(),
        timeout: PATIENCE,
        output_limit: ANSWER,
    })
    .await;
    match ended {
        Ended::Success { output } => Sandbox::read(unit, &output),
        _ => Sandbox::default(),
    }
}

impl Sandbox {
    fn read(unit: String, said: &str) -> Self {
        let mut sandbox = Self {
            unit,
            ..Self::default()
        };
        for (key, value) in said.lines().filter_map(|line| line.split_once('=')) {
            let below = |place: &str| -> Vec<PathBuf> {
                let names = value.split_whitespace();
                // Others behind a colon are links to it.
                let names = names.map(|name| name.split(':').next().unwrap_or_default());
                names.map(|name| Path::new(place).join(name)).collect()
            };
            match key {
                "ProtectSystem" => sandbox.strict = value == "strict",
                "ProtectHome" => sandbox.homes = value != "no",
                "PrivateTmp" => sandbox.own_tmp = value != "no",
                "ReadWritePaths" => sandbox.writable.extend(
                    value
                        .split_whitespace()
                        .map(|path| PathBuf::from(path.trim_start_matches(['-', '+']))),
                ),
                "StateDirectory" => sandbox.own.extend(below("/var/lib")),
                "RuntimeDirectory" => sandbox.own.extend(below("/run")),
                "CacheDirectory" => sandbox.own.extend(below("/var/cache")),
                "LogsDirectory" => sandbox.own.extend(below("/var/log")),
                _ => {}
            }
        }
        sandbox
    }

    /// Why the service does not see the file, and what to do.
    pub(super) fn hides(&self, path: &Path) -> Option<(String, String)> {
        let shared = is_below(path, &["/tmp", "/var/tmp"]);
        (self.own_tmp && shared).then(|| {
            (
                format!("{}: the service has a /tmp of its own", path.display()),
                format!(
                    "name another place, or write PrivateTmp=no with: systemctl edit {}",
                    self.unit
                ),
            )
        })
    }

    /// Whether the service manager makes the file's directory for the service: that it
    /// may write there, for any user who asks.
    pub(super) fn owns(&self, path: &Path) -> bool {
        self.own.iter().any(|place| path.starts_with(place))
    }

    /// Where the service writes what others may read.
    fn open_place(&self) -> String {
        let instance = self.unit.split_once('@').map_or("", |(_, rest)| rest);
        let instance = instance.strip_suffix(".service").unwrap_or(instance);
        format!("/run/mcp-bridge/{instance}")
    }

    /// Why an agent cannot read a file that the service writes for it, and what to do.
    pub(super) fn keeps_to_itself(&self, path: &Path) -> Option<(String, String)> {
        let directory = std::fs::metadata(path.parent()?).ok()?;
        let is_closed = !self.unit.is_empty() && directory.mode() & 0o011 == 0;
        is_closed.then(|| {
            (
                format!(
                    "{}: an agent cannot read it: only the owner can read its directory",
                    path.display()
                ),
                format!("name a file in {}", self.open_place()),
            )
        })
    }

    /// Why the service may not write the file, and what to do.
    pub(super) fn refuses(&self, path: &Path) -> Option<(String, String)> {
        if let Some(hidden) = self.hides(path) {
            return Some(hidden);
        }
        let granted = self.owns(path) || self.writable.iter().any(|place| path.starts_with(place));
        let home = self.homes && is_below(path, &["/home", "/root", "/run/user"]);
        let kept = self.strict && !is_below(path, &["/dev", "/proc", "/sys", "/tmp", "/var/tmp"]);
        (!granted && (home || kept)).then(|| {
            let place = path.parent().unwrap_or(path).display();
            (
                format!("{}: the service may not write there", path.display()),
                format!(
                    "name a file in {}, or write ReadWritePaths={place} with: systemctl edit {}",
                    self.open_place(),
                    self.unit
                ),
            )
        })
    }
}

fn is_below(path: &Path, places: &[&str]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_grants_only_what_it_names() {
        let said = "ProtectSystem=strict\nProtectHome=read-only\nPrivateTmp=yes\n\
             ReadWritePaths=/home/bob/bridge -/srv/inbox\nStateDirectory=mcp-bridge\n\
             RuntimeDirectory=mcp-bridge/worker\nCacheDirectory=\nLogsDirectory=\n";
        let sandbox = Sandbox::read("mcp-bridged@worker.service".into(), said);
        let refused = |path: &str| sandbox.refuses(Path::new(path)).is_some();
        for path in [
            "/var/lib/mcp-bridge/inbox",
            "/run/mcp-bridge/worker/x",
            "/home/bob/bridge/inbox",
            "/srv/inbox",
            "/dev/null",
        ] {
            assert!(!refused(path), "{path}");
        }
        for path in ["/home/bob/inbox", "/srv/other", "/tmp/inbox", "/root/inbox"] {
            assert!(refused(path), "{path}");
        }
        assert!(sandbox.hides(Path::new("/var/tmp/agent.pid")).is_some());
        assert!(sandbox.hides(Path::new("/home/bob/agent.pid")).is_none());
        let open = Sandbox::read(
            String::new(),
            "ProtectSystem=no\nProtectHome=no\nPrivateTmp=no\n",
        );
        assert!(open.refuses(Path::new("/tmp/inbox")).is_none());
    }
}
