//! What a helper of the agent does: that is the agent's activity, and does not concern
//! its turn. A helper in the background works on when the agent's turn is over, and the
//! agent can be woken meanwhile.

use super::plan::Plan;
use super::saying::{ACTIVITY_EVERY_MS, say_waiting};
use crate::session::notes::AgentNote;
use crate::session::{Access, Acting};

/// Writes into the store that the agent acts by a helper, if that is not known from a
/// moment ago. Returns whether it wrote.
pub(super) async fn acts(
    access: &Access,
    acting: &Acting,
    plan: Plan,
    told: &AgentNote,
    now: u64,
) -> anyhow::Result<bool> {
    let is_known = now.saturating_sub(told.helped_at) < ACTIVITY_EVERY_MS;
    if is_known && plan.waits == told.waits {
        return Ok(false);
    }
    let bridge = access.open().await?;
    for caller in acting.callers() {
        bridge.touch(&caller).await?;
    }
    say_waiting(&bridge, acting, plan.waits, told).await?;
    Ok(true)
}
