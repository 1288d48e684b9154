//! `[store]`. Never quotes a URL: it may hold a password.

use super::raw::RawStore;
use super::settings::{StoreSettings, is_closed};
use crate::setting::{CredentialsDirs, Findings, Origins, SettingPlace, secret_file};

const REMEDY: &str = "write an absolute path: /DIR/bridge.db, or sqlite:/DIR/bridge.db";

pub(super) fn store(
    found: &mut Findings,
    raw: &RawStore,
    origins: &Origins,
    dirs: &CredentialsDirs,
) -> StoreSettings {
    let (url, url_file) = match (raw.url.as_deref(), raw.url_file.as_deref()) {
        (Some(_), Some(_)) => {
            found.invalid(
                origins.place("store.url"),
                "both `url` and `url_file` are set; keep one of them",
            );
            (None, None)
        }
        (Some(url), None) => {
            check(found, origins.place("store.url"), url, None);
            (Some(url.to_owned()), None)
        }
        (None, Some("")) => {
            found.invalid(
                origins.place("store.url_file"),
                "is empty; name a file, or remove the key",
            );
            (None, None)
        }
        (None, Some(name)) => {
            let file = dirs.resolve(name);
            let at = origins.place("store.url_file");
            // Now, not when the store is opened: without it the daemon does not know
            // which store to wait for.
            let url = match secret_file::text(&file) {
                Ok(text) => {
                    let url = text.trim().to_owned();
                    check(found, at, &url, Some(&file.display().to_string()));
                    Some(url)
                }
                Err(why) => {
                    // A restart brings a file that only root may read, not one that
                    // is not there.
                    let unread = dirs.not_handed_over(name, &file) && is_closed(&file);
                    let remedy = match unread.then(crate::credentials::restart_command) {
                        Some(command) => format!("; if it exists, this loads it: {command}"),
                        None => String::new(),
                    };
                    found.invalid(at, format!("{why}{remedy}"));
                    None
                }
            };
            (url, Some(file))
        }
        (None, None) => (None, None),
    };
    let hash = raw.accepted_schema.clone();
    if hash.as_deref().is_some_and(|hash| !is_hash(hash)) {
        found.invalid(
            origins.place("store.accepted_schema"),
            "is not a hash of 32 hexadecimal digits; `mcp-bridge store verify` prints it",
        );
    }
    StoreSettings {
        url,
        url_file,
        accepted_schema: hash,
    }
}

/// What is wrong with a URL, said of the `file` that it stands in, if any.
fn check(found: &mut Findings, at: SettingPlace, url: &str, file: Option<&str>) {
    let (scheme, rest) = match url.split_once(':') {
        Some((scheme, rest)) if !scheme.contains('/') => (scheme, rest),
        _ => ("sqlite", url),
    };
    let problem = match scheme.to_ascii_lowercase().as_str() {
        _ if scheme != "sqlite" && scheme.eq_ignore_ascii_case("sqlite") => {
            "write `sqlite:` in lower case"
        }
        "sqlite" if rest.trim_start_matches('/').is_empty() => "names no file",
        "sqlite" if rest.contains(":memory:") => {
            "a database in memory cannot be shared with the agents"
        }
        // To a service, and to an agent, it would be another place than to a user who
        // tries it in a shell.
        "sqlite" if !rest.starts_with('/') => "a relative path has another meaning for a service",
        "sqlite" => return,
        "postgres" | "postgresql" => "this version stores in SQLite only, not in PostgreSQL",
        // Even the scheme may be a secret when it is no scheme of a URL.
        _ => "this version stores in SQLite only",
    };
    let of = file.map(|file| format!("{file}: ")).unwrap_or_default();
    found.invalid(at, format!("{of}{problem}; {REMEDY}"));
}

fn is_hash(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
