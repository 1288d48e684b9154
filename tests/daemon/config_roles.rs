//! What a configuration says about the two roles and about alerts, right and
//! wrong.

use std::time::Duration;

use crate::common::etc::{
    Etc, agents, orchestrator, orchestrator_says, says, secs, without_adapters, worker_says,
};
use insta::assert_snapshot;
use mcp_bridge::config::{
    AlertAdapterSettings, ExecSettings, MatchRole, WebhookAddress, WebhookSettings,
};

#[test]
fn the_defaults_of_an_orchestrator() {
    let etc = Etc::worker("role = \"orchestrator\"");
    let settings = etc.settings(&[]);
    let worker = Etc::worker("role = \"worker\"").settings(&[]);
    assert_eq!(settings.agents, worker.agents);
    assert_eq!(settings.alert, worker.alert);
    assert_snapshot!(format!("{:#?}", settings.role), @r#"
    Orchestrator(
        OrchestratorSettings {
            watchdog: WatchdogSettings {
                check_interval: 1s,
                default_ttl: 300s,
                idle_after: 60s,
                stalled_after: 120s,
                revoke_after: 300s,
                starting_for: 120s,
                correlated_hosts: 3,
                correlated_percent: 55,
                correlated_hold: 300s,
                leader_ttl: 10s,
            },
            reassignment: ReassignmentSettings {
                capacity: 1,
                match_role: Same,
                moves_per_second: 50,
                max_losses: 3,
                losses_within: 259200s,
            },
            housekeeping: HousekeepingSettings {
                interval: 3600s,
                keep_messages: 2592000s,
                keep_audit: 7776000s,
                keep_tasks: 2592000s,
                keep_alerts: 2592000s,
            },
        },
    )
    "#);
}

#[test]
fn keys_of_the_other_role() {
    assert_snapshot!(worker_says("[watchdog]\nidle_after = \"1m\"\n[housekeeping]\n"), @r#"
    <dir>/worker.toml: watchdog: belongs to the role `orchestrator`; remove it, or write role = "orchestrator"
    <dir>/worker.toml: housekeeping: belongs to the role `orchestrator`; remove it, or write role = "orchestrator"
    "#);
    assert_snapshot!(orchestrator_says("[alert]\nno_leader_after = \"1m\""), @r#"<dir>/worker.toml: alert.no_leader_after: belongs to the role `worker`; remove it, or write role = "worker""#);
    let etc = Etc::worker("role = \"worker\"");
    assert_snapshot!(etc.says(&[("MCP_BRIDGE__REASSIGNMENT__CAPACITY", "2")]), @r#"MCP_BRIDGE__REASSIGNMENT__CAPACITY: reassignment: belongs to the role `orchestrator`; remove it, or write role = "orchestrator""#);
    // Which role is meant is open: only that is said.
    assert_snapshot!(says("[watchdog]\nidle_after = \"1m\""), @r#"<dir>/worker.toml: role: missing; write role = "worker" or role = "orchestrator" above the first table"#);
}

#[test]
fn a_watchdog() {
    let says = |keys: &str| orchestrator_says(&format!("[watchdog]\n{keys}"));
    assert_snapshot!(says("check_intervall = \"1s\""), @"<dir>/worker.toml: watchdog.check_intervall: unknown key; did you mean `check_interval`?");
    assert_snapshot!(says("check_interval = \"11s\"\ndefault_ttl = \"0s\"\ncorrelated_hosts = 0\ncorrelated_percent = 101\ncorrelated_hold = \"25h\"\nleader_ttl = \"61s\""), @r#"
        <dir>/worker.toml: watchdog.check_interval: 11s is out of range; choose from 100ms to 10s
        <dir>/worker.toml: watchdog.default_ttl: 0s is out of range; choose from 1s to 1day
        <dir>/worker.toml: watchdog.correlated_hold: 1day 1h is out of range; choose from 0s to 1day
        <dir>/worker.toml: watchdog.leader_ttl: 1m 1s is out of range; choose from 1s to 1m
        <dir>/worker.toml: watchdog.correlated_hosts: 0 is out of range; choose from 1 to 10000
        <dir>/worker.toml: watchdog.correlated_percent: 101 is out of range; choose from 1 to 100
        "#);
    assert_snapshot!(says("stalled_after = \"30s\""), @"<dir>/worker.toml: watchdog.stalled_after: stalled_after (30s) must not be below idle_after (1m); raise stalled_after");
    assert_snapshot!(says("idle_after = \"3m\""), @"<dir>/worker.toml: watchdog.idle_after: stalled_after (2m) must not be below idle_after (3m); raise stalled_after");
    assert_snapshot!(says("leader_ttl = \"2s\""), @"<dir>/worker.toml: watchdog.leader_ttl: leader_ttl (2s) must be at least 3 x check_interval (1s); raise it to 3s");
    assert_snapshot!(says("check_interval = \"4s\""), @"<dir>/worker.toml: watchdog.check_interval: leader_ttl (10s) must be at least 3 x check_interval (4s); raise it to 12s");
}

#[test]
fn a_reassignment_and_housekeeping() {
    assert_snapshot!(orchestrator_says("[reassignment]\ncapacity = 0\nmatch_role = \"smae\"\nmoves_per_second = -1\nmax_losses = 5000000000\nlosses_within = \"1s\""), @r#"
        <dir>/worker.toml: reassignment.capacity: 0 is out of range; choose from 1 to 100
        <dir>/worker.toml: reassignment.match_role: unknown value "smae"; did you mean `same`?
        <dir>/worker.toml: reassignment.moves_per_second: -1 is out of range; choose from 1 to 10000
        <dir>/worker.toml: reassignment.max_losses: 5000000000 is out of range; choose from 1 to 100
        <dir>/worker.toml: reassignment.losses_within: 1s is out of range; choose from 1m to 1year
        "#);
    assert_snapshot!(orchestrator_says("[housekeeping]\ninterval = \"0s\"\nkeep_audit = \"0s\"\nkeep_messages = \"11years\""), @r#"
        <dir>/worker.toml: housekeeping.keep_messages: 11years is out of range; choose from 1m to 10years
        <dir>/worker.toml: housekeeping.keep_audit: 0s is out of range; choose from 1m to 10years
        <dir>/worker.toml: housekeeping.interval: 0s is out of range; choose from 1s to 1day
        "#);
    assert_snapshot!(orchestrator_says("[housekeeping]\nkeep_forever = true"), @"<dir>/worker.toml: housekeeping.keep_forever: unknown key; the keys known here are `interval`, `keep_messages`, `keep_audit`, `keep_tasks` and `keep_alerts`");
}

#[test]
fn an_alert() {
    let unknown = worker_says("[alert]\norder = [\"webhok\", \"pager\"]");
    assert_snapshot!(without_adapters(&unknown, "alert.order"), @r#"
        <dir>/worker.toml: alert.order: unknown adapter "webhok"; did you mean `webhook`?
        <dir>/worker.toml: alert.order: unknown adapter "pager"; the adapters are ADAPTERS
        "#);
    assert_snapshot!(worker_says("[alert]\norder = [\"exec\", \"webhook\"]"), @r#"
        <dir>/worker.toml: alert.order: names `exec`, which is not configured; add [alert.exec] with command = ["/usr/local/bin/page-me"]
        <dir>/worker.toml: alert.order: names `webhook`, which is not configured; add [alert.webhook] with url_file = "webhook.url" or url = "https://host/path"
        "#);
    let exec = "[alert]\norder = [\"exec\", \"exec\"]\n[alert.exec]\ncommand = [\"page\"]";
    assert_snapshot!(worker_says(exec), @"<dir>/worker.toml: alert.order: names `exec` twice; remove one");
    assert_snapshot!(worker_says("[alert.exec]\ncommand = []\ntimeout = \"6m\""), @r#"
        <dir>/worker.toml: alert.exec.timeout: 6m is out of range; choose from 100ms to 5m
        <dir>/worker.toml: alert.exec.command: the command is empty; name a program and its arguments, such as ["/usr/local/bin/nudge", "arg"]
        "#);
    assert_snapshot!(worker_says("[alert]\nremind_after = \"2d\""), @"<dir>/worker.toml: alert.remind_after: remind_max (1day) must not be below remind_after (2days); raise remind_max");
    assert_snapshot!(worker_says("[alert]\nremind_max = \"10m\""), @"<dir>/worker.toml: alert.remind_max: remind_max (10m) must not be below remind_after (1h); raise remind_max");
    assert_snapshot!(worker_says("[alert]\nremind_after = \"1s\"\nno_leader_after = \"2h\""), @r#"
        <dir>/worker.toml: alert.remind_after: 1s is out of range; choose from 10s to 7days
        <dir>/worker.toml: alert.no_leader_after: 2h is out of range; choose from 1s to 1h
        "#);
}

#[test]
fn a_webhook_whose_url_is_never_quoted() {
    let says = |keys: &str| worker_says(&format!("[alert.webhook]\n{keys}"));
    assert_snapshot!(says("url = \"ftp://hooks.example.com/hunter2\""), @"<dir>/worker.toml: alert.webhook.url: must begin with https:// or http://");
    assert_snapshot!(says("url = \"https://hooks.example.com/hunter2 x\""), @"<dir>/worker.toml: alert.webhook.url: is not a URL; write https://host/path, with %20 for a space");
    assert_snapshot!(says("url = \"\""), @"<dir>/worker.toml: alert.webhook.url: is empty; write https://host/path");
    assert_snapshot!(says("url = [\"https://hooks.example.com/hunter2\"]"), @"<dir>/worker.toml: alert.webhook.url: must be text in quotes, not a list");
    assert_snapshot!(worker_says("[alert]\nwebhook = \"https://hooks.example.com/hunter2\""), @"<dir>/worker.toml: alert.webhook: must be a table, not text");
    assert_snapshot!(says("url = \"https://h/hunter2\"\nurl_file = \"u\""), @"<dir>/worker.toml: alert.webhook.url: both `url` and `url_file` are set; keep one of them");
    assert_snapshot!(says("url_file = \"\"\nsecret_file = \"\"\ntimeout = \"2m\"\ntries = 21\nbackoff = \"1ms\""), @r#"
        <dir>/worker.toml: alert.webhook.timeout: 2m is out of range; choose from 100ms to 1m
        <dir>/worker.toml: alert.webhook.tries: 21 is out of range; choose from 1 to 20
        <dir>/worker.toml: alert.webhook.backoff: 1ms is out of range; choose from 100ms to 10m
        <dir>/worker.toml: alert.webhook.secret_file: is empty; name a file, or remove the key
        <dir>/worker.toml: alert.webhook.url_file: is empty; name a file, or remove the key
        "#);

    let etc = Etc::worker(
        "role = \"worker\"\n[alert]\norder = [\"webhook\"]\n[alert.webhook]\nurl = \"https://me:hunter2@hooks.example.com/hunter2\"",
    );
    let settings = etc.settings(&[]);
    assert_eq!(settings.alert.adapters[0].name(), "webhook");
    let shown = format!("{settings:?}");
    assert!(
        !shown.contains("hunter2") && shown.contains("hooks.example.com"),
        "{shown}"
    );
}

#[test]
fn a_full_orchestrator() {
    let text = r#"
        role = "orchestrator"
        [alert]
        order = ["webhook", "exec"]
        remind_after = "10m"
        remind_max = "2h"
        [alert.exec]
        command = ["page-me", "now"]
        timeout = "3s"
        [alert.webhook]
        url_file = "webhook.url"
        secret_file = "/srv/webhook.key"
        timeout = "2s"
        tries = 3
        backoff = "500ms"
        [watchdog]
        check_interval = "500ms"
        correlated_hosts = 10
        correlated_hold = "0s"
        leader_ttl = "3s"
        [reassignment]
        capacity = 4
        match_role = "any"
        losses_within = "24h"
        [housekeeping]
        interval = "10m"
        keep_audit = "10years"
        [[session]]
        credentials = "boss.toml"
        proof = "none"
    "#;
    let etc = Etc::worker(text).file("credentials/webhook.url", "");
    let directory = etc.path("credentials");
    let settings = etc.settings(&[("CREDENTIALS_DIRECTORY", &directory.to_string_lossy())]);
    assert_eq!(settings.role.name(), "orchestrator");
    assert_eq!(agents(&settings).sessions.len(), 1);
    let webhook = WebhookSettings {
        address: WebhookAddress::File(etc.path("credentials/webhook.url")),
        secret_file: Some("/srv/webhook.key".into()),
        not_handed_over: Vec::new(),
        timeout: secs(2),
        tries: 3,
        backoff: Duration::from_millis(500),
    };
    let exec = ExecSettings {
        command: ["page-me", "now"].map(String::from).to_vec(),
        timeout: secs(3),
        output_limit: 4096,
    };
    let adapters = [
        AlertAdapterSettings::Webhook(webhook),
        AlertAdapterSettings::Exec(exec),
    ];
    assert_eq!(settings.alert.adapters, adapters);
    assert_eq!(settings.alert.remind_after, secs(600));
    let own = orchestrator(&settings);
    assert_eq!(own.watchdog.check_interval, Duration::from_millis(500));
    assert_eq!(own.watchdog.correlated_hosts, 10);
    assert_eq!(own.watchdog.correlated_hold, secs(0));
    assert_eq!(own.reassignment.capacity, 4);
    assert_eq!(own.reassignment.match_role, MatchRole::Any);
    assert_eq!(own.reassignment.losses_within, secs(24 * 3600));
    assert_eq!(own.housekeeping.interval, secs(600));
    assert_eq!(own.housekeeping.keep_audit, secs(315_576_000));
}
