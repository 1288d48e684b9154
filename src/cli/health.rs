//! `mcp-bridge health`: one word for scripts and load balancers, at once.
//!
//! The daemons' answer comes first; the command reads the store only where no daemon
//! reports on it. A call that hangs (a file on a dead mount, a lock that another
//! process keeps) ends as an answer within the time limit: the look runs on a thread of
//! its own, which the process leaves behind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::ValueHint;
use rustix::fs::{Access, access};
use serde_json::{Value, json};

use super::context::Context;
use super::heard::{self, Expected, Heard};
use super::output::{print, print_json, shown};
use crate::exit::Exit;
use crate::store::{StoreError, sqlite};

/// Says in a line whether the daemons of this machine are well and the store
/// can be used, and ends with a code that says the same.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-bridge health
  mcp-bridge health --json | jq -r .why
  mcp-bridge health --config /etc/mcp-bridge/worker.toml

Exit codes: 0 all works; 1 a daemon reports a problem, or does not run although it
is enabled or named with --config; 69 a daemon reports that it cannot use or write
its store. If no daemon is configured, this command checks the store itself. It
answers within about a second; a check that takes longer counts as 69.")]
pub(super) struct HealthArgs {
    /// Configuration of a daemon that must run, instead of those in
    /// /etc/mcp-bridge and ~/.config/mcp-bridge; may be repeated
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Vec<PathBuf>,
}

/// The answer comes within this time, also if a call hangs.
const LIMIT: Duration = Duration::from_secs(1);

pub(super) async fn run(args: HealthArgs, context: &Context) -> anyhow::Result<Exit> {
    let context = &match context.on_the_file().await {
        Ok(context) => context,
        Err(error) => {
            let place = context.location().await?.path().to_owned();
            let health = Health {
                exit: Exit::Unavailable,
                why: error
                    .to_string()
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
                daemons: Vec::new(),
            };
            return health.show(context, &place);
        }
    };
    let location = context.location().await?.clone();
    let place = std::path::absolute(location.path())?;
    let (tell, told) = tokio::sync::oneshot::channel();
    let looking = {
        let place = place.clone();
        move || {
            // Those of another store are another operator's.
            let mut all = heard::expected(&args.config, &location);
            all.retain(|one| !one.other);
            let own = look(&all, &place);
            // The receiver is gone if it took too long.
            let _ = tell.send((all, own));
        }
    };
    std::thread::Builder::new()
        .name("health".into())
        .spawn(looking)?;
    let health = match tokio::time::timeout(LIMIT, told).await {
        Ok(Ok((all, own))) => judge(&all, own, &place),
        _ => Health {
            exit: Exit::Unavailable,
            why: format!("store {}: no answer within a second", place.display()),
            daemons: Vec::new(),
        },
    };
    health.show(context, &place)
}

/// A look of our own at a store that no daemon speaks for: why it is of no use.
fn look(all: &[Expected], place: &Path) -> Option<String> {
    if all.iter().any(|one| {
        one.heard
            .as_ref()
            .is_some_and(|heard| heard.store().is_some())
    }) {
        return None;
    }
    let shown = place.display();
    match sqlite::answers(place) {
        Err(StoreError::Missing(path)) => return Some(StoreError::missing(path).headline()),
        Err(error) => return Some(error.headline()),
        Ok(kind) => {
            if let Some(why) = kind.refusal() {
                return Some(format!("store {shown}: {why}"));
            }
        }
    }
    let directory = place.parent().unwrap_or(Path::new("/"));
    if access(place, Access::WRITE_OK).is_err() || access(directory, Access::WRITE_OK).is_err() {
        return Some(format!("store {shown}: this user may not write it"));
    }
    sqlite::room(directory)
        .is_some_and(|(free, _)| free == 0)
        .then(|| format!("store {shown}: the disk is full"))
}

/// The result.
struct Health {
    exit: Exit,
    why: String,
    daemons: Vec<Value>,
}

impl Health {
    fn show(&self, context: &Context, place: &Path) -> anyhow::Result<Exit> {
        match context.json() {
            true => print_json(&self.json(place))?,
            false => print(&format!("{}\n", shown(&self.why)))?,
        }
        Ok(self.exit)
    }

    fn json(&self, place: &Path) -> Value {
        let word = match self.exit {
            Exit::Success => "well",
            Exit::Unavailable => "store",
            _ => "daemon",
        };
        json!({
            "health": word,
            "why": self.why,
            "exit": self.exit as u8,
            "store": place,
            "daemons": self.daemons,
        })
    }
}

/// The worst first: a store that cannot be used, then a daemon in trouble.
fn judge(all: &[Expected], own: Option<String>, place: &Path) -> Health {
    let heard = || all.iter().filter_map(|one| one.heard.as_ref());
    let with = |exit, why| Health {
        exit,
        why,
        daemons: heard().map(Heard::json).collect(),
    };
    let by_a_daemon = heard().find_map(|daemon| {
        let why = daemon.store_trouble()?;
        Some(format!("{why} (says {})", daemon.name()))
    });
    if let Some(why) = by_a_daemon.or(own) {
        return with(Exit::Unavailable, why);
    }
    if let Some(why) = all.iter().find_map(trouble) {
        return with(Exit::Failure, why);
    }
    let names: Vec<String> = heard().map(Heard::name).collect();
    let spoken_for = heard().find_map(|daemon| daemon.store());
    let store = spoken_for.map_or(place, |store| &store.path).display();
    let why = match names.as_slice() {
        [] => format!("ok: store {store}; no daemon is configured"),
        names => format!("ok: {}; store {store}", names.join(", ")),
    };
    with(Exit::Success, why)
}

/// What is wrong with one daemon.
fn trouble(one: &Expected) -> Option<String> {
    let Some(daemon) = &one.heard else {
        return Some(format!(
            "{}: this daemon does not run",
            shown(&one.instance)
        ));
    };
    let name = daemon.name();
    if !daemon.runs {
        return Some(format!("{name}: died"));
    }
    if !daemon.state.ready {
        return Some(format!("{name}: is not ready yet: {}", daemon.state.status));
    }
    daemon.state.duties.iter().find_map(|duty| {
        let why = duty.trouble.as_deref()?.lines().next()?;
        Some(format!("{name}: {}: {why}", duty.name))
    })
}
