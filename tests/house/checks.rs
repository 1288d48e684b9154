//! What `tests/run` says of what it lacks: before anything is built, and at the
//! end of what it could not look at. Its cargo is a stand-in here.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "without it a test has nothing to say"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const CARGO: &str = r#"#!/bin/sh
echo "$1" >>"$STAND_IN_SAID"
case "$1" in
  install) echo "error: no network" >&2; exit 101 ;;
  test) echo "test result: ok. 1 passed" ;;
esac
"#;

fn program(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
}

/// Runs it on a machine that has these tools of cargo and no others. Returns
/// what its cargo was asked for, too.
fn run(tools: &[&str]) -> (Output, Vec<String>) {
    let home = tempfile::tempdir().expect("a directory");
    let bin = home.path().join("bin");
    fs::create_dir(&bin).expect("made");
    program(&bin, "cargo", CARGO);
    // It is not to change the machine for this.
    program(&bin, "apt-get", "#!/bin/sh\nexit 1\n");
    program(&bin, "npm", "#!/bin/sh\nexit 1\n");
    for tool in tools {
        program(&bin, tool, "#!/bin/sh\n");
    }
    // Python's packages that are there need no network, and no time.
    for name in ["python", "fastmcp"] {
        let stand_in = home.path().join("target").join(name).join("bin");
        fs::create_dir_all(&stand_in).expect("made");
        program(&stand_in, "python", "#!/bin/sh\necho fastmcp 4.2.3\n");
    }
    let said = home.path().join("said");
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run"))
        .env_clear()
        .env(
            "PATH",
            format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", bin.display()),
        )
        .env("HOME", home.path())
        .env("CARGO_HOME", home.path())
        .env("CARGO_TARGET_DIR", home.path().join("target"))
        .env("STAND_IN_SAID", &said)
        .output()
        .expect("tests/run");
    let said = fs::read_to_string(said).unwrap_or_default();
    (output, said.lines().map(str::to_owned).collect())
}

/// Whether this machine lacks one of Debian's packages: then there is nothing
/// further to see.
fn lacks_packages(output: &Output) -> bool {
    let error = String::from_utf8_lossy(&output.stderr);
    let lacks = error.contains("missing: ") && !error.contains("missing: cargo-deb");
    if lacks {
        assert_eq!(output.status.code(), Some(1));
        println!("skipped: {error}");
    }
    lacks
}

#[test]
fn missing_cargo_deb_is_reported_before_the_build() {
    let (output, asked) = run(&[]);
    if lacks_packages(&output) {
        return;
    }
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    let last = error.lines().last().expect("a line");
    assert!(
        last.starts_with("missing: cargo-deb; ")
            && last.contains("cargo install --locked cargo-deb"),
        "{error}"
    );
    assert_eq!(asked, ["install"]);
}

#[test]
fn its_last_lines_name_what_was_not_looked_at() {
    let (output, _) = run(&["cargo-deb", "cargo-generate-rpm"]);
    if lacks_packages(&output) {
        return;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{error}");
    let (left_out, of_tests) = end(&text);
    assert_eq!(of_tests, "test result: ok. 1 passed\n", "{text}");
    for words in [
        "all that was looked at is well",
        " macOS: ",
        " licences, ",
        " advisories: ",
        " claude: ",
        " codex: ",
        " mcp-inspector: ",
        ", 0 of them not listed",
    ] {
        assert!(left_out.contains(words), "{words}: {text}");
    }
}

/// What was not looked at, and the tests' own last lines.
fn end(text: &str) -> (&str, &str) {
    let parts = text
        .split_once("== not looked at\n")
        .and_then(|(_, end)| end.rsplit_once("; of the tests\n"));
    parts.unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn runner_with_its_tools_skips_nothing() {
    let (output, asked) = run(&["cargo-deb", "cargo-generate-rpm", "cargo-deny"]);
    if lacks_packages(&output) {
        return;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let (left_out, _) = end(&text);
    assert!(
        !left_out.contains("licences") && !left_out.contains("advisories"),
        "{text}"
    );
    assert!(asked.contains(&"deny".to_owned()), "{asked:?}");
}

/// A report of nextest's in which one test printed this line.
fn report(line: &str) -> (tempfile::TempDir, Output) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("junit.xml");
    let text = format!(
        "<testsuites><testsuite name=\"x::door\"><testcase classname=\"x::door\" name=\"one\">\
         <system-out>test one ... {line}\nok</system-out></testcase></testsuite></testsuites>"
    );
    fs::write(&file, text).expect("written");
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/skips"))
        .arg(&file)
        .arg(directory.path().join("nothing"))
        .env("CI", "true")
        .output()
        .expect("tests/skips");
    (directory, output)
}

#[test]
fn skip_that_is_not_listed_fails_the_run() {
    let (_directory, output) = report("skipped: the moon is in the wrong quarter");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let named = "x::door one: the moon is in the wrong quarter\n    NOT LISTED";
    assert!(text.contains(named), "{text}");
    assert!(
        text.ends_with("1 left out, 1 of them not listed\n"),
        "{text}"
    );
}

#[test]
fn a_listed_skip_is_named_with_its_reason() {
    let (_directory, output) = report("skipped: this kernel has no file systems of users");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("    listed: FUSE is a kernel's choice"),
        "{text}"
    );
    // One that holds on a developer's machine alone.
    let (_directory, output) = report("skipped: there is no lintian here");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn every_skip_of_a_test_says_the_same_word() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let other = ["SKIPPED".to_owned() + ": ", "NOT ".to_owned() + "TRIED"];
    let mut wrong = Vec::new();
    let mut open = vec![tests];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory");
            open.extend(entries.map(|entry| entry.expect("one").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("text");
            if other.iter().any(|word| text.contains(word)) {
                wrong.push(path);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
