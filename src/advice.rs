//! The commands that texts advise, as they work in the shell that this process was
//! started in: with the store and the session that it was given, where a plain command
//! would find another store or no session.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::text::for_shell;

/// What this process was given.
static STORE: OnceLock<Store> = OnceLock::new();
static CREDENTIALS: OnceLock<Vec<String>> = OnceLock::new();
static SESSION: OnceLock<String> = OnceLock::new();

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

/// Commands that act for the session of the credentials.
const FOR_A_SESSION: [&str; 11] = [
    "ack",
    "check",
    "doctor wake",
    "heartbeat",
    "send",
    "task claim",
    "task done",
    "task fail",
    "task progress",
    "wait",
    "watch",
];

/// Of these, the ones that take `--as`.
const TAKES_AS: &str = "task";

#[derive(Debug, Clone)]
struct Store {
    name: String,
    /// The credentials name it: a command that has them needs no more.
    is_of_credentials: bool,
}

/// From now on every advised command names this store as well: without it the
/// command would find another one. The first that is named counts.
pub(crate) fn name_store(store: &str) {
    keep(store, false);
}

/// The same for a store that the credentials name.
pub(crate) fn name_store_of_credentials(store: &str) {
    keep(store, true);
}

fn keep(store: &str, is_of_credentials: bool) {
    let name = store.to_owned();
    STORE.get_or_init(|| Store {
        name,
        is_of_credentials,
    });
}

/// From now on every advised command of a session names these credentials, which were
/// named by an option. Those of the environment and of the directory are found again.
pub(crate) fn name_credentials(named: &[PathBuf]) {
    let named = named.iter().map(|path| path.display().to_string());
    CREDENTIALS.get_or_init(|| named.collect());
}

/// From now on every advised command that takes it names this session with `--as`.
pub(crate) fn name_session(session: &str) {
    SESSION.get_or_init(|| session.to_owned());
}

/// The text, with what this process was given in each command of ours that needs it.
pub(crate) fn as_given(text: &str) -> String {
    let given = Given {
        store: STORE.get().cloned(),
        credentials: CREDENTIALS.get().map_or(&[], Vec::as_slice),
        session: SESSION.get().map(String::as_str),
    };
    given.insert(text)
}

/// The text, with the store at `path` in each command of ours.
pub(crate) fn on(text: &str, path: &Path) -> String {
    let store = path.to_str().map(|name| Store {
        name: name.to_owned(),
        is_of_credentials: false,
    });
    Given {
        store,
        ..Given::default()
    }
    .insert(text)
}

#[derive(Debug, Default)]
struct Given<'a> {
    store: Option<Store>,
    credentials: &'a [String],
    session: Option<&'a str>,
}

impl Given<'_> {
    fn insert(&self, text: &str) -> String {
        const PROGRAM: &str = "mcp-bridge ";
        let store = self.store.as_ref().map(|store| store.name.as_str());
        let names = self.credentials.iter().map(String::as_str);
        let mut names = names.chain(store).chain(self.session);
        if names.any(|name| name.contains(char::is_control)) {
            // It would drive a terminal.
            return text.to_owned();
        }
        let mut parts = text.split(PROGRAM);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let command = part.split(['`', '\n']).next().unwrap_or_default();
            out = out + PROGRAM + &self.options(command);
            match self.session_at(command) {
                Some((at, session)) => {
                    let (before, after) = part.split_at(at);
                    out = out + before + " --as " + &for_shell(session) + after;
                }
                None => out.push_str(part),
            }
        }
        out
    }

    /// What stands before the words of a command.
    fn options(&self, command: &str) -> String {
        let acts = acts_for_a_session(command);
        let mut options = String::new();
        if acts {
            for name in self.credentials {
                options = options + "-c " + &for_shell(name) + " ";
            }
        }
        let word = command.split(' ').next().unwrap_or_default();
        if let Some(store) = &self.store
            && ON_A_STORE.contains(&word)
            && !(acts && store.is_of_credentials)
            && !command.contains("--store")
        {
            options = options + "--store " + &for_shell(&store.name) + " ";
        }
        options
    }

    /// Where `--as` stands in a command that takes it, and which session it names.
    fn session_at(&self, command: &str) -> Option<(usize, &str)> {
        let session = self.session?;
        let takes = command.starts_with(TAKES_AS) && acts_for_a_session(command);
        let mut blanks = command.match_indices(' ').map(|(at, _)| at);
        (takes && !command.contains("--as"))
            .then(|| (blanks.nth(1).unwrap_or(command.len()), session))
    }
}

fn acts_for_a_session(command: &str) -> bool {
    FOR_A_SESSION.iter().any(|words| {
        let rest = command.strip_prefix(words);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_store(text: &str, store: &str) -> String {
        on(text, Path::new(store))
    }

    #[test]
    fn advice_names_the_store_that_was_named() {
        let advice =
            "`mcp-bridge status` shows it; mcp-bridge conversation new, mcp-bridge daemons";
        assert_eq!(
            at_store(advice, "/srv/b.db"),
            "`mcp-bridge --store /srv/b.db status` shows it; \
             mcp-bridge --store /srv/b.db conversation new, mcp-bridge daemons"
        );
        let named = "mcp-bridge store init --store /x.db";
        assert_eq!(at_store(named, "/x.db"), named);
        let odd = at_store("mcp-bridge task list", "/a b/$(x)");
        assert_eq!(odd, "mcp-bridge --store '/a b/$(x)' task list");
        assert_eq!(at_store("mcp-bridge task", "/a\n"), "mcp-bridge task");
    }

    #[test]
    fn advice_for_a_session_names_it_as_it_was_named() {
        let credentials = ["backend/b".to_owned(), "my files/x.toml".to_owned()];
        let given = |is_of_credentials| Given {
            store: Some(Store {
                name: "/srv/b.db".to_owned(),
                is_of_credentials,
            }),
            credentials: &credentials,
            session: Some("backend/b"),
        };
        let advice = "`mcp-bridge task claim`; mcp-bridge task done 17 --fence 1\n\
                      mcp-bridge check, mcp-bridge task list, mcp-bridge -c x send hello";
        assert_eq!(
            given(true).insert(advice),
            "`mcp-bridge -c backend/b -c 'my files/x.toml' task claim --as backend/b`; \
             mcp-bridge -c backend/b -c 'my files/x.toml' task done --as backend/b 17 --fence 1\n\
             mcp-bridge check, mcp-bridge --store /srv/b.db task list, mcp-bridge -c x send hello"
        );
        assert_eq!(
            given(false).insert("mcp-bridge check"),
            "mcp-bridge -c backend/b -c 'my files/x.toml' --store /srv/b.db check"
        );
        let plain = Given::default().insert(advice);
        assert_eq!(plain, advice);
    }
}
