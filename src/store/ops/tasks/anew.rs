//! The tasks of a session whose agent ended and has a successor already.

use jiff::Timestamp;

use super::lease::{Cause, Target, lease};
use super::losses;
use crate::model::SessionKey;
use crate::store::rows::Rows;
use crate::store::{Result, StoreError};

/// Gives a session's tasks to its new agent, each with its text and a new fence,
/// in the transaction of the heartbeat that names that agent; into the queue, if
/// the session's agents end one after the other.
///
/// # Errors
/// The engine's.
pub(crate) fn give_anew(rows: &mut dyn Rows, session: &SessionKey, now: Timestamp) -> Result<()> {
    for task in rows.tasks_of(session)? {
        let found = match rows.task(task) {
            // It stays where it is, and holds nothing else up.
            Err(StoreError::OddRow { .. }) | Ok(None) => continue,
            Err(error) => return Err(error),
            Ok(Some(found)) => found,
        };
        let target = if losses::may_go_on(rows, found.id, session)? {
            Target::Given(session)
        } else {
            Target::Queue
        };
        lease(rows, &found, &target, Cause::Exited, now)?;
    }
    Ok(())
}
