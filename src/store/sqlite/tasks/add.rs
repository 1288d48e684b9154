//! A new task, or the one that its client id already has.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::json;
use sqlx::{Row, SqliteConnection};

use super::rows::history;
use crate::model::SessionKey;
use crate::model::message::ClientMessageId;
use crate::model::redact::{SecretKind, redact, redact_within};
use crate::model::task::{Fence, MAX_BODY, MAX_TITLE, TaskId};
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::written::Written as _;
use crate::store::sqlite::{millis, shared};
use crate::store::{Added, NewTask, StoreError, TaskError};

/// A task without its secrets, made before the lock is taken.
pub(super) struct Clean<'a> {
    task: &'a NewTask,
    title: Cow<'a, str>,
    body: Cow<'a, str>,
    files: String,
    redacted: Vec<SecretKind>,
}

impl<'a> Clean<'a> {
    pub(super) fn new(task: &'a NewTask) -> Self {
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
        let files: Vec<&str> = files.iter().map(|file| &*file.text).collect();
        Self {
            task,
            title: title.text,
            body: body.text,
            files: json!(files).to_string(),
            redacted,
        }
    }
}

pub(super) async fn add(
    connection: &mut SqliteConnection,
    creator: Option<&SessionKey>,
    clean: Clean<'_>,
    now: Timestamp,
) -> std::result::Result<Added, Fault> {
    let Clean {
        task,
        title,
        body,
        files,
        redacted,
    } = clean;
    let creator = creator.map(SessionKey::to_string).unwrap_or_default();
    if let Some(id) = &task.client_id
        && let Some(row) = sqlx::query(
            "SELECT task_id, title = ?3 AND body = ?4 FROM bridge_task
             WHERE creator = ?1 AND client_id = ?2",
        )
        .bind(&creator)
        .bind(id.as_str())
        .bind(&*title)
        .bind(&*body)
        .fetch_optional(&mut *connection)
        .await?
    {
        let known = TaskId(row.try_get(0)?);
        return if row.try_get(1)? {
            Ok(Added {
                id: known,
                redacted,
                duplicate: true,
            })
        } else {
            let reused = TaskError::IdReused {
                id: id.as_str().to_owned(),
                task: known,
            };
            Err(StoreError::Task(reused).into())
        };
    }
    let id = sqlx::query(
        "INSERT INTO bridge_task (role, title, body, files, creator, client_id, created_ms, changed_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
    )
    .bind(&task.role)
    .bind(&*title)
    .bind(&*body)
    .bind(files)
    .bind(&creator)
    .bind(task.client_id.as_ref().map(ClientMessageId::as_str))
    .bind(millis(now))
    .execute(&mut *connection)
    .await?
    .wrote(1, "bridge_task")?
    .last_insert_rowid();
    let id = TaskId(id);
    history(connection, (id, Fence(0)), "added", None, None, now).await?;
    let by: Option<SessionKey> = creator.parse().ok();
    let details = json!({ "task_id": id, "role": task.role, "redacted_kinds": redacted });
    let (conversation, side) = by.map(|key| (key.conversation, key.side)).unzip();
    shared::audit(
        connection,
        conversation.as_ref(),
        side,
        "task_added",
        details,
        now,
    )
    .await?;
    Ok(Added {
        id,
        redacted,
        duplicate: false,
    })
}
