//! Where one life of an agent ends and the next begins. An end is noted by the program
//! that can tell, in one transaction with all that follows from it: messages that the
//! agent did not acknowledge are handed out again, and its tasks are given anew.

use jiff::Timestamp;
use serde_json::json;

use super::{audit, tasks};
use crate::model::SessionKey;
use crate::store::rows::{Audit, Rows};
use crate::store::{Result, Signal};

/// The agent ended. It may not have acted on messages that it did not acknowledge: the
/// next one gets them again. And a turn that it was in is over, or its successor would
/// be busy for ever.
///
/// # Errors
/// The engine's.
pub(crate) fn hand_back(rows: &mut dyn Rows, session: &SessionKey) -> Result<()> {
    if rows.owe_again(session)? {
        rows.signal(Signal::Owed)?;
    }
    rows.end_turn(session)
}

/// An agent's life is over, which was not noted yet. `how` is what showed it.
///
/// # Errors
/// The engine's.
pub(crate) fn ended(
    rows: &mut dyn Rows,
    session: &SessionKey,
    (daemon, how): (&str, &str),
    now: Timestamp,
) -> Result<()> {
    rows.note_change(session)?;
    hand_back(rows, session)?;
    tasks::agent_ended(rows, session, now)?;
    let audit = Audit {
        conversation: Some(session.conversation.clone()),
        side: Some(session.side),
        action: "session_exited".into(),
        details: json!({ "daemon": daemon, "seen_by": how }),
    };
    audit::write(rows, vec![audit], now)
}

/// The next life of a session's agent begins with this heartbeat; `noted` says whether
/// the end of the last one is. The tasks that the last one had are given anew under a
/// new fence: the new agent has not read them, and reports of the last one are refused.
///
/// # Errors
/// The engine's.
pub(crate) fn begun(
    rows: &mut dyn Rows,
    session: &SessionKey,
    noted: bool,
    daemon: &str,
    now: Timestamp,
) -> Result<()> {
    if !noted {
        let seen = (daemon, "a heartbeat of another process");
        ended(rows, session, seen, now)?;
    }
    tasks::give_anew(rows, session, now)
}
