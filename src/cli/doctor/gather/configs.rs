//! What configurations name on this machine.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Access, access};
use tokio::sync::Notify;

use super::sandbox::{self, Sandbox};
use crate::cli::doctor::facts::{Adapter, Config, Configured, Life, Session};
use crate::cli::heard::configs::{Loaded, is_enabled};
use crate::cli::heard::daemons::{Daemon, is_of};
use crate::command::{self, Ended};
use crate::config::{
    self, AdapterSettings, AlertAdapterSettings, ProofSettings, SessionSettings, WebhookAddress,
    WebhookSettings, WebhookUrl,
};
use crate::credentials::Credentials;
use crate::duties::SessionState;
use crate::guarded;
use crate::liveness::{Proof, ProofOutcome, Watcher};
use crate::session::known::as_session;
use crate::setting::Needs;

/// What a configuration says, held against this machine.
pub(super) async fn facts(
    loaded: &Loaded,
    daemons: &[Daemon],
    store: Option<PathBuf>,
    other: Option<String>,
) -> Config {
    let outcome = match &loaded.settings {
        Err(errors) => Err(errors.each().map(ToString::to_string).collect()),
        Ok(settings) => {
            let daemon = daemons.iter().find(|daemon| is_of(daemon, loaded));
            let other = other_user(loaded, daemon);
            let sandbox = sandbox::of(loaded.home, &loaded.instance).await;
            let mut sessions = Vec::new();
            for session in &settings.agents.sessions {
                sessions.push(Session {
                    name: name(&session.credentials),
                    said: said(&session.credentials, daemon),
                    kept: daemon.is_some(),
                    proof: life(session, other.as_deref(), &sandbox).await,
                    wakes: session
                        .wake
                        .adapters
                        .iter()
                        .map(|adapter| wake(adapter, &sandbox))
                        .collect(),
                });
            }
            Ok(Configured {
                role: settings.role.name(),
                drop_ins: config::drop_in_count(&loaded.path),
                sessions,
                alerts: settings
                    .alert
                    .adapters
                    .iter()
                    .map(|adapter| alert(adapter, &sandbox))
                    .collect(),
            })
        }
    };
    Config {
        path: loaded.path.clone(),
        instance: loaded.instance.clone(),
        home: loaded.home,
        enabled: is_enabled(loaded.home, &loaded.instance),
        other,
        store,
        outcome,
    }
}

/// What the daemon says of the sessions of a file, as far as we may read it.
fn said(credentials: &Path, daemon: Option<&Daemon>) -> Vec<SessionState> {
    let Some(daemon) = daemon.filter(|daemon| !daemon.state.sessions.is_empty()) else {
        return Vec::new();
    };
    let all = daemon.state.sessions.iter();
    let Ok(file) = Credentials::read(credentials) else {
        // The daemon read it: by its name it is known, wherever the service
        // manager put it.
        let is = |said: &&SessionState| {
            let same = said.credentials == credentials;
            same || (!said.credentials.as_os_str().is_empty()
                && name(&said.credentials) == name(credentials))
        };
        return all.filter(is).cloned().collect();
    };
    let keys: Vec<String> = file
        .callers
        .iter()
        .map(|caller| caller.session.to_string())
        .collect();
    all.filter(|said| keys.contains(&said.session))
        .cloned()
        .collect()
}

/// What a session's file is called, however the service manager calls it.
fn name(credentials: &Path) -> String {
    let stem = credentials.file_stem().unwrap_or_default();
    let stem = stem.to_string_lossy();
    as_session(stem.strip_prefix(config::LOADED_AS).unwrap_or(&stem))
}

/// Why what a daemon runs is not run by us: it is another user's, whose command must
/// not be run as this user.
fn other_user(loaded: &Loaded, daemon: Option<&Daemon>) -> Option<String> {
    let us = rustix::process::geteuid().as_raw();
    let runs_as = daemon.and_then(|daemon| {
        let process = format!("/proc/{}", daemon.process?);
        Some(std::fs::metadata(process).ok()?.uid())
    });
    let owner = std::fs::metadata(&loaded.path).map_or(us, |meta| meta.uid());
    match runs_as {
        Some(user) if user != us => {
            Some("the daemon belongs to another user: run doctor as that user".into())
        }
        None if owner != us && owner != 0 => {
            Some("the configuration belongs to another user: run doctor as that user".into())
        }
        _ => None,
    }
}

async fn life(session: &SessionSettings, other: Option<&str>, sandbox: &Sandbox) -> Life {
    if let ProofSettings::PidFile(path) = &session.proof
        && let Some((what, _)) = sandbox.hides(path)
    {
        return Life::Unproven(what);
    }
    match &session.proof {
        ProofSettings::None => Life::None,
        ProofSettings::Exec { command, timeout } => {
            if let Some(other) = other {
                return Life::NotAsked(other.to_owned());
            }
            let ended = command::run(&command::Request {
                command,
                environment: &[],
                input: Vec::new(),
                timeout: *timeout,
                output_limit: 1_024,
            })
            .await;
            let program = command.first().map_or("", String::as_str);
            match ended {
                Ended::Success { .. } => Life::Alive(format!("the command {program}")),
                failed => Life::Unproven(failed.reason()),
            }
        }
        proof @ (ProofSettings::Pid(_) | ProofSettings::PidFile(_)) => {
            let mut proof = Proof::new(proof, &Watcher::new(Arc::new(Notify::new())));
            match proof.check(true) {
                ProofOutcome::Alive(_, Some(process)) => {
                    Life::Alive(format!("process {}", process.pid))
                }
                ProofOutcome::Alive(_, None) => Life::Alive("its process".into()),
                ProofOutcome::Unproven(why) => Life::Unproven(why),
                ProofOutcome::Exited => Life::Unproven("its process has ended".into()),
                ProofOutcome::Asked => Life::NotAsked("no answer yet".into()),
            }
        }
    }
}

fn wake(settings: &AdapterSettings, sandbox: &Sandbox) -> Adapter {
    let needs = settings.as_adapter().needs();
    let mut adapter = self::needs(settings.name(), needs, sandbox);
    if let Needs::File(path) = settings.as_adapter().needs() {
        adapter.doubt = sandbox.keeps_to_itself(path);
    }
    adapter
}

fn alert(settings: &AlertAdapterSettings, sandbox: &Sandbox) -> Adapter {
    match settings {
        AlertAdapterSettings::Webhook(webhook) => self::webhook(webhook),
        other => needs(other.name(), other.as_adapter().needs(), sandbox),
    }
}

/// Whether this machine has what an adapter needs.
fn needs(name: &'static str, needs: Needs<'_>, sandbox: &Sandbox) -> Adapter {
    let (target, trouble) = match needs {
        Needs::Nothing => (String::new(), None),
        Needs::Program(name) => (name.to_owned(), program(name, sandbox)),
        Needs::File(path) => (path.display().to_string(), file(path, sandbox)),
    };
    Adapter {
        name,
        target,
        trouble,
        doubt: None,
    }
}

/// What keeps this user from writing a file, and what to do.
fn file(path: &Path, sandbox: &Sandbox) -> Option<(String, String)> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    if let Some(refused) = sandbox.refuses(path) {
        return Some(refused);
    }
    if sandbox.owns(path) && rustix::process::geteuid().as_raw() != 0 {
        return None;
    }
    let trouble = |what: String, remedy: &str| Some((what, remedy.to_owned()));
    if path.symlink_metadata().is_ok() {
        if access(path, Access::WRITE_OK).is_ok() && !path.is_dir() {
            return None;
        }
        let what = format!("{}: this user may not write it", path.display());
        trouble(what, "name a file that the daemon's user may write")
    } else if !directory.is_dir() {
        let what = format!("{}: no such directory", directory.display());
        trouble(what, "create it, or name another file")
    } else if access(directory, Access::WRITE_OK).is_err() {
        let what = format!("{}: this user may not write there", directory.display());
        trouble(what, "name a file that the daemon's user may create")
    } else {
        None
    }
}

/// What keeps a program from being run, and what to do.
fn program(name: &str, sandbox: &Sandbox) -> Option<(String, String)> {
    let executable = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    let trouble = if name.contains('/') {
        let path = Path::new(name);
        if !path.exists() {
            Some(("no such command", "install it, or name another one"))
        } else if executable(path) {
            None
        } else {
            Some((
                "this user may not execute it",
                "make it executable: chmod +x",
            ))
        }
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).any(|dir| executable(&dir.join(name)));
        let missing = ("it is not in PATH", "write its full path");
        (!found).then_some(missing)
    };
    sandbox
        .hides(Path::new(name))
        .or_else(|| trouble.map(|(what, remedy)| (format!("{name}: {what}"), remedy.to_owned())))
}

fn webhook(settings: &WebhookSettings) -> Adapter {
    let mut adapter = Adapter {
        name: "webhook",
        target: String::new(),
        trouble: None,
        doubt: None,
    };
    let url = match &settings.address {
        WebhookAddress::Url(url) => Some(url.clone()),
        WebhookAddress::File(path) => match secret(path, &mut adapter) {
            None => None,
            Some(text) => match text.trim().parse::<WebhookUrl>() {
                Ok(url) => Some(url),
                // Its message holds no part of the text.
                Err(why) => {
                    let what = format!("{}: it {why}", path.display());
                    adapter.trouble = Some((what, "write one line with the URL".to_owned()));
                    None
                }
            },
        },
    };
    if let Some(url) = url {
        url.host().clone_into(&mut adapter.target);
        if !url.is_https() && !matches!(url.host(), "localhost" | "127.0.0.1" | "[::1]") {
            let what = format!("{}: http is not encrypted", url.host());
            adapter.doubt = Some((what, "write https://".to_owned()));
        }
    }
    if let Some(path) = &settings.secret_file {
        let key = secret(path, &mut adapter);
        if key.is_some_and(|key| key.trim().is_empty()) {
            let what = format!("{}: it is empty", path.display());
            adapter.trouble = Some((what, "write the key into it".to_owned()));
        }
    }
    adapter
}

/// A file with a secret in it; notes what is wrong with the file.
fn secret(path: &Path, adapter: &mut Adapter) -> Option<String> {
    let shown = path.display();
    let read = || {
        let file = guarded::open_named(path)?;
        let mode = file.metadata()?.mode() & 0o777;
        let bytes = guarded::bounded(&file, guarded::MOST_BYTES)?;
        Ok::<_, std::io::Error>((String::from_utf8_lossy(&bytes).into_owned(), mode))
    };
    match read() {
        Ok((text, mode)) => {
            if mode & 0o007 != 0 {
                let what = format!("{shown}: every user may read it (mode {mode:o})");
                adapter.doubt = Some((what, format!("chmod o-rwx {shown}")));
            }
            Some(text)
        }
        Err(error) => {
            let what = format!("{shown}: it cannot be read: {error}");
            let remedy = "create it, and let the daemon's user read it".to_owned();
            adapter.trouble = Some((what, remedy));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::heard::Home;
    use crate::supervisor::StateFile;

    fn daemon(credentials: &str) -> Daemon {
        let state = format!(
            r#"{{"pid": 1, "version": "1", "role": "worker", "ready": true, "generation": 1,
                 "reloads": 0, "status": "", "duties": [], "sessions": [{{
                 "session": "conv_0123456789abcdef/b", "name": "work/b",
                 "credentials": "{credentials}", "life": "no pid"}}]}}"#
        );
        let state: StateFile = serde_json::from_str(&state).expect("a state");
        Daemon {
            instance: "worker".into(),
            state_path: "/run/mcp-bridge/worker/worker.json".into(),
            home: Home::System,
            state,
            runs: true,
            process: None,
            other: None,
        }
    }

    /// Neither file is there for us, and so neither may be read.
    #[test]
    fn session_is_known_by_its_credentials_file() {
        let configured = Path::new("/etc/mcp-bridge/credentials/work.b.toml");
        for (read, known) in [
            ("/etc/mcp-bridge/credentials/work.b.toml", true),
            ("/run/credentials/w.service/mcp-bridge_work.b.toml", true),
            ("/etc/mcp-bridge/credentials/other.b.toml", false),
            ("", false),
        ] {
            let found = said(configured, Some(&daemon(read)));
            assert_eq!(!found.is_empty(), known, "{read}");
        }
    }
}
