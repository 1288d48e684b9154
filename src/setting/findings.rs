//! The errors so far, and the checks that every table uses.

use std::path::{Path, PathBuf};
use std::time::Duration;

use humantime::format_duration;

use super::error::{ConfigError, SettingPlace, all_of, did_you_mean, one_of};
use super::shape::RawDuration;

/// A duration's default, and what it may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) default: Duration,
    pub(crate) least: Duration,
    pub(crate) most: Duration,
}

pub(crate) const fn limits(default: Duration, least: Duration, most: Duration) -> Limits {
    Limits {
        default,
        least,
        most,
    }
}

pub(crate) const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) const fn mins(n: u64) -> Duration {
    Duration::from_mins(n)
}

pub(crate) const fn hours(n: u64) -> Duration {
    Duration::from_hours(n)
}

pub(crate) const fn days(n: u64) -> Duration {
    Duration::from_hours(24 * n)
}

/// humantime's, so that a limit reads `1year`.
pub(crate) const YEAR: Duration = secs(31_557_600);

/// A number's default, and what it may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) default: u32,
    pub(crate) least: u32,
    pub(crate) most: u32,
}

pub(crate) const fn range(default: u32, least: u32, most: u32) -> Range {
    Range {
        default,
        least,
        most,
    }
}

/// The errors so far, and the checks that add to them.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    errors: Vec<ConfigError>,
    count: usize,
}

impl Findings {
    /// How often an error was found. Two keys are compared only while it stands
    /// still: a default in the place of a wrong value would create a second error.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Notes an error, once: sessions share the global `[wake]` and with it its errors.
    pub(crate) fn note(&mut self, error: ConfigError) {
        let text = error.to_string();
        self.count += 1;
        if self.errors.iter().all(|known| known.to_string() != text) {
            self.errors.push(error);
        }
    }

    pub(crate) fn finish(self) -> Result<(), ConfigError> {
        ConfigError::all(self.errors)
    }

    pub(crate) fn invalid(&mut self, at: SettingPlace, problem: impl Into<String>) {
        self.note(ConfigError::invalid(at, problem));
    }

    pub(crate) fn duration(
        &mut self,
        at: impl FnOnce() -> SettingPlace,
        value: Option<RawDuration>,
        limits: Limits,
    ) -> Duration {
        let Some(RawDuration(value)) = value else {
            return limits.default;
        };
        if (limits.least..=limits.most).contains(&value) {
            return value;
        }
        let [value, least, most] = [value, limits.least, limits.most].map(format_duration);
        self.invalid(
            at(),
            format!("{value} is out of range; choose from {least} to {most}"),
        );
        limits.default
    }

    /// A whole number.
    pub(crate) fn number(
        &mut self,
        at: impl FnOnce() -> SettingPlace,
        value: Option<i64>,
        range: Range,
    ) -> u32 {
        let Range {
            default,
            least,
            most,
        } = range;
        let Some(value) = value else { return default };
        match u32::try_from(value) {
            Ok(value) if (least..=most).contains(&value) => value,
            _ => {
                let problem = format!("{value} is out of range; choose from {least} to {most}");
                self.invalid(at(), problem);
                default
            }
        }
    }

    /// A list of adapters by their names. For each known one: its name, its settings if
    /// it has any, and how it gets them.
    pub(crate) fn adapters<T: Clone>(
        &mut self,
        at: &SettingPlace,
        names: &[String],
        known: &[(&str, Option<T>, &str)],
    ) -> Vec<T> {
        let mut taken: Vec<(&str, T)> = Vec::new();
        for name in names {
            match known.iter().find(|(word, ..)| word == name) {
                None => {
                    let words: Vec<&str> = known.iter().map(|(word, ..)| *word).collect();
                    let remedy = did_you_mean(name, &words)
                        .unwrap_or_else(|| format!("the adapters are {}", all_of(&words)));
                    self.invalid(at.clone(), format!("unknown adapter {name:?}; {remedy}"));
                }
                Some((_, None, remedy)) => self.invalid(
                    at.clone(),
                    format!("names `{name}`, which is not configured; {remedy}"),
                ),
                Some((word, ..)) if taken.iter().any(|(other, _)| other == word) => {
                    self.invalid(at.clone(), format!("names `{name}` twice; remove one"));
                }
                Some((word, Some(adapter), _)) => taken.push((word, adapter.clone())),
            }
        }
        taken.into_iter().map(|(_, adapter)| adapter).collect()
    }

    /// A word of a fixed set.
    pub(crate) fn word<T: Copy>(
        &mut self,
        at: impl FnOnce() -> SettingPlace,
        value: Option<&str>,
        words: &[(&str, T)],
        default: T,
    ) -> T {
        let Some(value) = value else { return default };
        if let Some((_, found)) = words.iter().find(|(word, _)| *word == value) {
            return *found;
        }
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let remedy =
            did_you_mean(value, &words).unwrap_or_else(|| format!("it is {}", one_of(&words)));
        self.invalid(at(), format!("unknown value {value:?}; {remedy}"));
        default
    }

    pub(crate) fn absolute(&mut self, at: impl FnOnce() -> SettingPlace, value: &str) -> PathBuf {
        let path = Path::new(value);
        if value.is_empty() {
            self.invalid(at(), "is empty; write an absolute path");
        } else if !path.is_absolute() {
            self.invalid(
                at(),
                format!("{value:?} is not an absolute path; begin it with /"),
            );
        }
        path.to_owned()
    }

    pub(crate) fn command(
        &mut self,
        at: impl FnOnce() -> SettingPlace,
        command: &[String],
    ) -> Vec<String> {
        if command
            .first()
            .is_none_or(|program| program.trim().is_empty())
        {
            self.invalid(
                at(),
                r#"the command is empty; name a program and its arguments, such as ["/usr/local/bin/nudge", "arg"]"#,
            );
        } else if command.iter().any(|word| word.contains('\0')) {
            self.invalid(at(), "a command cannot contain a NUL character; remove it");
        }
        command.to_owned()
    }
}
