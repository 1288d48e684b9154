//! A table of the configuration as it is in effect.

use std::path::PathBuf;
use std::time::Duration;

use super::dirs::CredentialsDirs;
use super::error::{SettingPlace, Source};
use super::findings::{Findings, Limits, Range};
use super::origins::Origins;
use super::shape::RawDuration;

/// A table that all share, or what a `[[session]]` sees of it: its own keys over
/// the common ones.
#[derive(Debug)]
pub(crate) struct Section<'a, R> {
    /// Its dotted name.
    name: String,
    common: &'a R,
    own: Option<(&'a R, &'a Source, usize)>,
    origins: &'a Origins,
    dirs: &'a CredentialsDirs,
}

impl<'a, R> Section<'a, R> {
    /// The common table.
    pub(crate) fn new(
        name: &str,
        common: &'a R,
        origins: &'a Origins,
        dirs: &'a CredentialsDirs,
    ) -> Self {
        Self {
            name: name.to_owned(),
            common,
            own: None,
            origins,
            dirs,
        }
    }

    /// The same with a session's own keys over it.
    pub(crate) fn overridden(&self, own: &'a R, source: &'a Source, number: usize) -> Self {
        Self {
            name: self.name.clone(),
            own: Some((own, source, number)),
            ..*self
        }
    }

    /// A table in this one.
    pub(crate) fn part<P>(&self, name: &str, get: impl Fn(&'a R) -> &'a P) -> Section<'a, P> {
        Section {
            name: format!("{}.{name}", self.name),
            common: get(self.common),
            own: self
                .own
                .map(|(own, source, number)| (get(own), source, number)),
            origins: self.origins,
            dirs: self.dirs,
        }
    }

    /// Where a relative file with a secret in it is looked for.
    pub(crate) fn dirs(&self) -> &'a CredentialsDirs {
        self.dirs
    }

    /// The value in effect, if any source has one, and where it stands or belongs.
    pub(crate) fn pick<T>(
        &self,
        key: &str,
        get: impl Fn(&'a R) -> Option<T>,
    ) -> (Option<T>, SettingPlace) {
        let key = format!("{}.{key}", self.name);
        let common = get(self.common);
        let Some((own, source, number)) = self.own else {
            return (common, self.origins.place(&key));
        };
        let own = get(own);
        if own.is_none() && common.is_some() {
            return (common, self.origins.place(&key));
        }
        let place = SettingPlace {
            source: source.clone(),
            session: Some(number),
            key,
        };
        (own, place)
    }

    /// A duration, with its default and its limits.
    pub(crate) fn duration(
        &self,
        found: &mut Findings,
        key: &str,
        limits: Limits,
        get: impl Fn(&'a R) -> Option<RawDuration>,
    ) -> Duration {
        let (value, at) = self.pick(key, get);
        found.duration(|| at, value, limits)
    }

    /// A whole number, with its default and its limits.
    pub(crate) fn number(
        &self,
        found: &mut Findings,
        key: &str,
        range: Range,
        get: impl Fn(&'a R) -> Option<i64>,
    ) -> u32 {
        let (value, at) = self.pick(key, get);
        found.number(|| at, value, range)
    }

    /// A word of a fixed set.
    pub(crate) fn word<T: Copy>(
        &self,
        found: &mut Findings,
        key: &str,
        words: &[(&str, T)],
        default: T,
        get: impl Fn(&'a R) -> Option<&'a str>,
    ) -> T {
        let (value, at) = self.pick(key, get);
        found.word(|| at, value, words, default)
    }

    /// A program and its arguments; `None` if no source has the key.
    pub(crate) fn command(
        &self,
        found: &mut Findings,
        key: &str,
        get: impl Fn(&'a R) -> Option<&'a [String]>,
    ) -> Option<Vec<String>> {
        let (value, at) = self.pick(key, get);
        Some(found.command(|| at, value?))
    }

    /// An absolute path; `None` if no source has the key.
    pub(crate) fn absolute(
        &self,
        found: &mut Findings,
        key: &str,
        get: impl Fn(&'a R) -> Option<&'a str>,
    ) -> Option<PathBuf> {
        let (value, at) = self.pick(key, get);
        Some(found.absolute(|| at, value?))
    }
}
