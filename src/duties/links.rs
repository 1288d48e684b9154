//! How the duties hear of each other: the store that the keeper opened, and the
//! leader that leadership knows.

use tokio::sync::watch;

use crate::store::{Leader, SharedStore};

/// The store as the other duties see it: there, or waited for.
pub type StoreLink = watch::Receiver<Option<SharedStore>>;

/// Who acts, if it is this daemon.
pub type LeaderLink = watch::Receiver<Option<Leader>>;
