//! Following mail, by either way.

use super::{Bridge, FollowError, Sink, Subscription, Way};
use crate::api::follow::{AtOnce, OwnDoorbell, follow};
use crate::doorbell::Mode;
use crate::model::door::DoorError;
use crate::store::sqlite::Create;
use crate::store::{SharedStore, StoreError, locate};

impl Bridge {
    /// Hands the sessions' messages to `sink` until it has had enough. A daemon that
    /// stays away is done without, where this user may open its store's file.
    ///
    /// # Errors
    /// Credentials that do not hold; all conversations have ended; the store's
    /// errors; the sink's.
    pub async fn follow(&self, subscription: &Subscription, sink: Sink) -> Result<(), FollowError> {
        let client = match &self.way {
            Way::Embedded(store) => return embedded(store, subscription, sink).await,
            Way::Door(client) => client,
        };
        let (mut begin, mut sink) = (subscription.begin.clone(), sink);
        let ended = client.follow(subscription, &mut begin, &mut sink).await;
        match (&ended, &self.file) {
            (Err(FollowError::Store(error)), Some(file)) if is_away(error) => {
                let store = locate::open(file, Create::Look).await?;
                let callers = subscription.callers.clone();
                let rest = Subscription {
                    callers,
                    begin,
                    ..*subscription
                };
                let ended = embedded(&store, &rest, sink).await;
                store.close().await;
                ended
            }
            _ => ended,
        }
    }
}

async fn embedded(
    store: &SharedStore,
    subscription: &Subscription,
    sink: Sink,
) -> Result<(), FollowError> {
    let mode = match subscription.poll {
        true => Mode::Poll,
        false => Mode::Events,
    };
    follow(store, &OwnDoorbell(mode), subscription, &AtOnce, sink).await
}

/// Whether the daemon is not there any more, or has no store.
fn is_away(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Door(
            DoorError::Unreachable(..) | DoorError::NoStore(_) | DoorError::Cut { .. }
        )
    )
}
