//! A store that a build of before the first release made: every program refuses it,
//! says what it is and what to do, and changes nothing.

use mcp_bridge::store::sqlite::{Create, FIRST_SCHEMA};
use mcp_bridge::store::{ErrorClass, StoreError};

use crate::adoption::site::Site;
use crate::common::store::try_open;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_unreleased_schema_is_refused_and_left_as_it_is() {
    for schema in 1..FIRST_SCHEMA {
        for mode in ["delete", "wal"] {
            let site = Site::unreleased(schema);
            let raw = site.raw();
            raw.pragma_update(None, "journal_mode", mode).expect("set");
            drop(raw);
            let path = site.store.path();
            let before = site.files();
            for create in [Create::Look, Create::No, Create::Yes] {
                let error = try_open(&path, create).await.expect_err("opened");
                assert!(
                    matches!(&error, StoreError::Unreleased { found, .. } if *found == schema),
                    "{create:?}: {error}"
                );
                assert_eq!(error.class(), ErrorClass::Unusable);
            }
            assert!(site.files() == before, "schema {schema}, {mode}: changed");
        }
    }
}

#[test]
fn refusal_names_the_build_and_the_remedy() {
    let site = Site::unreleased(5);
    let path = site.store.path();
    let name = path.to_str().expect("text");
    let before = site.files();
    for arguments in [
        &["store", "init"] as &[&str],
        &["store", "verify"],
        &["conversation", "list"],
    ] {
        let (code, said) = site.run(arguments);
        assert_eq!(code, Some(78), "{arguments:?}: {said}");
        for words in [
            name,
            "a build of before the first release made it (schema version 5)",
            "use it with the build that made it",
        ] {
            assert!(said.contains(words), "{arguments:?}: {said}");
        }
    }
    let (code, said) = site.run_as("b", &["send", "hello"]);
    assert_eq!(code, Some(78), "{said}");
    let (_, said) = site.run(&["doctor"]);
    assert!(said.contains("(schema version 5)"), "{said}");
    // A copy of it can be had, and says what it is.
    let copy = site.home.path().join("copy.db");
    let (code, said) = site.run(&["store", "backup", copy.to_str().expect("text")]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("a build of before the first release"),
        "{said}"
    );
    assert!(!said.contains("0 conversations"), "{said}");
    assert!(site.files() == before, "a command changed something");

    // The second way that it names: the files beside it are moved, too.
    let away = site.home.path().join("away");
    std::fs::create_dir(&away).expect("made");
    for file in before.keys() {
        let from = site.store.directory().join(file);
        std::fs::rename(from, away.join(file)).expect("moved");
    }
    let (code, said) = site.run(&["store", "init"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(site.run(&["store", "verify"]).0, Some(0));
}

#[test]
fn backup_of_unreleased_store_is_not_restored() {
    let old = Site::unreleased(4);
    let site = Site::new();
    assert_eq!(site.run(&["store", "init"]).0, Some(0));
    let backup = old.store.path();
    let before = site.files();
    let name = backup.to_str().expect("text");
    let (code, said) = site.run(&["store", "restore", name, "--yes"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(
        said.contains("a build of before the first release"),
        "{said}"
    );
    assert!(site.files() == before, "the store was changed");
}
