//! What is true of the fleet as a whole: who acts, how much work there is, what
//! operators said, what was alerted.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::daemons;
use crate::bridge::Bridge;
use crate::cli::output::{left, shown};
use crate::cli::table::{BAD, BOLD, DIM, GOOD, WARN};
use crate::duties::leadership::renewal;
use crate::model::SessionKey;
use crate::model::alert::AlertKind;
use crate::model::session::SessionView;
use crate::model::task::TaskState;
use crate::store::{AlertRow, AlertsNow, Control, ControlKind, DaemonView, Lease, Status};
use crate::text;

/// How often the lease of a holder elsewhere is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Who acts for a store, and what operators said.
pub(in crate::cli) struct Outlook {
    lead: Lead,
    controls: Vec<Control>,
}

/// Whether an orchestrator acts.
enum Lead {
    /// This one.
    Acts { daemon: String, epoch: i64 },
    /// This one has the lead, and is elsewhere: whether it acts is not known.
    Unheard {
        daemon: String,
        epoch: i64,
        heard: String,
    },
    /// No daemon leads, and why.
    Leaderless { epoch: i64, why: String },
    /// There never was one.
    Never,
}

impl Outlook {
    /// Of a status that was just read. A leader elsewhere is watched for a moment.
    pub(in crate::cli) async fn of(bridge: &Bridge, status: &Status) -> anyhow::Result<Self> {
        let lead = match &status.lease {
            None => Lead::Never,
            Some(lease) => {
                let renewed = renewed_elsewhere(bridge, lease, &status.daemons).await?;
                lead(lease.clone(), renewed, status)
            }
        };
        let controls = status.orders.clone();
        Ok(Self { lead, controls })
    }

    /// Whether an orchestrator's verdicts hold now.
    pub(super) fn acts(&self) -> bool {
        matches!(self.lead, Lead::Acts { .. })
    }

    /// Until when the session, or its host, gets no new tasks.
    pub(super) fn draining_until(&self, session: &SessionView) -> Option<Timestamp> {
        let host = session.host.as_deref();
        let about = |control: &&Control| {
            control.kind == ControlKind::Drain
                && match control.subject.strip_prefix("host:") {
                    Some(name) => host == Some(name),
                    None => control.subject == session.key.to_string(),
                }
        };
        let ends = self.controls.iter().filter(about).map(|c| c.until);
        ends.max()
    }
}

/// Whether it is known that no orchestrator acts: there never was one, or the last one is
/// gone. Of a leader elsewhere only its last report is known.
pub(in crate::cli) fn is_leaderless(status: &Status) -> bool {
    let lease = status.lease.clone();
    let lead = lease.map_or(Lead::Never, |lease| lead(lease, None, status));
    matches!(lead, Lead::Never | Lead::Leaderless { .. })
}

/// The daemon that holds a lease, as it registered.
fn holder_of<'a>(lease: &Lease, daemons: &'a [DaemonView]) -> Option<&'a DaemonView> {
    let holder = lease.holder.as_ref()?;
    let is = |daemon: &&DaemonView| daemon.id == holder.id && daemon.epoch == holder.epoch;
    daemons.iter().find(is)
}

/// Whether a holder whose process cannot be looked at from here renews its lease:
/// the row is watched for two renewals at most. `None` for a holder of this place.
async fn renewed_elsewhere(
    bridge: &Bridge,
    lease: &Lease,
    daemons: &[DaemonView],
) -> anyhow::Result<Option<bool>> {
    let elsewhere = holder_of(lease, daemons)
        .is_some_and(|daemon| daemon.stopped_at.is_none() && daemons::is_elsewhere(daemon));
    if !elsewhere {
        return Ok(None);
    }
    let end = Instant::now() + 2 * renewal(lease.ttl);
    while Instant::now() < end {
        tokio::time::sleep(LOOK).await;
        if bridge.lease().await?.as_ref() != Some(lease) {
            return Ok(Some(true));
        }
    }
    Ok(Some(false))
}

/// A holder that is known to be gone does not lead, even if the row says so. Of one
/// elsewhere the row alone counts: `renewed`.
fn lead(lease: Lease, renewed: Option<bool>, status: &Status) -> Lead {
    let now = status.at;
    let fate =
        holder_of(&lease, &status.daemons).map(|daemon| (daemon, daemons::fate(daemon, now).0));
    let epoch = lease.epoch;
    let leaderless = |why: String| Lead::Leaderless { epoch, why };
    let Some(holder) = lease.holder else {
        return leaderless("the last leader stopped".to_owned());
    };
    match fate {
        Some((_, "gone")) => leaderless(format!("{} is gone", holder.id)),
        Some((_, "stopped")) => leaderless(format!("{} was stopped", holder.id)),
        Some(_) if renewed == Some(true) => Lead::Acts {
            daemon: holder.id,
            epoch,
        },
        Some((daemon, _)) if renewed == Some(false) => Lead::Unheard {
            daemon: holder.id,
            epoch,
            heard: daemons::heard(daemon, now),
        },
        _ if status.alerts.leaderless => leaderless(format!("{} is silent", holder.id)),
        _ => Lead::Acts {
            daemon: holder.id,
            epoch,
        },
    }
}

/// All of it.
pub(super) struct Fleet {
    pub(super) outlook: Outlook,
    tasks: HashMap<String, u64>,
    alerts: AlertsNow,
}

impl Fleet {
    pub(super) async fn of(bridge: &Bridge, status: &Status) -> anyhow::Result<Self> {
        Ok(Self {
            outlook: Outlook::of(bridge, status).await?,
            tasks: status.tasks.clone(),
            alerts: status.alerts.clone(),
        })
    }

    /// Its lines; none for a store that has no orchestrator and no work.
    pub(super) fn lines(&self, sessions: &[SessionView], now: Timestamp) -> String {
        let mut out = String::new();
        match &self.outlook.lead {
            Lead::Never => {}
            Lead::Acts { daemon, epoch } => {
                let daemon = shown(daemon);
                out.push_str(&format!(
                    "orchestrator {BOLD}{daemon}{BOLD:#} {GOOD}acting leader{GOOD:#} (epoch {epoch})\n"
                ));
            }
            Lead::Unheard {
                daemon,
                epoch,
                heard,
            } => {
                let daemon = shown(daemon);
                out.push_str(&format!(
                    "orchestrator {BOLD}{daemon}{BOLD:#} {WARN}{heard}{WARN:#} (epoch {epoch})\n"
                ));
            }
            Lead::Leaderless { epoch, why } => {
                let why = shown(why);
                out.push_str(&format!(
                    "orchestrator {BAD}no leader{BAD:#}: {why} (epoch {epoch})\n"
                ));
            }
        }
        out.push_str(&self.work());
        for control in &self.outlook.controls {
            let what = said(control, sessions);
            let end = left(control.until, now);
            out.push_str(&format!("{WARN}{what}{WARN:#}, ends in {end}\n"));
        }
        out.push_str(&self.alerted(now));
        out
    }

    fn work(&self) -> String {
        let counts: Vec<String> = TaskState::ALL
            .into_iter()
            .filter_map(|state| {
                let count = self.tasks.get(state.as_str()).filter(|count| **count > 0)?;
                let style = match state {
                    TaskState::Dead => BAD,
                    TaskState::Queued | TaskState::RetryWait => WARN,
                    TaskState::Leased => GOOD,
                    TaskState::Done | TaskState::Cancelled | TaskState::Unknown => DIM,
                };
                Some(format!("{style}{count} {state}{style:#}"))
            })
            .collect();
        if counts.is_empty() {
            return String::new();
        }
        format!("tasks {}\n", counts.join(", "))
    }

    fn alerted(&self, now: Timestamp) -> String {
        let Some(last) = &self.alerts.last else {
            return String::new();
        };
        let more = if self.alerts.in_24h >= u64::from(AlertsNow::MOST) {
            "at least "
        } else {
            ""
        };
        let count = text::count(self.alerts.in_24h, "alert");
        let style = if self.alerts.open > 0 { BAD } else { DIM };
        let since = text::short_duration(text::elapsed(last.raised_at, now));
        let untold = match self.alerts.overdue {
            0 => String::new(),
            untold => format!(", {BAD}{untold} not sent{BAD:#}"),
        };
        format!(
            "{more}{count} in 24h, {style}{} open{style:#}{untold}, last: {} {since} ago\n",
            self.alerts.open,
            shown(&in_words(last))
        )
    }

    /// The same for scripts.
    pub(super) fn json(&self) -> anyhow::Result<Value> {
        let (acts, daemon, epoch) = match &self.outlook.lead {
            Lead::Never => (false, None, None),
            Lead::Acts { daemon, epoch } => (true, Some(daemon), Some(epoch)),
            Lead::Unheard { daemon, epoch, .. } => (false, Some(daemon), Some(epoch)),
            Lead::Leaderless { epoch, .. } => (false, None, Some(epoch)),
        };
        let tasks: serde_json::Map<String, Value> = TaskState::ALL
            .into_iter()
            .map(|state| {
                let count = self.tasks.get(state.as_str()).copied().unwrap_or(0);
                (state.as_str().to_owned(), count.into())
            })
            .collect();
        Ok(json!({
            "leader": { "acts": acts, "daemon": daemon, "epoch": epoch },
            "tasks": tasks,
            "controls": self.outlook.controls,
            "alerts": {
                "in_24h": self.alerts.in_24h, "open": self.alerts.open,
                "last": serde_json::to_value(&self.alerts.last)?,
            },
        }))
    }
}

/// An order in a few words.
fn said(control: &Control, sessions: &[SessionView]) -> String {
    match control.kind {
        ControlKind::Hold => {
            "the watchdog is on hold: no silent session is marked as lost".to_owned()
        }
        ControlKind::Mute => format!("alerts of the kind {} are muted", shown(&control.subject)),
        ControlKind::Drain => {
            let name = match control.subject.strip_prefix("host:") {
                Some(host) => format!("host {host}"),
                None => name_of(&control.subject, sessions),
            };
            format!("{} is being drained", shown(&name))
        }
        ControlKind::Unknown => {
            let subject = shown(&control.subject);
            format!("an order of an unknown kind, about {subject}")
        }
    }
}

fn name_of(subject: &str, sessions: &[SessionView]) -> String {
    let key: Option<SessionKey> = subject.parse().ok();
    let known = sessions
        .iter()
        .find(|session| Some(&session.key) == key.as_ref());
    known.map_or_else(
        || subject.to_owned(),
        |session| crate::model::session::session_name(session.label.as_ref(), &session.key),
    )
}

/// `backend-3/b lost`, `task 5 given up`.
fn in_words(alert: &AlertRow) -> String {
    let what = match alert.kind {
        AlertKind::NeverStarted => "never started",
        AlertKind::Stalled => "stalled",
        AlertKind::Lost => "lost",
        AlertKind::Exited => "exited",
        AlertKind::Crashing => "crashing",
        AlertKind::TaskDead => "given up",
        AlertKind::NoHealthyWorker => "has no healthy worker",
        AlertKind::CorrelatedSilence => "silent together",
        AlertKind::StoreTrouble => "in trouble",
        AlertKind::WakeListSpent => "cannot be woken",
        AlertKind::NoActingLeader => "has no acting leader",
        AlertKind::NameTaken => "runs twice",
        AlertKind::Unknown => "for an unknown reason",
    };
    format!("{} {what}", alert.about())
}
