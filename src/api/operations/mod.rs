//! All that can be asked of a daemon, a file for each subject.

mod agents;
mod conversations;
mod messages;
mod orders;
mod status;
mod tasks;
mod wakes;

pub use agents::*;
pub use conversations::*;
pub use messages::*;
pub use orders::*;
pub use status::*;
pub use tasks::*;
pub use wakes::*;

use crate::model::door::DoorError;
use crate::model::session::is_role;
use crate::store::Result;
use crate::text::shown::shown;

/// Refuses what cannot be a role: it would stand in the shared tables for ever.
fn ensure_role(role: &str) -> Result<()> {
    // A mark of direction or an invisible one is no character of a role, either.
    match is_role(role) && shown(role) == role {
        true => Ok(()),
        false => {
            let why = "a role has 1 to 64 printable characters".to_owned();
            Err(DoorError::Malformed(why).into())
        }
    }
}

/// Sessions that are asked about at once, at most.
pub(crate) const MOST_SESSIONS: usize = 1_000;

/// Refuses a list that would hold others up.
fn ensure_few<T>(member: &str, list: &[T], most: usize) -> Result<()> {
    match list.len() {
        count if count > most => {
            let why = format!("{member} has {count} elements, {most} are allowed; ask in parts");
            Err(DoorError::Malformed(why).into())
        }
        _ => Ok(()),
    }
}

/// Hands the list of all operations to a macro: the server's routes, the document
/// and the tests are made of it.
macro_rules! each_operation {
    ($take:ident) => {
        $take! {
            Acknowledge, AddTasks, Alerts, CallIn, CancelTask, CheckStore, ClaimTask, ClaimWake,
            CloseConversation, Confirm, Conversations, CreateConversations, Daemons,
            EndTask, EndWake, Events, Fetch, Health, LabelConversation, Lease, OneConversation, OneTask, OpenAlerts,
            Order, Peek, PlainTokens, RateLimitsNow, ReassignTask, RegisterAgent, Rekey, RenewConversation, Send,
            Sessions, SetCapacity, SetPruneForeign, SetRateLimits, SetTokenStorage, Status, TakeBack,
            TaskCounts, TaskProgress, Tasks, TokenStorageNow, Touch, Unread, Verify,
        }
    };
}

pub(crate) use each_operation;
