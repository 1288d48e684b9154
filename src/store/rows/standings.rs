//! What was found of a session, and what it can carry.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::SessionKey;
use crate::model::standing::Standing;
use crate::store::Result;

/// In the place of the heartbeat that a verdict rests on: the session did
/// something since, and no task is taken from it for that verdict.
pub const SUPERSEDED: i64 = -1;

/// The verdict on a session, and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredVerdict {
    /// What was found.
    pub standing: Option<Standing>,
    /// The heartbeat that was judged, or [`SUPERSEDED`].
    pub standing_seq: Option<i64>,
    /// The session's last heartbeat.
    pub seq: Option<i64>,
    /// Whether its agent's process is noted as ended.
    pub exited: bool,
}

/// A session as a finding is held against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The verdict that stands.
    pub verdict: StoredVerdict,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Calls of the agent itself.
    pub activity: i64,
    /// What another program wrote of it, empty if nothing.
    pub foreign: String,
    /// Whether it is in the fleet: its conversation is open, or it has a task.
    pub watched: bool,
}

/// A standing to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewStanding {
    /// What was found.
    pub standing: Standing,
    /// The heartbeat that was judged.
    pub seq: Option<i64>,
    /// Since when it holds.
    pub since: Timestamp,
    /// Whether the session came back from being given up.
    pub returned: bool,
}

/// What a session has, and what stands in the way of more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ability {
    /// Whether its conversation is not there, or past its end.
    pub ended: bool,
    /// Whether its conversation was closed for good.
    pub closed: bool,
    /// Whether its agent's process is noted as ended.
    pub exited: bool,
    /// What was found of it.
    pub standing: Option<Standing>,
    /// How many tasks it may have, if that was said of it.
    pub capacity: Option<i64>,
    /// How many it has.
    pub open: i64,
}

/// Operations on what was found of sessions.
pub trait StandingRows {
    /// The verdict on a session; the empty one if there is no row of it.
    ///
    /// # Errors
    /// The engine's.
    fn verdict(&mut self, session: &SessionKey) -> Result<StoredVerdict>;

    /// All that a finding about a session is held against.
    ///
    /// # Errors
    /// The engine's.
    fn judged(&mut self, session: &SessionKey, now: Timestamp) -> Result<Judged>;

    /// Writes a standing into the row of a session that has one.
    ///
    /// # Errors
    /// The engine's.
    fn set_standing(&mut self, session: &SessionKey, standing: &NewStanding) -> Result<()>;

    /// What a session has, and what stands in the way of more.
    ///
    /// # Errors
    /// The engine's.
    fn ability(&mut self, session: &SessionKey, now: Timestamp) -> Result<Ability>;

    /// How many times in a row its agent ended right after it was given a task.
    ///
    /// # Errors
    /// The engine's.
    fn crashes(&mut self, session: &SessionKey) -> Result<i64>;

    /// One more of these, in the row of a session that has one.
    ///
    /// # Errors
    /// The engine's.
    fn count_crash(&mut self, session: &SessionKey) -> Result<()>;

    /// None of these any more.
    ///
    /// # Errors
    /// The engine's.
    fn forget_crashes(&mut self, session: &SessionKey) -> Result<()>;

    /// Notes that the agent may be silent for so long.
    ///
    /// # Errors
    /// The engine's.
    fn note_busy(&mut self, session: &SessionKey, time: Duration, now: Timestamp) -> Result<()>;

    /// Ends the turn that a session is in, if it is in one, for those who watch it.
    ///
    /// # Errors
    /// The engine's.
    fn end_turn(&mut self, session: &SessionKey) -> Result<()>;
}
