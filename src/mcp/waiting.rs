//! That an agent waits for its user, as its client answers or notes it.

use super::agent::Agent;
use crate::host;
use crate::session::SessionError;
use crate::session::notes::Notes;

/// What a source knows of an agent that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Knows {
    /// For what it waits: that it does no more is true of all.
    All,
    /// Only the questions to its user. A hook alone reports a provider that lets it wait,
    /// and ends that.
    Questions,
}

/// Says that the agent waits, or does no more, if the store knows otherwise: from this
/// program, or from a hook of the client.
pub(super) async fn say(agent: &Agent, waits: bool, knows: Knows) -> Result<(), SessionError> {
    let acting = agent.acting()?;
    let Some(notes) = Notes::of(&acting) else {
        return Ok(());
    };
    let boot = host::boot().id;
    let told = notes.told(&boot);
    let waited = match (knows, waits) {
        (Knows::Questions, false) => told.asks,
        _ => told.waits,
    };
    if waited == waits {
        return Ok(());
    }
    acting.say_waiting(&agent.bridge().await?, waits).await?;
    // Kept, it is said once more.
    let _ = notes.change(&boot, |told| {
        told.waits = waits;
        if knows == Knows::Questions {
            told.asks = waits;
        }
    });
    Ok(())
}
