//! What an orchestrator found of a session, written if it still holds: the
//! standing, its alert, and the messages to those that must know.

use jiff::Timestamp;
use serde_json::json;

use super::alerts::ensure_acts;
use super::{alerts, audit, lives, notices, reminders};
use crate::model::alert::AlertKind;
use crate::model::standing::Standing;
use crate::model::task::TaskState;
use crate::model::{MessageId, SessionKey, Side};
use crate::store::executor::Transaction;
use crate::store::postponed::Postponed;
use crate::store::rows::{Audit, Judged, NewStanding, Raise, Rows, SUPERSEDED};
use crate::store::{ControlKind, Finding, Leader, Result};
use crate::text;

/// Alerts that are about a session's standing: one of them is open at most.
const OF_STANDING: [AlertKind; 4] = [
    AlertKind::NeverStarted,
    AlertKind::Stalled,
    AlertKind::Lost,
    AlertKind::Exited,
];

/// Messages that a notice names one by one.
const NAMED: usize = 10;

/// What became of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FindingOutcome {
    /// It is written.
    Written,
    /// What it rests on is not so any more.
    Superseded,
    /// A loss that this write waited too long to be sure of.
    Postponed,
}

/// Writes findings, each if what it rests on still holds.
///
/// # Errors
/// [`crate::store::StoreError::NotLeading`].
pub(crate) fn write_findings(
    transaction: &mut Transaction<'_>,
    leader: &Leader,
    findings: &[Finding],
    postponed: &Postponed,
    now: Timestamp,
) -> Result<Vec<FindingOutcome>> {
    let waited = transaction.waited();
    let rows = transaction.rows();
    ensure_acts(rows, Some(leader))?;
    let mut settled = Vec::with_capacity(findings.len());
    for finding in findings {
        let one = if postponed.puts_off(finding, waited) {
            FindingOutcome::Postponed
        } else if write_finding(rows, leader, finding, now)? {
            FindingOutcome::Written
        } else {
            FindingOutcome::Superseded
        };
        settled.push(one);
    }
    if settled.contains(&FindingOutcome::Written) {
        transaction.ring();
    }
    Ok(settled)
}

/// Writes one finding. `false` if what it rests on is not so any more.
fn write_finding(
    rows: &mut dyn Rows,
    leader: &Leader,
    finding: &Finding,
    now: Timestamp,
) -> Result<bool> {
    let session = &finding.session;
    let judged = rows.judged(session, now)?;
    let before = judged.verdict.standing;
    let well = finding.standing == Standing::Well;
    if !well && !holds(rows, finding, &judged, now)? {
        return Ok(false);
    }
    rows.note_change(session)?;
    let returned = well && before.is_some_and(Standing::is_gone);
    let standing = NewStanding {
        standing: finding.standing,
        seq: finding.seq,
        since: since(finding.standing, &judged, now),
        returned,
    };
    rows.set_standing(session, &standing)?;
    alert(rows, leader, finding, now)?;
    match (before == Some(Standing::Stalled), finding.standing) {
        (false, Standing::Stalled) => reminders::remind(rows, session, now)?,
        (true, standing) if standing != Standing::Stalled => {
            reminders::take_back(rows, session, now)?;
        }
        _ => {}
    }
    if finding.standing.is_gone() && before != Some(finding.standing) {
        lives::hand_back(rows, session)?;
        tell_gone(rows, finding, now)?;
    }
    if returned {
        tell_returned(rows, session, judged.since, now)?;
    }
    let audit = Audit {
        conversation: Some(session.conversation.clone()),
        side: Some(session.side),
        action: "session_standing".into(),
        details: json!({
            "standing": finding.standing, "before": before, "seq": finding.seq,
            "epoch": leader.epoch,
        }),
    };
    audit::write(rows, vec![audit], now)?;
    Ok(true)
}

/// Whether what a finding rests on is still so. A session that is well again needs no
/// such proof: anything that came meanwhile proves it again.
fn holds(rows: &mut dyn Rows, finding: &Finding, judged: &Judged, now: Timestamp) -> Result<bool> {
    let lost = finding.standing == Standing::Lost;
    // Life that was not seen yet is life.
    let as_seen = judged.verdict.seq == finding.seq
        && judged.activity == finding.activity
        && (!lost || judged.foreign == finding.foreign);
    // One that was closed has a reason to be silent, and is no loss.
    if !as_seen || !judged.watched {
        return Ok(false);
    }
    // An operator's hold may have come since the look.
    let held = lost
        && rows
            .controls(now)?
            .iter()
            .any(|control| control.kind == ControlKind::Hold);
    Ok(!held)
}

/// Since when a standing holds. Lost and then exited is one absence: what it lost is
/// counted from its beginning. A stall that is announced only now is the same stall.
fn since(standing: Standing, judged: &Judged, now: Timestamp) -> Timestamp {
    let same = judged.verdict.standing.is_some_and(|before| {
        before.is_gone() && standing.is_gone()
            || before == Standing::Stalled
                && standing == Standing::Stalled
                && judged.verdict.standing_seq != Some(SUPERSEDED)
    });
    judged.since.filter(|_| same).unwrap_or(now)
}

/// Ends the alerts of other standings, and raises the finding's own.
fn alert(rows: &mut dyn Rows, leader: &Leader, finding: &Finding, now: Timestamp) -> Result<()> {
    let subject = finding.session.to_string();
    let others = OF_STANDING.into_iter();
    for kind in others.filter(|kind| Some(*kind) != finding.alert) {
        alerts::end(rows, kind, &subject, now)?;
    }
    // Of an agent that ends again and again, the alert that says so is open.
    let crashes =
        finding.alert == Some(AlertKind::Exited) && rows.is_open(AlertKind::Crashing, &subject)?;
    if let Some(kind) = finding.alert.filter(|_| !crashes) {
        let raise = Raise {
            kind,
            subject: &subject,
            session: Some(&finding.session),
            task: None,
            text: &finding.what,
            by: &leader.daemon.id,
        };
        alerts::begin(rows, &raise, now)?;
    }
    Ok(())
}

/// Tells the orchestrator's side that the other one is gone, and which mail it
/// leaves behind.
fn tell_gone(rows: &mut dyn Rows, finding: &Finding, now: Timestamp) -> Result<()> {
    let session = &finding.session;
    if session.side == Side::A {
        return Ok(());
    }
    // Handed-out mail counts as well: the agent may have done nothing with it.
    let unread = rows.owed_ids(session)?;
    let mut words = finding.text.clone();
    if !unread.is_empty() {
        let first: Vec<String> = unread
            .iter()
            .take(NAMED)
            .map(MessageId::to_string)
            .collect();
        let more = match unread.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        words.push_str(&format!(
            "\nIt has not read or not acknowledged {}: {}{more}. Messages that belong to a task move with the task.",
            text::count(unread.len() as u64, "message"),
            first.join(", ")
        ));
    }
    let metadata = json!({
        "action_type": "info", "event": "session-gone", "session": session.to_string(),
        "standing": finding.standing, "unread": unread,
    });
    rows.insert_notice(&session.partner(), &words, &metadata, now)?;
    Ok(())
}

/// Tells a session that was marked as lost what it must not continue.
fn tell_returned(
    rows: &mut dyn Rows,
    session: &SessionKey,
    since: Option<Timestamp>,
    now: Timestamp,
) -> Result<()> {
    let away = since.map_or_else(|| "a while".to_owned(), |since| text::age(since, now));
    let lost = rows.lost_by(session, since.unwrap_or(Timestamp::UNIX_EPOCH))?;
    if lost.is_empty() {
        return Ok(());
    }
    let mut words = format!("You were marked as lost for {away}.");
    for task in &lost {
        let now_with = match (&task.owner, task.state) {
            (Some(owner), _) => format!("is now with {}", notices::name(rows, owner)?),
            (None, TaskState::Queued | TaskState::RetryWait) => {
                "waits for another session".to_owned()
            }
            (None, state) => format!("is {state}"),
        };
        words.push_str(&format!(" Task {} {now_with}.", task.id));
    }
    words.push_str(
        " Do not continue tasks that are not yours any more, and push nothing of them; `mcp-bridge task claim` gives you new work.",
    );
    let tasks: Vec<_> = lost.iter().map(|task| task.id).collect();
    let metadata = json!({ "action_type": "info", "event": "returned", "tasks": tasks });
    rows.insert_notice(session, &words, &metadata, now)?;
    Ok(())
}
