//! Messages of the system: a task for its new owner, and what an orchestrator or
//! a creator must hear. Each is written in the transaction of what it tells about.

use jiff::Timestamp;
use serde_json::json;

use super::alerts;
use crate::model::alert::AlertKind;
use crate::model::task::{Fence, TaskId};
use crate::model::{SessionKey, Side};
use crate::store::rows::{Raise, Rows};
use crate::store::{Result, SessionName, Task};
use crate::text;

/// Characters of a result that stand in a message; `task show` has the rest.
const EXCERPT: usize = 8_000;

/// The task itself, for the session that was given it, with all that its new
/// owner must know of those before.
pub(super) fn hand_out(
    rows: &mut dyn Rows,
    task: &Task,
    fence: Fence,
    to: &SessionKey,
    was: Option<&str>,
    now: Timestamp,
) -> Result<()> {
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
            Some(session) => name(rows, session)?,
            None => "another session".to_owned(),
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
            "What they did outside of this bridge (commits, pushes, deployments) is not undone: check that before you begin. Use a branch named task-{id}-{fence} to separate your work from theirs.\n"
        ));
    }
    words.push_str(&format!(
        "\nYour fence is {fence}. Report with:\n  \
         mcp-bridge task progress {id} --fence {fence} \"your progress\"\n  mcp-bridge task done {id} --fence {fence} \"your result\"\n  mcp-bridge task fail {id} --fence {fence} \"why\"\n"
    ));
    let metadata = json!({
        "action_type": "info", "files_involved": task.files,
        "event": "task", "task_id": id, "fence": fence,
    });
    if let Some(message) = rows.insert_notice(to, &words, &metadata, now)? {
        rows.link_message(*id, message)?;
    }
    Ok(())
}

/// Takes back what an owner that loses the task has not read of it, or was
/// handed by a call that died: when it returns, it must not find work that is
/// another session's.
pub(super) fn withdraw(
    rows: &mut dyn Rows,
    task: TaskId,
    from: &SessionKey,
    now: Timestamp,
) -> Result<()> {
    let unread = rows.owed_notices(task, from, &["task", "reminder"])?;
    rows.withdraw_messages(from, &unread, "withdrawn", now)
}

/// Hands the messages of a task that its last owner is still owed to its new
/// one: those that are linked to it, or name it in their metadata. What the
/// system said to the old owner itself stays there: the word to stop above all.
pub(super) fn hand_over(
    rows: &mut dyn Rows,
    task: TaskId,
    from: &SessionKey,
    to: &SessionKey,
    now: Timestamp,
) -> Result<()> {
    let own = ["task", "task-moved", "task-taken", "task-ended", "reminder"];
    let owed = rows.owed_about(task, from, &own)?;
    if owed.is_empty() {
        return Ok(());
    }
    let reader = name(rows, from)?;
    let mut given = Vec::with_capacity(owed.len());
    for message in owed {
        let sender = match message.from {
            Some(side) => name(rows, &SessionKey::new(from.conversation.clone(), side))?,
            None => "the system".to_owned(),
        };
        let words = format!(
            "About task {task}, sent by {sender} to {reader}, which had it and has not read this:\n\n{}",
            message.text
        );
        let metadata = json!({
            "action_type": "info", "event": "handed-over", "task_id": task,
            "message_id": message.id,
        });
        if let Some(handed) = rows.insert_notice(to, &words, &metadata, now)? {
            rows.link_message(task, handed)?;
        }
        given.push(message.id);
    }
    rows.withdraw_messages(from, &given, "handed-over", now)
}

/// Tells the orchestrator's side where a task went whose owner is gone. A task
/// that merely waited is no news.
pub(super) fn moved(
    rows: &mut dyn Rows,
    task: &Task,
    to: Option<&SessionKey>,
    fence: Fence,
    was: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    let (Some(owner), Some(was)) = (&task.owner, was) else {
        return Ok(());
    };
    let id = task.id;
    let old = name(rows, owner)?;
    let went = match to {
        Some(to) if to == owner => {
            format!("is with {old} again (fence {fence}), for another agent process there")
        }
        Some(to) => format!("is now with {} (fence {fence})", name(rows, to)?),
        None => "waits until a healthy session can take it".to_owned(),
    };
    let words = format!("Task {id} ({}) {went}: {old} {was}.", task.title);
    let metadata = json!({
        "action_type": "info", "event": "task-moved", "task_id": id, "fence": fence,
        "from": owner.to_string(), "to": to.map(SessionKey::to_string),
    });
    let creator = task.creator.clone();
    let orchestrator = (owner.side == Side::B).then(|| owner.partner());
    if let Some(reader) = creator.or(orchestrator).filter(|reader| Some(reader) != to) {
        rows.insert_notice(&reader, &words, &metadata, now)?;
    }
    Ok(())
}

/// Tells a living owner that the task is not its any more.
pub(super) fn stop(
    rows: &mut dyn Rows,
    task: &Task,
    owner: &SessionKey,
    what: &str,
    now: Timestamp,
) -> Result<()> {
    let words = format!(
        "Task {} ({}) {what}. Stop working on it and push nothing of it; \
         `mcp-bridge task claim` gives you new work.",
        task.id, task.title
    );
    let metadata = json!({ "action_type": "info", "event": "task-taken", "task_id": task.id });
    rows.insert_notice(owner, &words, &metadata, now)?;
    Ok(())
}

/// Tells the session that made a task what became of it.
pub(super) fn tell_creator(
    rows: &mut dyn Rows,
    task: &Task,
    what: &str,
    by: Option<&SessionKey>,
    text: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    let Some(creator) = task.creator.as_ref().filter(|creator| Some(*creator) != by) else {
        return Ok(());
    };
    let mut words = format!("Task {} ({}) {what}", task.id, task.title);
    if let Some(by) = by {
        words.push_str(&format!(", by {}", name(rows, by)?));
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
    rows.insert_notice(creator, &words, &metadata, now)?;
    Ok(())
}

/// What an alert about a task is about.
pub(super) fn task_subject(task: TaskId) -> String {
    format!("task {task}")
}

/// A task that is given up: its creator hears it, and so does the operator.
pub(super) fn report_dead(
    rows: &mut dyn Rows,
    task: &Task,
    why: &str,
    now: Timestamp,
) -> Result<()> {
    tell_creator(rows, task, "is dead", None, Some(why), now)?;
    let raise = Raise {
        kind: AlertKind::TaskDead,
        subject: &task_subject(task.id),
        session: None,
        task: Some(task.id),
        text: &format!("task {} is dead: {why}", task.id),
        by: "tasks",
    };
    alerts::begin(rows, &raise, now)?;
    Ok(())
}

/// What people call a session.
pub(super) fn name(rows: &mut dyn Rows, session: &SessionKey) -> Result<String> {
    let label = rows.label(&session.conversation)?;
    let key = session.clone();
    Ok(SessionName { key, label }.to_string())
}
