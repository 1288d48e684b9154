//! Whether a session can take a task.

use jiff::Timestamp;

use crate::model::SessionKey;
use crate::model::standing::Standing;
use crate::model::task::TaskId;
use crate::store::ops::settings;
use crate::store::rows::Rows;
use crate::store::{Result, StoreError, TaskError};

/// How many tasks a session may have of which nothing else was said.
const CAPACITY: i64 = 1;

/// What a session holds, and what stands in its way.
#[derive(Debug)]
pub(in crate::store::ops) struct Fitness {
    /// Why its conversation carries nothing, if so.
    gone: Option<&'static str>,
    /// Its daemon saw its agent's process end, and no other in its place.
    exited: bool,
    draining: bool,
    open: i64,
    capacity: i64,
}

impl Fitness {
    /// Of a session, at `now`.
    ///
    /// # Errors
    /// The engine's.
    pub(in crate::store::ops) fn of(
        rows: &mut dyn Rows,
        session: &SessionKey,
        now: Timestamp,
    ) -> Result<Self> {
        let ability = rows.ability(session, now)?;
        let gone = if ability.closed {
            Some("its conversation was closed")
        } else if ability.ended {
            Some("its conversation has ended")
        } else if ability.exited {
            Some("its agent's process has ended, and its proof names no new one")
        } else if ability.standing.is_some_and(Standing::is_gone) {
            Some("its agent is gone")
        } else {
            None
        };
        let capacity = match ability.capacity {
            Some(capacity) => Some(capacity),
            None => settings::number(rows, "task.capacity")?,
        };
        Ok(Self {
            gone,
            exited: ability.exited,
            draining: rows.is_drained(session, now)?,
            open: ability.open,
            capacity: capacity.unwrap_or(CAPACITY),
        })
    }

    /// For a session that asks by itself: it is there, even if it was judged silent. A
    /// confirmed end still counts: the task would be taken from it at once, and count
    /// as one that kills its owners.
    ///
    /// # Errors
    /// [`TaskError`].
    pub(in crate::store::ops) fn admits(&self, session: &SessionKey) -> Result<()> {
        let session = session.clone().into();
        if self.exited {
            return Err(TaskError::Exited(session).into());
        }
        if self.draining {
            return Err(TaskError::Draining(session).into());
        }
        if self.open >= self.capacity {
            let (open, capacity) = (self.open, self.capacity);
            return Err(TaskError::AtCapacity {
                session,
                open,
                capacity,
                held: None,
            }
            .into());
        }
        Ok(())
    }

    /// For a session that is given a task.
    ///
    /// # Errors
    /// [`TaskError`].
    pub(in crate::store::ops) fn takes(&self, session: &SessionKey, task: TaskId) -> Result<()> {
        if let Some(why) = self.gone {
            return Err(unfit(session, task, why));
        }
        self.admits(session)
    }
}

/// A session that cannot take a task.
pub(in crate::store::ops) fn unfit(session: &SessionKey, task: TaskId, why: &str) -> StoreError {
    let (session, why) = (session.clone().into(), why.to_owned());
    TaskError::Unfit { session, task, why }.into()
}
