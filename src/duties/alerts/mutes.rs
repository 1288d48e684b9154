//! What operators do not want to hear, as far as the store was heard of it: an
//! outage ends no mute.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::clock;
use crate::model::alert::AlertKind;
use crate::store::{Control, ControlKind};

/// Kinds of alerts, and until when each is muted.
#[derive(Debug, Default)]
pub(super) struct Mutes(HashMap<String, Timestamp>);

impl Mutes {
    pub(super) fn read(&mut self, controls: Vec<Control>) {
        let mutes = controls.into_iter().filter(|c| c.kind == ControlKind::Mute);
        self.0 = mutes.map(|mute| (mute.subject, mute.until)).collect();
    }

    /// Whether this kind is muted now.
    pub(super) fn hold(&self, kind: AlertKind) -> bool {
        self.0
            .get(kind.as_str())
            .is_some_and(|until| *until > clock::now())
    }
}
