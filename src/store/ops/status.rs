//! What is true of the store at one moment.

use jiff::{SignedDuration, Timestamp};

use crate::model::alert::AlertKind;
use crate::store::rows::Rows;
use crate::store::{AlertsNow, Result, Status};

/// How long a conversation that has ended still shows its sessions.
const ENDED_SHOWN: SignedDuration = SignedDuration::from_mins(15);

/// How far back alerts are counted.
const COUNTED: SignedDuration = SignedDuration::from_hours(24);

/// Everything, as of one commit.
///
/// # Errors
/// The engine's.
pub(crate) fn status(rows: &mut dyn Rows, now: Timestamp) -> Result<Status> {
    rows.hold_view()?;
    let ago = |time| now.checked_sub(time).unwrap_or(Timestamp::MIN);
    Ok(Status {
        at: now,
        sessions: rows.sessions(ago(ENDED_SHOWN), None)?,
        daemons: rows.daemons()?,
        lease: rows.lease()?,
        orders: rows.controls(now)?,
        tasks: rows.task_counts()?,
        alerts: alerts(rows, ago(COUNTED), now)?,
    })
}

fn alerts(rows: &mut dyn Rows, since: Timestamp, now: Timestamp) -> Result<AlertsNow> {
    let mut newest = rows.newest_alerts(AlertsNow::MOST)?;
    newest.retain(|alert| alert.raised_at > since);
    let told_of = rows.open_alerts()?;
    let open = || told_of.iter().filter(|alert| alert.recovered_at.is_none());
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    Ok(AlertsNow {
        in_24h: count(newest.len()),
        open: count(open().count()),
        overdue: count(told_of.iter().filter(|alert| alert.is_overdue(now)).count()),
        leaderless: open().any(|alert| alert.kind == AlertKind::NoActingLeader),
        last: newest.pop(),
    })
}
