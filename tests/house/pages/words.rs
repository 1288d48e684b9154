//! Plain English: words that a reader who learnt English at school stumbles over are
//! in no help, no page, no text of the program, no comment and no name of a function.

use std::fs;
use std::path::Path;

use super::root;

/// Words that hide who acts, and old turns of phrase. Each has a plain one: the session,
/// the agent, the operator, the user; "must", "gets a message", "this number of".
const WORDS: [&str; 19] = [
    "anybody",
    "are told",
    "be told",
    "been told",
    "everybody",
    "hence",
    "is told",
    "lest",
    "nobody",
    "shall",
    "so many",
    "somebody",
    "wants to be",
    "was told",
    "were told",
    "whatever",
    "whichever",
    "whoever",
    "whomever",
];

/// A test's name is read in a list, without its neighbours.
const LONGEST_NAME: usize = 10;

/// What people read, apart from the texts in the code. Help is in the manual pages.
const READ: [&str; 14] = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "config",
    "docs",
    "examples",
    "launchd",
    "packaging/README.md",
    "packaging/catalog",
    "packaging/man",
    "plugins",
    "src/api/openapi.json",
    "systemd",
];

/// What developers read: comments and names. Test data may hold any word.
const CODE: [&str; 7] = [
    "bench",
    "benches",
    "fuzz/fuzz_targets",
    "fuzz/src",
    "justfile",
    "src",
    "tests",
];

/// Every file at and below this path, with its text.
fn files(path: &Path, found: &mut Vec<(String, String)>) {
    if !path.is_dir() {
        if path.extension().is_none_or(|extension| extension != "png") {
            let text = fs::read_to_string(path).expect("text");
            found.push((path.display().to_string(), text));
        }
        return;
    }
    for entry in fs::read_dir(path).expect("a directory") {
        files(&entry.expect("an entry").path(), found);
    }
}

/// The string literals of Rust code, each with the number of its line, and without what
/// a `\` at the end of a line takes away. Tests at the end of a file are left out.
fn literals(code: &str) -> Vec<(usize, String)> {
    let code = code
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    let mut found = Vec::new();
    let mut rest = code;
    let line = |rest: &str| code[..code.len() - rest.len()].lines().count();
    while let Some(at) = rest.find(['"', '\'', '/', 'r']) {
        let (before, here) = rest.split_at(at);
        let in_a_word = before
            .chars()
            .next_back()
            .is_some_and(|c| c.is_alphanumeric() || c == '_');
        let hashes = here[1..].chars().take_while(|c| *c == '#').count();
        if here.starts_with("//") {
            rest = here.find('\n').map_or("", |end| &here[end..]);
        } else if here.starts_with('r') && !in_a_word && here[1 + hashes..].starts_with('"') {
            let text = &here[hashes + 2..];
            let end = format!("\"{}", "#".repeat(hashes));
            let (text, after) = text.split_once(&end).expect("the end of a raw string");
            found.push((line(here), text.to_owned()));
            rest = after;
        } else if let Some(text) = here.strip_prefix('"') {
            let mut escaped = false;
            let end = text
                .find(|c| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                })
                .expect("the end of a string");
            found.push((line(here), joined(&text[..end])));
            rest = &text[end + 1..];
        } else if let Some(quoted) = here.strip_prefix('\'') {
            // A character, which may be a quotation mark; else a lifetime.
            let end = match quoted.strip_prefix('\\') {
                Some(escaped) => escaped[1..].find('\'').map(|end| end + 2),
                None => quoted
                    .chars()
                    .next()
                    .map(char::len_utf8)
                    .filter(|end| quoted[*end..].starts_with('\'')),
            };
            rest = end.map_or(quoted, |end| &quoted[end + 1..]);
        } else {
            rest = &here[1..];
        }
    }
    found
}

fn joined(literal: &str) -> String {
    let mut parts = literal.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start())
}

/// The comments in code, each with the number of its line, by paragraph. Python's
/// descriptions of functions are comments, too.
fn comments(path: &str, code: &str) -> Vec<(usize, String)> {
    let is_rust = path.ends_with(".rs");
    let (mut found, mut in_docstring) = (Vec::<(usize, String)>::new(), false);
    let mut goes_on = false;
    for (number, line) in code.lines().enumerate() {
        let line = line.trim_start();
        let quotes = path
            .ends_with(".py")
            .then(|| line.matches("\"\"\"").count());
        let comment = if in_docstring || (line.starts_with("\"\"\"") && quotes.is_some()) {
            Some(line.trim_matches('"'))
        } else if is_rust {
            let text = line.strip_prefix("//");
            text.map(|text| text.trim_start_matches(['/', '!']))
        } else {
            line.strip_prefix('#').filter(|text| !text.starts_with('!'))
        };
        in_docstring ^= quotes.unwrap_or(0) % 2 == 1;
        let Some(text) = comment.filter(|text| !text.trim().is_empty()) else {
            goes_on = false;
            continue;
        };
        match found.last_mut().filter(|_| goes_on) {
            Some((_, paragraph)) => paragraph.extend([" ", text]),
            None => found.push((number + 1, text.to_owned())),
        }
        goes_on = true;
    }
    found
}

/// The names of functions, each with the number of its line.
fn names(code: &str) -> Vec<(usize, &str)> {
    let named = code.lines().enumerate().filter_map(|(number, line)| {
        let (before, rest) = line.split_once("fn ").or_else(|| line.split_once("def "))?;
        let in_front = [
            "",
            "pub",
            "pub(crate)",
            "pub(super)",
            "async",
            "const",
            "unsafe",
        ];
        let mut words = before.split_whitespace();
        let name = rest
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .next();
        let name = name.filter(|name| !name.is_empty())?;
        words
            .all(|word| in_front.contains(&word))
            .then_some((number + 1, name))
    });
    named.collect()
}

/// The first of the words in a text that is one of its own, in any case.
fn word_in(text: &str) -> Option<&'static str> {
    let text = text.to_lowercase();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let edge = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    WORDS.into_iter().find(|word| {
        text.match_indices(word).any(|(at, _)| {
            edge(text[..at].chars().next_back()) && edge(text[at + word.len()..].chars().next())
        })
    })
}

#[test]
fn pages_use_plain_words() {
    let mut found = Vec::new();
    for path in READ {
        files(&root(path), &mut found);
    }
    assert!(found.len() > 40, "{}", found.len());
    let mut wrong = Vec::new();
    for (path, text) in found {
        // By paragraph: a turn of phrase may go over the end of a line.
        let mut line = 1;
        for paragraph in text.split("\n\n") {
            if let Some(word) = word_in(paragraph) {
                wrong.push(format!("{path}:{line}: `{word}`"));
            }
            line += paragraph.lines().count() + 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A path without the directory that the tree stands in.
fn below_root(path: &str) -> &str {
    path.strip_prefix(env!("CARGO_MANIFEST_DIR"))
        .unwrap_or(path)
}

#[test]
fn texts_of_the_program_use_plain_words() {
    let mut found = Vec::new();
    files(&root("src"), &mut found);
    let code = found
        .iter()
        .filter(|(path, _)| path.ends_with(".rs") && !below_root(path).contains("/tests"))
        // Words that are no secrets, as people write them.
        .filter(|(path, _)| !path.ends_with("model/redact/value.rs"));
    let (mut looked, mut wrong) = (0, Vec::new());
    for (path, code) in code {
        for (line, text) in literals(code) {
            looked += 1;
            if let Some(word) = word_in(&text) {
                wrong.push(format!("{path}:{line}: `{word}`: {text}"));
            }
        }
    }
    assert!(looked > 3000, "{looked}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn comments_and_names_use_plain_words() {
    let mut found = Vec::new();
    for path in CODE {
        files(&root(path), &mut found);
    }
    let ends = [".py", ".rs", ".sh", "/justfile", "/run", "/soak"];
    found.retain(|(path, _)| ends.iter().any(|end| path.ends_with(end)));
    // The Python bridge and its scripts, and this list.
    found.retain(|(path, _)| !path.contains("/foreign/") && !path.ends_with("pages/words.rs"));
    let (mut comments_read, mut names_read, mut wrong) = (0, 0, Vec::new());
    for (path, code) in found {
        for (line, text) in comments(&path, &code) {
            comments_read += 1;
            if let Some(word) = word_in(&text) {
                wrong.push(format!("{path}:{line}: `{word}`: {text}"));
            }
        }
        for (line, name) in names(&code) {
            names_read += 1;
            if let Some(word) = word_in(&name.replace('_', " ")) {
                wrong.push(format!("{path}:{line}: `{word}` in {name}"));
            }
            if name.split('_').count() > LONGEST_NAME {
                wrong.push(format!(
                    "{path}:{line}: more than {LONGEST_NAME} words: {name}"
                ));
            }
        }
    }
    assert!(comments_read > 10_000, "{comments_read}");
    assert!(names_read > 7_000, "{names_read}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn comments_are_read_by_paragraph() {
    let code = "//! One\n//! two.\n\nfn a() {\n    // three\n    b(\"// no\");\n}\n/// four\n///\n/// five";
    let expected = [
        (1, " One  two."),
        (5, " three"),
        (8, " four"),
        (10, " five"),
    ];
    let found = comments("a.rs", code);
    assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
    let code = "#!/usr/bin/python\n# one\ndef a():\n    \"\"\"two\n    three.\"\"\"\n    b(\"\"\"x\"\"\")\n";
    let expected = [(2, " one"), (4, "two three.")];
    let found = comments("a.py", code);
    assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
    assert_eq!(names(code), [(3, "a")]);
    assert_eq!(names("    pub(crate) async fn one_two()"), [(1, "one_two")]);
}

#[test]
fn words_are_found_where_they_are() {
    assert_eq!(word_in("Told by Nobody."), Some("nobody"));
    assert_eq!(word_in("that it is\n  told"), Some("is told"));
    assert_eq!(word_in("marshall, nobody_else"), None);
    let code =
        "let a = '\"'; // \"nobody\"\nlet b = \"one \\\n    two\";\nlet c = r#\"x \"y\" \"#;";
    let texts: Vec<_> = literals(code);
    assert_eq!(
        texts,
        [(2, "one two".to_owned()), (4, "x \"y\" ".to_owned())]
    );
}
