//! A disk that is full in the middle of a commit that many programs share.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_bridge::bridge::{Begin, Bridge, News, Subscription};
use mcp_bridge::model::message::Draft;
use mcp_bridge::store::StoreError;

use super::ground::{Ground, Socket};
use crate::common::again;
use crate::common::daemon::{Pair, wait_for};

const CHILD: &str = "MCP_BRIDGE_TEST_SMALL_DISK";
const SENDERS: usize = 32;

/// Runs this test again with all that it makes on a small disk. `None` in that child.
#[expect(clippy::print_stdout, reason = "what is skipped is said")]
fn on_a_small_disk(test: &str) -> Option<()> {
    if std::env::var_os(CHILD).is_some() {
        return None;
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can mount a small disk");
        return Some(());
    }
    let disk = tempfile::tempdir().expect("a directory");
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c"])
        .arg("mount -t tmpfs -o size=8m tmpfs \"$TMPDIR\" && exec \"$@\"")
        .arg("sh")
        .args(again::words(module_path!(), test))
        .env(CHILD, "1")
        .env("TMPDIR", disk.path())
        .output()
        .expect("unshare");
    again::passed(&output);
    Some(())
}

/// Takes all the room there is but this much.
fn fill(disk: &Path, but: u64) -> PathBuf {
    let filler = disk.join("filler");
    let mut file = std::fs::File::create(&filler).expect("made");
    let mut chunk = vec![1_u8; 65_536];
    while !chunk.is_empty() {
        if file.write_all(&chunk).is_err() {
            chunk.truncate(chunk.len() / 2);
        }
    }
    let length = file.metadata().expect("there").len();
    file.set_len(length.saturating_sub(but)).expect("shorter");
    filler
}

fn draft(text: &str) -> Draft {
    let id = format!("n-{}", text.split(' ').next().unwrap_or_default());
    Draft {
        client_id: Some(id.parse().expect("an id")),
        ..Draft::text(text.parse().expect("a text"))
    }
}

/// What a sender heard of what it sent.
#[derive(Default)]
struct SenderLog {
    stored: Vec<String>,
    refused: Vec<String>,
}

/// Sends until enough was refused for want of room.
async fn send(bridge: Bridge, pair: Arc<Pair>) -> SenderLog {
    let mut told = SenderLog::default();
    for n in 0..2_000 {
        let text = format!("{n} {}", "z".repeat(fastrand::usize(..4_000)));
        match bridge.send(&pair.a, &[draft(&text)]).await {
            Ok(_) => told.stored.push(text),
            Err(StoreError::Full(_)) => told.refused.push(text),
            Err(other) => panic!("{other}"),
        }
        if told.refused.len() > 10 {
            break;
        }
    }
    told
}

fn follow(bridge: Bridge, pair: &Pair) -> Arc<Mutex<Vec<String>>> {
    let subscription = Subscription {
        callers: vec![pair.b.clone()],
        begin: Begin::Unread,
        poll: false,
        full_look: Duration::from_secs(5),
    };
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let hears = Arc::clone(&heard);
    let sink = Box::new(move |news| {
        if let News::Message(message) = news {
            hears.lock().expect("one at a time").push(message.message);
        }
        Ok(ControlFlow::Continue(()))
    });
    // It ends with the daemon.
    tokio::spawn(async move { bridge.follow(&subscription, sink).await });
    heard
}

#[test]
fn full_disk_refuses_part_of_a_group() {
    let name = "full_disk_refuses_part_of_a_group";
    if on_a_small_disk(name).is_some() {
        return;
    }
    let ground = Ground::new();
    let pairs: Vec<Arc<Pair>> = (0..SENDERS)
        .map(|n| Arc::new(ground.rig.pair_without_file(&format!("pair-{n}"))))
        .collect();
    let bridge = || Bridge::through(&ground.socket(Socket::Api));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let inside = runtime.enter();
    let heard = follow(bridge(), &pairs[0]);
    let filler = fill(ground.rig.dir.path(), 1_500_000);
    let senders: Vec<_> = pairs
        .iter()
        .map(|pair| runtime.spawn(send(bridge(), Arc::clone(pair))))
        .collect();
    let mut told: Vec<SenderLog> = runtime.block_on(async {
        let told = futures_util::future::join_all(senders).await;
        told.into_iter().map(|told| told.expect("sent")).collect()
    });
    let stored: usize = told.iter().map(|told| told.stored.len()).sum();
    assert!(stored > SENDERS, "it was full from the beginning");
    // It still answers who only asks.
    ground.answers();
    for (pair, told) in pairs.iter().zip(&told) {
        let peeked = runtime.block_on(bridge().peek(&pair.b, None, 1_000));
        let peeked = peeked.expect("peeked").into_iter().map(|m| m.message);
        assert_eq!(peeked.collect::<Vec<_>>(), told.stored, "{}", pair.name);
    }
    std::fs::remove_file(filler).expect("freed");
    // What was refused is no duplicate of anything.
    for (pair, told) in pairs.iter().zip(&mut told) {
        for text in std::mem::take(&mut told.refused) {
            let sent = wait_for("room", || {
                runtime
                    .block_on(bridge().send(&pair.a, &[draft(&text)]))
                    .ok()
            });
            assert!(!sent[0].duplicate, "it was kept");
            told.stored.push(text);
        }
        let got = runtime.block_on(bridge().fetch(&pair.b, 1_000));
        let got = got.expect("fetched").messages.into_iter();
        let got: Vec<String> = got.map(|message| message.message).collect();
        assert_eq!(got, told.stored, "{}", pair.name);
    }
    wait_for("the follower", || {
        let heard = heard.lock().expect("one at a time");
        (heard.len() >= told[0].stored.len()).then_some(())
    });
    assert_eq!(*heard.lock().expect("one at a time"), told[0].stored);
    drop(inside);
    ground.ends_sound(&["zzzz", "mcpb_"]);
}
