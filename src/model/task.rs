//! A task: its states, the limits of its texts, and when a failed one is tried
//! again.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::wire::Word;
use super::wire::as_text;

pub use super::ids::{Fence, TaskId};

/// Longest title, in characters.
pub const MAX_TITLE: usize = 200;
/// Longest body, in characters.
pub const MAX_BODY: usize = 40_000;
/// Longest progress note, in characters.
pub const MAX_PROGRESS: usize = 4_000;
/// Longest result, in characters.
pub const MAX_RESULT: usize = 40_000;

/// Failures after which a task is dead.
pub const MAX_FAILURES: u32 = 5;
/// Pause after the first failure; it doubles with each further one.
pub const RETRY_BASE: Duration = Duration::from_secs(30);
/// Longest pause, before the jitter.
pub const RETRY_CAP: Duration = Duration::from_secs(30 * 60);
/// Further off than any pause: a task that waits for such a time waits because a
/// clock was set, and need not.
pub const RETRY_FAR: Duration = Duration::from_secs(45 * 60);
/// Share of a pause by which it is made longer or shorter, so that tasks that
/// failed together do not come back together.
const JITTER: f64 = 0.2;

/// Why a text cannot be part of a task. Never repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTask {
    /// Nothing but white space.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// Over the limit of that text.
    #[error(
        "the {what} has {count} characters, {limit} are allowed; put the rest in a file and name it"
    )]
    TooLong {
        /// Which text.
        what: &'static str,
        /// Characters that it has.
        count: usize,
        /// Characters that it may have.
        limit: usize,
    },
    /// A NUL, which no store could keep.
    #[error("the {what} contains a NUL character at byte {at}; remove it")]
    Nul {
        /// Which text.
        what: &'static str,
        /// Where.
        at: usize,
    },
    /// A title with a line break or another control character.
    #[error("the title has a line break or a control character at byte {0}; use one plain line")]
    NotALine(usize),
}

fn checked(
    what: &'static str,
    text: &str,
    limit: usize,
    may_be_empty: bool,
) -> Result<String, InvalidTask> {
    if !may_be_empty && text.trim().is_empty() {
        return Err(InvalidTask::Empty(what));
    }
    if let Some(at) = text.find('\0') {
        return Err(InvalidTask::Nul { what, at });
    }
    match text.chars().count() {
        count if count > limit => Err(InvalidTask::TooLong { what, count, limit }),
        _ => Ok(text.to_owned()),
    }
}

/// Four texts, one shape: checked when they come in, never in a log.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $word:literal, $least:literal..$most:expr, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidTask;
            fn from_str(text: &str) -> Result<Self, InvalidTask> {
                let parse: fn(&str) -> Result<String, InvalidTask> = $parse;
                parse(text).map(Self)
            }
        }

        as_text!($name, $word, "minLength": $least, "maxLength": $most);

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({} bytes)"), self.0.len())
            }
        }
    };
}

text! {
    /// One plain line that says what the task is: 1 to [`MAX_TITLE`]
    /// characters, none of them a control character.
    Title, "Title", 1..MAX_TITLE, |text| {
        let text = checked("title", text, MAX_TITLE, false)?;
        match text.find(char::is_control) {
            Some(at) => Err(InvalidTask::NotALine(at)),
            None => Ok(text),
        }
    }
}

text! {
    /// What is to be done, where the title does not say it all: up to
    /// [`MAX_BODY`] characters, or nothing.
    TaskBody, "TaskBody", 0..MAX_BODY, |text| checked("body", text, MAX_BODY, true)
}

text! {
    /// How far its owner has come, for the agent that may have to go on: 1 to
    /// [`MAX_PROGRESS`] characters.
    ProgressNote, "ProgressNote", 1..MAX_PROGRESS, |text| checked("progress note", text, MAX_PROGRESS, false)
}

text! {
    /// What came of it: up to [`MAX_RESULT`] characters, or nothing.
    TaskResult, "TaskResult", 0..MAX_RESULT, |text| checked("result", text, MAX_RESULT, true)
}

impl Default for TaskBody {
    /// The title says it all.
    fn default() -> Self {
        Self(String::new())
    }
}

/// State of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Waits for a session.
    Queued,
    /// A session has it.
    Leased,
    /// It failed and is retried after a pause.
    RetryWait,
    /// Done; its result stands.
    Done,
    /// Dead: it failed or lost its owners too often.
    Dead,
    /// The orchestrator took it back.
    Cancelled,
    /// A word of a newer program: it stands in answers alone.
    #[serde(skip_deserializing)]
    #[schemars(skip)]
    Unknown,
}

impl Word for TaskState {
    const UNKNOWN: Self = Self::Unknown;
}

impl TaskState {
    /// All states, in the order of a task's life.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Leased,
        Self::RetryWait,
        Self::Done,
        Self::Dead,
        Self::Cancelled,
    ];

    /// The word in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Leased => "leased",
            Self::RetryWait => "retry_wait",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether there is still something to be done.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Leased | Self::RetryWait)
    }

    /// What a task becomes whose owner reported its `failures`-th failure.
    #[must_use]
    pub fn after_failure(failures: u32) -> Self {
        if failures >= MAX_FAILURES {
            Self::Dead
        } else {
            Self::RetryWait
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How long a task waits after its `failures`-th failure: [`RETRY_BASE`],
/// doubling, at most [`RETRY_CAP`], and then a fifth more or less. `random` is
/// a number from 0 to 1; half of it is no jitter.
#[must_use]
pub fn retry_delay(failures: u32, random: f64) -> Duration {
    let pause = RETRY_BASE
        .saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)))
        .min(RETRY_CAP);
    let random = if random.is_nan() { 0.5 } else { random };
    pause.mul_f64(1.0 + JITTER * (2.0 * random.clamp(0.0, 1.0) - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_text_has_its_limit_in_characters_not_bytes() {
        assert!("é".repeat(MAX_TITLE).parse::<Title>().is_ok());
        assert_eq!(
            "é".repeat(MAX_TITLE + 1).parse::<Title>(),
            Err(InvalidTask::TooLong {
                what: "title",
                count: 201,
                limit: 200
            })
        );
        assert!("é".repeat(40_000).parse::<TaskBody>().is_ok());
        assert!("é".repeat(40_001).parse::<TaskBody>().is_err());
        assert!("é".repeat(4_000).parse::<ProgressNote>().is_ok());
        assert!("é".repeat(4_001).parse::<ProgressNote>().is_err());
        assert!("é".repeat(40_000).parse::<TaskResult>().is_ok());
        assert!("é".repeat(40_001).parse::<TaskResult>().is_err());
    }

    #[test]
    fn title_is_one_line_and_body_may_be_empty() {
        assert_eq!(" ".parse::<Title>(), Err(InvalidTask::Empty("title")));
        assert_eq!("a\nb".parse::<Title>(), Err(InvalidTask::NotALine(1)));
        assert!("".parse::<TaskBody>().is_ok());
        assert!("a\nb".parse::<TaskBody>().is_ok());
        assert!("\n".parse::<ProgressNote>().is_err());
        assert_eq!(
            "ab\0".parse::<TaskResult>(),
            Err(InvalidTask::Nul {
                what: "result",
                at: 2
            })
        );
    }

    #[test]
    fn a_text_does_not_appear_in_a_log() {
        let body: TaskBody = "swordfish".parse().expect("short");
        let error = "swordfish\n".parse::<Title>().expect_err("two lines");
        assert!(!format!("{body:?}{error}{error:?}").contains("swordfish"));
    }

    #[test]
    fn a_state_is_read_as_it_is_written() {
        for state in TaskState::ALL {
            assert_eq!(TaskState::from_word(state.as_str()), Some(state));
            let json = serde_json::to_value(state).expect("json");
            assert_eq!(json, state.as_str());
        }
        assert_eq!(TaskState::from_word("lost"), None);
    }

    #[test]
    fn the_fifth_failure_is_the_last() {
        assert_eq!(TaskState::after_failure(4), TaskState::RetryWait);
        assert_eq!(TaskState::after_failure(5), TaskState::Dead);
        assert_eq!(TaskState::after_failure(6), TaskState::Dead);
    }

    #[test]
    fn pauses_double_up_to_half_an_hour() {
        let seconds: Vec<u64> = (0..9).map(|n| retry_delay(n, 0.5).as_secs()).collect();
        assert_eq!(seconds, [30, 30, 60, 120, 240, 480, 960, 1800, 1800]);
    }

    proptest! {
        #[test]
        fn pause_is_within_a_fifth_of_its_step(failures: u32, random: f64) {
            let pause = retry_delay(failures, random).as_secs_f64();
            prop_assert!((24.0..=2160.0).contains(&pause), "{}", pause);
            prop_assert!(pause < RETRY_FAR.as_secs_f64());
            let middle = retry_delay(failures, 0.5).as_secs_f64();
            prop_assert!((pause / middle - 1.0).abs() <= 0.2001);
        }
    }
}
