//! The commands that texts advise, with the store that they must work on: where
//! a plain command finds another store, the advice names the right one.

use std::path::Path;
use std::sync::OnceLock;

/// The store that every advised command of this process must name.
static NAMED: OnceLock<String> = OnceLock::new();

/// Commands that find a store by themselves.
const ON_A_STORE: [&str; 17] = [
    "ack",
    "alert",
    "capacity",
    "check",
    "conversation",
    "doctor",
    "drain",
    "events",
    "health",
    "heartbeat",
    "hold",
    "send",
    "status",
    "store",
    "task",
    "wait",
    "watch",
];

/// From now on every advised command names this store as well: without it the
/// command would find another one. The first that is named counts.
pub(crate) fn name_store(store: &str) {
    NAMED.get_or_init(|| store.to_owned());
}

/// The text, with the store of this process in each command of ours, if a plain
/// command finds another one.
pub(crate) fn with_store(text: &str) -> String {
    match NAMED.get() {
        Some(store) => insert(text, store),
        None => text.to_owned(),
    }
}

/// The text, with the store at `path` in each command of ours.
pub(crate) fn on(text: &str, path: &Path) -> String {
    match path.to_str() {
        Some(path) => insert(text, path),
        None => text.to_owned(),
    }
}

fn insert(text: &str, store: &str) -> String {
    const PROGRAM: &str = "mcp-bridge ";
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:+@%".contains(c);
    let store = match store.chars().all(plain) {
        true => store.to_owned(),
        // As a shell takes it, and with nothing that drives a terminal.
        false if !store.chars().any(char::is_control) => {
            format!("'{}'", store.replace('\'', r"'\''"))
        }
        false => return text.to_owned(),
    };
    let mut parts = text.split(PROGRAM);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(PROGRAM);
        let word = part.split([' ', '`', '\n']).next().unwrap_or_default();
        let command = part.split(['`', '\n']).next().unwrap_or_default();
        if ON_A_STORE.contains(&word) && !command.contains("--store") {
            out = out + "--store " + &store + " ";
        }
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::insert;

    #[test]
    fn advice_names_the_store_that_was_named() {
        let advice =
            "`mcp-bridge status` shows it; mcp-bridge conversation new, mcp-bridge daemons";
        assert_eq!(
            insert(advice, "/srv/b.db"),
            "`mcp-bridge --store /srv/b.db status` shows it; \
             mcp-bridge --store /srv/b.db conversation new, mcp-bridge daemons"
        );
        let named = "mcp-bridge store init --store /x.db";
        assert_eq!(insert(named, "/x.db"), named);
        let odd = insert("mcp-bridge task list", "/a b/$(x)");
        assert_eq!(odd, "mcp-bridge --store '/a b/$(x)' task list");
        assert_eq!(insert("mcp-bridge task", "/a\n"), "mcp-bridge task");
    }
}
