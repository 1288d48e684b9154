//! The errors so far, the checks that every table uses, and where a key stands.

use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use humantime::format_duration;

use super::error::{ConfigError, Place, Source, all_of, did_you_mean, one_of};
use super::layer::source_of;
use super::raw::RawDuration;

/// A duration's default, and what it may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) default: Duration,
    pub(super) least: Duration,
    pub(super) most: Duration,
}

pub(super) const fn limits(default: Duration, least: Duration, most: Duration) -> Limits {
    Limits {
        default,
        least,
        most,
    }
}

pub(super) const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(super) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) const fn mins(n: u64) -> Duration {
    Duration::from_mins(n)
}

pub(super) const fn hours(n: u64) -> Duration {
    Duration::from_hours(n)
}

pub(super) const fn days(n: u64) -> Duration {
    Duration::from_hours(24 * n)
}

/// A number's default, and what it may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) default: u32,
    pub(super) least: u32,
    pub(super) most: u32,
}

pub(super) const fn range(default: u32, least: u32, most: u32) -> Range {
    Range {
        default,
        least,
        most,
    }
}

/// Which source a merged key came from.
#[derive(Debug)]
pub(super) struct Origins {
    merged: Figment,
    main: Source,
}

impl Origins {
    pub(super) fn new(merged: Figment, main: Source) -> Self {
        Self { merged, main }
    }

    /// Whether any source has `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.merged.find_value(key).is_ok()
    }

    /// Where `key` stands, or belongs when no source has it.
    pub(super) fn place(&self, key: &str) -> Place {
        let found = self.merged.find_metadata(key).and_then(source_of);
        Place {
            source: found.unwrap_or_else(|| self.main.clone()),
            session: None,
            key: key.to_owned(),
        }
    }
}

/// The errors so far, and the checks that add to them.
#[derive(Debug, Default)]
pub(super) struct Findings {
    errors: Vec<ConfigError>,
    count: usize,
}

impl Findings {
    /// How often an error was found. Two keys are compared only while it stands
    /// still: a default in the place of a wrong value would make a second error.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Notes an error, once: sessions share the global `[wake]` and with it its errors.
    pub(super) fn note(&mut self, error: ConfigError) {
        let text = error.to_string();
        self.count += 1;
        if self.errors.iter().all(|known| known.to_string() != text) {
            self.errors.push(error);
        }
    }

    pub(super) fn finish(self) -> Result<(), ConfigError> {
        ConfigError::all(self.errors)
    }

    pub(super) fn invalid(&mut self, at: Place, problem: impl Into<String>) {
        self.note(ConfigError::invalid(at, problem));
    }

    pub(super) fn duration(
        &mut self,
        at: impl FnOnce() -> Place,
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
    pub(super) fn number(
        &mut self,
        at: impl FnOnce() -> Place,
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

    /// A list of adapters by their names. Of each known one: its name, its
    /// settings if it has any, and how it gets them.
    pub(super) fn adapters<T: Clone>(
        &mut self,
        at: &Place,
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
                    self.invalid(at.clone(), format!("names `{name}` twice; take one out"));
                }
                Some((word, Some(adapter), _)) => taken.push((word, adapter.clone())),
            }
        }
        taken.into_iter().map(|(_, adapter)| adapter).collect()
    }

    /// A word of a fixed set.
    pub(super) fn word<T: Copy>(
        &mut self,
        at: impl FnOnce() -> Place,
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

    pub(super) fn absolute(&mut self, at: impl FnOnce() -> Place, value: &str) -> PathBuf {
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

    pub(super) fn command(
        &mut self,
        at: impl FnOnce() -> Place,
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
            self.invalid(at(), "a command cannot hold a NUL character; take it out");
        }
        command.to_owned()
    }
}
