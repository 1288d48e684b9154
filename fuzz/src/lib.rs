//! What holds for every input. `fuzz_targets/` looks for an input for which it does not,
//! and `tests/house/fuzz.rs` tries each of `seeds/`.

use std::cell::LazyCell;
use std::fs;

use mcp_bridge::credentials::Credentials;
use mcp_bridge::model::message::Message;
use mcp_bridge::model::redact::{redact, redact_json, redact_within};
use mcp_bridge::session::framing::Styles;
use serde_json::{Value, json};

thread_local! {
    // Its mode is 0600.
    static FILE: LazyCell<tempfile::NamedTempFile> =
        LazyCell::new(|| tempfile::Builder::new().suffix(".toml").tempfile().expect("a file"));
}

/// What `SECRET` stands for in an input.
const SECRET: &str = "mcpb_5ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4";
/// More of it than anything may show.
const PART: &str = "5ec4e75ec4e75ec4";

fn with_secret(input: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(input) {
        Ok(text) => text.replace("SECRET", SECRET).into_bytes(),
        Err(_) => input.to_vec(),
    }
}

/// The body of a request: what cannot be read is the client's fault, and the answer
/// repeats no secret, wherever it stood.
pub fn api_bodies(input: &[u8]) {
    let body = with_secret(input);
    for problem in mcp_bridge::api::server::problems_with(&body) {
        assert!((400..500).contains(&problem.status), "{problem:?}");
        assert!(!format!("{problem:?}").contains(PART), "{problem:?}");
    }
}

/// A daemon's configuration: any file makes settings or an error in words, and no error
/// repeats a URL.
pub fn configuration(input: &[u8]) {
    FILE.with(|file| {
        let text = with_secret(input);
        fs::write(file.path(), &text).expect("written");
        let Err(error) = mcp_bridge::config::load(file.path(), []) else {
            return;
        };
        let said = error.to_string();
        assert!(!said.trim().is_empty());
        assert!(!said.contains(PART) || !only_in_urls(&text), "{said}");
    });
}

/// Whether `SECRET` stands in a file of TOML, and nowhere but in a URL.
fn only_in_urls(text: &[u8]) -> bool {
    fn urls(value: &toml::Value) -> usize {
        match value {
            toml::Value::Table(table) => {
                let of = |(name, value): (&String, &toml::Value)| match value.as_str() {
                    Some(text) if name == "url" => text.matches(SECRET).count(),
                    _ => urls(value),
                };
                table.iter().map(of).sum()
            }
            toml::Value::Array(items) => items.iter().map(urls).sum(),
            _ => 0,
        }
    }
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let found = toml::from_str(text).map_or(0, |table| urls(&toml::Value::Table(table)));
    found > 0 && found == text.matches(SECRET).count()
}

/// A file of credentials: what is wrong with it is said without its token.
pub fn credentials(input: &[u8]) {
    FILE.with(|file| {
        fs::write(file.path(), with_secret(input)).expect("written");
        let said = match Credentials::read(file.path()) {
            Ok(read) => format!("{:?}", read.callers),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!said.contains(PART), "{said}");
    });
}

/// What a client says to a hook: no input is an error.
pub fn hook_input(input: &[u8]) {
    for argument in [None, Some("codex-notify")] {
        let name = mcp_bridge::hook::event_of(input, argument);
        assert!(name.len() <= input.len().max(12), "{name}");
    }
}

/// A message as another program may have stored it, its metadata and its sender on the
/// first two lines: what is shown of it keeps its frame, and the text can write no line of
/// its own.
pub fn metadata(input: &str) {
    let Some((metadata, rest)) = input.split_once('\n') else {
        return;
    };
    let Ok(mut metadata) = serde_json::from_str::<Value>(metadata) else {
        return;
    };
    redact_json(&mut metadata);
    let once = metadata.clone();
    assert_eq!(redact_json(&mut metadata), [], "{metadata}");
    assert_eq!(metadata, once);
    let (from, text) = rest.split_once('\n').unwrap_or(("a", rest));
    let message = json!({
        "id": 1, "conversation": "conv_0000000000000001", "from": from, "to": "b",
        "message": text, "metadata": metadata, "sent_at": null,
    });
    let message = serde_json::from_value::<Message>(message).expect("a message");
    let shown = Styles::default().message(&message, None, "", jiff::Timestamp::UNIX_EPOCH);
    let acts = |c: char| c.is_control() && c != '\n' && c != '\t' || c == '\u{202e}';
    assert!(!shown.contains(acts), "{shown:?}");
    let mut lines = shown.lines();
    assert!(
        lines
            .next()
            .is_some_and(|line| line.starts_with("message 1 from ")),
        "{shown}"
    );
    let mut rest = lines.peekable();
    rest.next_if(|line| line.starts_with("files: "));
    assert!(
        rest.all(|line| line.starts_with("| ") || line == "|"),
        "{shown}"
    );
}

/// Redaction: what was redacted holds no more secrets, and a text within a limit stays so.
pub fn redaction(text: &str) {
    let once = redact(text);
    assert_eq!(redact(&once.text).text, once.text);
    let limit = text.chars().count();
    assert!(redact_within(text, limit).text.chars().count() <= limit);
}
