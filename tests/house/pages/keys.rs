//! The keys of the configuration, for a manual page and for Markdown.

use mcp_bridge::config::{KEYS, Key, KeyRole};
use roff::{Inline, Roff, bold, roman};

use super::markup::{argument, inline};

/// Which table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Both,
    Alerts,
    Orchestrator,
}

fn part(key: &Key) -> Part {
    match key.role {
        _ if key.name.starts_with("alert.") => Part::Alerts,
        KeyRole::Orchestrator => Part::Orchestrator,
        KeyRole::Both | KeyRole::Worker => Part::Both,
    }
}

/// What is to be added to the explanation, each with its own words.
fn remarks(key: &Key) -> Vec<String> {
    let mut remarks = Vec::new();
    let words: Vec<String> = key.words().iter().map(|word| format!("`{word}`")).collect();
    if words.iter().any(|word| !key.about.contains(word)) {
        let of = if key.kind() == "list" { "of" } else { "one of" };
        remarks.push(format!("{of} {}", words.join(", ")));
    }
    if let Some((least, most)) = key.limits() {
        remarks.push(format!("{} to {}", bare(&least), bare(&most)));
    }
    if key.role == KeyRole::Worker {
        remarks.push("worker only".into());
    }
    if key.restart {
        remarks.push("needs a restart".into());
    }
    remarks
}

/// A value without its quotation marks.
fn bare(toml: &str) -> String {
    format!("`{}`", toml.trim_matches('"'))
}

pub(crate) fn markdown(of: Part) -> String {
    let mut table = "| key | default | |\n|---|---|---|\n".to_owned();
    for key in KEYS.iter().filter(|key| part(key) == of) {
        let default = match (key.default(), key.absent()) {
            (Some(toml), _) => bare(&toml),
            (None, absent) => absent.unwrap_or_default().to_owned(),
        };
        let mut about = key.about.to_owned();
        for remark in remarks(key) {
            about = format!("{about}; {remark}");
        }
        let row = format!("| `{}` | {default} | {about} |\n", key.name);
        table.push_str(&row.replace("|  |", "| |"));
    }
    table
}

/// One section for each table of the file.
pub(crate) fn page(roff: &mut Roff) {
    let mut section = "";
    for key in KEYS.iter() {
        let now = key.name.split_once('.').map_or("", |(section, _)| section);
        if now != section {
            let head = match now {
                "session" => "[[session]]".to_owned(),
                other => format!("[{other}]"),
            };
            roff.control("SS", [&*argument(&head)]);
            section = now;
        }
        one(roff, key);
    }
}

fn one(roff: &mut Roff, key: &Key) {
    roff.control("TP", []);
    // Within its section: as it is written there.
    let name = key.name.split_once('.').map_or(key.name, |(_, rest)| rest);
    let mut head: Vec<Inline> = vec![bold(name), roman(format!(" ({}", key.kind()))];
    match (key.default(), key.absent()) {
        (Some(toml), _) => head.push(roman(format!(", default {toml})"))),
        (None, Some("required")) => head.push(roman(", required)")),
        (None, _) => head.push(roman(")")),
    }
    roff.text(head);
    let mut words = key.about.to_owned();
    for remark in remarks(key) {
        words = format!("{words}; {remark}");
    }
    if let Some(absent) = key.absent().filter(|absent| *absent != "required") {
        words = format!("{words}. Left out: {absent}");
    }
    if let Some(example) = key.example() {
        words = format!("{words}. Such as `{name} = {example}`");
    }
    let mut letters = words.chars();
    let first = letters.next().map(char::to_uppercase);
    let sentence: String = first
        .into_iter()
        .flatten()
        .chain(letters)
        .chain(['.'])
        .collect();
    roff.text(inline(&sentence));
}
