//! Time as the shared tables write it: naive UTC, ISO 8601, microseconds.
//!
//! The Python bridge reads these columns with `datetime.fromisoformat` and
//! compares them with a naive `utcnow()`; a `Z` or an offset would break it.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// `2025-11-13T16:02:45.123456`, always with six digits after the point, so
/// that texts sort like the times they name.
#[must_use]
pub fn to_text(at: Timestamp) -> String {
    TimeZone::UTC
        .to_datetime(at)
        .strftime("%Y-%m-%dT%H:%M:%S%.6f")
        .to_string()
}

/// Reads each form that the other side may have written: no microseconds, a space for
/// the `T`, and also an offset or a `Z`.
#[must_use]
pub fn from_text(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let naive: DateTime = text.parse().ok()?;
    match TimeZone::UTC.to_timestamp(naive) {
        Ok(at) => Some(at),
        // Python's `datetime.max`, which means never, is later than the last time
        // that we can say.
        Err(_) if naive.year() > 0 => Some(Timestamp::MAX),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_python_reads() {
        let at = Timestamp::from_microsecond(1_763_049_765_000_000).expect("in range");
        assert_eq!(to_text(at), "2025-11-13T16:02:45.000000");
    }

    #[test]
    fn reads_what_python_or_a_script_wrote() {
        let expected = Timestamp::from_second(1_763_049_765).ok();
        for text in [
            "2025-11-13T16:02:45",
            "2025-11-13T16:02:45.000000",
            "2025-11-13 16:02:45",
            "2025-11-13T16:02:45Z",
            "2025-11-13T17:02:45+01:00",
        ] {
            assert_eq!(from_text(text), expected, "{text}");
        }
        let never = from_text("9999-12-31T23:59:59.999999");
        assert_eq!(never, Some(Timestamp::MAX));
        assert_eq!(from_text("yesterday"), None);
        assert_eq!(from_text(""), None);
    }

    proptest::proptest! {
        #[test]
        fn survives_the_round_trip(micros in -62_135_596_800_000_000_i64..253_402_207_200_000_000) {
            let at = Timestamp::from_microsecond(micros).expect("in range");
            proptest::prop_assert_eq!(from_text(&to_text(at)), Some(at));
        }
    }
}
