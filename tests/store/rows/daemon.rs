//! A real orchestrator on such a store.

use std::fs;
use std::process::{Child, Command, Stdio};

use mcp_bridge::clock;
use mcp_bridge::store::Store;

use super::ours::{adopted, lived, texts};
use super::site::{ID, Site};
use crate::common::store::{pair, say, until};

/// It ends with its test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn orchestrator(site: &Site) -> Daemon {
    let home = site.home.path();
    let config = home.join("orchestrator.toml");
    let text = format!(
        "role = \"orchestrator\"\n[store]\nurl = {:?}\n[service]\nstate_file = {:?}\n\
         [watchdog]\ncheck_interval = \"100ms\"\nleader_ttl = \"1s\"\n\
         [housekeeping]\ninterval = \"1s\"\nkeep_messages = \"1m\"\nkeep_audit = \"1m\"\n",
        site.store.path(),
        home.join("state.json")
    );
    fs::write(&config, text).expect("written");
    let log = fs::File::create(home.join("log")).expect("made");
    let child = Command::new(env!("CARGO_BIN_EXE_mcp-bridged"))
        .arg("--config")
        .arg(&config)
        .env_clear()
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home.join("config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("a daemon");
    Daemon(child)
}

/// A row of today: housekeeping believes no clock that is far ahead of all rows.
async fn today(store: &Store) {
    let pair = pair(store, clock::now()).await;
    say(store, &pair.a, "today", clock::now()).await;
}

async fn becomes(site: &Site, question: &str, answer: &[&str]) {
    until(question, || async {
        (texts(site, question) == answer).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orchestrator_deletes_only_what_we_wrote() {
    let (site, store) = adopted().await;
    let gone = lived(&store).await;
    today(&store).await;
    assert_eq!(
        texts(&site, "SELECT message FROM messages"),
        ["hello", "ours", "today"]
    );
    let _daemon = orchestrator(&site);
    becomes(&site, "SELECT message FROM messages", &["hello", "today"]).await;
    let conversation = format!("SELECT id FROM conversations WHERE id = '{}'", gone.id);
    becomes(&site, &conversation, &[]).await;
    let ours = format!(
        "SELECT action FROM audit_log WHERE conversation_id = '{}'",
        gone.id
    );
    becomes(&site, &ours, &[]).await;
    assert_eq!(
        texts(
            &site,
            "SELECT action FROM audit_log WHERE action = 'theirs'"
        ),
        ["theirs"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orchestrator_goes_on_past_odd_rows() {
    let (site, store) = adopted().await;
    let gone = lived(&store).await;
    today(&store).await;
    let raw = site.raw();
    raw.execute_batch(&format!(
        "INSERT INTO bridge_alert (kind, subject, text, raised_by, raised_ms)
             VALUES ('lost', 'x', x'ff', 'x', 'then');
         INSERT INTO bridge_control VALUES ('mute', 'lost', 'x', 9223372036854775807);
         INSERT INTO bridge_task (role, title, body, created_ms, changed_ms)
             VALUES ('worker', x'ff', x'ff', 'x', 'x');
         INSERT INTO bridge_session (conversation_id, session_id, activity_seq, change)
             VALUES ('{ID}', 'b', 'x', 'zzz');
         INSERT INTO bridge_leader VALUES (1, 'x', x'ff', 'x', 'x', 'x', 'x');"
    ))
    .expect("inserted");
    let _daemon = orchestrator(&site);
    // It leads, and takes away what ended.
    becomes(
        &site,
        "SELECT typeof(epoch) FROM bridge_leader",
        &["integer"],
    )
    .await;
    let messages = format!(
        "SELECT message FROM messages WHERE conversation_id = '{}'",
        gone.id
    );
    becomes(&site, &messages, &[]).await;
    // And leads again when its own row is spoilt.
    raw.execute_batch("UPDATE bridge_leader SET epoch = 'x'")
        .expect("spoilt");
    becomes(
        &site,
        "SELECT typeof(epoch) FROM bridge_leader",
        &["integer"],
    )
    .await;
    until("the odd rows in the log", || async {
        let log = fs::read_to_string(site.home.path().join("log")).unwrap_or_default();
        log.contains("one of the alerts in the store cannot be read")
            .then_some(())
    })
    .await;
    today(&store).await;
}
