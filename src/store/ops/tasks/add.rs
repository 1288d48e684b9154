//! A new task, or the one that its client id already has.

use jiff::Timestamp;
use serde_json::json;

use super::noted;
use crate::model::SessionKey;
use crate::model::redact::{SecretKind, redact, redact_within};
use crate::model::task::{Fence, MAX_BODY, MAX_TITLE};
use crate::store::executor::Transaction;
use crate::store::ops::audit;
use crate::store::ops::callers::{authenticate, came_back};
use crate::store::rows::{Audit, NewTaskRow, Rows};
use crate::store::{Added, Caller, NewTask, Result, Signal, TaskError};

/// A task without its secrets, made before the lock is taken.
#[derive(Debug)]
pub(crate) struct Clean {
    task: NewTask,
    title: String,
    body: String,
    files: Vec<String>,
    redacted: Vec<SecretKind>,
}

/// Takes the secrets out of tasks. Before the transaction: it may take longer
/// than all the rest, and no other writer waits for it.
pub(crate) fn clean(tasks: &[NewTask]) -> Vec<Clean> {
    tasks.iter().map(Clean::new).collect()
}

impl Clean {
    fn new(task: &NewTask) -> Self {
        let title = redact_within(task.title.as_str(), MAX_TITLE);
        let body = redact_within(task.body.as_str(), MAX_BODY);
        let files: Vec<_> = task.files.iter().map(|file| redact(file)).collect();
        let mut redacted = title.kinds;
        let others = files.iter().flat_map(|file| &file.kinds);
        for kind in body.kinds.iter().chain(others) {
            if !redacted.contains(kind) {
                redacted.push(*kind);
            }
        }
        Self {
            title: title.text.into_owned(),
            body: body.text.into_owned(),
            files: files
                .into_iter()
                .map(|file| file.text.into_owned())
                .collect(),
            redacted,
            task: task.clone(),
        }
    }
}

/// Adds tasks, all or none.
///
/// # Errors
/// As [`crate::store::Store::add_tasks`].
pub(crate) fn add(
    transaction: &mut Transaction<'_>,
    creator: Option<&Caller>,
    tasks: &[Clean],
    now: Timestamp,
) -> Result<Vec<Added>> {
    let rows = transaction.rows();
    if let Some(caller) = creator {
        authenticate(rows, caller, now)?;
        came_back(rows, caller, now)?;
        rows.note_call(&caller.session, Some(now))?;
    }
    let creator = creator.map(|caller| &caller.session);
    let mut added = Vec::with_capacity(tasks.len());
    for task in tasks {
        added.push(add_one(rows, creator, task, now)?);
    }
    rows.signal(Signal::Work)?;
    transaction.ring();
    Ok(added)
}

fn add_one(
    rows: &mut dyn Rows,
    creator: Option<&SessionKey>,
    clean: &Clean,
    now: Timestamp,
) -> Result<Added> {
    let redacted = clean.redacted.clone();
    let client_id = clean.task.client_id.as_ref();
    if let Some(id) = client_id
        && let Some(known) = rows.client_task(creator, id)?
    {
        if known.title == clean.title && known.body == clean.body {
            return Ok(Added {
                id: known.id,
                redacted,
                duplicate: true,
            });
        }
        return Err(TaskError::IdReused {
            id: id.as_str().to_owned(),
            task: known.id,
        }
        .into());
    }
    let role = clean.task.role.as_str();
    let row = NewTaskRow {
        role,
        title: &clean.title,
        body: &clean.body,
        files: &clean.files,
        creator,
        client_id,
    };
    let id = rows.insert_task(&row, now)?;
    noted(rows, (id, Fence(0)), "added", None, None, now)?;
    let audit = Audit {
        conversation: creator.map(|creator| creator.conversation.clone()),
        side: creator.map(|creator| creator.side),
        action: "task_added".into(),
        details: json!({ "task_id": id, "role": role, "redacted_kinds": redacted }),
    };
    audit::write(rows, vec![audit], now)?;
    Ok(Added {
        id,
        redacted,
        duplicate: false,
    })
}
