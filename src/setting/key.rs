//! One key of the configuration, for the documents.

use std::time::Duration;

use super::findings::{Limits, Range, YEAR};

/// One key, or a table that is shown as a whole.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The dotted name; `session` stands for each `[[session]]`.
    pub name: &'static str,
    /// Who may have it.
    pub role: KeyRole,
    /// Whether a change counts only after a restart. A reload applies the others.
    pub restart: bool,
    /// What it does, in a few words without a full stop; `code` in backquotes.
    pub about: &'static str,
    value: Value,
    absent: &'static str,
    example: &'static str,
}

/// The roles in which a key may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRole {
    /// Any.
    Both,
    /// The worker's alone.
    Worker,
    /// The orchestrator's alone.
    Orchestrator,
}

/// What may stand behind the `=`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value {
    Duration(Limits),
    Number(Range),
    /// A whole number that has no default.
    Count(i64, i64),
    Flag(bool),
    Text(&'static str),
    /// One of these; the default, if it has one.
    Word(&'static [&'static str], &'static str),
    /// Some of these, in an order; none of them by default.
    Order(&'static [&'static str]),
    Words,
    Proof,
    /// A table with the same keys as this one.
    As(&'static str),
}

pub(crate) const fn key(name: &'static str, value: Value, about: &'static str) -> Key {
    Key {
        name,
        role: KeyRole::Both,
        restart: false,
        about,
        value,
        absent: "",
        example: "",
    }
}

impl Key {
    /// What it means that the key is not there, where it has no default.
    pub(crate) const fn or(mut self, absent: &'static str) -> Self {
        self.absent = absent;
        self
    }

    /// A value that it may have, as TOML.
    pub(crate) const fn such_as(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    pub(crate) const fn of(mut self, role: KeyRole) -> Self {
        self.role = role;
        self
    }

    pub(crate) const fn needs_restart(mut self) -> Self {
        self.restart = true;
        self
    }

    /// What kind of value it has, in a word or two.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Duration(_) => "duration",
            Value::Number(_) | Value::Count(..) => "number",
            Value::Flag(_) => "true or false",
            Value::Text(_) | Value::Word(..) => "text",
            Value::Order(_) | Value::Words => "list",
            Value::Proof => "table or text",
            Value::As(_) => "table",
        }
    }

    /// The default as TOML. `None` if leaving it out is something else than
    /// any value: see [`Self::absent`].
    #[must_use]
    pub fn default(&self) -> Option<String> {
        match self.value {
            Value::Duration(limits) => Some(duration(limits.default)),
            Value::Number(range) => Some(range.default.to_string()),
            Value::Flag(flag) => Some(flag.to_string()),
            Value::Text("") | Value::Word(_, "") => None,
            Value::Text(text) | Value::Word(_, text) => Some(format!("{text:?}")),
            Value::Order(_) => Some("[]".to_owned()),
            Value::Count(..) | Value::Words | Value::Proof | Value::As(_) => None,
        }
    }

    /// In words, what holds where the key is left out and has no default.
    #[must_use]
    pub fn absent(&self) -> Option<&'static str> {
        Some(self.absent).filter(|words| !words.is_empty())
    }

    /// The least and the greatest value as TOML, where they are limited.
    #[must_use]
    pub fn limits(&self) -> Option<(String, String)> {
        match self.value {
            Value::Duration(limits) => Some((duration(limits.least), duration(limits.most))),
            Value::Number(range) => Some((range.least.to_string(), range.most.to_string())),
            Value::Count(least, most) => Some((least.to_string(), most.to_string())),
            _ => None,
        }
    }

    /// The words that it is chosen from, or that its list is made of.
    #[must_use]
    pub fn words(&self) -> &'static [&'static str] {
        match self.value {
            Value::Word(words, _) | Value::Order(words) => words,
            _ => &[],
        }
    }

    /// A value as TOML, where one says more than the default does.
    #[must_use]
    pub fn example(&self) -> Option<&'static str> {
        Some(self.example).filter(|toml| !toml.is_empty())
    }

    /// The table whose keys this table has, too: `session.wake` has `wake`'s.
    #[must_use]
    pub fn same_as(&self) -> Option<&'static str> {
        match self.value {
            Value::As(table) => Some(table),
            _ => None,
        }
    }
}

/// As it is written: `"90s"`, `"5m"`, `"30d"`.
pub(crate) fn duration(duration: Duration) -> String {
    const UNITS: [(Duration, &str); 6] = [
        (YEAR, "y"),
        (Duration::from_hours(24), "d"),
        (Duration::from_hours(1), "h"),
        (Duration::from_mins(1), "m"),
        (Duration::from_secs(1), "s"),
        (Duration::from_millis(1), "ms"),
    ];
    let whole = |unit: &Duration| duration.as_millis().is_multiple_of(unit.as_millis());
    match UNITS.iter().find(|(unit, _)| whole(unit)) {
        Some((unit, name)) if !duration.is_zero() => {
            format!("\"{}{name}\"", duration.as_millis() / unit.as_millis())
        }
        _ => "\"0s\"".to_owned(),
    }
}
