use std::fs;
use std::io::ErrorKind;

use super::*;

/// A directory for a store, and one beside it.
fn places() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, other) = (dir.path().join("store"), dir.path().join("other"));
    fs::create_dir(&store).expect("made");
    fs::create_dir(&other).expect("made");
    fs::write(other.join("theirs"), "x").expect("written");
    (dir, store, other)
}

fn enforced(place: &ConfinedPath) -> bool {
    let enforced = place.run(|| place.keep_inside()).expect("ran");
    if !enforced {
        eprintln!("skipped: this kernel has no Landlock");
    }
    enforced
}

#[test]
fn a_confined_thread_writes_in_its_directory_alone() {
    let (_dir, store, other) = places();
    let place = ConfinedPath::of_database(&store.join("bridge.db")).expect("there");
    if !enforced(&place) {
        return;
    }
    place
        .run(|| {
            let theirs = other.join("theirs");
            let denied = |done: std::io::Result<()>| {
                assert_eq!(done.expect_err("done").kind(), ErrorKind::PermissionDenied);
            };
            denied(fs::write(other.join("new"), "x"));
            denied(fs::write(&theirs, "y"));
            denied(fs::read(&theirs).map(drop));
            denied(fs::remove_file(&theirs));
            let link = store.join("link");
            // Made by another: links are none of SQLite's.
            denied(std::os::unix::fs::symlink(&theirs, &link));
            fs::write(store.join("mine"), "x").expect("written");
            assert_eq!(fs::read_to_string(store.join("mine")).expect("read"), "x");
            fs::remove_file(store.join("mine")).expect("removed");
            // And so do the threads that it starts.
            std::thread::scope(|scope| {
                scope.spawn(|| denied(fs::write(&theirs, "y")));
            });
        })
        .expect("ran");
    assert_eq!(fs::read_to_string(other.join("theirs")).expect("read"), "x");
    fs::write(other.join("new"), "all other threads stay free").expect("written");
}

#[test]
fn sqlite_follows_no_link_out_of_the_directory() {
    let (_dir, store, other) = places();
    let database = store.join("bridge.db");
    let place = ConfinedPath::of_database(&database).expect("there");
    if !enforced(&place) {
        return;
    }
    let target = other.join("made-through-a-link");
    std::os::unix::fs::symlink(&target, store.join("bridge.db-wal")).expect("linked");
    let opened = place.run(|| {
        let connection = rusqlite::Connection::open(&database)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.execute_batch("CREATE TABLE t (x)")
    });
    opened.expect("ran").expect_err("it was opened");
    assert!(
        fs::symlink_metadata(&target).is_err(),
        "a file was made outside"
    );
}

#[test]
fn a_file_s_place_is_the_file_alone() {
    let (_dir, store, _) = places();
    let (mine, beside) = (store.join("mine"), store.join("beside"));
    for path in [&mine, &beside] {
        fs::write(path, "x").expect("written");
    }
    let place = ConfinedPath::of_file(&mine).expect("there");
    if !enforced(&place) {
        return;
    }
    place
        .run(|| {
            fs::write(&mine, "y").expect("written");
            fs::write(&beside, "y").expect_err("beside it");
            fs::remove_file(&mine).expect_err("removed");
        })
        .expect("ran");
}

#[test]
fn root_works_as_the_owner_of_the_directory() {
    const OTHER: u32 = 65_534;
    if !geteuid().is_root() {
        return;
    }
    let (dir, store, _) = places();
    let open = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("set");
    };
    open(dir.path());
    let roots = store.join("roots");
    fs::write(&roots, "0600").expect("written");
    std::os::unix::fs::chown(&store, Some(OTHER), Some(OTHER)).expect("given");
    let place = ConfinedPath::of_database(&store.join("bridge.db")).expect("there");
    let mine = store.join("mine");
    place
        .run(|| {
            assert_eq!(geteuid().as_raw(), OTHER);
            fs::write(&roots, "x").expect_err("it is root's");
            fs::write(&mine, "x").expect("written");
        })
        .expect("ran");
    assert!(geteuid().is_root(), "all other threads stay root's");
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&mine).expect("there"));
    assert_eq!(owner, OTHER);
    // Where that user cannot come, root stays root.
    fs::set_permissions(
        dir.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .expect("set");
    place.run(|| assert!(geteuid().is_root())).expect("ran");
}

#[tokio::test]
async fn one_thread_serves_a_directory_while_in_use() {
    let (_dir, store, other) = places();
    let database = store.join("bridge.db");
    let one = Confined::for_database(&database).expect("started");
    let again = Confined::for_database(&database).expect("started");
    assert!(Arc::ptr_eq(&one, &again));
    let another = Confined::for_database(&other.join("bridge.db")).expect("started");
    assert!(!Arc::ptr_eq(&one, &another));
    let thread = || std::thread::current().id();
    let first = one.spawn(async move { thread() }).await.expect("ran");
    let second = again.spawn(async move { thread() }).await.expect("ran");
    assert_eq!(first, second);
    assert_ne!(first, thread());
}
