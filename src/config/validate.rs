//! Defaults and limits, and what has to hold between two keys.
//!
//! A check that fails notes its error and goes on with the default, so that all errors
//! come at once; the settings are not handed out if there is any error.

use std::path::PathBuf;

use humantime::format_duration;

use super::api::api;
use super::orchestrator::orchestrator;
use super::raw::{RawHeartbeat, RawMessageWatch, RawSettings};
use super::sessions::{LayeredSession, sessions};
use super::settings::{
    AgentSettings, HeartbeatSettings, LogSettings, MessageWatchSettings, RoleSettings,
    ServiceSettings, Settings, WatchMode,
};
use super::store::store;
use crate::alert;
use crate::logging;
use crate::setting::{
    ConfigError, CredentialsDirs, Findings, Limits, Origins, Section, did_you_mean, hours, limits,
    millis, mins, one_of, secs,
};
use crate::wake;

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

pub(super) const SHUTDOWN_GRACE: Limits = limits(secs(4), millis(100), secs(60));
pub(super) const INTERVAL: Limits = limits(secs(5), millis(100), mins(5));
pub(super) const TTL: Limits = limits(secs(20), millis(300), hours(1));
pub(super) const RENEW_FOR: Limits = limits(hours(3), mins(1), hours(30 * 24));
// The bridge that shares the database calls a session dead after 120 s.
pub(super) const MIRROR_INTERVAL: Limits = limits(secs(60), secs(1), secs(90));
pub(super) const POLL_INTERVAL: Limits = limits(secs(30), millis(100), mins(10));

/// A heartbeat may be lost twice before its session is.
const INTERVALS_PER_TTL: u32 = 3;

/// What the settings are called and where their files are looked for.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) source: PathBuf,
    pub(super) instance: String,
    pub(super) credentials: CredentialsDirs,
}

/// Makes settings of the merged shape.
pub(super) fn validate(
    identity: Identity,
    raw: &RawSettings,
    layered: &[LayeredSession],
    origins: &Origins,
) -> Result<Settings, ConfigError> {
    let mut findings = Findings::default();
    let found = &mut findings;

    let role = role(found, raw.role.as_deref(), origins);
    let is_local = found.word(
        || origins.place("sessions"),
        raw.sessions.as_deref(),
        &[("listed", false), ("local", true)],
        false,
    );
    let dirs = &identity.credentials;
    let common = Section::new("wake", &raw.wake, origins, dirs);
    // Checked even without sessions: it is there to be used later.
    let wake = wake::settings(&common, found);
    let settings = Settings {
        source: identity.source,
        instance: identity.instance,
        store: store(found, &raw.store, origins, &identity.credentials),
        log: LogSettings {
            level: log_level(found, raw.log.level.as_deref(), origins),
        },
        service: ServiceSettings {
            state_file: raw
                .service
                .state_file
                .as_deref()
                .map(|path| found.absolute(|| origins.place("service.state_file"), path)),
            shutdown_grace: found.duration(
                || origins.place("service.shutdown_grace"),
                raw.service.shutdown_grace,
                SHUTDOWN_GRACE,
            ),
        },
        api: api(found, &raw.api, origins),
        agents: AgentSettings {
            heartbeat: heartbeat(found, &raw.heartbeat, origins),
            message_watch: message_watch(found, &raw.message_watch, origins),
            sessions: sessions(found, layered, &common, dirs),
            local: is_local.then_some(wake),
        },
        alert: {
            let dirs = &identity.credentials;
            let table = Section::new("alert", &raw.alert, origins, dirs);
            alert::settings(&table, found)
        },
        role: role_settings(found, role, raw, origins),
    };
    findings.finish()?;
    Ok(settings)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Worker,
    Orchestrator,
}

const ROLES: [(&str, Role); 2] = [
    ("worker", Role::Worker),
    ("orchestrator", Role::Orchestrator),
];

/// `None` if it is missing or wrong: then nothing is said about what belongs to which.
fn role(found: &mut Findings, role: Option<&str>, origins: &Origins) -> Option<Role> {
    let at = origins.place("role");
    let words = ROLES.map(|(word, _)| word);
    let Some(word) = role else {
        found.note(ConfigError::missing(
            at,
            r#"write role = "worker" or role = "orchestrator" above the first table"#,
        ));
        return None;
    };
    let role = ROLES.iter().find(|(known, _)| *known == word);
    if role.is_none() {
        let remedy = did_you_mean(word, &words)
            .unwrap_or_else(|| format!("`role` must be {}", one_of(&words)));
        found.invalid(at, format!("unknown role {word:?}; {remedy}"));
    }
    role.map(|(_, role)| *role)
}

/// A key that does nothing in this role is refused: the operator who wrote it believes
/// that it does something.
fn role_settings(
    found: &mut Findings,
    role: Option<Role>,
    raw: &RawSettings,
    origins: &Origins,
) -> RoleSettings {
    const ORCHESTRATORS: [&str; 3] = ["watchdog", "reassignment", "housekeeping"];
    const WORKERS: [&str; 1] = ["alert.no_leader_after"];
    let (foreign, other) = match role {
        Some(Role::Worker) => (&ORCHESTRATORS[..], "orchestrator"),
        Some(Role::Orchestrator) => (&WORKERS[..], "worker"),
        None => (&[][..], ""),
    };
    for key in foreign.iter().filter(|key| origins.has(key)) {
        found.invalid(
            origins.place(key),
            format!("belongs to the role `{other}`; remove it, or write role = \"{other}\""),
        );
    }
    match role {
        Some(Role::Orchestrator) => RoleSettings::Orchestrator(orchestrator(found, raw, origins)),
        Some(Role::Worker) | None => RoleSettings::Worker,
    }
}

/// One level, or directives in the syntax of tracing's `EnvFilter`, which is asked, too.
fn log_level(found: &mut Findings, level: Option<&str>, origins: &Origins) -> String {
    let level = level.unwrap_or("info");
    let lower = level.to_lowercase();
    if LEVELS.contains(&lower.as_str()) {
        return lower;
    }
    // A lone word would be a target at level trace; it is a slip nearly always.
    let directive = level.contains(['=', ',', '[']) || level.contains("::");
    let wrong = if !directive {
        Some(level)
    } else if level.contains(['[', '{']) {
        None
    } else {
        level
            .split(',')
            .filter_map(|part| part.split_once('='))
            .map(|(_, level)| level.trim())
            .find(|level| !LEVELS.contains(&level.to_lowercase().as_str()))
    };
    if let Some(wrong) = wrong {
        let remedy = did_you_mean(wrong, &LEVELS).unwrap_or_else(|| {
            format!(
                "it is {}, or a filter such as `mcp_bridge=debug,info`",
                one_of(&LEVELS[..5])
            )
        });
        found.invalid(
            origins.place("log.level"),
            format!("unknown level {wrong:?}; {remedy}"),
        );
    } else if logging::malformed(level).is_some() {
        // Its own words do not say what is meant instead.
        found.invalid(
            origins.place("log.level"),
            format!(
                "{level:?} is not a log filter; write a level, or a filter such as `mcp_bridge=debug,info`"
            ),
        );
    }
    level.to_owned()
}

fn heartbeat(found: &mut Findings, raw: &RawHeartbeat, origins: &Origins) -> HeartbeatSettings {
    let place = |key: &str| origins.place(&format!("heartbeat.{key}"));
    let before = found.count();
    let settings = HeartbeatSettings {
        interval: found.duration(|| place("interval"), raw.interval, INTERVAL),
        ttl: found.duration(|| place("ttl"), raw.ttl, TTL),
        renew_conversations: raw.renew_conversations.unwrap_or(true),
        renew_for: found.duration(|| place("renew_for"), raw.renew_for, RENEW_FOR),
        mirror_interval: found.duration(
            || place("mirror_interval"),
            raw.mirror_interval,
            MIRROR_INTERVAL,
        ),
    };

    if found.count() != before {
        return settings;
    }

    let least = settings.interval * INTERVALS_PER_TTL;
    let [interval, ttl, renew_for, shortest] =
        [settings.interval, settings.ttl, settings.renew_for, least].map(format_duration);
    if settings.ttl < least && raw.ttl.is_some() {
        let interval_at = match raw.interval {
            Some(_) if place("interval").source != place("ttl").source => {
                format!(" from {}", place("interval").source)
            }
            Some(_) => String::new(),
            None => " by default".to_owned(),
        };
        found.invalid(
            place("ttl"),
            format!(
                "{ttl} is too short; it must be at least 3 x interval ({interval}{interval_at}): {shortest}"
            ),
        );
    } else if settings.ttl < least {
        found.invalid(
            place("interval"),
            format!(
                "{interval} is too long for the ttl, {ttl} by default, which must be at least 3 x interval; set heartbeat.ttl to {shortest} or more"
            ),
        );
    }
    if settings.renew_for < settings.ttl {
        let culprit = if raw.renew_for.is_some() {
            "renew_for"
        } else {
            "ttl"
        };
        found.invalid(
            place(culprit),
            format!("renew_for ({renew_for}) must not be below ttl ({ttl}); raise renew_for"),
        );
    }
    settings
}

fn message_watch(
    found: &mut Findings,
    raw: &RawMessageWatch,
    origins: &Origins,
) -> MessageWatchSettings {
    MessageWatchSettings {
        mode: found.word(
            || origins.place("message_watch.mode"),
            raw.mode.as_deref(),
            &[("events", WatchMode::Events), ("poll", WatchMode::Poll)],
            WatchMode::Events,
        ),
        poll_interval: found.duration(
            || origins.place("message_watch.poll_interval"),
            raw.poll_interval,
            POLL_INTERVAL,
        ),
    }
}
