//! Which daemons there are, or should be.

use std::path::PathBuf;

use super::configs::{directories, is_enabled, load};
use super::{Heard, daemons, own};
use crate::store::locate::Location;

/// A daemon that runs, died or should run on this machine.
pub(in crate::cli) struct Expected {
    pub(in crate::cli) instance: String,
    /// Whether it serves another store than this user's commands use.
    pub(in crate::cli) other: bool,
    /// What it says, or said last.
    pub(in crate::cli) heard: Option<Heard>,
}

/// The daemons of these configurations, or of all that this machine and this
/// user have, without a look at anything else. `own` is the store that this command
/// uses.
pub(in crate::cli) fn expected(named: &[PathBuf], own: &Location) -> Vec<Expected> {
    let loaded = load(named, &directories());
    let daemons = daemons::daemons(&loaded, named.is_empty());
    let own = own::Own::of(own, !named.is_empty());
    let mut all: Vec<Expected> = daemons
        .iter()
        .map(|daemon| Expected {
            instance: daemon.instance.clone(),
            other: own
                .other(
                    daemon.home,
                    own::store_of_daemon(daemon, &loaded).as_deref(),
                )
                .is_some(),
            heard: Some(Heard {
                instance: daemon.instance.clone(),
                state: daemon.state.clone(),
                runs: daemon.runs,
            }),
        })
        .collect();
    for one in &loaded {
        let known = daemons
            .iter()
            .any(|daemon| (&daemon.instance, daemon.home) == (&one.instance, one.home));
        if !known && (!named.is_empty() || is_enabled(one.home, &one.instance)) {
            all.push(Expected {
                instance: one.instance.clone(),
                other: own
                    .other(one.home, own::store_of(one, &daemons).as_deref())
                    .is_some(),
                heard: None,
            });
        }
    }
    all
}
