//! The lease of the lead.

use super::MemoryRows;
use crate::store::rows::LeaderRows;
use crate::store::{Leader, Result};

impl LeaderRows for MemoryRows {
    fn acts(&mut self, leader: &Leader) -> Result<std::result::Result<(), i64>> {
        let acting = self.at()?.leader.as_ref();
        Ok(match acting {
            Some(acting) if acting == leader => Ok(()),
            other => Err(other.map_or(0, |acting| acting.epoch)),
        })
    }
}
