//! Codex: woken through the queue of a thread.

mod queue;

use super::{Addressee, Fired, Way};

/// What Codex calls itself in the servers that it starts.
const NAME: &str = "codex-mcp-client";

/// The first one first.
pub(super) const WAYS: &[&dyn Way] = &[&queue::Queue];

/// Whether a client of this name is Codex.
pub(super) fn is_codex(name: &str) -> bool {
    name == NAME
}

/// Whether the agent can be told anything now, whatever the way.
fn is_open(agent: &Addressee) -> Result<(), Fired> {
    if agent.in_turn {
        return Err(Fired::Busy);
    }
    if agent.was_told {
        // By a hook, when it stopped or before.
        return Err(Fired::Done);
    }
    if agent.threads.is_empty() {
        // There is none before the user's first prompt, and then a hook tells.
        return Err(Fired::Later);
    }
    Ok(())
}

/// Whether this can be a thread's identifier, and no option of a command.
fn is_thread(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (8..=64).contains(&id.len()) && id.chars().all(plain) && !id.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_no_option_of_a_command() {
        for odd in ["", "-", "--message=x", "x", "a b c d e f", &"a".repeat(65)] {
            assert!(!is_thread(odd), "{odd}");
        }
        assert!(is_thread("01a2267a-8e3e-7301-ad4e-fe56114537d8"));
    }
}
