//! Imports point one way. Each folder of `src` stands on a layer; what it imports
//! stands on a lower one, or is itself.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot read the source has nothing to say"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// From the bottom. Modules of one layer do not import each other.
const LAYERS: &[&[&str]] = &[
    &["model", "text"],
    &["clock"],
    &[
        "advice",
        "ending",
        "file_stamp",
        "files",
        "host",
        "leash",
        "logging",
        "ps",
        "service_manager",
    ],
    &["guarded"],
    &["command", "credentials", "doorbell"],
    &["stage"],
    // What tables of settings are made of.
    &["setting"],
    // Below `config`: an adapter's table in the configuration stands beside the
    // adapter, in one file, and `config` asks the lists of adapters.
    &["alert", "wake"],
    &["config"],
    &["liveness", "store"],
    &["api", "clients"],
    &["bridge"],
    &["session"],
    &["duties", "exit"],
    &["supervisor"],
    // The faces, those that are to come as well: none of them imports another.
    &["cli", "daemon", "hook", "mcp"],
];

/// Crates that one place alone may name.
const CRATES: &[(&str, &[&str])] = &[
    ("sqlx", &["store/sqlite"]),
    ("rusqlite", &["store/sqlite", "cli/demo/cast"]),
    ("axum", &["api/server"]),
    ("hyper", &["api", "clients/opencode"]),
    ("notify", &["doorbell"]),
    ("sd_notify", &["service_manager"]),
    ("listenfd", &["service_manager"]),
    ("clap", &["cli", "daemon", "bin", "exit"]),
    ("clap_complete", &["cli"]),
    ("figment", &["config", "setting/origins"]),
    ("rmcp", &["mcp"]),
    ("tokio_tungstenite", &["clients/codex"]),
    ("ureq", &["alert"]),
    ("landlock", &["store/sqlite"]),
];

/// The faces that speak for agents and people. Each reaches the store by a bridge.
const FACES: &[&str] = &["cli", "mcp", "hook"];

/// Files of theirs that work on the database's file itself, and so may name it.
const ON_THE_FILE: &[&str] = &[
    // It measures when COMMIT returned.
    "cli/demo/actors",
    "cli/doctor/facts",
    "cli/doctor/gather/stores",
    "cli/doctor/judge/store",
    "cli/health",
    "cli/store/attend",
    "cli/store/backup",
    "cli/store/check",
    "cli/store/init",
    "cli/store/own_directory",
    "cli/store/restore",
];

/// How the store is reached: what a face leaves to its bridge.
const OF_THE_STORE: &[&str] = &[
    "doorbell",
    "locate::open",
    "locate::open_telling",
    "store::Backend",
    "store::Look",
    "store::OnRing",
    "store::SharedStore",
    "store::Store",
    "store::executor",
    "store::memory",
    "store::rows",
    "store::sqlite",
];

/// Where rules are: what a backend must not need.
const RULES: &[&str] = &[
    "model/assignment",
    "model/observer",
    "model/rate",
    "model/redact",
    "store/fetches",
    "store/ops",
    "store/postponed",
];

/// Files of backends that put a rule to work without having one.
const OF_A_BACKEND: &[&str] = &[
    // Makes the whole store.
    "store/memory/keeper",
    "store/sqlite/mod",
    // A command on the file itself, written down like any order.
    "store/sqlite/numbers",
];

/// A source file: its path under `src` without the extension, and its text
/// without comments and tests.
struct Source {
    name: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).expect("below").with_extension("");
            let name = name.to_str().expect("UTF-8").to_owned();
            let is_test = name.split('/').any(|part| part == "tests");
            if path.extension().is_some_and(|end| end == "rs") && !is_test {
                let text = std::fs::read_to_string(&path).expect("text");
                let text = without_comments_and_tests(&text);
                found.push(Source { name, text });
            }
        }
    }
    assert!(found.len() > 200, "the source is elsewhere");
    found
}

fn without_comments_and_tests(text: &str) -> String {
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..tests].lines();
    lines
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// A path of a module: `store/sqlite/open` is `[store, sqlite, open]`.
type Module = Vec<String>;

fn path(name: &str) -> Module {
    let parts = name.split('/').filter(|part| *part != "mod");
    parts.map(str::to_owned).collect()
}

/// The paths that a text names: of `use` with its lists taken apart, and in the
/// code itself.
fn paths(text: &str) -> BTreeSet<String> {
    static USED: LazyLock<Regex> = LazyLock::new(|| pattern(r"\buse\s+([^;]+);"));
    static NAMED: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b[a-z_]+(?:::\w+)+"));
    let mut paths = BTreeSet::new();
    for found in USED.captures_iter(text) {
        take_apart("", &found[1], &mut paths);
    }
    let rest = USED.replace_all(text, "");
    paths.extend(NAMED.find_iter(&rest).map(|path| path.as_str().to_owned()));
    paths
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern")
}

/// `a::{b, c::{d}}` is `a::b` and `a::c::d`.
fn take_apart(before: &str, tree: &str, paths: &mut BTreeSet<String>) {
    let tree = tree.trim();
    let Some((stem, list)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        paths.insert(format!("{before}{path}"));
        return;
    };
    let stem = format!("{before}{}", stem.trim());
    let list = list.strip_suffix('}').unwrap_or(list);
    let (mut depth, mut start) = (0_u32, 0);
    for (at, character) in list.char_indices().chain([(list.len(), ',')]) {
        match character {
            '{' => depth += 1,
            // The word stands in a text, too.
            '}' if depth == 0 => return,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !list[start..at].trim().is_empty() {
                    take_apart(&stem, &list[start..at], paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// The file that a path, named in the module `own`, is in.
fn resolved(own: &Module, path: &str, all: &BTreeSet<Module>) -> Option<Module> {
    let mut parts: Vec<&str> = path.split("::").map(str::trim).collect();
    let mut whole: Module = match parts[0] {
        "crate" => Vec::new(),
        _ => own.clone(),
    };
    match parts[0] {
        "crate" | "self" => drop(parts.remove(0)),
        "super" => {
            while parts.first() == Some(&"super") {
                whole.pop();
                parts.remove(0);
            }
        }
        // A module of its own, or another crate.
        child => {
            whole.push(child.to_owned());
            let is_mine = all.contains(&whole);
            whole.pop();
            if !is_mine {
                return None;
            }
        }
    }
    whole.extend(parts.into_iter().map(str::to_owned));
    while !whole.is_empty() && !all.contains(&whole) {
        whole.pop();
    }
    (!whole.is_empty()).then_some(whole)
}

/// Which files each file imports.
fn imports() -> BTreeMap<Module, BTreeSet<Module>> {
    let sources = sources();
    let all: BTreeSet<Module> = sources.iter().map(|source| path(&source.name)).collect();
    let each = sources.iter().map(|source| {
        let own = path(&source.name);
        let named = paths(&source.text);
        let others = named.iter().filter_map(|path| resolved(&own, path, &all));
        let others = others.filter(|other| *other != own).collect();
        (own, others)
    });
    each.collect()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

#[test]
fn imports_point_downwards() {
    let mut wrong = BTreeMap::<String, BTreeSet<String>>::new();
    for (own, others) in imports() {
        let name = own.join("/");
        if matches!(own[0].as_str(), "lib" | "bin") {
            continue;
        }
        let Some(height) = layer(&own[0]) else {
            panic!("{} stands on no layer: add it to LAYERS", own[0]);
        };
        for other in others.iter().filter(|other| other[0] != own[0]) {
            if layer(&other[0]).is_none_or(|other| other >= height) {
                wrong
                    .entry(name.clone())
                    .or_default()
                    .insert(other.join("/"));
            }
        }
    }
    assert!(wrong.is_empty(), "these imports point upwards: {wrong:#?}");
}

/// Circles that are left, each by one of its files. This list only gets shorter.
const CIRCLES: &[&str] = &[];

#[test]
fn files_import_each_other_in_no_circle() {
    let imports = imports();
    // A file may use what its own folder's `mod` offers to all of them.
    let above = |own: &Module, other: &Module| own.len() > other.len() && own.starts_with(other);
    let mut reach: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
    for start in imports.keys() {
        let mut seen = BTreeSet::new();
        let mut next = vec![start];
        while let Some(at) = next.pop() {
            for other in imports.get(at).into_iter().flatten() {
                if !above(at, other) && seen.insert(other) {
                    next.push(other);
                }
            }
        }
        reach.insert(start, seen);
    }
    let mut circles = BTreeSet::new();
    for (own, seen) in &reach {
        if seen.contains(own) {
            let files = seen.iter().filter(|other| {
                let back = reach.get(*other);
                back.is_some_and(|back| back.contains(own))
            });
            let files: BTreeSet<String> = files.map(|file| file.join("/")).collect();
            circles.insert(files);
        }
    }
    let known = |circle: &BTreeSet<String>| CIRCLES.iter().any(|file| circle.contains(*file));
    let new: Vec<_> = circles.iter().filter(|circle| !known(circle)).collect();
    assert!(new.is_empty(), "new circles of imports: {new:#?}");
    let gone = CIRCLES
        .iter()
        .filter(|file| !circles.iter().any(|circle| circle.contains(**file)));
    let gone: Vec<_> = gone.collect();
    assert!(gone.is_empty(), "take these out of CIRCLES: {gone:?}");
}

#[test]
fn one_place_names_a_crate() {
    let sources = sources();
    let mut wrong = BTreeSet::new();
    for (name, places) in CRATES {
        let path = pattern(&format!(r"(^|[^:\w]){name}::"));
        for source in &sources {
            if !is_in(&source.name, places) && path.is_match(&source.text) {
                wrong.insert(format!("{} names {name}", source.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn shared_errors_advise_no_command_of_one_face() {
    let shared = |name: &str| is_in(name, &["bridge", "session"]);
    let advises = |text: &str| text.contains("mcp-bridge ") || text.contains("--");
    let wrong: Vec<String> = sources()
        .into_iter()
        .filter(|source| shared(&source.name) && advises(&source.text))
        .map(|source| source.name)
        .collect();
    assert!(wrong.is_empty(), "this is for a face to say: {wrong:?}");
}

/// Whether a file is one of these places, or in one of them.
fn is_in(name: &str, places: &[&str]) -> bool {
    let within = |place: &&str| name == *place || name.starts_with(&format!("{place}/"));
    places.iter().any(within)
}

/// What a face names of the store that its bridge is to hide.
fn reached(text: &str) -> Vec<String> {
    let whole = |path: &String| format!("::{path}::");
    let is_hidden = |path: &String| {
        let path = whole(path);
        OF_THE_STORE
            .iter()
            .any(|hidden| path.contains(&format!("::{hidden}::")))
    };
    paths(text).into_iter().filter(is_hidden).collect()
}

#[test]
fn a_face_reaches_the_store_by_its_bridge() {
    let mut wrong = BTreeMap::new();
    let mut needless: BTreeSet<&str> = ON_THE_FILE.iter().copied().collect();
    for source in sources() {
        let found = reached(&source.text);
        if !is_in(&source.name, FACES) || found.is_empty() {
            continue;
        }
        if is_in(&source.name, ON_THE_FILE) {
            needless.retain(|place| !is_in(&source.name, &[place]));
        } else {
            wrong.insert(source.name, found);
        }
    }
    assert!(wrong.is_empty(), "leave this to the bridge: {wrong:#?}");
    assert!(
        needless.is_empty(),
        "take these out of ON_THE_FILE: {needless:?}"
    );
    let found = reached("use crate::store::{Sent, SharedStore, sqlite::{self, Create}};");
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(reached("use crate::store::{StoreError, locate::{self, Hints}};").is_empty());
}

#[test]
fn a_backend_has_no_rules() {
    let mut wrong = BTreeMap::new();
    let mut needless: BTreeSet<&str> = OF_A_BACKEND.iter().copied().collect();
    let sources = sources();
    let all: BTreeSet<Module> = sources.iter().map(|source| path(&source.name)).collect();
    for source in &sources {
        if !is_in(&source.name, &["store/sqlite", "store/memory"]) {
            continue;
        }
        let own = path(&source.name);
        let named = paths(&source.text);
        let files = named.iter().filter_map(|path| resolved(&own, path, &all));
        let found: BTreeSet<String> = files
            .map(|file| file.join("/"))
            .filter(|file| is_in(file, RULES))
            .collect();
        if found.is_empty() {
            continue;
        }
        if OF_A_BACKEND.contains(&&*source.name) {
            needless.remove(&*source.name);
        } else {
            wrong.insert(source.name.clone(), found);
        }
    }
    assert!(wrong.is_empty(), "this belongs to store/ops: {wrong:#?}");
    assert!(
        needless.is_empty(),
        "take these out of OF_A_BACKEND: {needless:?}"
    );
}

#[test]
fn an_import_that_is_turned_round_is_found() {
    let text = without_comments_and_tests(
        "use crate::{cli::{Exit, output as o}, text};\n// crate::daemon\n\
         fn f() { crate::store::x(); super::y::Z; own::w() }\n\
         #[cfg(test)]\nmod tests { use crate::supervisor; }",
    );
    let all = [
        "cli",
        "cli/output",
        "store",
        "text",
        "duties",
        "duties/y",
        "duties/x",
    ];
    let all = all
        .into_iter()
        .chain(["duties/x/own", "supervisor", "daemon"]);
    let all: BTreeSet<Module> = all.map(path).collect();
    let own = path("duties/x");
    let named = paths(&text);
    let found: BTreeSet<String> = named
        .iter()
        .filter_map(|path| resolved(&own, path, &all))
        .map(|module| module.join("/"))
        .collect();
    let found: Vec<_> = found.iter().map(String::as_str).collect();
    assert_eq!(
        found,
        [
            "cli",
            "cli/output",
            "duties/x/own",
            "duties/y",
            "store",
            "text"
        ]
    );
    assert!(layer("cli") > layer("duties") && layer("duties") > layer("store"));
}
