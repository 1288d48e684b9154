//! `[wake]`, and the keys of `[session.wake]` over it.

use super::raw::RawWake;
use super::settings::{AdapterSettings, FileMode, FileSettings, WakeSettings};
use crate::setting::{
    ExecSettings, Findings, Limits, Origins, Place, RawDuration, Source, hours, limits, millis,
    mins, secs,
};

pub(super) const VERIFY_WITHIN: Limits = limits(secs(15), millis(100), mins(10));
pub(super) const BACKOFF: Limits = limits(secs(30), millis(100), hours(1));
pub(super) const BACKOFF_MAX: Limits = limits(mins(15), millis(100), hours(24));
pub(super) const EXEC_TIMEOUT: Limits = limits(secs(10), millis(100), mins(5));

/// Any agent with a shell can do this. One that has tools instead is told so.
pub(super) const TEXT: &str = "Run: mcp-bridge check";
/// It may be typed into a terminal.
const TEXT_MOST: usize = 200;

pub(super) const OUTPUT_LIMIT: usize = 4096;
pub(super) const OUTPUT_LIMIT_MOST: usize = 1024 * 1024;

/// The global `[wake]`, or what a session sees of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct WakeView<'a> {
    global: &'a RawWake,
    origins: &'a Origins,
    own: Option<(&'a RawWake, &'a Source, usize)>,
}

impl<'a> WakeView<'a> {
    pub(super) fn global(raw: &'a RawWake, origins: &'a Origins) -> Self {
        Self {
            global: raw,
            origins,
            own: None,
        }
    }

    /// The same with a session's own keys over it.
    pub(super) fn overridden(self, own: &'a RawWake, source: &'a Source, number: usize) -> Self {
        Self {
            own: Some((own, source, number)),
            ..self
        }
    }

    /// The value in effect, if any source has one, and where it stands or belongs.
    fn pick<T>(&self, key: &str, get: impl Fn(&'a RawWake) -> Option<T>) -> (Option<T>, Place) {
        let key = format!("wake.{key}");
        let global = get(self.global);
        let Some((own, source, number)) = self.own else {
            return (global, self.origins.place(&key));
        };
        let own = get(own);
        if own.is_none() && global.is_some() {
            return (global, self.origins.place(&key));
        }
        let place = Place {
            source: source.clone(),
            session: Some(number),
            key,
        };
        (own, place)
    }

    /// Defaults and limits.
    pub(super) fn settings(&self, found: &mut Findings) -> WakeSettings {
        let exec = self.exec(found);
        let file = self.file(found);
        let verify_within = self.duration(found, "verify_within", VERIFY_WITHIN, |raw| {
            raw.verify_within
        });
        let before = found.count();
        let backoff = self.duration(found, "backoff", BACKOFF, |raw| raw.backoff);
        let backoff_max = self.duration(found, "backoff_max", BACKOFF_MAX, |raw| raw.backoff_max);
        if found.count() == before && backoff_max < backoff {
            let (max, max_at) = self.pick("backoff_max", |raw| raw.backoff_max);
            let (_, backoff_at) = self.pick("backoff", |raw| raw.backoff);
            // The key that somebody wrote; of two, the one nearer to the session.
            let nearer =
                max.is_some() && (max_at.session.is_some() || backoff_at.session.is_none());
            let [backoff, max] = [backoff, backoff_max].map(humantime::format_duration);
            found.invalid(
                if nearer { max_at } else { backoff_at },
                format!(
                    "backoff_max ({max}) must not be below backoff ({backoff}); raise backoff_max"
                ),
            );
        }
        WakeSettings {
            adapters: self.adapters(found, exec.as_ref(), file.as_ref()),
            text: self.text(found),
            verify_within,
            backoff,
            backoff_max,
        }
    }

    fn text(&self, found: &mut Findings) -> String {
        let (text, at) = self.pick("text", |raw| raw.text.as_deref());
        let text = text.map_or(TEXT, str::trim);
        if text.is_empty() {
            found.invalid(at, "is empty; say what the agent does to read its mail");
        } else if text.chars().count() > TEXT_MOST || text.chars().any(char::is_control) {
            found.invalid(
                at,
                format!("is one line of at most {TEXT_MOST} printable characters; shorten it"),
            );
        }
        text.to_owned()
    }

    fn duration(
        &self,
        found: &mut Findings,
        key: &str,
        limits: Limits,
        get: impl Fn(&'a RawWake) -> Option<RawDuration>,
    ) -> std::time::Duration {
        let (value, at) = self.pick(key, get);
        found.duration(|| at, value, limits)
    }

    fn exec(&self, found: &mut Findings) -> Option<ExecSettings> {
        let timeout = self.duration(found, "exec.timeout", EXEC_TIMEOUT, |raw| raw.exec.timeout);
        let (limit, at) = self.pick("exec.output_limit", |raw| raw.exec.output_limit);
        let output_limit = match limit.map(|limit| (limit, usize::try_from(limit))) {
            None => OUTPUT_LIMIT,
            Some((_, Ok(limit))) if limit <= OUTPUT_LIMIT_MOST => limit,
            Some((limit, _)) => {
                let problem =
                    format!("{limit} is out of range; choose from 0 to {OUTPUT_LIMIT_MOST} bytes");
                found.invalid(at, problem);
                OUTPUT_LIMIT
            }
        };
        let (command, at) = self.pick("exec.command", |raw| raw.exec.command.as_deref());
        Some(ExecSettings {
            command: found.command(|| at, command?),
            timeout,
            output_limit,
        })
    }

    fn file(&self, found: &mut Findings) -> Option<FileSettings> {
        let (mode, at) = self.pick("file.mode", |raw| raw.file.mode.as_deref());
        let words = [("append", FileMode::Append), ("touch", FileMode::Touch)];
        let mode = found.word(|| at, mode, &words, FileMode::Append);
        let (path, at) = self.pick("file.path", |raw| raw.file.path.as_deref());
        Some(FileSettings {
            path: found.absolute(|| at, path?),
            mode,
        })
    }

    fn adapters(
        &self,
        found: &mut Findings,
        exec: Option<&ExecSettings>,
        file: Option<&FileSettings>,
    ) -> Vec<AdapterSettings> {
        let (order, at) = self.pick("order", |raw| raw.order.as_deref());
        let known = [
            (
                "exec",
                exec.cloned().map(AdapterSettings::Exec),
                r#"add [wake.exec] with command = ["/usr/local/bin/nudge"]"#,
            ),
            (
                "file",
                file.cloned().map(AdapterSettings::File),
                r#"add [wake.file] with path = "/run/agent/inbox""#,
            ),
        ];
        found.adapters(&at, order.unwrap_or_default(), &known)
    }
}
