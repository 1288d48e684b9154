//! What a hook's event asks for. Pure: what is known comes in, and what is to be done
//! goes out.

use super::event::{Call, Event};
use crate::model::health::Turn;

/// How often in a row an agent that stops hears of new mail. The client has a limit of
/// its own (8), which it does not say, and its flag `stop_hook_active` stays set after
/// each wake: so the blocks are counted here.
const MOST_BLOCKS: u32 = 5;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// Whether there is anything to say.
    pub(super) says: bool,
    /// What to say of the turn; where nothing new is known of it, what was said last.
    pub(super) turn: Option<Turn>,
    /// What to tell the agent.
    pub(super) tell: Tell,
    /// It waits for its user, or for its provider: it is not to be missed meanwhile.
    pub(super) waits: bool,
}

/// What to tell the agent of its mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tell {
    /// Nothing.
    Nothing,
    /// What it has not heard of before.
    News,
    /// All that is unread, and who the agent is.
    Introduction,
    /// All that is unread.
    Unread,
    /// What it has not heard of before; and it goes on.
    GoOn,
}

impl Plan {
    /// What this call asks for.
    pub(super) fn of(call: &Call) -> Self {
        let (turn, tell) = match call.event {
            // The agent gets it from its own hooks, and its turn is its own.
            _ if call.is_helper => (None, Tell::Nothing),
            Event::SessionStart => (Some(Turn::Outside), Tell::Introduction),
            Event::Compacted => (None, Tell::Introduction),
            Event::Prompt => (Some(Turn::Inside), Tell::Unread),
            Event::Activity => (Some(Turn::Inside), Tell::News),
            Event::Stop => (Some(Turn::Outside), Tell::GoOn),
            Event::Ended | Event::SessionEnd => (Some(Turn::Outside), Tell::Nothing),
            Event::Waiting => (Some(Turn::Inside), Tell::Nothing),
            Event::Limited => (Some(Turn::Outside), Tell::Nothing),
            Event::Other => (None, Tell::Nothing),
        };
        Self {
            says: call.event != Event::Other,
            turn,
            tell,
            waits: matches!(call.event, Event::Waiting | Event::Limited),
        }
    }
}

/// Whether an agent that stops is to go on, because of mail that it has not heard of.
/// `told` is the newest message that it heard of, `blocks` how often in a row it was
/// made to go on.
pub(super) fn goes_on(newest: Option<i64>, told: i64, blocks: u32) -> bool {
    newest.is_some_and(|newest| newest > told) && blocks < MOST_BLOCKS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(event: Event, is_helper: bool) -> Plan {
        let name = String::new();
        Plan::of(&Call {
            event,
            name,
            is_helper,
            bypasses: None,
            thread: None,
        })
    }

    #[test]
    fn helper_neither_begins_nor_ends_its_agents_turn() {
        for event in [
            Event::Stop,
            Event::Ended,
            Event::SessionEnd,
            Event::Activity,
        ] {
            let plan = plan(event, true);
            assert_eq!((plan.says, plan.turn), (true, None), "{event:?}");
            assert_eq!(plan.tell, Tell::Nothing, "{event:?}");
        }
        assert!(!plan(Event::Other, true).says);
    }

    #[test]
    fn mail_makes_an_agent_go_on_once() {
        assert!(goes_on(Some(8), 7, 0));
        assert!(!goes_on(Some(8), 8, 0));
        assert!(!goes_on(None, 0, 0));
    }

    #[test]
    fn a_stream_of_mail_lets_an_agent_stop() {
        assert!(goes_on(Some(8), 7, MOST_BLOCKS - 1));
        assert!(!goes_on(Some(8), 7, MOST_BLOCKS));
    }
}
