//! `[alert]`.

use humantime::format_duration;

use super::alert_settings::{AlertAdapterSettings, AlertSettings, WebhookAddress, WebhookSettings};
use super::raw::{RawAlert, RawAlertExec, RawWebhook};
use super::wake::{EXEC_TIMEOUT, OUTPUT_LIMIT};
use super::webhook_url::WebhookUrl;
use crate::setting::{
    CredentialsDirs, ExecSettings, Findings, Limits, Origins, Range, days, hours, limits, millis,
    mins, range, secs,
};

pub(super) const REMIND_AFTER: Limits = limits(hours(1), secs(10), days(7));
pub(super) const REMIND_MAX: Limits = limits(days(1), secs(10), days(30));
pub(super) const NO_LEADER_AFTER: Limits = limits(secs(60), secs(1), hours(1));
pub(super) const TIMEOUT: Limits = limits(secs(10), millis(100), secs(60));
pub(super) const TRIES: Range = range(5, 1, 20);
pub(super) const BACKOFF: Limits = limits(secs(2), millis(100), mins(10));

pub(super) fn alert(
    found: &mut Findings,
    raw: &RawAlert,
    origins: &Origins,
    dirs: &CredentialsDirs,
) -> AlertSettings {
    let place = |key: &str| origins.place(&format!("alert.{key}"));
    let exec = exec(found, &raw.exec, origins);
    let webhook = webhook(found, &raw.webhook, origins, dirs);
    let known = [
        (
            "exec",
            exec.map(AlertAdapterSettings::Exec),
            r#"add [alert.exec] with command = ["/usr/local/bin/page-me"]"#,
        ),
        (
            "webhook",
            webhook.map(AlertAdapterSettings::Webhook),
            r#"add [alert.webhook] with url_file = "webhook.url" or url = "https://host/path""#,
        ),
    ];
    let order = raw.order.as_deref().unwrap_or_default();
    let before = found.count();
    let settings = AlertSettings {
        adapters: found.adapters(&place("order"), order, &known),
        remind_after: found.duration(|| place("remind_after"), raw.remind_after, REMIND_AFTER),
        remind_max: found.duration(|| place("remind_max"), raw.remind_max, REMIND_MAX),
        no_leader_after: found.duration(
            || place("no_leader_after"),
            raw.no_leader_after,
            NO_LEADER_AFTER,
        ),
    };
    if found.count() == before && settings.remind_max < settings.remind_after {
        let key = match raw.remind_max {
            Some(_) => "remind_max",
            None => "remind_after",
        };
        let [after, max] = [settings.remind_after, settings.remind_max].map(format_duration);
        found.invalid(
            place(key),
            format!(
                "remind_max ({max}) must not be below remind_after ({after}); raise remind_max"
            ),
        );
    }
    settings
}

fn exec(found: &mut Findings, raw: &RawAlertExec, origins: &Origins) -> Option<ExecSettings> {
    let place = |key: &str| origins.place(&format!("alert.exec.{key}"));
    let timeout = found.duration(|| place("timeout"), raw.timeout, EXEC_TIMEOUT);
    Some(ExecSettings {
        command: found.command(|| place("command"), raw.command.as_deref()?),
        timeout,
        output_limit: OUTPUT_LIMIT,
    })
}

fn webhook(
    found: &mut Findings,
    raw: &RawWebhook,
    origins: &Origins,
    dirs: &CredentialsDirs,
) -> Option<WebhookSettings> {
    let place = |key: &str| origins.place(&format!("alert.webhook.{key}"));
    let timeout = found.duration(|| place("timeout"), raw.timeout, TIMEOUT);
    let tries = found.number(|| place("tries"), raw.tries, TRIES);
    let backoff = found.duration(|| place("backoff"), raw.backoff, BACKOFF);
    let mut not_handed_over = Vec::new();
    let mut file = |key: &str, name: Option<&str>| match name {
        Some("") => {
            found.invalid(place(key), "is empty; name a file, or take the key out");
            None
        }
        name => name.map(|name| {
            let path = dirs.resolve(name);
            if dirs.not_handed_over(name, &path) {
                not_handed_over.push(path.clone());
            }
            path
        }),
    };
    let secret_file = file("secret_file", raw.secret_file.as_deref());
    let url_file = file("url_file", raw.url_file.as_deref());
    let address = match (raw.url.as_deref(), url_file) {
        (None, None) => return None,
        (Some(_), Some(_)) => {
            found.invalid(
                place("url"),
                "`url` and `url_file` at once; keep one of them",
            );
            return None;
        }
        (None, Some(path)) => WebhookAddress::File(path),
        // What is wrong with it is said without it: it may hold a key.
        (Some(url), None) => match url.parse::<WebhookUrl>() {
            Ok(url) => WebhookAddress::Url(url),
            Err(why) => {
                found.invalid(place("url"), why.to_string());
                return None;
            }
        },
    };
    Some(WebhookSettings {
        address,
        secret_file,
        not_handed_over,
        timeout,
        tries,
        backoff,
    })
}
