//! `[[session]]`: credentials, proof, and the session's own wakes.

use std::fs;
use std::path::{Path, PathBuf};

use super::layer::FOUR_WAYS;
use super::raw::{RawProof, RawProofTable, RawSession};
use super::settings::{ProofSettings, SessionSettings};
use crate::setting::{
    ConfigError, CredentialsDirs, Findings, Limits, Section, SettingPlace, Source, limits, millis,
    secs,
};
use crate::wake::{self, RawWake};

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
    fn place(&self, key: &str) -> SettingPlace {
        SettingPlace {
            source: self.source.clone(),
            session: Some(self.number),
            key: key.to_owned(),
        }
    }
}

pub(super) fn sessions(
    found: &mut Findings,
    layered: &[LayeredSession],
    common: &Section<'_, RawWake>,
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
                wake: {
                    let number = session.number;
                    let own = common.overridden(&session.raw.wake, &session.source, number);
                    wake::settings(&own, found)
                },
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
                "{} is used by {first} already; give each session its own file",
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
        [] => found.invalid(
            session.place("proof"),
            format!("names no proof; {FOUR_WAYS}"),
        ),
        [_] => {}
        several => found.invalid(
            session.place("proof"),
            format!("{} are both set; keep one of them", several.join(" and ")),
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
            "belongs to a proof by `exec`; remove it",
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
            let problem = format!("{pid} is not a process id; choose from 1 to {}", i32::MAX);
            found.invalid(session.place("proof.pid"), problem);
            1
        }
    }
}
