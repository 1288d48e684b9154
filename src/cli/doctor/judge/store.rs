//! What is found of a store and of who else writes it.

use crate::advice;
use crate::cli::doctor::facts::{Facts, Permissions, Store};
use crate::cli::doctor::finding::{Finding, Level};
use crate::cli::machine_store;
use crate::duties::StoreCondition;
use crate::store::sqlite::{Inspection, Kind};
use crate::text;

const TOPIC: &str = "store";
const MEBIBYTE: u64 = 1024 * 1024;
const GIBIBYTE: u64 = 1024 * MEBIBYTE;
/// A log that no process writes back; the daemon alarms at the same size.
const LARGE_LOG: u64 = 64 * MEBIBYTE;
/// Less free space than this is little, on a disk of any size.
const LITTLE: u64 = 100 * MEBIBYTE;
/// Of a disk that is not huge, this percentage is little.
const LITTLE_PERCENT: u64 = 5;
const ENOUGH: u64 = 5 * GIBIBYTE;

/// A fault of a store that is not in use is no fault of this machine.
pub(super) fn store(store: &Store) -> Vec<Finding> {
    let found = findings(store);
    if store.in_use && !store.other {
        return found;
    }
    let why = match store.in_use {
        true => "another store than this command's",
        false => "no daemon that is enabled uses it",
    };
    let wrong = found.iter().find(|finding| finding.level >= Level::Warn);
    match wrong {
        None => found,
        Some(wrong) => {
            let text = format!("{}; {why}", wrong.text);
            vec![Finding::note(TOPIC, text)]
        }
    }
}

/// The report of the running daemons comes before a look of our own: what they cannot
/// use is of no use, also where this user sees nothing wrong.
pub(super) fn said(facts: &Facts) -> Vec<Finding> {
    let running = facts.daemons.iter().filter(|daemon| daemon.runs);
    let mut found: Vec<Finding> = Vec::new();
    for daemon in running {
        let Some(word) = &daemon.state.store else {
            continue;
        };
        if !matches!(
            word.condition,
            StoreCondition::NotWritable | StoreCondition::NotUsable
        ) {
            continue;
        }
        let place = word.path.display();
        let why = word.trouble.as_deref().unwrap_or("it cannot be used");
        let seen = facts.stores.iter().find(|store| store.path == word.path);
        let differs = match seen.map(findings) {
            Some(found) if found.iter().all(|finding| finding.level < Level::Warn) => {
                "; this command finds no problem"
            }
            _ => "",
        };
        let text = format!("{place}: {} says: {why}{differs}", daemon.instance);
        let remedy = "make sure that its file system is mounted, not full, and writable for the daemon's user";
        found.push(Finding::fail(TOPIC, text, remedy).of(daemon.other.as_deref()));
    }
    found
}

/// The text, with the store in the commands that it advises, if they must name it.
fn naming(store: &Store, text: &str) -> String {
    match store.must_name {
        true => advice::on(text, &store.path),
        false => text.to_owned(),
    }
}

fn findings(store: &Store) -> Vec<Finding> {
    let path = store.path.display();
    if let Some(socket) = &store.asked {
        let text = format!(
            "{path}: this user cannot open it; its commands use the daemon at {}",
            socket.display()
        );
        let remedy = "to check the file: sudo mcp-bridge doctor";
        return vec![Finding::skip(TOPIC, text).remedy(remedy)];
    }
    let found = match &store.outcome {
        Ok(found) => found,
        Err(_) if store.not_yet => {
            let text = format!("there is no store yet at {path}");
            let note = Finding::note(TOPIC, text);
            return vec![note.remedy(naming(store, "create one: mcp-bridge conversation new"))];
        }
        Err((what, remedy)) => return vec![Finding::fail(TOPIC, what, naming(store, remedy))],
    };
    let mut findings = vec![content(store, found)];
    findings.extend(rows(found));
    findings.extend(log(found));
    findings.extend(sharing(store));
    findings.extend(permissions(store));
    findings.extend(room(store));
    findings.extend(file_system(store));
    findings.extend(confinement(store));
    findings
}

/// In a directory that others may write, the kernel is what stands between a
/// link that one of them puts there and the files of the user who opens it.
fn confinement(store: &Store) -> Option<Finding> {
    let shared = store.directory.as_ref()?.mode & 0o022 != 0;
    (shared && !store.confined?).then(|| {
        let text = format!(
            "{}: other users may write its directory, and this kernel cannot confine our programs to it (no Landlock)",
            store.path.display()
        );
        let remedy = "use Linux 5.13 or newer with the Landlock security module enabled";
        Finding::note(TOPIC, text).remedy(remedy)
    })
}

fn content(store: &Store, found: &Inspection) -> Finding {
    let path = store.path.display();
    if let Some(problem) = &found.problem {
        let text = format!("{path}: the database is damaged: {problem}");
        let remedy =
            "stop all programs that use it, and restore a backup: mcp-bridge store restore FILE";
        return Finding::fail(TOPIC, text, naming(store, remedy));
    }
    if let Some(why) = found.kind.refusal() {
        let remedy = match found.kind {
            kind if kind.is_unreleased() => naming(
                store,
                "use it with the build that made it; or move it and the files beside it to another directory, and make a new store: mcp-bridge store init",
            ),
            Kind::Own { .. } => "install a newer mcp-bridge".to_owned(),
            _ => "name another file with --store or store.url".to_owned(),
        };
        return Finding::fail(TOPIC, format!("{path}: {why}"), remedy);
    }
    if !found.differences.is_empty() && found.accepted.is_none() {
        let text = format!(
            "{path}: it contains definitions that this program does not know: {}",
            found.differences.join("; ")
        );
        let remedy = format!(
            "remove them; or, if you want them there: mcp-bridge store init --accept-schema --store {path}"
        );
        return Finding::fail(TOPIC, text, remedy);
    }
    let engine = &found.engine;
    match found.kind {
        Kind::Bridge => {
            let text = format!("{path}: a database of the Python bridge, not adopted yet");
            Finding::warn(
                TOPIC,
                text,
                naming(store, "adopt it: mcp-bridge store init"),
            )
        }
        _ if found.journal_mode != "wal" => {
            let text = format!(
                "{path}: its journal mode is {}, not wal",
                found.journal_mode
            );
            let remedy = "another program changed it: stop all programs that use the store, then start one again";
            Finding::fail(TOPIC, text, remedy)
        }
        Kind::Own { schema, .. } => Finding::ok(
            TOPIC,
            format!(
                "{path}: sqlite {engine}, schema {schema}, wal, {}, no problem found",
                text::bytes(found.bytes)
            ),
        ),
        // Refused above.
        Kind::Empty | Kind::Foreign => Finding::fail(TOPIC, path.to_string(), ""),
    }
}

fn rows(found: &Inspection) -> impl Iterator<Item = Finding> {
    let path = &found.path;
    let used_up = found.used_up.iter().map(move |table| {
        let text = format!("{}: {}", path.display(), table.what());
        Finding::fail(TOPIC, text, table.remedy())
    });
    let odd = found.odd.iter().map(move |row| {
        let text = format!("{}: {row}; listings skip it", path.display());
        Finding::warn(TOPIC, text, "correct it with sqlite3, or delete it")
    });
    used_up.chain(odd)
}

fn log(found: &Inspection) -> Option<Finding> {
    (found.log_bytes > LARGE_LOG).then(|| {
        let text = format!(
            "its log has {}: a process keeps a read transaction open",
            text::bytes(found.log_bytes)
        );
        let log = format!("{}-wal", found.path.display());
        Finding::warn(TOPIC, text, format!("to find it: fuser {log}"))
    })
}

/// The package makes the machine's directory of stores its daemon's own, at every boot
/// and start.
fn sharing(store: &Store) -> Option<Finding> {
    store.closes.then(|| {
        let text = format!(
            "{}: it is shared with the Python bridge, but only the daemon may use {}",
            store.path.display(),
            machine_store::DIRECTORY
        );
        Finding::warn(TOPIC, text, machine_store::remedy(&store.path))
    })
}

fn permissions(store: &Store) -> Vec<Finding> {
    let (Some(file), Some(directory)) = (&store.file, &store.directory) else {
        return Vec::new();
    };
    let path = store.path.display();
    let place = store.path.parent().unwrap_or(&store.path).display();
    let of = |p: &Permissions| format!("{:o} {}:{}", p.mode, p.user, p.group);
    let mut found = Vec::new();
    if directory.mode & 0o002 != 0 && directory.mode & 0o1000 == 0 {
        let text = format!(
            "{place} ({}): every user may replace the store",
            of(directory)
        );
        found.push(Finding::fail(TOPIC, text, format!("chmod o-w {place}")));
    }
    if file.mode & 0o006 != 0 {
        let text = format!("{path} ({}): every user may read its messages", of(file));
        let remedy = format!("chmod o-rwx {path}*");
        found.push(Finding::warn(TOPIC, text, remedy));
    }
    // SQLite makes files beside it: each user who may write it must be able to, and the
    // others must be able to write those. A group that may not enter the directory can
    // use nothing there.
    let enters = directory.mode & 0o010 != 0;
    if file.mode & 0o020 != 0 && enters && directory.mode & 0o2020 != 0o2020 {
        let text = format!(
            "the group {} may write the store but not its directory, or new files there get another group ({})",
            file.group,
            of(directory)
        );
        let remedy = format!("chgrp {} {place} && chmod 2770 {place}", file.group);
        found.push(Finding::warn(TOPIC, text, remedy));
    }
    if !file.writable || !directory.writable {
        let (what, p) = match file.writable {
            true => (place.to_string(), directory),
            false => (path.to_string(), file),
        };
        let text = format!("this user may not write {what} ({})", of(p));
        let remedy = match p.mode & 0o020 {
            0 => format!("run this as {}", p.user),
            _ => format!(
                "join its group: sudo usermod -aG {} $USER   (then log in again)",
                p.group
            ),
        };
        found.push(Finding::fail(TOPIC, text, remedy));
    }
    found
}

fn room(store: &Store) -> Option<Finding> {
    let (free, all) = store.room?;
    let text = format!(
        "{} free on its disk of {}",
        text::bytes(free),
        text::bytes(all)
    );
    let remedy = "free some space, or keep messages for less time: housekeeping.keep_messages";
    if free == 0 {
        return Some(Finding::fail("disk", text, remedy));
    }
    let share_is_small = free < all / 100 * LITTLE_PERCENT && free < ENOUGH;
    Some(match free < LITTLE || share_is_small {
        true => Finding::warn("disk", text, remedy),
        false => Finding::ok("disk", text),
    })
}

/// One of the network was refused when it was opened.
fn file_system(store: &Store) -> Option<Finding> {
    (store.file_system.as_deref()? == "tmpfs").then(|| {
        let text = format!(
            "{} is in memory: the next reboot deletes it",
            store.path.display()
        );
        Finding::warn("disk", text, "put it on a disk")
    })
}

/// A program with an older SQLite on the same store can lose what others
/// committed.
pub(super) fn foreign_writer(facts: &Facts) -> Option<Finding> {
    const TOPIC: &str = "python";
    const BUG: &str = "can lose commits when several programs write (fixed in 3.51.3)";
    const REMEDY: &str = "run the Python bridge with a newer SQLite, or retire it";
    Some(match facts.python.as_ref()? {
        Ok(version) if is_too_old(version) => Finding::fail(
            TOPIC,
            format!("python3 has SQLite {version}, which cannot read the store (3.8.2 can)"),
            REMEDY,
        ),
        Ok(version) if has_reset_bug(version) => Finding::warn(
            TOPIC,
            format!("python3 writes with SQLite {version}, which {BUG}"),
            REMEDY,
        ),
        Ok(version) => Finding::ok(TOPIC, format!("python3 writes with SQLite {version}")),
        Err(why) => Finding::note(
            TOPIC,
            format!(
                "the store is shared with the Python bridge, and the version of its SQLite is unknown ({why}); a version below 3.51.3 {BUG}"
            ),
        ),
    })
}

/// Before 3.8.2, which was the first with WITHOUT ROWID: it cannot read a database with
/// such a table at all.
fn is_too_old(version: &str) -> bool {
    numbers(version) < (3, 8, 2)
}

/// 3.7.0 to 3.51.2, but for the two that got the repair.
fn has_reset_bug(version: &str) -> bool {
    match numbers(version) {
        (3, 51, patch) => patch < 3,
        (3, 50, patch) => patch < 7,
        (3, 44, patch) => patch < 6,
        (3, minor, _) => (7..51).contains(&minor),
        _ => false,
    }
}

fn numbers(version: &str) -> (u32, u32, u32) {
    let mut numbers = version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

#[cfg(test)]
mod tests {
    use super::has_reset_bug;

    #[test]
    fn the_versions_with_the_bug_are_known() {
        for bad in ["3.7.0", "3.40.1", "3.44.5", "3.50.6", "3.51.2"] {
            assert!(has_reset_bug(bad), "{bad}");
        }
        for good in ["3.6.23", "3.44.6", "3.50.7", "3.51.3", "3.52.0", "4.0.0"] {
            assert!(!has_reset_bug(good), "{good}");
        }
    }
}
