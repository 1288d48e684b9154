//! In a store that the Python bridge made, housekeeping deletes what we wrote, and
//! nothing else.

use jiff::{SignedDuration, Timestamp};
use mcp_bridge::store::{Pruned, Retention, Store};

use super::site::{ID, Site};
use crate::common::store::{Pair, at, draft, pair, receive, say};

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3_600);

/// Long after everything here has ended.
fn late() -> Timestamp {
    at(0) + SignedDuration::from_hours(100)
}

async fn prune(store: &Store) -> Pruned {
    let keep = Retention {
        messages: DAY,
        audit: DAY,
        tasks: DAY,
        alerts: DAY,
    };
    let mut all = Pruned::default();
    loop {
        let pruned = store.prune(None, &keep, late()).await.expect("pruned");
        if pruned == Pruned::default() {
            return all;
        }
        all.messages += pruned.messages;
        all.conversations += pruned.conversations;
        all.audit += pruned.audit;
    }
}

pub(crate) fn texts(site: &Site, question: &str) -> Vec<String> {
    let raw = site.raw();
    let mut statement = raw.prepare(question).expect("a question");
    let rows = statement.query_map([], |row| row.get(0)).expect("asked");
    rows.collect::<Result<_, _>>().expect("read")
}

/// The Python bridge's database, adopted: its conversation ended long ago, too.
pub(crate) async fn adopted() -> (Site, mcp_bridge::store::SharedStore) {
    let site = Site::adoptable();
    site.raw()
        .execute_batch(&format!(
            "UPDATE conversations SET expires_at = '2025-11-13T05:13:20.000000';
             UPDATE messages SET read = 1;
             INSERT INTO audit_log (conversation_id, action, timestamp)
                 VALUES ('{ID}', 'theirs', '2025-11-13T02:13:20.000000');"
        ))
        .expect("filled");
    let store = site.store.open().await;
    (site, store)
}

/// A conversation that we made, with a message that was read.
pub(crate) async fn lived(store: &Store) -> Pair {
    let pair = pair(store, at(0)).await;
    say(store, &pair.a, "ours", at(1)).await;
    receive(store, &pair.b, at(2)).await;
    receive(store, &pair.b, at(3)).await;
    pair
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn housekeeping_deletes_our_rows_and_leaves_theirs() {
    let (site, store) = adopted().await;
    let mine = lived(&store).await;
    let shared = lived(&store).await;
    // The other bridge's agents write in a conversation that we made.
    site.raw()
        .execute_batch(&format!(
            "INSERT INTO messages (conversation_id, from_session, to_session, message, timestamp, read)
                 VALUES ('{}', 'b', 'a', 'theirs', '2025-11-13T02:13:22.000000', 1);
             INSERT INTO session_status VALUES ('{}', 'b', 'active', '2025-11-13T02:13:22.000000');
             INSERT INTO session_status VALUES ('gone', 'b', 'active', '2025-11-13T02:13:22.000000');",
            shared.id, mine.id
        ))
        .expect("written");
    let pruned = prune(&store).await;
    assert_eq!(
        (pruned.messages, pruned.conversations),
        (2, 1),
        "{pruned:?}"
    );
    assert!(pruned.audit > 0, "{pruned:?}");
    assert_eq!(
        texts(&site, "SELECT message FROM messages ORDER BY id"),
        ["hello", "theirs"]
    );
    let mut left = vec![ID.to_owned(), shared.id.to_string()];
    left.sort();
    assert_eq!(
        texts(&site, "SELECT id FROM conversations ORDER BY id"),
        left
    );
    assert_eq!(texts(&site, "SELECT action FROM audit_log"), ["theirs"]);
    assert_eq!(
        texts(&site, "SELECT session_id FROM session_status").len(),
        2,
        "their statuses stay, also without their conversations"
    );
    assert_eq!(
        texts(&site, "SELECT kind || id FROM bridge_ours"),
        [format!("c{}", shared.id)],
        "no note outlives its row"
    );
    // The operator says otherwise.
    store.set_prune_foreign(true).await.expect("set");
    prune(&store).await;
    for table in ["messages", "conversations"] {
        assert_eq!(texts(&site, &format!("SELECT 'x' FROM {table}")), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_in_the_place_of_ours_stays() {
    let (site, store) = adopted().await;
    let pair = lived(&store).await;
    let drafts = [draft("one"), draft("two")];
    store.send(&pair.a, &drafts, at(4)).await.expect("sent");
    // Their program takes ours away and gives the same ids once more.
    let raw = site.raw();
    raw.pragma_update(None, "foreign_keys", false).expect("set");
    raw
        .execute_batch(&format!(
            "CREATE TEMP TABLE kept AS SELECT id, conversation_id FROM messages WHERE conversation_id = '{0}';
             DELETE FROM messages WHERE conversation_id = '{0}';
             INSERT INTO messages (id, conversation_id, from_session, to_session, message, timestamp, read)
                 SELECT id, conversation_id, 'b', 'a', 'replaced', '2025-11-13T02:13:29.000001', 1 FROM kept;
             CREATE TEMP TABLE those AS SELECT * FROM conversations WHERE id = '{0}';
             DELETE FROM conversations WHERE id = '{0}';
             UPDATE those SET created_at = '2025-11-13T02:13:29.000001';
             INSERT INTO conversations SELECT * FROM those;
             UPDATE audit_log SET timestamp = '2025-11-13T02:13:29.000001', action = 'replaced'
                 WHERE action = 'send_message';",
            pair.id
        ))
        .expect("replaced");
    let pruned = prune(&store).await;
    assert_eq!(
        (pruned.messages, pruned.conversations),
        (0, 0),
        "{pruned:?}"
    );
    assert_eq!(
        texts(
            &site,
            "SELECT message FROM messages WHERE message <> 'hello'"
        ),
        ["replaced"; 3]
    );
    assert_eq!(
        texts(
            &site,
            "SELECT action FROM audit_log WHERE action = 'replaced'"
        ),
        ["replaced"; 3]
    );
    let noted = texts(
        &site,
        "SELECT kind || id FROM bridge_ours WHERE kind IN ('m', 'a')",
    );
    assert_eq!(noted, [""; 0], "what is theirs is noted no longer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_our_own_notes_nothing() {
    let site = Site::new();
    let store = site.store.make().await;
    lived(&store).await;
    assert_eq!(texts(&site, "SELECT kind FROM bridge_ours"), [""; 0]);
    assert_eq!(prune(&store).await.conversations, 1);
}

#[test]
fn a_restored_store_deletes_the_same_rows() {
    let site = Site::adoptable();
    assert_eq!(site.run_as("b", &["send", "ours"]).0, Some(0));
    let noted = || {
        texts(
            &site,
            "SELECT kind || id FROM bridge_ours ORDER BY kind, id",
        )
    };
    let before = noted();
    assert!(before.contains(&"m2".to_owned()), "{before:?}");
    let copy = site.home.path().join("copy.db");
    let copy = copy.to_str().expect("text");
    assert_eq!(site.run(&["store", "backup", copy]).0, Some(0));
    assert_eq!(
        site.run_as("b", &["send", "lost with the restore"]).0,
        Some(0)
    );
    let (code, said) = site.run(&["store", "restore", copy, "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    let order = texts(
        &site,
        "SELECT 'a' || id FROM audit_log WHERE action = 'restore_store'",
    );
    let (old, new): (Vec<_>, Vec<_>) = noted().into_iter().partition(|id| before.contains(id));
    assert_eq!(old, before);
    assert_eq!(new, order, "the order to restore is ours, too");
    // An id that was given once is not given again to another row.
    let (_, said) = site.run_as("b", &["send", "after it"]);
    assert!(said.contains('4'), "{said}");
}
