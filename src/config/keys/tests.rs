//! The table held against what the program accepts.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use figment::Figment;
use figment::error::Kind;
use figment::providers::Serialized;
use tempfile::TempDir;
use toml::{Table, Value as Toml};

use std::time::Duration;

use super::*;
use crate::config::raw::RawSettings;
use crate::config::{
    AdapterSettings, AlertAdapterSettings, ConfigError, Settings, load, restart_keys,
};
use crate::setting::{Key, KeyRole, duration};

const WORKER: &str = r#"
    role = "worker"
    [[session]]
    credentials = "one.toml"
    proof.exec = ["true"]
"#;

/// One that no table has, nor anything like it.
const UNKNOWN: &str = "qqqqqqqqqqqqqqqq";

/// A directory that stands for `/etc/mcp-bridge`.
struct Etc(TempDir);

impl Etc {
    fn new() -> Self {
        let etc = Self(tempfile::tempdir().expect("a directory"));
        fs::write(etc.path("store.url"), "/srv/one.db").expect("written");
        fs::write(etc.path("other.url"), "/srv/two.db").expect("written");
        etc
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self, table: &Table) -> Result<Settings, ConfigError> {
        let path = self.path("it.toml");
        fs::write(&path, table.to_string()).expect("written");
        load(&path, [])
    }

    fn settings(&self, table: &Table, what: &str) -> Settings {
        let settings = self.load(table);
        settings.unwrap_or_else(|error| panic!("{what}: {error}\n{table}"))
    }

    fn refusal(&self, table: &Table, what: &str) -> String {
        match self.load(table) {
            Ok(_) => panic!("{what} is accepted\n{table}"),
            Err(error) => error.to_string(),
        }
    }
}

/// A configuration in which `key` may stand. Nothing is left out that would switch
/// another one off: a command that is not configured has no timeout.
fn base(role: KeyRole) -> Table {
    let mut table: Table = WORKER.parse().expect("TOML");
    for (section, adapters) in [
        ("wake", AdapterSettings::NAMES),
        ("alert", AlertAdapterSettings::NAMES),
    ] {
        set(
            &mut table,
            &format!("{section}.order"),
            &format!("{adapters:?}"),
        );
        for adapter in adapters {
            let first = first_key(section, adapter);
            let example = first.example().expect("an example");
            set(&mut table, first.name, example);
        }
    }
    if role == KeyRole::Orchestrator {
        table.insert("role".into(), "orchestrator".into());
    }
    table
}

/// The first key of an adapter is the one without which it is not configured.
fn first_key(section: &str, adapter: &str) -> &'static Key {
    let mut keys = KEYS.iter();
    let table = format!("{section}.{adapter}.");
    let first = keys.find(|key| key.name.starts_with(&table));
    first.unwrap_or_else(|| panic!("{table} has no key"))
}

/// The section whose list names the adapter, if `name` is the first key of one.
fn section_of_first(name: &str) -> Option<&str> {
    let (rest, _) = name.rsplit_once('.')?;
    let (section, adapter) = rest.rsplit_once('.')?;
    let common = section.strip_prefix("session.").unwrap_or(section);
    let is_list = matches!(common, "wake" | "alert");
    let is_first = || name.ends_with(first_key(common, adapter).name);
    (is_list && is_first()).then_some(section)
}

/// Every key by its own name: `session.wake` stands for all of `wake`'s.
fn all() -> Vec<(String, Key)> {
    KEYS.iter()
        .flat_map(|key| match key.same_as() {
            None => vec![(key.name.to_owned(), *key)],
            Some(table) => KEYS
                .iter()
                .filter_map(|other| {
                    let rest = other.name.strip_prefix(table)?;
                    rest.starts_with('.')
                        .then(|| (format!("{}{rest}", key.name), *other))
                })
                .collect(),
        })
        .collect()
}

/// A value of the file format.
fn value(toml: &str) -> Toml {
    let mut table: Table = format!("it = {toml}").parse().expect(toml);
    table.remove("it").expect("it")
}

/// The table that `name` stands in, made where it is missing, and its last part.
fn place<'a>(mut table: &'a mut Table, name: &'a str) -> (&'a mut Table, &'a str) {
    let mut rest = name;
    while let Some((first, after)) = rest.split_once('.') {
        let entry = table
            .entry(first)
            .or_insert_with(|| Toml::Table(Table::new()));
        if let Toml::String(_) = entry {
            *entry = Toml::Table(Table::new());
        }
        table = match entry {
            Toml::Array(items) => items[0].as_table_mut().expect("a session"),
            other => other.as_table_mut().expect("a table"),
        };
        rest = after;
    }
    (table, rest)
}

fn set(table: &mut Table, name: &str, toml: &str) {
    // A proof names one way.
    if let Some(way) = name.strip_prefix("session.proof.")
        && way != "timeout"
    {
        take(table, "session.proof");
    }
    if name == "store.url_file" {
        take(table, "store.url");
    }
    if name == "alert.webhook.url_file" {
        take(table, "alert.webhook.url");
    }
    let (table, last) = place(table, name);
    table.insert(last.to_owned(), value(toml));
}

fn take(table: &mut Table, name: &str) {
    let (table, last) = place(table, name);
    table.remove(last);
}

/// What the shape knows below `path`, by what serde says of a key that it does
/// not know. `None` if no table may stand there.
fn known(path: &[&str]) -> Option<Vec<String>> {
    let mut value = Toml::Table(Table::from_iter([(UNKNOWN.to_owned(), Toml::Integer(1))]));
    for part in path.iter().rev() {
        value = Toml::Table(Table::from_iter([((*part).to_owned(), value)]));
        if *part == "session" {
            let table = value.as_table_mut().expect("a table");
            let inner = table.remove("session").expect("just put in");
            table.insert("session".into(), Toml::Array(vec![inner]));
        }
    }
    let error = Figment::from(Serialized::defaults(value))
        .extract::<RawSettings>()
        .expect_err("nothing has such a key");
    match error.kind {
        Kind::UnknownField(key, known) if key == UNKNOWN => {
            Some(known.iter().map(|name| (*name).to_owned()).collect())
        }
        _ => None,
    }
}

fn leaves(path: &[&str], found: &mut BTreeSet<String>) {
    for name in known(path).expect("a table") {
        let path: Vec<&str> = path.iter().copied().chain([name.as_str()]).collect();
        if known(&path).is_some() {
            leaves(&path, found);
        } else {
            found.insert(path.join("."));
        }
    }
}

#[test]
fn table_has_exactly_the_keys_of_the_shape() {
    let mut shape = BTreeSet::new();
    leaves(&[], &mut shape);
    assert!(shape.contains("session.wake.exec.command"), "{shape:?}");
    let names: Vec<String> = all().into_iter().map(|(name, _)| name).collect();
    let mut table: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(table.len(), names.len(), "one stands there twice");
    // A value of its own, "none", and the head of a table.
    assert!(table.remove("session.proof"));
    assert_eq!(table, shape);
}

#[test]
fn a_default_is_what_holds_without_it() {
    let etc = Etc::new();
    let mut tried = 0;
    for (name, key) in all() {
        let Some(default) = key.default() else {
            assert!(!name.starts_with("watchdog."), "{name} has a default");
            continue;
        };
        let mut without = base(key.role);
        take(&mut without, &name);
        // A session's own key stands in the place of the common one.
        if let Some(common) = name
            .strip_prefix("session.")
            .filter(|n| n.starts_with("wake."))
        {
            take(&mut without, common);
        }
        let mut with = without.clone();
        set(&mut with, &name, &default);
        assert_eq!(
            etc.settings(&with, &name),
            etc.settings(&without, &name),
            "{name} = {default}"
        );
        tried += 1;
    }
    assert!(tried > 45, "{tried}");
}

/// The smallest step down or up, where there is one.
fn step(toml: &str, down: bool) -> Option<String> {
    let text = value(toml);
    let step = if down { -1 } else { 1 };
    if let Some(number) = text.as_integer() {
        return Some((number + step).to_string());
    }
    let words = text.as_str().expect("a duration");
    let duration = humantime::parse_duration(words).expect(words);
    let millis = i64::try_from(duration.as_millis()).expect("small") + step;
    (millis >= 0).then(|| format!("\"{millis}ms\""))
}

/// The base with all limited keys of `name`'s table at their least, or their
/// greatest: keys that are bound to one another go to their ends together.
fn at_the_end(name: &str, role: KeyRole, least: bool) -> Table {
    let section = |name: &str| name.rsplit_once('.').map(|(section, _)| section.to_owned());
    let mut table = base(role);
    for (other, key) in all() {
        if key.role == role
            && section(&other) == section(name)
            && !other.starts_with("session.proof")
            && let Some((low, high)) = key.limits()
        {
            set(&mut table, &other, if least { &low } else { &high });
        }
    }
    table
}

#[test]
fn limits_hold_at_both_ends() {
    let etc = Etc::new();
    let mut tried = 0;
    for (name, key) in all() {
        let Some((least, most)) = key.limits() else {
            continue;
        };
        tried += 1;
        for (end, down) in [(least, true), (most, false)] {
            let mut table = at_the_end(&name, key.role, down);
            set(&mut table, &name, &end);
            etc.settings(&table, &format!("{name} = {end}"));
            let Some(beyond) = step(&end, down) else {
                continue;
            };
            set(&mut table, &name, &beyond);
            let refusal = etc.refusal(&table, &format!("{name} = {beyond}"));
            let place = name.strip_prefix("session.").unwrap_or(&name);
            assert!(
                refusal.contains(&format!("{place}: ")) && refusal.contains("choose from"),
                "{name} = {beyond}: {refusal}"
            );
        }
    }
    assert!(tried > 40, "{tried}");
}

#[test]
fn each_word_is_taken_and_no_other() {
    let etc = Etc::new();
    for (name, key) in all() {
        let put = |word: &str| match key.kind() {
            "list" => format!("[{word:?}]"),
            _ => format!("{word:?}"),
        };
        for word in key.words() {
            let mut table = base(key.role);
            // The role itself decides what else may stand there.
            if name == "role" {
                take(&mut table, "alert.no_leader_after");
            }
            set(&mut table, &name, &put(word));
            etc.settings(&table, &format!("{name} = {word}"));
        }
        if !key.words().is_empty() {
            let mut table = base(key.role);
            set(&mut table, &name, &put(UNKNOWN));
            let refusal = etc.refusal(&table, &name);
            // The refusal lists them: none is missing here.
            let listed = refusal.matches('`').count() / 2;
            let itself = usize::from(refusal.contains("`role` must be"));
            assert_eq!(listed - itself, key.words().len(), "{refusal}");
        }
    }
}

#[test]
fn every_example_is_taken() {
    let etc = Etc::new();
    for (name, key) in all() {
        if let Some(example) = key.example() {
            let mut table = base(key.role);
            set(&mut table, &name, example);
            etc.settings(&table, &format!("{name} = {example}"));
        } else {
            let known = key.default().is_some() || key.absent().is_some();
            assert!(known, "{name} has neither a default nor an example");
        }
    }
}

/// A value that means something else than the key's absence.
fn another(key: &Key) -> Option<String> {
    let default = key.default();
    let differs = |toml: &String| Some(toml) != default.as_ref();
    let words = key.words().iter().map(|word| match key.kind() {
        "list" => format!("[{word:?}]"),
        _ => format!("{word:?}"),
    });
    let flags = ["true", "false"].map(str::to_owned);
    let flags = flags.into_iter().filter(|_| key.kind() == "true or false");
    let example = key.example().map(str::to_owned);
    // Words before the example: one of them is enough for a list.
    words.chain(example).chain(flags).find(differs)
}

/// The key without a value, or with one, and then with another.
fn before_and_after(etc: &Etc, name: &str, key: &Key) -> (Table, Table) {
    if let Some((least, most)) = key.limits().filter(|_| !name.starts_with("session.proof")) {
        // A step inwards from one end, where no other key is in its way.
        for (end, down) in [(most, true), (least, false)] {
            let before = at_the_end(name, key.role, !down);
            let mut after = before.clone();
            set(&mut after, name, &step(&end, down).expect("a step inwards"));
            if etc.load(&after).is_ok() {
                return (before, after);
            }
        }
        panic!("{name} cannot be moved from either end");
    }
    let mut before = base(key.role);
    take(&mut before, name);
    match name {
        "role" => set(&mut before, name, "\"orchestrator\""),
        "session.credentials" => set(&mut before, name, "\"two.toml\""),
        "session.proof.timeout" => set(&mut before, "session.proof.exec", r#"["true"]"#),
        _ if name.starts_with("session.proof") => set(&mut before, "session.proof", "\"none\""),
        _ if name.starts_with("alert.webhook.url") => set(&mut before, "alert.order", "[]"),
        _ => {}
    }
    // An adapter without its first key cannot be in the list.
    if let Some(section) = section_of_first(name) {
        set(&mut before, &format!("{section}.order"), "[]");
    }
    let mut after = before.clone();
    let other = another(key).or_else(|| Some(key.limits()?.0));
    set(&mut after, name, &other.expect(name));
    (before, after)
}

#[test]
fn keys_need_a_restart_unless_a_reload_applies() {
    let etc = Etc::new();
    for (name, key) in all() {
        let (before, after) = before_and_after(&etc, &name, &key);
        let old = etc.settings(&before, &name);
        let new = etc.settings(&after, &name);
        let wanted: &[&str] = if key.restart { &[key.name] } else { &[] };
        assert_eq!(restart_keys(&old, &new), wanted, "{name}");
        let unused = section_of_first(&name).is_some();
        assert!(
            old != new || unused || name.starts_with("alert.webhook.url"),
            "{name} changes nothing\n{before}\n{after}"
        );
    }
}

#[test]
fn store_counts_and_not_the_file_that_names_it() {
    let etc = Etc::new();
    let with = |toml: &str| {
        let mut table = base(KeyRole::Both);
        let (name, value) = toml.split_once(" = ").expect("a key");
        set(&mut table, name, value);
        etc.settings(&table, toml)
    };
    let file = with(r#"store.url_file = "store.url""#);
    assert_eq!(file.store.url.as_deref(), Some("/srv/one.db"));
    assert_eq!(file.store.url_file, Some(etc.path("store.url")));
    let same = with(r#"store.url = "/srv/one.db""#);
    assert_ne!(file, same);
    assert!(restart_keys(&file, &same).is_empty());
    let other = with(r#"store.url_file = "other.url""#);
    assert_eq!(restart_keys(&file, &other), ["store.url_file"]);
    fs::write(etc.path("store.url"), "/srv/two.db\n").expect("written");
    let rewritten = with(r#"store.url_file = "store.url""#);
    assert_eq!(restart_keys(&file, &rewritten), ["store.url_file"]);
}

#[test]
fn a_key_of_the_other_role_is_refused() {
    let etc = Etc::new();
    for (name, key) in all() {
        let foreign = match key.role {
            KeyRole::Both => continue,
            KeyRole::Worker => KeyRole::Orchestrator,
            KeyRole::Orchestrator => KeyRole::Worker,
        };
        let mut table = base(foreign);
        set(&mut table, &name, &key.default().expect("a default"));
        let refusal = etc.refusal(&table, &name);
        assert!(refusal.contains("belongs to the role"), "{name}: {refusal}");
    }
}

#[test]
fn durations_are_written_in_the_largest_whole_unit() {
    for (millis, toml) in [
        (0, "\"0s\""),
        (100, "\"100ms\""),
        (90_000, "\"90s\""),
        (120_000, "\"2m\""),
        (72 * 3_600_000, "\"3d\""),
        (31_557_600_000, "\"1y\""),
    ] {
        assert_eq!(duration(Duration::from_millis(millis)), toml);
    }
}
