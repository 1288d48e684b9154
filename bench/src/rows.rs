//! The rows of the latency table, and what each has to reach.

use serde::Serialize;

use super::readers::Reader;
use super::writers::{From, Writer};

/// One path from a writer to a reader.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Its stable name.
    pub(super) name: &'static str,
    /// What people read.
    pub(super) title: &'static str,
    pub(super) writer: Writer,
    /// `synchronous=FULL`, or NORMAL.
    pub(super) full: bool,
    pub(super) reader: Reader,
    pub(super) from: From,
    /// The row that shows the least that its path can cost.
    pub(super) floor: Option<&'static str>,
    pub(super) goal: Option<Goal>,
}

/// What a row is to stay under, in microseconds, on a quiet machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Goal {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

/// Each row with a floor is to stay within this multiple of its p50.
pub(super) const TIMES_FLOOR: f64 = 2.0;

const fn row(
    name: &'static str,
    title: &'static str,
    (writer, full): (Writer, bool),
    reader: Reader,
) -> Row {
    Row {
        name,
        title,
        writer,
        full,
        reader,
        from: From::Commit,
        floor: None,
        goal: None,
    }
}

impl Row {
    const fn above(self, floor: &'static str) -> Self {
        Self {
            floor: Some(floor),
            ..self
        }
    }

    const fn since_send(self) -> Self {
        Self {
            from: From::Send,
            ..self
        }
    }

    const fn goal(self, p50: f64, p99: f64) -> Self {
        Self {
            goal: Some(Goal { p50, p99 }),
            ..self
        }
    }
}

const NORMAL: bool = false;
const FULL: bool = true;

/// All of them, as the table shows them.
pub(super) const ROWS: &[Row] = {
    use Reader::{Daemon, Floor, Poll, Watch};
    use Writer::{Foreign, ForeignKept, Ours, Ringing};
    &[
        row(
            "ours-normal",
            "our writer, NORMAL -> watch",
            (Ours, NORMAL),
            Watch,
        )
        .above("floor-bell-normal")
        .goal(150.0, 500.0),
        row(
            "ours-full",
            "our writer, FULL -> watch",
            (Ours, FULL),
            Watch,
        )
        .above("floor-bell-full")
        .goal(200.0, 500.0),
        row(
            "send-full",
            "  the same from the begin of `send`",
            (Ours, FULL),
            Watch,
        )
        .since_send(),
        row(
            "bell-normal",
            "bare writer that rings, NORMAL -> watch",
            (Ringing, NORMAL),
            Watch,
        )
        .above("floor-bell-normal"),
        row(
            "bell-full",
            "bare writer that rings, FULL -> watch",
            (Ringing, FULL),
            Watch,
        )
        .above("floor-bell-full"),
        row(
            "foreign-normal",
            "foreign writer, NORMAL -> watch",
            (Foreign, NORMAL),
            Watch,
        )
        .above("floor-foreign-normal"),
        row(
            "foreign-full",
            "foreign writer, FULL -> watch",
            (Foreign, FULL),
            Watch,
        )
        .above("floor-foreign-full")
        .goal(250.0, 1_000.0),
        row(
            "foreign-kept-full",
            "  the same, connection kept",
            (ForeignKept, FULL),
            Watch,
        )
        .above("floor-foreign-full")
        .goal(250.0, 1_000.0),
        row(
            "daemon-ours-full",
            "our writer, FULL -> daemon",
            (Ours, FULL),
            Daemon,
        ),
        row(
            "daemon-foreign-full",
            "foreign writer, FULL -> daemon",
            (Foreign, FULL),
            Daemon,
        )
        .above("floor-foreign-full"),
        row(
            "floor-bell-normal",
            "bare floor, writer that rings, NORMAL",
            (Ringing, NORMAL),
            Floor,
        ),
        row(
            "floor-bell-full",
            "bare floor, writer that rings, FULL",
            (Ringing, FULL),
            Floor,
        ),
        row(
            "floor-foreign-normal",
            "bare floor, foreign, NORMAL",
            (Foreign, NORMAL),
            Floor,
        ),
        row(
            "floor-foreign-full",
            "bare floor, foreign, FULL",
            (Foreign, FULL),
            Floor,
        ),
        row(
            "poll-100ms",
            "our writer, FULL -> polling, 100 ms",
            (Ours, FULL),
            Poll,
        ),
    ]
};

/// The row that is computed instead of waited for.
pub(super) const COMPUTED: (&str, &str) = ("poll-30s", "polling, 30 s (computed)");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_exist_and_share_their_row_s_durability() {
        for row in ROWS {
            let Some(floor) = row.floor else { continue };
            let floor = ROWS.iter().find(|other| other.name == floor);
            let floor = floor.expect(row.name);
            assert_eq!(floor.reader, Reader::Floor, "{}", row.name);
            assert_eq!(floor.full, row.full, "{}", row.name);
        }
    }
}
