//! The figures of the duties, kept from round to round.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::duties::{Figure, FigureKind, FigureUnit};

/// One figure in the state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FigureState {
    /// Whose it is.
    pub duty: String,
    /// Which one.
    pub name: String,
    /// A counter since the daemon began, or a gauge of the last round.
    pub kind: FigureKind,
    /// What is counted.
    pub unit: FigureUnit,
    /// The number.
    pub value: u64,
}

/// What is kept of one duty's figures.
#[derive(Debug, Default)]
pub(super) struct KeptFigures(BTreeMap<&'static str, Figure>);

impl KeptFigures {
    /// Takes those of a round: counters are added, gauges replaced. A gauge that the
    /// round could not tell is unknown now.
    pub(super) fn take(&mut self, round: Vec<Figure>) {
        self.0
            .retain(|_, figure| figure.kind == FigureKind::Counter);
        for mut figure in round {
            if figure.kind == FigureKind::Counter
                && let Some(before) = self.0.get(figure.name)
            {
                figure.value = figure.value.saturating_add(before.value);
            }
            self.0.insert(figure.name, figure);
        }
    }

    /// For the state file.
    pub(super) fn states(&self, duty: &str) -> impl Iterator<Item = FigureState> {
        self.0.values().map(move |figure| FigureState {
            duty: duty.to_owned(),
            name: figure.name.to_owned(),
            kind: figure.kind,
            unit: figure.unit,
            value: figure.value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(kept: &KeptFigures) -> Vec<(String, u64)> {
        let states = kept.states("one");
        states.map(|figure| (figure.name, figure.value)).collect()
    }

    #[test]
    fn counters_grow_and_gauges_are_the_last_round_s() {
        let mut kept = KeptFigures::default();
        let round = |more, now| vec![Figure::gauge("open", now), Figure::counter("done", more)];
        kept.take(round(2, 7));
        kept.take(round(0, 7));
        kept.take(round(3, 1));
        assert_eq!(values(&kept), [("done".into(), 5), ("open".into(), 1)]);
        kept.take(Vec::new());
        assert_eq!(values(&kept), [("done".into(), 5)], "not known any more");
        kept.take(round(u64::MAX, 2));
        assert_eq!(values(&kept)[0].1, u64::MAX);
    }
}
