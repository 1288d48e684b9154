//! `[wake]`, and the keys of `[session.wake]` over it.

use std::time::Duration;

use super::adapters::{AdapterSettings, RawWake};
use crate::setting::Value::{self, Order, Text};
use crate::setting::{Findings, Key, Limits, Section, hours, key, limits, millis, mins, secs};

const VERIFY_WITHIN: Limits = limits(secs(15), millis(100), mins(10));
const BACKOFF: Limits = limits(secs(30), millis(100), hours(1));
const BACKOFF_MAX: Limits = limits(mins(15), millis(100), hours(24));

/// Any agent with a shell can do this. An agent that has tools instead gets another
/// text.
const TEXT: &str = "Run: mcp-bridge check";
/// It may be typed into a terminal.
const TEXT_MOST: usize = 200;

/// How an agent is made to look.
#[derive(Debug, Clone, PartialEq)]
pub struct WakeSettings {
    /// In the order in which they are tried; without any, no agent is woken.
    pub adapters: Vec<AdapterSettings>,
    /// What the agent is asked to do, on one line.
    pub text: String,
    /// How long the agent has to fetch, 100 ms to 10 min.
    pub verify_within: Duration,
    /// Before the second try, 100 ms to 1 h.
    pub backoff: Duration,
    /// The longest wait between two tries, up to 24 h and never below `backoff`.
    pub backoff_max: Duration,
}

/// The keys of `[wake]`, those of the adapters last.
pub(crate) fn keys() -> impl Iterator<Item = &'static Key> {
    const COMMON: &[Key] = &[
        key(
            "wake.order",
            Order(AdapterSettings::NAMES),
            "adapters that wake an idle agent, in this order; without one, no agent is woken",
        )
        .such_as(r#"["exec", "file"]"#),
        key(
            "wake.text",
            Text(TEXT),
            "what the wake asks the agent to do; the example is for an agent with the Python bridge's tools",
        )
        .such_as(r#""Call check_messages.""#),
        key(
            "wake.verify_within",
            Value::Duration(VERIFY_WITHIN),
            "time for the agent to fetch, before the next adapter is tried",
        ),
        key(
            "wake.backoff",
            Value::Duration(BACKOFF),
            "pause after all adapters failed; doubles",
        ),
        key(
            "wake.backoff_max",
            Value::Duration(BACKOFF_MAX),
            "longest pause, and how long an agent that does other work is not woken; never below `wake.backoff`",
        ),
    ];
    COMMON.iter().chain(AdapterSettings::keys())
}

/// Defaults and limits.
pub(crate) fn settings(table: &Section<'_, RawWake>, found: &mut Findings) -> WakeSettings {
    let all = AdapterSettings::all(table, found);
    let verify_within = table.duration(found, "verify_within", VERIFY_WITHIN, |raw| {
        raw.verify_within
    });
    let before = found.count();
    let backoff = table.duration(found, "backoff", BACKOFF, |raw| raw.backoff);
    let backoff_max = table.duration(found, "backoff_max", BACKOFF_MAX, |raw| raw.backoff_max);
    if found.count() == before && backoff_max < backoff {
        let (max, max_at) = table.pick("backoff_max", |raw| raw.backoff_max);
        let (_, backoff_at) = table.pick("backoff", |raw| raw.backoff);
        // The key that the operator wrote; of two, the one nearer to the session.
        let nearer = max.is_some() && (max_at.session.is_some() || backoff_at.session.is_none());
        let [backoff, max] = [backoff, backoff_max].map(humantime::format_duration);
        found.invalid(
            if nearer { max_at } else { backoff_at },
            format!("backoff_max ({max}) must not be below backoff ({backoff}); raise backoff_max"),
        );
    }
    let (order, at) = table.pick("order", |raw| raw.order.as_deref());
    WakeSettings {
        adapters: found.adapters(&at, order.unwrap_or_default(), &all),
        text: text(table, found),
        verify_within,
        backoff,
        backoff_max,
    }
}

fn text(table: &Section<'_, RawWake>, found: &mut Findings) -> String {
    let (text, at) = table.pick("text", |raw| raw.text.as_deref());
    let text = text.map_or(TEXT, str::trim);
    if text.is_empty() {
        found.invalid(
            at,
            "is empty; write what the agent must do to read its messages",
        );
    } else if text.chars().count() > TEXT_MOST || text.chars().any(char::is_control) {
        found.invalid(
            at,
            format!("is one line of at most {TEXT_MOST} printable characters; shorten it"),
        );
    }
    text.to_owned()
}
