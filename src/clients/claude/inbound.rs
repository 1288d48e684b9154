//! Whether a client delivers what comes from other sessions to its agent. Its user may say
//! that such messages are held back, or refused, by a setting that its vendor documents:
//! the inbox takes the text all the same, and no answer tells what became of it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::guarded;

/// The setting.
const KEY: &str = "crossSessionInbound";

/// Bytes of a file of settings at most.
const MOST: u64 = 4 << 20;

/// Where an administrator's settings are.
#[cfg(target_os = "macos")]
const MANAGED: &str = "/Library/Application Support/ClaudeCode/managed-settings.json";
#[cfg(not(target_os = "macos"))]
const MANAGED: &str = "/etc/claude-code/managed-settings.json";

/// Why the client in this directory holds back what is put into its inbox, if its settings
/// say that it does. `own` is the directory of its user's settings.
pub(super) fn held(own: &Path, directory: Option<&Path>) -> Option<String> {
    // None of them undoes what another one forbids: a project's files can only forbid.
    let mut files = vec![PathBuf::from(MANAGED)];
    if let Some(directory) = directory {
        files.push(directory.join(".claude/settings.local.json"));
        files.push(directory.join(".claude/settings.json"));
    }
    files.push(own.join("settings.json"));
    let (file, what) = files.into_iter().find_map(|file| {
        let what = match said(&file)?.as_str() {
            "hold" => "holds back",
            "refuse" => "refuses",
            _ => return None,
        };
        Some((file, what))
    })?;
    Some(format!(
        "the client {what} what other sessions say, as {KEY} in {} tells it to",
        file.display()
    ))
}

fn said(file: &Path) -> Option<String> {
    let text = guarded::read_named(file, MOST).ok()?;
    let settings: Value = serde_json::from_slice(&text).ok()?;
    settings.get(KEY)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strictest_setting_counts() {
        let scratch = tempfile::tempdir().expect("a directory");
        let (own, tree) = (scratch.path().join("own"), scratch.path().join("tree"));
        std::fs::create_dir_all(&own).expect("a directory");
        std::fs::create_dir_all(tree.join(".claude")).expect("a directory");
        let held = || held(&own, Some(&tree));
        assert_eq!(held(), None);
        let say = |file: &Path, word: &str| {
            std::fs::write(file, format!("{{\"crossSessionInbound\": {word}}}")).expect("written");
        };
        say(&own.join("settings.json"), "\"hold\"");
        let why = held().expect("it is held");
        assert!(
            why.contains("holds back") && why.contains("own/settings.json"),
            "{why}"
        );
        let local = tree.join(".claude/settings.local.json");
        say(&local, "\"accept\"");
        assert!(held().is_some());
        say(&tree.join(".claude/settings.json"), "\"refuse\"");
        assert!(held().expect("it is refused").contains("refuses"));
        // What cannot be read, and what has no documented meaning, says nothing.
        say(&own.join("settings.json"), "[ broken");
        say(&tree.join(".claude/settings.json"), "3");
        assert_eq!(held(), None);
    }
}
