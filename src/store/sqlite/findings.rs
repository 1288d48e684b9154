//! What an orchestrator found of a session, written if it still holds: the
//! standing, its alert, and the word to whoever must know.

use jiff::Timestamp;
use serde_json::json;
use sqlx::{Row, SqliteConnection};

use super::alerts;
use super::fault::Fault;
use super::messages::OVERTAKEN;
use super::owed::owed_mail;
use super::shared::foreign_mark;
use super::written::Written as _;
use super::{fleet, from_millis, messages, millis, notices, reminder, shared};
use crate::model::alert::AlertKind;
use crate::model::{SessionKey, Side, timestamp};
use crate::store::rows::Raise;
use crate::store::{Finding, Leader};
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

/// Writes one finding. `false` if what it rests on is not so any more.
pub(super) async fn settle(
    connection: &mut SqliteConnection,
    leader: &Leader,
    finding: &Finding,
    now: Timestamp,
) -> Result<bool, Fault> {
    let session = &finding.session;
    let row = sqlx::query(concat!(
        "SELECT h.seq, coalesce(s.activity_seq, 0), s.standing, s.standing_ms, h.released,
                EXISTS (SELECT 1 FROM bridge_control WHERE kind = 'hold' AND until_ms > ?3), ",
        foreign_mark!(),
        ",
                -- Whether it is in the fleet, as `seen` has it.
                EXISTS (
                    SELECT 1 FROM conversations c
                    LEFT JOIN bridge_conversation l ON l.conversation_id = c.id
                    WHERE c.id = ?1
                      AND ((replace(c.expires_at, ' ', 'T') > ?4 AND l.closed_ms IS NULL)
                           OR EXISTS (SELECT 1 FROM bridge_task t INDEXED BY bridge_task_owner
                                      WHERE t.owner_conversation = ?1 AND t.owner_session = ?2
                                        AND t.state = 'leased')))
         FROM (SELECT 1)
         LEFT JOIN session_status st ON st.conversation_id = ?1 AND st.session_id = ?2
         LEFT JOIN session_status so
             ON so.conversation_id = ?1 AND so.session_id = 'session_' || ?2
         LEFT JOIN bridge_heartbeat h ON h.conversation_id = ?1 AND h.session_id = ?2
         LEFT JOIN bridge_session s ON s.conversation_id = ?1 AND s.session_id = ?2",
    ))
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .bind(millis(now))
    .bind(timestamp::to_text(now))
    .fetch_one(&mut *connection)
    .await?;
    let before: Option<String> = row.try_get(2)?;
    let since = row.try_get::<Option<i64>, _>(3)?.map(from_millis);
    let well = finding.standing == "well";
    // Life that was not seen yet is life. A session that is well again needs
    // no such proof: whatever came meanwhile is more of the same.
    let as_seen = row.try_get::<Option<i64>, _>(0)? == finding.seq
        && row.try_get::<i64, _>(1)? == finding.activity
        && (finding.standing != "lost" || shared::text(&row, 6)? == finding.foreign);
    // An operator's hold may have come since the look.
    let held = finding.standing == "lost" && row.try_get(5)?;
    // One that was closed has a reason to be silent, and is nobody's loss.
    let watched: bool = row.try_get(7)?;
    if !well && (!as_seen || held || !watched) {
        return Ok(false);
    }
    fleet::bump(connection, session).await?;
    let returned = well && matches!(before.as_deref(), Some("lost" | "exited"));
    sqlx::query(
        // Lost and then exited is one absence: what it lost is told from its
        // beginning. A stall of which somebody has to be told only now is the
        // same stall.
        "UPDATE bridge_session SET standing = ?3, standing_seq = ?4,
             standing_ms = iif(standing IN ('lost', 'exited') AND ?3 IN ('lost', 'exited')
                               OR standing = 'stalled' AND ?3 = 'stalled'
                                  AND standing_seq IS NOT ?7, standing_ms, ?5),
             epoch = epoch + ?6
         WHERE conversation_id = ?1 AND session_id = ?2",
    )
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .bind(finding.standing)
    .bind(finding.seq)
    .bind(millis(now))
    .bind(returned)
    .bind(OVERTAKEN)
    .execute(&mut *connection)
    .await?
    .wrote(1, "bridge_session")?;
    let subject = session.to_string();
    for kind in OF_STANDING
        .into_iter()
        .filter(|kind| Some(*kind) != finding.alert)
    {
        alerts::recover(connection, kind, &subject, now).await?;
    }
    // Of an agent that ends again and again, the alert that says so is open.
    let crashes = finding.alert == Some(AlertKind::Exited)
        && alerts::is_open(connection, AlertKind::Crashing, &subject).await?;
    if let Some(kind) = finding.alert.filter(|_| !crashes) {
        let raise = Raise {
            kind,
            subject: &subject,
            session: Some(session),
            task: None,
            text: &finding.what,
            by: &leader.daemon.id,
        };
        alerts::raise(connection, &raise, now).await?;
    }
    match (before.as_deref() == Some("stalled"), finding.standing) {
        (false, "stalled") => reminder::remind(connection, session, now).await?,
        (true, standing) if standing != "stalled" => {
            reminder::take_back(connection, session, now).await?;
        }
        _ => {}
    }
    let gone = matches!(finding.standing, "lost" | "exited");
    if gone && before.as_deref() != Some(finding.standing) {
        messages::agent_ended(connection, session).await?;
        tell_gone(connection, finding, now).await?;
    }
    if returned {
        tell_returned(connection, session, since, now).await?;
    }
    let details = json!({
        "standing": finding.standing, "before": before, "seq": finding.seq, "epoch": leader.epoch,
    });
    shared::audit(
        connection,
        Some(&session.conversation),
        Some(session.side),
        "session_standing",
        details,
        now,
    )
    .await?;
    Ok(true)
}

/// Tells the orchestrator's side that the other one is gone, and which mail it
/// leaves behind.
async fn tell_gone(
    connection: &mut SqliteConnection,
    finding: &Finding,
    now: Timestamp,
) -> Result<(), Fault> {
    let session = &finding.session;
    if session.side == Side::A {
        return Ok(());
    }
    // What was in its hand counts as well: it may have done nothing with it.
    let unread: Vec<i64> = sqlx::query_scalar(concat!(
        "WITH w(conversation, side) AS (SELECT ?1, ?2)
         SELECT j.value FROM w CROSS JOIN json_each((SELECT json_group_array(id) FROM (",
        owed_mail!(),
        "))) j ORDER BY j.value",
    ))
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .fetch_all(&mut *connection)
    .await?;
    let mut words = finding.text.clone();
    if !unread.is_empty() {
        let first: Vec<String> = unread.iter().take(NAMED).map(i64::to_string).collect();
        let more = match unread.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        words.push_str(&format!(
            "\nIt has not read, or not acknowledged, {}: {}{more}. Those of a task go with the task.",
            text::count(unread.len() as u64, "message"),
            first.join(", ")
        ));
    }
    let metadata = json!({
        "action_type": "info", "event": "session-gone", "session": session.to_string(),
        "standing": finding.standing, "unread": unread,
    });
    notices::system_message(connection, &session.partner(), &words, &metadata, now).await?;
    Ok(())
}

/// Tells a session that was given up what it must not go on with.
async fn tell_returned(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    since: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), Fault> {
    let away = since.map_or_else(|| "a while".to_owned(), |since| text::age(since, now));
    let rows = sqlx::query(
        "SELECT DISTINCT t.task_id, t.state, t.owner_conversation, t.owner_session
         FROM bridge_task_history y JOIN bridge_task t USING (task_id)
         WHERE y.conversation_id = ?1 AND y.session_id = ?2
           AND y.event IN ('lost', 'exited') AND y.at_ms >= ?3
           AND NOT (t.owner_conversation IS ?1 AND t.owner_session IS ?2)
         ORDER BY t.task_id",
    )
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .bind(since.map_or(0, millis))
    .fetch_all(&mut *connection)
    .await?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut words = format!("You were taken for lost for {away}.");
    let mut tasks: Vec<i64> = Vec::with_capacity(rows.len());
    for row in &rows {
        let id: i64 = row.try_get(0)?;
        let owner = super::tasks::session_of(row.try_get(2)?, row.try_get(3)?);
        let now_with = match owner {
            Some(owner) => format!("is now with {}", notices::name(connection, &owner).await?),
            None if matches!(row.try_get(1)?, "queued" | "retry_wait") => {
                "waits for somebody else".to_owned()
            }
            None => format!("is {}", row.try_get::<&str, _>(1)?),
        };
        words.push_str(&format!(" Task {id} {now_with}."));
        tasks.push(id);
    }
    words.push_str(
        " Do not continue what is not yours any more, and push nothing of it; \
         `mcp-bridge task claim` gives you new work.",
    );
    let metadata = json!({ "action_type": "info", "event": "returned", "tasks": tasks });
    notices::system_message(connection, session, &words, &metadata, now).await?;
    Ok(())
}
