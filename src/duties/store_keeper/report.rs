//! What the store keeper found, in words.

use std::time::Duration;

use crate::duties::{Figure, FigureUnit, Report, StoreCondition, StoreState};
use crate::store::StoreProbe;
use crate::store::locate::Location;

/// What the keeper found.
#[derive(Debug)]
pub struct StoreReport {
    pub(super) location: Location,
    pub(super) state: State,
    pub(super) waiting: bool,
    pub(super) answers: bool,
    pub(super) was_open: bool,
    /// How it answered in this round, if it did.
    pub(super) probe: Option<StoreProbe>,
}

#[derive(Debug)]
pub(super) enum State {
    /// Answers in so much time.
    Well(Duration),
    /// It is being brought to this schema.
    Migrating(i64),
    /// Cannot be used; what to do stands below.
    Trouble(String),
}

impl Report for StoreReport {
    fn summary(&self) -> String {
        let path = self.location.path().display();
        match &self.state {
            State::Well(took) => format!("store ok (sqlite, {:.1} ms)", took.as_secs_f64() * 1e3),
            State::Migrating(schema) => format!("upgrading the store {path} to schema {schema}"),
            State::Trouble(_) if self.waiting => format!("waiting for the store {path}"),
            State::Trouble(why) => why.lines().next().unwrap_or_default().to_owned(),
        }
    }

    fn trouble(&self) -> Option<String> {
        match &self.state {
            State::Trouble(why) => Some(why.clone()),
            State::Well(_) | State::Migrating(_) => None,
        }
    }

    fn store(&self) -> Option<StoreState> {
        let condition = match &self.state {
            State::Well(_) => StoreCondition::Well,
            State::Migrating(_) => StoreCondition::Migrating,
            State::Trouble(_) if self.answers => StoreCondition::NotWritable,
            State::Trouble(_) => StoreCondition::NotUsable,
        };
        let trouble = match &self.state {
            State::Trouble(why) => why.lines().next().map(str::to_owned),
            State::Migrating(_) => Some(self.summary()),
            State::Well(_) => None,
        };
        Some(StoreState {
            path: self.location.path().to_owned(),
            condition,
            trouble,
            was_open: self.was_open,
        })
    }

    fn figures(&self) -> Vec<Figure> {
        let Some(probe) = &self.probe else {
            return Vec::new();
        };
        let took = u64::try_from(probe.took.as_micros()).unwrap_or(u64::MAX);
        vec![
            Figure::gauge("probe_time", took).in_unit(FigureUnit::Microseconds),
            Figure::gauge("log_size", probe.log_bytes).in_unit(FigureUnit::Bytes),
        ]
    }

    fn already_told(&self) -> bool {
        true
    }
}
