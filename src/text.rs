//! Times, durations and sizes as people read them.

pub mod near;
pub mod shown;

use std::time::Duration;

use jiff::Timestamp;

/// A word of a command, as a shell reads it.
#[must_use]
pub fn for_shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:+@%".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// `12 seconds`, `3 minutes`, `2 hours`, `4 days`: one unit, rounded down.
#[must_use]
pub fn long_duration(duration: Duration) -> String {
    let (count, unit) = split(duration);
    let unit = match unit {
        's' => "second",
        'm' => "minute",
        'h' => "hour",
        _ => "day",
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// `12s`, `3m`, `2h`, `4d`.
#[must_use]
pub fn short_duration(duration: Duration) -> String {
    let (count, unit) = split(duration);
    format!("{count}{unit}")
}

fn split(duration: Duration) -> (u64, char) {
    match duration.as_secs() {
        seconds @ 0..60 => (seconds, 's'),
        seconds @ 60..3_600 => (seconds / 60, 'm'),
        seconds @ 3_600..172_800 => (seconds / 3_600, 'h'),
        seconds => (seconds / 86_400, 'd'),
    }
}

/// Time that is left: `2h 59m`, for nothing is gained by calling that 2h.
#[must_use]
pub fn left(until: Timestamp, now: Timestamp) -> String {
    let seconds = elapsed(now, until).as_secs();
    // To the nearest second, minute, hour.
    match seconds {
        0..3_600 => short_duration(Duration::from_secs(seconds)),
        3_600..172_800 => {
            let minutes = (seconds + 30) / 60;
            match minutes % 60 {
                0 => format!("{}h", minutes / 60),
                rest => format!("{}h {rest}m", minutes / 60),
            }
        }
        _ => format!("{}d", (seconds + 43_200) / 86_400),
    }
}

/// `in 2h 59m`, `3m ago`.
#[must_use]
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    if at > now {
        format!("in {}", left(at, now))
    } else {
        format!("{} ago", short_duration(elapsed(at, now)))
    }
}

/// How long ago `then` was, in the long form; the future is `0 seconds` ago.
#[must_use]
pub fn age(then: Timestamp, now: Timestamp) -> String {
    long_duration(elapsed(then, now))
}

/// Time from `then` to `now`; zero if `then` lies ahead.
#[must_use]
pub fn elapsed(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or(Duration::ZERO)
}

/// `1 session`, `2 sessions`.
#[must_use]
pub fn count(number: impl Into<u64>, noun: &str) -> String {
    let number = number.into();
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// `512 B`, `1.5 KiB`, `96.1 MiB`, `2.0 GiB`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "for people, two digits")]
pub fn bytes(bytes: u64) -> String {
    const KIBI: u64 = 1_024;
    let (unit, name) = match bytes {
        0..KIBI => return format!("{bytes} B"),
        KIBI..0x10_0000 => (KIBI, "KiB"),
        0x10_0000..0x4000_0000 => (KIBI * KIBI, "MiB"),
        _ => (KIBI * KIBI * KIBI, "GiB"),
    };
    format!("{:.1} {name}", bytes as f64 / unit as f64)
}

/// A millisecond value for a column or a JSON field; saturates after 292
/// million years.
#[must_use]
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A long time as people say it: in days, or in hours below two days.
#[must_use]
pub fn days(time: jiff::SignedDuration) -> String {
    match time.as_hours() {
        hours @ ..48 => count(hours.unsigned_abs(), "hour"),
        hours => count((hours / 24).unsigned_abs(), "day"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_word_as_it_was() {
        assert_eq!(for_shell("/usr/bin/mcp-bridge"), "/usr/bin/mcp-bridge");
        assert_eq!(for_shell("/a b/it's"), "'/a b/it'\\''s'");
        assert_eq!(for_shell(""), "''");
    }

    #[test]
    fn reads_naturally() {
        for (seconds, long, short) in [
            (0, "0 seconds", "0s"),
            (1, "1 second", "1s"),
            (59, "59 seconds", "59s"),
            (60, "1 minute", "1m"),
            (7_200, "2 hours", "2h"),
            (172_800, "2 days", "2d"),
        ] {
            let duration = Duration::from_secs(seconds);
            assert_eq!(long_duration(duration), long);
            assert_eq!(short_duration(duration), short);
        }
        assert_eq!(count(1_u64, "session"), "1 session");
        assert_eq!(
            [0, 1_023, 1_536, 0x60_0000, 0x8000_0000].map(bytes),
            ["0 B", "1023 B", "1.5 KiB", "6.0 MiB", "2.0 GiB"]
        );
    }
}
