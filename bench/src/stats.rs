//! Latencies: recorded in nanoseconds, reported in microseconds.

use serde::Serialize;

/// Latencies up to an hour, with three digits.
pub(super) struct Histogram(hdrhistogram::Histogram<u64>);

const LONGEST: u64 = 3_600_000_000_000;

impl Histogram {
    pub(super) fn new() -> Self {
        #[expect(clippy::expect_used, reason = "constant bounds that hold")]
        Self(hdrhistogram::Histogram::new_with_bounds(1, LONGEST, 3).expect("bounds hold"))
    }

    pub(super) fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos);
    }

    pub(super) fn len(&self) -> u64 {
        self.0.len()
    }

    /// `None` if nothing was recorded.
    pub(super) fn micros(&self) -> Option<Micros> {
        let at = |quantile| micros(self.0.value_at_quantile(quantile));
        (!self.0.is_empty()).then(|| Micros {
            mean: (self.0.mean() / 100.0).round() / 10.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: micros(self.0.max()),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "an hour has 42 bits")]
fn micros(nanos: u64) -> f64 {
    (nanos as f64 / 100.0).round() / 10.0
}

/// A distribution in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Micros {
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

/// Microseconds for people: `84 us`, `5.4 ms`, `15.0 s`.
pub(super) fn time(micros: f64) -> String {
    match micros {
        us if us < 9_999.5 => format!("{us:.0} us"),
        us if us < 999_950.0 => format!("{:.1} ms", us / 1e3),
        us => format!("{:.1} s", us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (us, text) in [
            (0.0, "0 us"),
            (84.3, "84 us"),
            (5_394.0, "5394 us"),
            (12_345.0, "12.3 ms"),
            (15_000_000.0, "15.0 s"),
        ] {
            assert_eq!(time(us), text);
        }
    }

    #[test]
    fn percentiles_are_microseconds() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.micros(), None);
        for us in 1..=100 {
            histogram.record(us * 1_000);
        }
        let micros = histogram.micros().expect("recorded");
        assert!((micros.p50 - 50.0).abs() < 0.2, "{micros:?}");
        assert!((micros.mean - 50.5).abs() < 0.2, "{micros:?}");
    }
}
