//! What facts mean. Knows no file, no clock and no store.

mod sessions;
mod store;

use super::facts::{Config, Facts, Inotify, Synchronized};
use super::finding::Finding;
use crate::cli::heard::{Daemon, Home};
use crate::cli::task::UNTIL;
use crate::text;

/// Everything that there is to say, by topic.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut found = configs(facts);
    found.push(Finding::ok("way", &facts.way));
    found.extend(facts.stores.iter().flat_map(store::store));
    found.extend(store::said(facts));
    found.extend(store::foreign_writer(facts));
    found.push(inotify(facts.inotify.as_ref()));
    found.extend(services(facts));
    found.extend(tasks(facts));
    found.push(clock(facts));
    found.extend(sessions::credentials(&facts.credentials));
    found.extend(sessions::liveness(facts));
    found.extend(sessions::wakes(&facts.configs));
    found.extend(sessions::said_of_others(facts));
    found.extend(sessions::alerts(&facts.configs));
    found
}

fn configs(facts: &Facts) -> Vec<Finding> {
    if facts.configs.is_empty() {
        let places: Vec<String> = facts
            .looked_in
            .iter()
            .map(|place| format!("{}/*.toml", place.display()))
            .collect();
        let running = facts.daemons.iter().filter(|daemon| daemon.runs);
        let running: Vec<&str> = running.map(|daemon| daemon.instance.as_str()).collect();
        let so = match running.as_slice() {
            [] => ": no daemon serves this machine".to_owned(),
            [one] => format!("; the daemon that runs, {one}, has its own elsewhere"),
            several => format!(
                "; the daemons that run, {}, have theirs elsewhere",
                several.join(" and ")
            ),
        };
        let text = format!("none in {}{so}", places.join(" or "));
        return vec![Finding::note("config", text)];
    }
    let all = facts.configs.iter();
    all.flat_map(|one| of(one.other.as_ref(), config(one)))
        .collect()
}

/// Findings of something that may be another store's.
fn of(other: Option<&String>, found: Vec<Finding>) -> impl Iterator<Item = Finding> {
    let other = other.cloned();
    found
        .into_iter()
        .map(move |finding| finding.of(other.as_deref()))
}

fn config(config: &Config) -> Vec<Finding> {
    let path = config.path.display();
    match &config.outcome {
        Ok(said) => {
            let mut text = format!(
                "{path}: {}, {}",
                said.role,
                text::count(said.sessions.len() as u64, "session")
            );
            if said.drop_ins > 0 {
                let drop_ins = text::count(said.drop_ins as u64, "drop-in");
                text.push_str(&format!(", {drop_ins}"));
            }
            vec![Finding::ok("config", text)]
        }
        Err(errors) => errors
            .iter()
            .map(|error| {
                let (what, remedy) = error.split_once('\n').unwrap_or((error, ""));
                Finding::fail("config", what, remedy.trim())
            })
            .collect(),
    }
}

/// How this instance is spoken to.
pub(super) fn unit(verb: &str, instance: &str, home: Home) -> String {
    match home {
        Home::System => format!("systemctl {verb} mcp-bridged@{instance}"),
        Home::User => format!("systemctl --user {verb} mcp-bridged@{instance}"),
        Home::Elsewhere => match verb {
            "enable --now" => format!("mcp-bridged --config {instance}.toml"),
            _ => format!("{verb} mcp-bridged --config {instance}.toml"),
        },
    }
}

fn services(facts: &Facts) -> Vec<Finding> {
    let mut found: Vec<Finding> = facts
        .daemons
        .iter()
        .flat_map(|daemon| of(daemon.other.as_ref(), service(daemon, &facts.version)))
        .collect();
    for config in &facts.configs {
        let known = facts
            .daemons
            .iter()
            .any(|daemon| (&daemon.instance, daemon.home) == (&config.instance, config.home));
        if !known {
            let start = match config.home {
                Home::Elsewhere => format!("mcp-bridged --config {}", config.path.display()),
                home => unit("enable --now", &config.instance, home),
            };
            if config.enabled || config.home == Home::Elsewhere {
                let text = format!("{}: this daemon does not run", config.instance);
                let finding = Finding::warn("service", text, start);
                found.push(finding.of(config.other.as_deref()));
            } else {
                let text = format!("{}: not enabled; to use it: {start}", config.instance);
                found.push(Finding::note("service", text));
            }
        }
    }
    let system = |home, in_use| home == Home::System && in_use;
    let asked_of_system = facts.configs.iter().any(|c| system(c.home, c.enabled))
        || facts.daemons.iter().any(|d| system(d.home, d.runs));
    if facts.as_root && asked_of_system {
        let text = "this ran as root, which may read and write more than the service; to see what the service sees: sudo -u mcp-bridge mcp-bridge doctor";
        found.push(Finding::note("service", text));
    }
    found
}

fn tasks(facts: &Facts) -> Option<Finding> {
    let waiting = facts.waiting_tasks;
    (waiting > 0).then(|| {
        let wait = if waiting == 1 { "waits" } else { "wait" };
        let count = text::count(waiting, "task");
        let text = format!("{count} {wait}, and no orchestrator runs: {UNTIL}");
        Finding::note("tasks", text)
    })
}

fn service(daemon: &Daemon, version: &str) -> Vec<Finding> {
    let (name, state) = (&daemon.instance, &daemon.state);
    if !daemon.runs {
        let text = format!(
            "{name}: died, and left {} (pid {})",
            daemon.state_path.display(),
            state.pid
        );
        let remedy = match daemon.home {
            Home::System => format!("journalctl -u mcp-bridged@{name} says why"),
            Home::User => format!("journalctl --user -u mcp-bridged@{name} says why"),
            Home::Elsewhere => "start it again; its log shows why".to_owned(),
        };
        return vec![Finding::warn("service", text, remedy)];
    }
    let mut found = Vec::new();
    let running = format!("{name}: runs, pid {}, {}", state.pid, state.version);
    if state.version != version {
        let text = format!("{running}, and this program is {version}");
        let remedy = unit("restart", name, daemon.home);
        found.push(Finding::warn("service", text, remedy));
    }
    if !state.ready {
        let text = format!("{name}: is not ready yet: {}", state.status);
        found.push(Finding::warn(
            "service",
            text,
            "wait a moment; its log says more",
        ));
    }
    if let Some(last) = &state.last_reload {
        if let Some(error) = &last.error {
            let (what, rest) = error.split_once('\n').unwrap_or((error, ""));
            let text =
                format!("{name}: its last reload was refused, it keeps the old settings: {what}");
            let remedy = match rest.trim() {
                "" => format!("correct it, then {}", unit("reload", name, daemon.home)),
                rest => rest.to_owned(),
            };
            found.push(Finding::warn("service", text, remedy));
        }
        if !last.needs_restart.is_empty() {
            let keys = last.needs_restart.join(", ");
            let text = format!("{name}: {keys} changed; the change needs a restart");
            found.push(Finding::warn(
                "service",
                text,
                unit("restart", name, daemon.home),
            ));
        }
    }
    for duty in &state.duties {
        if let Some(trouble) = &duty.trouble {
            let (what, remedy) = trouble.split_once('\n').unwrap_or((trouble, ""));
            let text = format!("{name}: {}: {what}", duty.name);
            found.push(Finding::warn("service", text, remedy.trim()));
        }
    }
    if found.is_empty() {
        found.push(Finding::ok("service", running));
    }
    found
}

/// So much of a limit is too close to it.
const CLOSE_PERCENT: u64 = 90;

fn inotify(seen: Option<&Inotify>) -> Finding {
    const TOPIC: &str = "inotify";
    let Some(seen) = seen else {
        return Finding::skip(TOPIC, "only on Linux");
    };
    let limits = [
        ("instances", seen.instances, seen.most_instances),
        ("watches", seen.watches, seen.most_watches),
    ];
    for (what, used, most) in limits {
        let remedy = format!("raise fs.inotify.max_user_{what}");
        let text = format!("{most} {what} allowed, {used} in use by {}", seen.user);
        if used >= most {
            // Daemons go on by asking the store every 5 ms.
            return Finding::fail(TOPIC, text, remedy);
        }
        if used * 100 >= most * CLOSE_PERCENT {
            return Finding::warn(TOPIC, text, remedy);
        }
    }
    Finding::ok(
        TOPIC,
        format!(
            "{} of {} instances in use by {}",
            seen.instances, seen.most_instances, seen.user
        ),
    )
}

/// A row may be a little ahead of a clock that is slewed.
const AHEAD_SECONDS: i64 = 10;
/// No row and no clock is older than this program.
const EARLIEST: i64 = 1_760_000_000;

fn clock(facts: &Facts) -> Finding {
    const TOPIC: &str = "clock";
    const REMEDY: &str = "set the clock: timedatectl set-ntp true";
    let newest = facts
        .stores
        .iter()
        .filter(|store| !store.other)
        .filter_map(|store| store.outcome.as_ref().ok()?.newest)
        .max();
    if facts.now.as_second() < EARLIEST {
        let text = format!("it says {}", facts.now.strftime("%Y-%m-%d"));
        return Finding::fail(TOPIC, text, REMEDY);
    }
    if let Some(newest) = newest
        && newest.as_second() > facts.now.as_second() + AHEAD_SECONDS
    {
        let ahead = text::long_duration(text::elapsed(facts.now, newest));
        let text = format!("the newest row of the store is {ahead} ahead of this clock");
        return Finding::warn(TOPIC, text, REMEDY);
    }
    match facts.clock {
        Synchronized::Yes => Finding::ok(TOPIC, "synchronized, not behind the store"),
        Synchronized::No => Finding::warn(TOPIC, "not synchronized yet", "timedatectl status"),
        Synchronized::Unknown => Finding::ok(TOPIC, "not behind the store"),
    }
}

#[cfg(test)]
mod tests;
