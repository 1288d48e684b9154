//! The operations on rows; a file for each trait of the interface.

mod alerts;
mod audit;
mod controls;
mod conversations;
mod daemons;
mod heartbeats;
mod histories;
mod leader;
mod messages;
mod notices;
mod prune;
mod registrations;
mod reports;
mod seen;
mod sessions;
mod settings;
mod signal;
mod standings;
mod tasks;
mod times;
mod upkeep;
mod waiting;
mod wakes;

use crate::model::StoreName;

use super::tables::{NAME, Tables};
use super::{Step, Troubles};
use crate::store::rows::Rows;
use crate::store::{Result, StoreError};

pub(super) struct MemoryRows {
    tables: Tables,
    troubles: Option<Troubles>,
    over: bool,
}

impl MemoryRows {
    pub(super) fn new(tables: Tables, troubles: Troubles) -> Self {
        Self {
            tables,
            troubles: Some(troubles),
            over: false,
        }
    }

    /// Of a transaction that is over.
    pub(super) fn over() -> Self {
        Self {
            tables: Tables::default(),
            troubles: None,
            over: true,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn tables(&mut self) -> &mut Tables {
        &mut self.tables
    }

    /// The tables, unless this operation is to fail.
    fn at(&mut self) -> Result<&mut Tables> {
        if self.over {
            return Err(StoreError::Io(
                NAME.clone(),
                "the transaction is over".into(),
            ));
        }
        let trouble = self
            .troubles
            .as_ref()
            .and_then(|troubles| troubles(Step::Row));
        if let Some(trouble) = trouble {
            self.over = true;
            return Err(trouble.fail());
        }
        Ok(&mut self.tables)
    }
}

impl Rows for MemoryRows {
    fn store(&self) -> &StoreName {
        &NAME
    }

    fn hold_view(&mut self) -> Result<()> {
        // Its work begins with a copy of what was committed.
        Ok(())
    }
}
