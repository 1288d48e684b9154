//! `[[session]]`: credentials, proof, and the session's own wakes.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Place, Source};
use super::findings::{Findings, Limits, limits, millis, secs};
use super::layer::FOUR_WAYS;
use super::raw::{RawProof, RawProofTable, RawSession};
use super::settings::{ProofSettings, SessionSettings};
use super::wake::WakeView;

pub(super) const PROOF_TIMEOUT: Limits = limits(secs(5), millis(100), secs(60));

/// A session with the source it came from, and its number there.
#[derive(Debug)]
pub(super) struct LayeredSession {
    pub(super) source: Source,
    /// Counted from 1 within the source.
    pub(super) number: usize,
    pub(super) raw: RawSession,
}

impl LayeredSession {
    fn place(&self, key: &str) -> Place {
        Place {
            source: self.source.clone(),
            session: Some(self.number),
            key: key.to_owned(),
        }
    }
}

/// Where a relative file with a secret in it is looked for.
#[derive(Debug)]
pub(super) struct CredentialsDirs {
    /// `$CREDENTIALS_DIRECTORY`, which wins where the file is there.
    pub(super) systemd: Option<PathBuf>,
    /// The main file's directory, for drop-ins too.
    pub(super) config: PathBuf,
}

/// What systemd puts before the name of each file when it loads a whole
/// directory: `LoadCredential=mcp-bridge:/etc/mcp-bridge/credentials`.
pub const LOADED_AS: &str = "mcp-bridge_";

/// The directory beside the main file that is loaded so.
const CREDENTIALS: &str = "credentials";

impl CredentialsDirs {
    /// The first place that has the file, or else the one where it belongs: it
    /// may come later.
    pub(super) fn resolve(&self, name: &str) -> PathBuf {
        let beside = self.config.join(name);
        let own = self.config.join(CREDENTIALS);
        let apart = own.join(name);
        let loaded = self.systemd.iter().flat_map(|directory| {
            [
                directory.join(name),
                directory.join(format!("{LOADED_AS}{name}")),
            ]
        });
        loaded
            .chain([beside.clone(), apart.clone()])
            .find(|path| path.is_file())
            .unwrap_or_else(|| if own.is_dir() { apart } else { beside })
    }
}

impl CredentialsDirs {
    /// Whether `path`, which is where `name` was found, is none that the service
    /// manager has handed over, although it hands over such files.
    pub(super) fn not_handed_over(&self, name: &str, path: &Path) -> bool {
        let handed = self.systemd.as_ref();
        handed.is_some_and(|handed| Path::new(name).is_relative() && !path.starts_with(handed))
    }
}

pub(super) fn sessions(
    found: &mut Findings,
    layered: &[LayeredSession],
    wake: &WakeView<'_>,
    dirs: &CredentialsDirs,
) -> Vec<SessionSettings> {
    let mut taken: Vec<(PathBuf, &LayeredSession)> = Vec::new();
    layered
        .iter()
        .map(|session| {
            let credentials = credentials(found, session, dirs);
            if let Some(credentials) = &credentials {
                check_taken(found, session, credentials, &mut taken);
            }
            SessionSettings {
                not_handed_over: credentials.as_deref().is_some_and(|path| {
                    let name = session.raw.credentials.as_deref();
                    name.is_some_and(|name| dirs.not_handed_over(name, path))
                }),
                credentials: credentials.unwrap_or_default(),
                proof: proof(found, session),
                wake: wake
                    .overridden(&session.raw.wake, &session.source, session.number)
                    .settings(found),
            }
        })
        .collect()
}

fn credentials(
    found: &mut Findings,
    session: &LayeredSession,
    dirs: &CredentialsDirs,
) -> Option<PathBuf> {
    const REMEDY: &str = r#"name the session's file: credentials = "backend-1.toml""#;
    let at = session.place("credentials");
    match session.raw.credentials.as_deref() {
        None => found.note(ConfigError::missing(at, REMEDY)),
        Some("") => found.invalid(at, format!("is empty; {REMEDY}")),
        Some(name) => return Some(dirs.resolve(name)),
    }
    None
}

/// Two sessions on one file would be one session with two heartbeats.
fn check_taken<'a>(
    found: &mut Findings,
    session: &'a LayeredSession,
    credentials: &Path,
    taken: &mut Vec<(PathBuf, &'a LayeredSession)>,
) {
    let file = fs::canonicalize(credentials).unwrap_or_else(|_| credentials.to_owned());
    if let Some((_, first)) = taken.iter().find(|(other, _)| *other == file) {
        let first = if first.source == session.source {
            format!("session {}", first.number)
        } else {
            first.place("").to_string()
        };
        found.invalid(
            session.place("credentials"),
            format!(
                "{} is taken by {first}; give each session a file of its own",
                credentials.display()
            ),
        );
    } else {
        taken.push((file, session));
    }
}

fn proof(found: &mut Findings, session: &LayeredSession) -> ProofSettings {
    match &session.raw.proof {
        None => {
            found.note(ConfigError::missing(session.place("proof"), FOUR_WAYS));
            ProofSettings::None
        }
        Some(RawProof::None) => ProofSettings::None,
        Some(RawProof::Table(table)) => proof_table(found, session, table),
    }
}

fn proof_table(
    found: &mut Findings,
    session: &LayeredSession,
    table: &RawProofTable,
) -> ProofSettings {
    let ways = [
        ("pid", table.pid.is_some()),
        ("pid_file", table.pid_file.is_some()),
        ("exec", table.exec.is_some()),
    ];
    let ways: Vec<String> = ways
        .iter()
        .filter(|(_, set)| *set)
        .map(|(way, _)| format!("`{way}`"))
        .collect();
    match ways.as_slice() {
        [] => found.invalid(session.place("proof"), format!("names no way; {FOUR_WAYS}")),
        [_] => {}
        several => found.invalid(
            session.place("proof"),
            format!("{} at once; keep one of them", several.join(" and ")),
        ),
    }
    let timeout = found.duration(
        || session.place("proof.timeout"),
        table.timeout,
        PROOF_TIMEOUT,
    );
    if table.timeout.is_some() && table.exec.is_none() {
        found.invalid(
            session.place("proof.timeout"),
            "belongs to a proof by `exec`; take it out",
        );
    }

    if let Some(command) = &table.exec {
        let command = found.command(|| session.place("proof.exec"), command);
        ProofSettings::Exec { command, timeout }
    } else if let Some(path) = &table.pid_file {
        ProofSettings::PidFile(found.absolute(|| session.place("proof.pid_file"), path))
    } else if let Some(pid) = table.pid {
        ProofSettings::Pid(pid_above_zero(found, session, pid))
    } else {
        ProofSettings::None
    }
}

fn pid_above_zero(found: &mut Findings, session: &LayeredSession, pid: i64) -> i32 {
    match i32::try_from(pid) {
        Ok(pid) if pid > 0 => pid,
        _ => {
            let problem = format!("{pid} is no process id; choose from 1 to {}", i32::MAX);
            found.invalid(session.place("proof.pid"), problem);
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each place counts only where the ones before it have no such file.
    #[test]
    fn a_relative_name_is_looked_for_in_order() {
        let root = tempfile::tempdir().expect("a directory");
        let [systemd, config] = ["run", "etc"].map(|name| root.path().join(name));
        fs::create_dir_all(config.join("credentials")).expect("made");
        fs::create_dir_all(&systemd).expect("made");
        let dirs = CredentialsDirs {
            systemd: Some(systemd.clone()),
            config: config.clone(),
        };
        let places = [
            systemd.join("one.toml"),
            systemd.join("mcp-bridge_one.toml"),
            config.join("one.toml"),
            config.join("credentials/one.toml"),
        ];
        for place in places.iter().rev() {
            fs::write(place, "").expect("written");
            assert_eq!(&dirs.resolve("one.toml"), place);
        }
        let absolute = config.join("credentials/one.toml");
        assert_eq!(dirs.resolve(&absolute.to_string_lossy()), absolute);

        let alone = CredentialsDirs {
            systemd: None,
            ..dirs
        };
        assert_eq!(alone.resolve("one.toml"), places[2]);
    }

    #[test]
    fn a_file_that_is_not_there_yet_has_its_place() {
        let root = tempfile::tempdir().expect("a directory");
        let dirs = CredentialsDirs {
            systemd: Some(root.path().join("run")),
            config: root.path().to_owned(),
        };
        assert_eq!(dirs.resolve("one.toml"), root.path().join("one.toml"));
        fs::create_dir(root.path().join("credentials")).expect("made");
        assert_eq!(
            dirs.resolve("one.toml"),
            root.path().join("credentials/one.toml")
        );
        // A directory of that name is no file.
        fs::create_dir(root.path().join("one.toml")).expect("made");
        assert_eq!(
            dirs.resolve("one.toml"),
            root.path().join("credentials/one.toml")
        );
    }
}
