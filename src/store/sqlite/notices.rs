//! Messages of the system: a task for its new owner, and what an orchestrator
//! or a creator must hear. Each is written in the transaction of what it tells
//! about.

use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection};

use super::alerts;
use super::fault::Fault;
use super::fleet::is_there;
use super::owed::owed_mail;
use super::written::Written as _;
use super::{millis, shared};
use crate::model::alert::AlertKind;
use crate::model::task::{Fence, TaskId};
use crate::model::{MessageId, SessionKey, Side, timestamp};
use crate::store::Task;
use crate::store::rows::Raise;
use crate::text;

/// Characters of a result that stand in a message; `task show` has the rest.
const EXCERPT: usize = 8_000;

/// Puts a message from the system into a session's mail; nowhere if its
/// conversation was cleaned away, by us or by the Python bridge, because what
/// is told about must not fail for want of a reader.
pub(super) async fn system_message(
    connection: &mut SqliteConnection,
    to: &SessionKey,
    text: &str,
    metadata: &Value,
    now: Timestamp,
) -> Result<Option<MessageId>, Fault> {
    let id: Option<i64> = sqlx::query_scalar(
        "INSERT INTO messages (conversation_id, from_session, to_session, message, metadata, timestamp)
         SELECT id, 'system', ?2, ?3, ?4, ?5 FROM conversations WHERE id = ?1 RETURNING id",
    )
    .bind(to.conversation.as_str())
    .bind(to.side.as_str())
    .bind(text)
    .bind(metadata.to_string())
    .bind(timestamp::to_text(now))
    .fetch_optional(&mut *connection)
    .await?;
    if id.is_none() && is_there(connection, to).await? {
        return Err(Fault::Swallowed("messages"));
    }
    Ok(id.map(MessageId))
}

/// Notes that a message belongs to a task, so that it goes where that goes.
pub(super) async fn link(
    connection: &mut SqliteConnection,
    task: TaskId,
    message: Option<MessageId>,
) -> Result<(), Fault> {
    let Some(message) = message else {
        return Ok(());
    };
    sqlx::query(
        "INSERT INTO bridge_task_message (message_id, task_id) VALUES (?1, ?2)
         ON CONFLICT (message_id) DO UPDATE SET task_id = excluded.task_id",
    )
    .bind(message.0)
    .bind(task.0)
    .execute(connection)
    .await?
    .wrote(1, "bridge_task_message")?;
    Ok(())
}

/// The task itself, for the session that was given it, with all that its new
/// owner must know of those before.
pub(super) async fn hand_out(
    connection: &mut SqliteConnection,
    task: &Task,
    fence: Fence,
    to: &SessionKey,
    was: Option<&str>,
    now: Timestamp,
) -> Result<(), Fault> {
    let Task {
        id, title, body, ..
    } = task;
    let mut words = format!("Task {id}: {title}\n\n{body}\n");
    if !task.files.is_empty() {
        words.push_str(&format!("\nFiles: {}\n", task.files.join(", ")));
    }
    if task.attempts > 0 {
        let before = task.owner.as_ref().or(task.last_owner.as_ref());
        let before = match before {
            Some(session) => name(connection, session).await?,
            None => "somebody".to_owned(),
        };
        words.push_str(&format!(
            "\nThis is attempt {}. It was with {before} before",
            task.attempts + 1
        ));
        if task.owner.as_ref() == Some(to) {
            words.push_str(" (this session), whose agent ended");
        } else if let Some(was) = was {
            words.push_str(&format!(", which {was}"));
        }
        words.push_str(".\n");
        if let (Some(note), Some(at)) = (&task.progress, task.progress_at) {
            words.push_str(&format!(
                "Its last note, {} ago: {note}\n",
                text::age(at, now)
            ));
        }
        if let Some(reason) = &task.reason {
            words.push_str(&format!("Why it failed: {reason}\n"));
        }
        words.push_str(&format!(
            "What was done outside of this bridge (commits, pushes, deployments) is not undone: look \
             before you begin. A branch named task-{id}-{fence} tells your work from theirs.\n"
        ));
    }
    words.push_str(&format!(
        "\nYour fence is {fence}. Report with:\n  \
         mcp-bridge task progress {id} --fence {fence} \"how far you are\"\n  \
         mcp-bridge task done {id} --fence {fence} \"what came of it\"\n  \
         mcp-bridge task fail {id} --fence {fence} \"why\"\n"
    ));
    let metadata = json!({
        "action_type": "info", "files_involved": task.files,
        "event": "task", "task_id": id, "fence": fence,
    });
    let message = system_message(connection, to, &words, &metadata, now).await?;
    link(connection, *id, message).await
}

/// Takes back what an owner that loses the task has not read of it, or was
/// handed by a call that died: when it returns, it must not find work that is
/// somebody else's.
pub(super) async fn withdraw(
    connection: &mut SqliteConnection,
    task: TaskId,
    from: &SessionKey,
    now: Timestamp,
) -> Result<(), Fault> {
    let unread: Vec<i64> = sqlx::query_scalar(
        // From the task's few messages, not through all that the system ever
        // sent to the session.
        "SELECT m.id FROM bridge_task_message l CROSS JOIN messages m ON m.id = l.message_id
         WHERE l.task_id = ?1 AND m.conversation_id = ?2 AND m.to_session = ?3
           AND m.from_session = 'system'
           AND iif(json_valid(m.metadata), m.metadata ->> 'event', NULL) IN ('task', 'reminder')
           AND (m.read = 0 OR EXISTS (SELECT 1 FROM bridge_receipt r
                                      WHERE r.message_id = m.id AND r.acked_ms IS NULL
                                        AND r.written_ms IS NULL))",
    )
    .bind(task.0)
    .bind(from.conversation.as_str())
    .bind(from.side.as_str())
    .fetch_all(&mut *connection)
    .await?;
    settle(connection, &unread, from, "withdrawn", now).await
}

/// Hands the messages of a task that its last owner is still owed to its new
/// one: those that are linked to it, or name it in their metadata. What the
/// system said to the old owner itself stays there: the word to stop above all.
pub(super) async fn hand_over(
    connection: &mut SqliteConnection,
    task: TaskId,
    from: &SessionKey,
    to: &SessionKey,
    now: Timestamp,
) -> Result<(), Fault> {
    let rows = sqlx::query(concat!(
        "WITH w(conversation, side) AS (SELECT ?2, ?3)
         SELECT m.id, m.from_session, m.message
         FROM w CROSS JOIN json_each((SELECT json_group_array(DISTINCT id) FROM (",
        owed_mail!(),
        "))) j
         CROSS JOIN messages m ON m.id = j.value
         WHERE NOT (m.from_session = 'system'
                    AND coalesce(iif(json_valid(m.metadata), m.metadata ->> 'event', ''), '')
                        IN ('task', 'task-moved', 'task-taken', 'task-ended', 'reminder'))
           AND (m.id IN (SELECT message_id FROM bridge_task_message WHERE task_id = ?1)
                OR iif(json_valid(m.metadata), m.metadata ->> 'task_id', NULL) IN (?1, CAST(?1 AS TEXT)))
         ORDER BY m.id",
    ))
    .bind(task.0)
    .bind(from.conversation.as_str())
    .bind(from.side.as_str())
    .fetch_all(&mut *connection)
    .await?;
    if rows.is_empty() {
        return Ok(());
    }
    let reader = name(connection, from).await?;
    let mut given = Vec::with_capacity(rows.len());
    for row in &rows {
        let id: i64 = row.try_get(0)?;
        let sender = match shared::text(row, 1)?.parse::<Side>() {
            Ok(side) => {
                name(
                    connection,
                    &SessionKey::new(from.conversation.clone(), side),
                )
                .await?
            }
            Err(_) => "the system".to_owned(),
        };
        let words = format!(
            "About task {task}, sent by {sender} to {reader}, which had it and has not read this:\n\n{}",
            shared::text(row, 2)?
        );
        let metadata = json!({
            "action_type": "info", "event": "handed-over", "task_id": task, "message_id": id,
        });
        let message = system_message(connection, to, &words, &metadata, now).await?;
        link(connection, task, message).await?;
        given.push(id);
    }
    settle(connection, &given, from, "handed-over", now).await
}

/// Marks messages as read that their reader shall not get any more, and why.
pub(super) async fn settle(
    connection: &mut SqliteConnection,
    messages: &[i64],
    reader: &SessionKey,
    why: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    let ids = json!(messages).to_string();
    sqlx::query("UPDATE messages SET read = 1 WHERE id IN (SELECT value FROM json_each(?1))")
        .bind(&ids)
        .execute(&mut *connection)
        .await?
        .wrote(messages.len(), "messages")?;
    sqlx::query(
        "INSERT INTO bridge_receipt (message_id, conversation_id, session_id, fetch_id, fetched_ms,
             written_ms, acked_ms)
         SELECT value, ?2, ?3, ?4, ?5, ?5, ?5 FROM json_each(?1) WHERE true
         ON CONFLICT (message_id) DO UPDATE SET fetch_id = excluded.fetch_id,
             acked_ms = excluded.acked_ms",
    )
    .bind(&ids)
    .bind(reader.conversation.as_str())
    .bind(reader.side.as_str())
    .bind(why)
    .bind(millis(now))
    .execute(connection)
    .await?
    .wrote(messages.len(), "bridge_receipt")?;
    Ok(())
}

/// Tells the orchestrator's side where a task went whose owner is gone. A task
/// that merely waited is news to nobody.
pub(super) async fn moved(
    connection: &mut SqliteConnection,
    task: &Task,
    to: Option<&SessionKey>,
    fence: Fence,
    was: Option<&str>,
    now: Timestamp,
) -> Result<(), Fault> {
    let (Some(owner), Some(was)) = (&task.owner, was) else {
        return Ok(());
    };
    let id = task.id;
    let old = name(connection, owner).await?;
    let went = match to {
        Some(to) if to == owner => {
            format!("is with {old} again (fence {fence}), for another agent process there")
        }
        Some(to) => format!(
            "is now with {} (fence {fence})",
            name(connection, to).await?
        ),
        None => "waits until somebody healthy can take it".to_owned(),
    };
    let words = format!("Task {id} ({}) {went}: {old} {was}.", task.title);
    let metadata = json!({
        "action_type": "info", "event": "task-moved", "task_id": id, "fence": fence,
        "from": owner.to_string(), "to": to.map(SessionKey::to_string),
    });
    let creator = task.creator.clone();
    let orchestrator = (owner.side == Side::B).then(|| owner.partner());
    if let Some(reader) = creator.or(orchestrator).filter(|reader| Some(reader) != to) {
        system_message(connection, &reader, &words, &metadata, now).await?;
    }
    Ok(())
}

/// Tells a living owner that the task is not its any more.
pub(super) async fn stop(
    connection: &mut SqliteConnection,
    task: &Task,
    owner: &SessionKey,
    what: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    let words = format!(
        "Task {} ({}) {what}. Stop working on it and push nothing of it; \
         `mcp-bridge task claim` gives you new work.",
        task.id, task.title
    );
    let metadata = json!({ "action_type": "info", "event": "task-taken", "task_id": task.id });
    system_message(connection, owner, &words, &metadata, now).await?;
    Ok(())
}

/// Tells whoever made a task what became of it.
pub(super) async fn tell_creator(
    connection: &mut SqliteConnection,
    task: &Task,
    what: &str,
    by: Option<&SessionKey>,
    text: Option<&str>,
    now: Timestamp,
) -> Result<(), Fault> {
    let Some(creator) = task.creator.as_ref().filter(|creator| Some(*creator) != by) else {
        return Ok(());
    };
    let mut words = format!("Task {} ({}) {what}", task.id, task.title);
    if let Some(by) = by {
        words.push_str(&format!(", by {}", name(connection, by).await?));
    }
    match text {
        Some(text) if text.chars().nth(EXCERPT).is_some() => {
            let part: String = text.chars().take(EXCERPT).collect();
            words.push_str(&format!(
                ":\n\n{part} ...\n\nThe rest: mcp-bridge task show {}",
                task.id
            ));
        }
        Some(text) => words.push_str(&format!(":\n\n{text}")),
        None => words.push('.'),
    }
    let metadata = json!({ "action_type": "info", "event": "task-ended", "task_id": task.id });
    system_message(connection, creator, &words, &metadata, now).await?;
    Ok(())
}

/// What an alert about a task is about.
pub(super) fn task_subject(task: TaskId) -> String {
    format!("task {task}")
}

/// A task that is given up: its creator hears it, and so does the operator.
pub(super) async fn bury(
    connection: &mut SqliteConnection,
    task: &Task,
    why: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    tell_creator(connection, task, "was given up", None, Some(why), now).await?;
    alerts::raise(
        connection,
        &Raise {
            kind: AlertKind::TaskDead,
            subject: &task_subject(task.id),
            session: None,
            task: Some(task.id),
            text: &format!("task {} was given up: {why}", task.id),
            by: "tasks",
        },
        now,
    )
    .await?;
    Ok(())
}

/// What people call a session.
pub(super) async fn name(
    connection: &mut SqliteConnection,
    session: &SessionKey,
) -> Result<String, Fault> {
    let label: Option<String> =
        sqlx::query_scalar("SELECT label FROM bridge_conversation WHERE conversation_id = ?1")
            .bind(session.conversation.as_str())
            .fetch_optional(connection)
            .await?
            .flatten();
    Ok(match label {
        Some(label) => format!("{label}/{}", session.side),
        None => session.to_string(),
    })
}
