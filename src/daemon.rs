//! `mcp-bridged`: start-up in order. Configuration, logging, this instance's
//! name, store, duties, READY.

mod door;
mod store;
mod wiring;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_tokio::Signals;
use tokio::time::timeout_at;
use tracing::{info, warn};

use self::door::DoorKeeper;
use crate::advice;
use crate::api::server::Hub;
use crate::config::{
    self, AlertAdapterSettings, AlertSettings, ApiSettings, MatchRole, RoleSettings, Settings,
};
use crate::duties::DutyBell;
use crate::exit::{self, Exit, Face};
use crate::service_manager::{KeptSockets, News, ServiceManager, Systemd};
use crate::store::DaemonInfo;
use crate::store::locate::{self, Location, Origin};
use crate::supervisor::{self, Instance, ReloadRequestError, Stopped, Supervisor};
use crate::text::shown::shown;
use crate::{files, host, leash, logging, text};

/// Run beside coding agents: send heartbeats only while the agent is alive, wake it
/// when a message comes, watch sessions and move tasks.
#[derive(Debug, Parser)]
#[command(name = "mcp-bridged", version, about, after_help = AFTER_HELP)]
pub struct Arguments {
    /// Configuration file; drop-ins are read from the directory of the same name
    /// with `.d` instead of `.toml`
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Check the configuration, print what it means, and exit
    #[arg(long = "check-config", alias = "check")]
    check: bool,

    /// Ask the running daemon to read its configuration again; return when the new
    /// settings are active or refused
    #[arg(long, conflicts_with = "check")]
    reload: bool,
}

const AFTER_HELP: &str = "\
Signals:
  SIGTERM, SIGINT  finish current work and end; a second signal ends at once
  SIGHUP           read the configuration again; a wrong one is refused

Exit codes:
  0 clean   1 failure   70 a duty died or hung   78 the configuration is wrong

Examples:
  mcp-bridged --config /etc/mcp-bridge/worker.toml --check-config
  mcp-bridged --config /etc/mcp-bridge/orchestrator.toml --check-config
  mcp-bridged --config ~/.config/mcp-bridge/worker.toml";

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    // For `pgrep` and the package's removal: the kernel has it from the file that
    // was started, which may bear the other name.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_name(c"mcp-bridged");
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::refuse(&error),
    };
    if let Some(Err(error)) = leash::is_on().then(leash::hold) {
        return exit::report(&error.into(), Face::PLAIN).into();
    }
    match start(&arguments) {
        Ok(exit) => exit.into(),
        Err(error) => {
            if !arguments.reload && !arguments.check {
                // On the status screen, too: there the reason is looked for first.
                Systemd::new().tell(News::Status(&first_line(&error)));
            }
            exit::report(&error, Face::PLAIN).into()
        }
    }
}

/// Why the daemon did not start, in a line.
fn first_line(error: &anyhow::Error) -> String {
    let text = match error.downcast_ref::<config::ConfigError>() {
        Some(refused) => match refused.each().next() {
            Some(first) => first.to_string(),
            None => refused.to_string(),
        },
        None => format!("{error:#}"),
    };
    format!("not started: {}", text.lines().next().unwrap_or_default())
}

fn start(arguments: &Arguments) -> anyhow::Result<Exit> {
    if arguments.reload {
        return reload(&arguments.config);
    }
    let settings = config::load(&arguments.config, config::environment())?;
    let variable = std::env::var(locate::VARIABLE).ok();
    let location = store::find(&settings, variable.as_deref())?;
    // The operator who reads what this daemon advises has another environment.
    if !matches!(location.origin, Origin::Default | Origin::System)
        && let Some(path) = location.path().to_str()
    {
        advice::name_store(path);
    }
    if arguments.check {
        return describe(&settings, &location);
    }
    let kept = KeptSockets::take();
    let _logging = logging::start(&settings.log.level, settings.role.name())?;
    files::raise();
    let instance = Instance::claim(&arguments.config, settings.service.state_file.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let exit = runtime.block_on(serve(
        arguments.config.clone(),
        settings,
        location,
        instance,
        kept,
    ));
    // A thread that hangs in a system call (a file on a dead mount) ends with the
    // process; the daemon does not wait for it.
    runtime.shutdown_background();
    exit
}

/// Asks for a reload. A configuration that is wrong, or that moves the state file,
/// does not say where the daemon writes its own: then it is looked for where it is
/// by default.
fn reload(config: &Path) -> anyhow::Result<Exit> {
    let settings = config::load(config, config::environment());
    let state_file = settings
        .as_ref()
        .ok()
        .and_then(|settings| settings.service.state_file.as_deref());
    let mut answer = supervisor::request_reload(&supervisor::find_state(config, state_file)?);
    if state_file.is_some()
        && matches!(answer, Err(ReloadRequestError::NotRunning(_)))
        && let Ok(default) = supervisor::find_state(config, None)
        && let Ok(other) = supervisor::request_reload(&default)
    {
        answer = Ok(other);
    }
    let answer = match answer {
        Ok(answer) => answer,
        Err(unreachable) => {
            // No daemon there to refuse it, or not where it should be.
            settings?;
            return Err(unreachable.into());
        }
    };
    if let Some(why) = answer.error {
        // It may be right by now; what counts is what the daemon read.
        let exit = match settings {
            Err(_) => Exit::Config,
            Ok(_) => Exit::Failure,
        };
        for line in why.lines() {
            writeln!(anstream::stderr(), "error: {}", shown(line))?;
        }
        writeln!(anstream::stderr(), "  the old settings stay active")?;
        return Ok(exit);
    }
    let mut out = anstream::stdout();
    writeln!(out, "reloaded: the new settings are active")?;
    for key in answer.needs_restart {
        writeln!(out, "  but {}: this needs a restart", shown(&key))?;
    }
    Ok(Exit::Success)
}

fn describe(settings: &Settings, location: &Location) -> anyhow::Result<Exit> {
    let line = format!(
        "ok: {}: role {}, {}, store {location}; {}; {}; alerts go to {}",
        settings.source.display(),
        settings.role.name(),
        text::count(settings.agents.sessions.len() as u64, "session"),
        purpose(settings),
        api(&settings.api),
        told(&settings.alert),
    );
    writeln!(anstream::stdout(), "{}", shown(&line))?;
    // No error: a file may come later, and the daemon takes it then.
    let missing = settings.agents.sessions.iter().filter(|session| {
        let found = std::fs::symlink_metadata(&session.credentials);
        found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    });
    for session in missing {
        writeln!(
            anstream::stderr(),
            "warning: {}: there is no such file; this session is kept as soon as it exists\n  {}",
            shown(&session.credentials.display().to_string()),
            advice::as_given("`mcp-bridge conversation new` writes one for each side")
        )?;
    }
    Ok(Exit::Success)
}

/// What a daemon of this role will do.
fn purpose(settings: &Settings) -> String {
    let sessions = &settings.agents.sessions;
    let woken = sessions
        .iter()
        .filter(|session| !session.wake.adapters.is_empty())
        .count();
    let wakes = match woken {
        0 if sessions.is_empty() => "",
        0 => ", wakes none of them (wake.order is empty)",
        woken if woken == sessions.len() => " and wakes them",
        _ => " and wakes some of them (wake.order is empty for others)",
    };
    let local = match &settings.agents.local {
        Some(_) => " and of every client that registers here",
        None => "",
    };
    let (whose, fleet) = match &settings.role {
        RoleSettings::Worker => ("its agents", ""),
        RoleSettings::Orchestrator(own) => match own.reassignment.match_role {
            MatchRole::Same => (
                "its own agents",
                ", watches every session, moves tasks of lost sessions to other sessions of the same role",
            ),
            MatchRole::Any => (
                "its own agents",
                ", watches every session, moves tasks of lost sessions to any other session",
            ),
        },
    };
    format!("keeps the heartbeats of {whose}{wakes}{local}{fleet}")
}

/// `accepts 4096 connections, 1024 of one user`.
fn api(api: &ApiSettings) -> String {
    match api.enabled {
        true => format!(
            "accepts {} connections, {} of one user",
            api.connections,
            api.connections_per_user.min(api.connections)
        ),
        false => "has no sockets (api.enabled is false)".to_owned(),
    }
}

/// `the journal, exec and webhook`.
fn told(alert: &AlertSettings) -> String {
    let adapters = alert.adapters.iter();
    let others: Vec<&str> = adapters.map(AlertAdapterSettings::name).collect();
    match others.split_last() {
        None => "the journal".to_owned(),
        Some((last, [])) => format!("the journal and {last}"),
        Some((last, first)) => format!("the journal, {} and {last}", first.join(", ")),
    }
}

async fn serve(
    config: PathBuf,
    settings: Settings,
    location: Location,
    instance: Instance,
    kept: KeptSockets,
) -> anyhow::Result<Exit> {
    // First: a signal that comes early is heard, too.
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("signals cannot be received")?;
    let host = host::name();
    let daemon = DaemonInfo {
        id: format!("{host}:{}", instance.name()),
        role: settings.role.name(),
        boot_id: host::boot().id,
        pid: std::process::id(),
        host,
    };
    info!(
        event = "starting",
        "mcp-bridged {} as {} in the role {}, store {location}",
        env!("CARGO_PKG_VERSION"),
        daemon.id,
        daemon.role
    );
    let (roles, manager) = (settings.clone(), Box::new(Systemd::new()));
    let kept = (kept, manager.shelf());
    let hub = Arc::new(Hub::default());
    let (place, owner) = (instance.place(), instance.owner());
    let mut supervisor = Supervisor::new(settings, instance, manager);
    let store = wiring::start(
        &mut supervisor,
        &roles,
        (daemon, owner),
        location,
        Arc::clone(&hub),
    );
    let (keeper, entrance) = DoorKeeper::new(&roles.api, place, store.clone(), hub, kept);
    supervisor.spawn(keeper, &DutyBell::default());
    let Stopped { exit, until } = supervisor.run(config, signals).await?;
    entrance.close().await;
    // The duties have ended, so none is in the middle of a call; the end of the process
    // closes it as well.
    let open = store.borrow().clone();
    if let Some(store) = open
        && timeout_at(until, store.close()).await.is_err()
    {
        warn!(
            event = "store-not-closed",
            "the store was not closed in time"
        );
    }
    Ok(exit)
}
