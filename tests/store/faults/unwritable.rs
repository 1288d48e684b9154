//! A store that may be read but not written, or not even that; a full disk.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mcp_bridge::model::rate::RateLimits;
use mcp_bridge::store::sqlite::Create;
use mcp_bridge::store::{ErrorClass, FetchId, StoreError};

use crate::common::again::{child, report, reported, told};
use crate::common::store as common;
use crate::common::store::{
    Pair, Scratch, at, boot, draft, pair, receive, say, skipped, try_open, unlimited,
};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
}

/// Runs a child; `None` if the machine does not let us, which it says.
fn run(wrapper: &[&str], test: &str, told: &Path) -> Option<Vec<String>> {
    let out = child(wrapper, module_path!(), test, &told.display().to_string()).output();
    let out = match out {
        Ok(out) => out,
        Err(error) => {
            skipped(&format!("{test}: {} cannot be run: {error}", wrapper[0]));
            return None;
        }
    };
    let text = String::from_utf8_lossy(&out.stdout);
    let said: Vec<String> = text
        .lines()
        .filter_map(reported)
        .map(str::to_owned)
        .collect();
    let errors = String::from_utf8_lossy(&out.stderr);
    if said.is_empty() {
        skipped(&format!("{test}: {}", errors.trim()));
        return None;
    }
    assert!(out.status.success(), "{text}{errors}");
    Some(said)
}

/// A child without the rights of root; it says what opening each store says.
#[test]
fn child_without_rights() {
    let Some(directory) = told() else { return };
    report("here");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let directory = PathBuf::from(directory);
    runtime.block_on(async {
        for name in ["private.db", "readable.db", "in-use.db", "closed/bridge.db"] {
            let path = directory.join(name);
            for create in [Create::No, Create::Yes] {
                let outcome = async {
                    let store = try_open(&path, create).await?;
                    // Reading is allowed; a write must not be.
                    store.conversations().await?;
                    store.set_rate_limits(RateLimits::NONE).await?;
                    store.close().await;
                    Ok::<_, StoreError>(())
                };
                let error = outcome.await.expect_err("it wrote");
                let word = match error {
                    StoreError::Permission(..) => "permission",
                    StoreError::ReadOnly(_) => "read-only",
                    _ => "another error",
                };
                report(&format!("{name}: {word}: {}", error.headline()));
            }
        }
        let path = directory.join("new.db");
        let error = try_open(&path, Create::Yes).await.expect_err("made");
        let permission = matches!(error, StoreError::Permission(..));
        assert!(permission && !path.exists(), "{error}");
    });
}

#[tokio::test]
async fn user_without_write_access_gets_the_reason() {
    let scratch = Scratch::new();
    let directory = scratch.directory();
    for name in ["private.db", "readable.db", "in-use.db", "closed/bridge.db"] {
        common::open(&directory.join(name), Create::Yes)
            .await
            .close()
            .await;
    }
    let in_use = common::open(&directory.join("in-use.db"), Create::No).await;
    pair(&in_use, at(0)).await;
    set_mode(&directory.join("private.db"), 0o000);
    set_mode(&directory.join("readable.db"), 0o444);
    for name in ["in-use.db", "in-use.db-wal", "in-use.db-shm"] {
        set_mode(&directory.join(name), 0o444);
    }
    set_mode(&directory.join("closed"), 0o000);
    set_mode(directory, 0o555);
    let wrapper: &[&str] = if is_root() {
        &[
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ]
    } else {
        &[]
    };
    let said = run(wrapper, "child_without_rights", directory);
    set_mode(directory, 0o755);
    set_mode(&directory.join("closed"), 0o755);
    in_use.close().await;
    let Some(said) = said else { return };
    let said = &said[1..];
    assert_eq!(said.len(), 8, "{said:#?}");
    for (line, expected) in said.iter().zip([
        "private.db: permission",
        "private.db: permission",
        "readable.db: read-only",
        "readable.db: read-only",
        "in-use.db: read-only",
        "in-use.db: read-only",
        "closed/bridge.db: permission",
        "closed/bridge.db: permission",
    ]) {
        assert!(line.starts_with(expected), "{said:#?}");
    }
}

fn mount(words: &[&str], on: &Path) -> bool {
    let out = Command::new("mount").args(words).arg(on).output();
    out.is_ok_and(|out| out.status.success())
}

/// A child in a mount namespace of its own, with 4 MiB of disk.
#[test]
fn child_on_a_small_disk() {
    let Some(directory) = told() else { return };
    let disk = PathBuf::from(directory);
    if !mount(&["-t", "tmpfs", "-o", "size=4m", "tmpfs"], &disk) {
        return;
    }
    report("here");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(many_on_a_full_disk(&disk));
    runtime.block_on(full_and_freed(&disk));
    runtime.block_on(no_room_for_a_new_one(&disk));
    runtime.block_on(read_only_file_system(&disk));
    report("done");
}

/// Takes all the room there is.
fn fill(disk: &Path) -> PathBuf {
    use std::io::Write;
    let filler = disk.join("filler");
    let mut file = std::fs::File::create(&filler).expect("made");
    let mut chunk = vec![1_u8; 65_536];
    while !chunk.is_empty() {
        if file.write_all(&chunk).is_err() {
            chunk.truncate(chunk.len() / 2);
        }
    }
    filler
}

/// Many callers at once share commits; when the disk is full, each hears of its own
/// message, and what is there is what was acknowledged.
async fn many_on_a_full_disk(disk: &Path) {
    let store = common::open(&disk.join("many.db"), Create::Yes).await;
    unlimited(&store).await;
    let pair = pair(&store, at(0)).await;
    let filler = fill(disk);
    // Room for a few of them.
    let length = std::fs::metadata(&filler).expect("there").len();
    let file = std::fs::File::options().write(true).open(&filler);
    let shorter = file.and_then(|file| file.set_len(length.saturating_sub(400_000)));
    shorter.expect("shorter");
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for round in 0..20 {
        let texts: Vec<String> = (0..32)
            .map(|n| format!("{round}.{n}: {}", "z".repeat(n * 100)))
            .collect();
        let drafts: Vec<_> = texts.iter().map(|text| [draft(text)]).collect();
        let sends = drafts.iter().map(|one| store.send(&pair.a, one, at(1)));
        for (text, sent) in texts
            .iter()
            .zip(futures_util::future::join_all(sends).await)
        {
            match sent {
                Ok(_) => acknowledged.push(text.clone()),
                Err(StoreError::Full(_)) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        if refused > 100 {
            break;
        }
    }
    assert!(
        !acknowledged.is_empty() && refused > 0,
        "the disk filled up"
    );
    let seen = store.peek(&pair.b, None, 10_000, at(3)).await;
    let seen = seen.expect("read").into_iter().map(|m| m.message);
    assert_eq!(seen.collect::<Vec<_>>(), acknowledged);
    std::fs::remove_file(filler).expect("freed");
    say(&store, &pair.a, "room again", at(4)).await;
    store.close().await;
    for entry in std::fs::read_dir(disk).expect("a disk") {
        std::fs::remove_file(entry.expect("a file").path()).expect("removed");
    }
}

async fn full_and_freed(disk: &Path) {
    let path = disk.join("bridge.db");
    let store = common::open(&path, Create::Yes).await;
    unlimited(&store).await;
    let pair = pair(&store, at(0)).await;
    let ttl = Duration::from_secs(60);
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let text = format!("{round}: {}", "x".repeat(30_000));
        say(&store, &pair.a, &text, at(1)).await;
        acknowledged.push(text);
        let filler = fill(disk);
        let mut refusals = 0;
        while refusals < 5 {
            let n = acknowledged.len();
            let text = format!("{n}: {}", "y".repeat(20_000));
            match store.send(&pair.a, &[draft(&text)], at(2)).await {
                Ok(_) => acknowledged.push(text),
                Err(error) => {
                    assert!(matches!(error, StoreError::Full(_)), "{error}");
                    assert_eq!(error.class(), ErrorClass::Unavailable);
                    refusals += 1;
                }
            }
            // The other writer, on the same full disk, is refused as plainly
            // or still finds room in the log; it never breaks.
            let beaten = store
                .call_in(&pair.b, ttl, None, &boot("x", 1), at(2))
                .await;
            assert!(
                matches!(beaten, Ok(_) | Err(StoreError::Full(_))),
                "{beaten:?}"
            );
        }
        let seen = store
            .peek(&pair.b, None, 10_000, at(3))
            .await
            .expect("read");
        assert_eq!(
            seen.len(),
            acknowledged.len(),
            "a row without an acknowledgement"
        );
        std::fs::remove_file(filler).expect("freed");
        // By itself, at once, with the same handle.
        let text = format!("room again {round}");
        say(&store, &pair.a, &text, at(4)).await;
        acknowledged.push(text);
        store
            .call_in(&pair.b, ttl, None, &boot("x", 1), at(4))
            .await
            .expect("alive");
        assert_eq!(receive(&store, &pair.b, at(5)).await, acknowledged);
        acknowledged.clear();
    }
    let check = store.check().await.expect("checked");
    assert!(check.problems.is_empty(), "{:?}", check.problems);
    store.close().await;
    std::fs::remove_file(&path).expect("removed");
}

async fn no_room_for_a_new_one(disk: &Path) {
    let path = disk.join("new.db");
    let filler = fill(disk);
    let error = try_open(&path, Create::Yes).await.expect_err("made");
    assert!(matches!(error, StoreError::Full(_)), "{error}");
    std::fs::remove_file(filler).expect("freed");
    // What the failed one left does not stand in the way.
    common::open(&path, Create::Yes).await.close().await;
}

async fn read_only_file_system(disk: &Path) {
    let path = disk.join("new.db");
    if !mount(&["-o", "remount,ro"], disk) {
        skipped("a read-only file system: remount was refused");
        return;
    }
    for create in [Create::No, Create::Yes] {
        let error = try_open(&path, create).await.expect_err("opened");
        assert!(matches!(error, StoreError::ReadOnly(_)), "{error}");
        let error = try_open(&disk.join("other.db"), create).await;
        let error = error.expect_err("made");
        let expected = match create {
            Create::No | Create::Look => matches!(error, StoreError::Missing(_)),
            Create::Yes => matches!(error, StoreError::ReadOnly(_)),
        };
        assert!(expected, "{error}");
    }
    assert!(mount(&["-o", "remount,rw"], disk));
}

#[test]
fn full_disk_loses_nothing_and_goes_on_when_freed() {
    if !is_root() {
        skipped("a full disk: only root can mount a small one");
        return;
    }
    let scratch = Scratch::new();
    let test = "child_on_a_small_disk";
    if let Some(said) = run(&["unshare", "-m"], test, scratch.directory()) {
        assert_eq!(said, ["here", "done"]);
    }
}

#[tokio::test]
async fn only_a_change_proves_that_writes_get_through() {
    let scratch = Scratch::new();
    let store = scratch.make().await;
    store.try_write().await.expect("written");
    let proved = store.writes().last;
    // Refused for a reason of its own, which only the next write shows.
    let stranger = &Pair::random().a;
    store.touch(stranger, at(1)).await.expect_err("refused");
    let doubt = store.writes().doubtful_since;
    assert!(doubt.is_some());
    let unknown = FetchId("unknown".into());
    store
        .fetch_written(&stranger.session, &unknown, at(1))
        .await
        .expect("done");
    let health = store.writes();
    assert_eq!((health.last, health.doubtful_since), (proved, doubt));
    assert_eq!(health.waiting_since, None);
    store.try_write().await.expect("written");
    assert_eq!(store.writes().doubtful_since, None);
}
