//! That an agent waits for its user, as its client answers when it is asked.

use crate::bridge::Bridge;
use crate::host;
use crate::session::notes::Notes;
use crate::session::{Acting, SessionError};

/// Says that the agent waits, or does no more, if the store knows otherwise: from this
/// program, or from a hook of the client.
pub(super) async fn say(bridge: &Bridge, acting: &Acting, waits: bool) -> Result<(), SessionError> {
    let Some(notes) = Notes::of(acting) else {
        return Ok(());
    };
    let boot = host::boot().id;
    if notes.told(&boot).waits == waits {
        return Ok(());
    }
    acting.say_waiting(bridge, waits).await?;
    // Kept, it is said once more.
    let _ = notes.change(&boot, |told| told.waits = waits);
    Ok(())
}
