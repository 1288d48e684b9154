//! `[alert]`: where alerts go, in either role.

use std::time::Duration;

use humantime::format_duration;

use super::adapters::{AlertAdapterSettings, RawAlert};
use crate::setting::KeyRole::Worker;
use crate::setting::Value::{self, Order};
use crate::setting::{Findings, Key, Limits, Section, days, hours, key, limits, secs};

const REMIND_AFTER: Limits = limits(hours(1), secs(10), days(7));
const REMIND_MAX: Limits = limits(days(1), secs(10), days(30));
const NO_LEADER_AFTER: Limits = limits(secs(60), secs(1), hours(1));

/// `[alert]`. Alerts go to the journal, or to the log in its place, in any case.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertSettings {
    /// Further adapters; all of them are sent to at once.
    pub adapters: Vec<AlertAdapterSettings>,
    /// From an alert to its first reminder, 10 s to 7 d.
    pub remind_after: Duration,
    /// The longest time between two reminders, up to 30 d and never below `remind_after`.
    pub remind_max: Duration,
    /// How long a worker sees no acting leader before it alerts, 1 s to 1 h. Of
    /// no meaning to an orchestrator.
    pub no_leader_after: Duration,
}

/// The keys of `[alert]`, those of the adapters last.
pub(crate) fn keys() -> impl Iterator<Item = &'static Key> {
    const COMMON: &[Key] = &[
        key(
            "alert.order",
            Order(AlertAdapterSettings::NAMES),
            "adapters that get each alert, besides the journal",
        )
        .such_as(r#"["webhook", "exec"]"#),
        key(
            "alert.remind_after",
            Value::Duration(REMIND_AFTER),
            "time from an alert to its first reminder",
        ),
        key(
            "alert.remind_max",
            Value::Duration(REMIND_MAX),
            "longest time between two reminders; the time doubles up to it; never below `alert.remind_after`",
        ),
        key(
            "alert.no_leader_after",
            Value::Duration(NO_LEADER_AFTER),
            "time without an active orchestrator before this alert is raised",
        )
        .of(Worker),
    ];
    COMMON.iter().chain(AlertAdapterSettings::keys())
}

/// Defaults and limits.
pub(crate) fn settings(table: &Section<'_, RawAlert>, found: &mut Findings) -> AlertSettings {
    let all = AlertAdapterSettings::all(table, found);
    let before = found.count();
    let (order, at) = table.pick("order", |raw| raw.order.as_deref());
    let settings = AlertSettings {
        adapters: found.adapters(&at, order.unwrap_or_default(), &all),
        remind_after: table.duration(found, "remind_after", REMIND_AFTER, |raw| raw.remind_after),
        remind_max: table.duration(found, "remind_max", REMIND_MAX, |raw| raw.remind_max),
        no_leader_after: table.duration(found, "no_leader_after", NO_LEADER_AFTER, |raw| {
            raw.no_leader_after
        }),
    };
    if found.count() == before && settings.remind_max < settings.remind_after {
        let (max, max_at) = table.pick("remind_max", |raw| raw.remind_max);
        let (_, after_at) = table.pick("remind_after", |raw| raw.remind_after);
        let [after, most] = [settings.remind_after, settings.remind_max].map(format_duration);
        found.invalid(
            if max.is_some() { max_at } else { after_at },
            format!(
                "remind_max ({most}) must not be below remind_after ({after}); raise remind_max"
            ),
        );
    }
    settings
}
