//! What an orchestrator reads of the fleet.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::model::SessionKey;
use crate::store::rows::{Rows, Which};
use crate::store::{Fleet, Result, Wanted};

/// Sessions, and where the next look begins.
///
/// # Errors
/// The engine's.
pub(crate) fn fleet(rows: &mut dyn Rows, wanted: &Wanted<'_>, now: Timestamp) -> Result<Fleet> {
    // First: what changes while the rows are read is read again.
    let mut fleet = Fleet {
        cursor: rows.cursor()?,
        ..Fleet::default()
    };
    if let Wanted::Page {
        after,
        conversations,
    } = wanted
    {
        fleet.page_end = rows.page_end(after.as_ref(), *conversations)?;
    }
    // Before the rows are read, for the same reason.
    fleet.gone = match wanted {
        Wanted::These(sessions) => sessions.to_vec(),
        Wanted::Since(since) => rows.changed_since(*since)?,
        Wanted::All | Wanted::Page { .. } => Vec::new(),
    };
    let which = match wanted {
        Wanted::All => Which::All,
        Wanted::Page { after, .. } => Which::Page(after.as_ref(), fleet.page_end.as_ref()),
        Wanted::Since(since) => Which::Since(*since),
        Wanted::These(sessions) => Which::These(sessions),
    };
    fleet.sessions = rows.seen(which, now)?;
    let there: HashSet<&SessionKey> = fleet.sessions.iter().map(|seen| &seen.key).collect();
    fleet.gone.retain(|key| !there.contains(key));
    if let Wanted::Since(since) = wanted {
        fleet.pulses = rows.pulses(*since, now)?;
        // Those were just read with everything else.
        fleet.pulses.retain(|pulse| !there.contains(&pulse.key));
    }
    Ok(fleet)
}
