//! Following mail, by either way.

use super::{Bridge, FollowError, Sink, Subscription, Way};
use crate::api::follow::{OwnDoorbell, follow};
use crate::doorbell::Mode;

impl Bridge {
    /// Hands the sessions' messages to `sink` until it has had enough.
    ///
    /// # Errors
    /// Credentials that do not hold; all conversations have ended; the store's
    /// errors; the sink's.
    pub async fn follow(&self, subscription: &Subscription, sink: Sink) -> Result<(), FollowError> {
        match &self.way {
            Way::Embedded(store) => {
                let mode = match subscription.poll {
                    true => Mode::Poll,
                    false => Mode::Events,
                };
                follow(store, &OwnDoorbell(mode), subscription, sink).await
            }
            Way::Door(client) => client.follow(subscription, sink).await,
        }
    }
}
