//! One source of settings: a file or an environment variable.
//!
//! Each is read and held against the raw shape by itself, before anything is
//! merged, so that an error names the source that the key came from.

use std::path::Path;

use figment::error::{Actual, Kind};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::raw::{RawSession, RawSettings};
use crate::guarded;
use crate::setting::{ConfigError, SettingPlace, Source, all_of, did_you_mean};

/// How many errors of shape one source may report.
const MOST_ERRORS: usize = 20;

/// The four ways to prove an agent, for the messages.
pub(super) const FOUR_WAYS: &str = r#"write one of: proof = "none", proof = { pid = 4121 },
  proof = { pid_file = "/run/agent.pid" } or proof = { exec = ["pgrep", "-f", "agent"] }"#;

/// A source with a syntax that holds; the shape is still open.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) source: Source,
    keys: Dict,
}

impl Layer {
    /// Reads and parses one file.
    pub(super) fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let read = guarded::read_named(path, guarded::MOST_BYTES);
        let bytes = read.map_err(|cause| ConfigError::Unreadable {
            path: path.to_owned(),
            cause,
        })?;
        let text = std::str::from_utf8(&bytes).map_err(|error| ConfigError::NotUtf8 {
            path: path.to_owned(),
            line: line_of(&bytes[..error.valid_up_to()]),
        })?;
        let table = toml::from_str(text).map_err(|error| syntax(path, text, &error))?;
        Ok(Self {
            source: Source::File(path.to_owned()),
            keys: dict(table),
        })
    }

    /// The setting that `MCP_BRIDGE__SECTION__KEY` makes; `keys` is what follows the prefix.
    pub(super) fn from_variable(name: &str, keys: &str, text: &str) -> Self {
        let value = match text.parse::<Value>() {
            Ok(value) => value,
            Err(never) => match never {},
        };
        let keys = keys.to_ascii_lowercase();
        let mut path = keys.rsplit("__");
        let innermost = path.next().unwrap_or_default();
        let keys = path.fold(
            Dict::from([(innermost.to_owned(), value)]),
            |inner, section| Dict::from([(section.to_owned(), Value::from(inner))]),
        );
        Self {
            source: Source::Variable(name.to_owned()),
            keys,
        }
    }

    /// Holds the source against the raw shape and reports every error, not only the first:
    /// the offending key is taken out and the rest looked at again.
    pub(super) fn check_shape(&self, errors: &mut Vec<ConfigError>) {
        let mut rest = self.clone();
        for _ in 0..MOST_ERRORS {
            let Err(error) = Figment::from(rest.clone()).extract::<RawSettings>() else {
                return;
            };
            errors.push(self.explain(&error));
            if !prune_dict(&mut rest.keys, &error.path) {
                return;
            }
        }
    }

    /// This source's own `[[session]]` tables, which add up over the sources
    /// while everything else is overridden.
    pub(super) fn take_sessions(&mut self) -> Vec<RawSession> {
        let Some(sessions) = self.keys.remove("session") else {
            return Vec::new();
        };
        let alone = Self {
            source: self.source.clone(),
            keys: Dict::from([("session".to_owned(), sessions)]),
        };
        Figment::from(alone)
            .extract::<RawSettings>()
            .map(|raw| raw.session)
            .unwrap_or_default()
    }

    fn explain(&self, error: &figment::Error) -> ConfigError {
        let at = self.place(error);
        match &error.kind {
            Kind::UnknownField(key, known) => {
                let remedy = self.remedy_for_unknown(key, known);
                ConfigError::UnknownKey { at, remedy }
            }
            Kind::InvalidType(found, expected) => ConfigError::WrongType {
                at,
                expected: in_words(expected),
                found: type_of(found),
            },
            Kind::InvalidValue(Actual::Str(text), expected) if expected == "a duration" => {
                let problem = format!(
                    r#"{text:?} is not a duration; one looks like "500ms", "5s", "2m" or "3h""#
                );
                ConfigError::invalid(at, problem)
            }
            Kind::InvalidValue(Actual::Str(text), expected) if expected == "a proof" => {
                ConfigError::invalid(at, format!("{text:?} is not a proof; {FOUR_WAYS}"))
            }
            // Only numbers that fit no type of Rust come here; the shape above has no other.
            _ => ConfigError::invalid(at, "this value is not allowed here"),
        }
    }

    fn remedy_for_unknown(&self, key: &str, known: &[&str]) -> String {
        if let Source::Variable(name) = &self.source
            && name.to_ascii_lowercase().ends_with(key)
            && let Some((section, rest)) = known.iter().find_map(|section| {
                let rest = key.strip_prefix(section)?.strip_prefix('_')?;
                Some((section.to_ascii_uppercase(), rest.to_ascii_uppercase()))
            })
        {
            // MCP_BRIDGE__HEARTBEAT_INTERVAL is the usual slip.
            let before = &name[..name.len() - key.len()];
            return format!(
                "write two underscores between section and key: {before}{section}__{rest}"
            );
        }
        did_you_mean(key, known)
            .unwrap_or_else(|| format!("the keys known here are {}", all_of(known)))
    }

    fn place(&self, error: &figment::Error) -> SettingPlace {
        let (session, path) = match error.path.as_slice() {
            [first, index, rest @ ..] if first == "session" => match index.parse::<usize>() {
                Ok(index) => (Some(index + 1), rest),
                Err(_) => (None, error.path.as_slice()),
            },
            path => (None, path),
        };
        let is_item = !matches!(error.kind, Kind::UnknownField(..));
        let mut key = String::new();
        for (position, part) in path.iter().enumerate() {
            let last = position + 1 == path.len();
            match part.parse::<usize>() {
                Ok(index) if is_item && last && position > 0 => {
                    key.push_str(&format!(" item {}", index + 1));
                }
                _ => {
                    if position > 0 {
                        key.push('.');
                    }
                    key.push_str(&bare(part));
                }
            }
        }
        SettingPlace {
            source: self.source.clone(),
            session,
            key,
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        match &self.source {
            Source::File(path) => Metadata::from("file", path.as_path()),
            Source::Variable(name) => Metadata::from("variable", name.clone()),
        }
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.keys.clone())]))
    }
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let before = text.get(..start).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    ConfigError::Syntax {
        path: path.to_owned(),
        line: line_of(before.as_bytes()),
        column: before[line_start..].chars().count() + 1,
        // Its Display would print the line of the file, and with it a password.
        message: error.message().trim().replace('\n', "; "),
    }
}

fn line_of(before: &[u8]) -> usize {
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

fn dict(table: toml::Table) -> Dict {
    table
        .into_iter()
        .map(|(key, value)| (key, figment_value(value)))
        .collect()
}

fn figment_value(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => flag.into(),
        // No key takes a date; as text it gets the message of a wrong text.
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(items) => {
            let items: Vec<Value> = items.into_iter().map(figment_value).collect();
            items.into()
        }
        toml::Value::Table(table) => dict(table).into(),
    }
}

/// Takes the key at `path` out, and says whether there was anything to take.
///
/// An item of a list takes its whole list along and a session leaves an empty
/// table, so that the numbers of the others stay right.
fn prune_dict(dict: &mut Dict, path: &[String]) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return false;
    };
    match dict.get_mut(first) {
        Some(Value::Dict(_, inner)) if !rest.is_empty() => prune_dict(inner, rest),
        Some(Value::Array(_, items)) if first == "session" && !rest.is_empty() => {
            let item = rest[0]
                .parse()
                .ok()
                .and_then(|index: usize| items.get_mut(index));
            match item {
                Some(Value::Dict(_, inner)) if rest.len() > 1 => prune_dict(inner, &rest[1..]),
                Some(item) => {
                    *item = Value::from(Dict::new());
                    true
                }
                None => false,
            }
        }
        Some(_) => dict.remove(first).is_some(),
        None => false,
    }
}

fn bare(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(plain) {
        key.to_owned()
    } else {
        format!("{key:?}")
    }
}

fn in_words(expected: &str) -> String {
    match expected {
        "a duration" => r#"a duration such as "5s""#,
        "a string" => "text in quotes",
        "a boolean" => "true or false",
        "a sequence" => r#"a list such as ["exec"]"#,
        "i64" => "a whole number",
        "a proof" => r#""none" or a table with one of pid, pid_file, exec"#,
        "a list of tables" => "a list of tables, each headed [[session]]",
        other => other,
    }
    .to_owned()
}

fn type_of(found: &Actual) -> &'static str {
    match found {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) => "a number",
        Actual::Float(_) => "a decimal number",
        Actual::Str(_) | Actual::Char(_) => "text",
        Actual::Seq => "a list",
        Actual::Map => "a table",
        _ => "this",
    }
}
