//! The time that the ends of conversations are reckoned by: the wall clock, as
//! long as it can be believed.

use jiff::Timestamp;
use tracing::{info, warn};

use super::Heartbeat;
use crate::clock;
use crate::duties::Patience;
use crate::model::wall::Wall;
use crate::store::{SharedStore, StoreError};
use crate::text;

/// How long a clock that is far ahead must go on steadily before conversations are
/// renewed by it. A machine that was off for days waits so long, too.
const TRIAL: std::time::Duration = std::time::Duration::from_secs(300);

impl Heartbeat {
    /// The time of this round. Of the first store that is open its rows are asked,
    /// before this daemon writes one of its own.
    pub(super) async fn time(
        &mut self,
        store: &SharedStore,
        patience: Patience,
    ) -> Result<Timestamp, StoreError> {
        let boot = clock::since_boot();
        let wall = match &mut self.wall {
            Some(wall) => wall,
            none => {
                let witness = patience.bounded(store.location(), store.witness()).await?;
                self.witnessed.send_replace(Some((witness, boot)));
                none.insert(Wall::new(witness.newest, boot, TRIAL))
            }
        };
        let judged = wall.judge(clock::now(), boot);
        match judged.ahead {
            Some(ahead) if !self.clock_ahead => warn!(
                event = "clock-ahead",
                "the clock of this machine jumped {} ahead; conversations are renewed by the time since boot until the clock is steady for {}",
                text::days(ahead),
                humantime::format_duration(TRIAL)
            ),
            None if self.clock_ahead => info!(
                event = "clock-believed",
                "conversations are renewed by this machine's clock again"
            ),
            _ => {}
        }
        self.clock_ahead = judged.ahead.is_some();
        Ok(judged.now)
    }
}
