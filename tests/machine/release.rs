//! What a release has beside the program: the Debian package as lintian sees it, and the
//! rpm, which has the same files.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot set up its case has nothing to say"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::scratch::can_run;
use crate::systemd::package::package;

/// Whether these programs can be run; says what is skipped where one cannot.
pub(crate) fn lacks(programs: &[(&str, &[&str])]) -> bool {
    let missing = programs
        .iter()
        .find(|(program, args)| !can_run(program, args));
    if let Some((program, _)) = missing {
        println!("skipped: there is no {program} here");
    }
    missing.is_some()
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("a program");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{command:?}: {out}{err}");
    out.into_owned()
}

#[test]
fn lintian_finds_no_error_and_no_warning() {
    if lacks(&[("lintian", &["--version"]), ("cargo-deb", &["--version"])]) {
        return;
    }
    let said = output(
        Command::new("lintian")
            .args(["--fail-on", "error,warning", "--tag-display-limit", "0"])
            .arg(package()),
    );
    let bad = said
        .lines()
        .filter(|line| line.starts_with("E:") || line.starts_with("W:"));
    assert_eq!(bad.collect::<Vec<_>>(), [""; 0], "{said}");
}

/// Builds the rpm with `release/mcp-bridge` in this directory as the program.
pub(crate) fn rpm(directory: &Path, version: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = directory.join("rpm.toml");
    let assets = output(&mut Command::new(root.join("packaging/rpm/assets")));
    fs::write(&list, assets).expect("written");
    let rpm = directory.join("mcp-bridge.rpm");
    output(
        Command::new("cargo")
            .args(["generate-rpm", "--payload-compress", "none", "--target-dir"])
            .arg(directory)
            .arg("--metadata-overwrite")
            .arg(&list)
            .args(["--set-metadata", &format!("version = \"{version}\"")])
            .arg("--output")
            .arg(&rpm)
            .current_dir(root),
    );
    rpm
}

#[test]
fn rpm_has_the_files_of_the_debian_package() {
    let tools: [(&str, &[&str]); 3] = [
        ("cargo-generate-rpm", &["--version"]),
        ("rpm", &["--version"]),
        ("cargo-deb", &["--version"]),
    ];
    if lacks(&tools) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    // A stand-in for the program: only the list of files is looked at.
    fs::create_dir(directory.path().join("release")).expect("made");
    fs::write(directory.path().join("release/mcp-bridge"), "#!/bin/sh\n").expect("written");
    let rpm = rpm(directory.path(), env!("CARGO_PKG_VERSION"));
    let query = |what: &str| output(Command::new("rpm").args(["-qp", what]).arg(&rpm));
    let listed = |text: String| -> BTreeSet<String> { text.lines().map(str::to_owned).collect() };

    let deb = package();
    let tar = Command::new("sh")
        .args(["-c", "dpkg-deb --fsys-tarfile \"$1\" | tar --list", "sh"])
        .arg(&deb)
        .output()
        .expect("dpkg-deb");
    let mut of_deb: BTreeSet<String> = String::from_utf8_lossy(&tar.stdout)
        .lines()
        .filter(|line| !line.ends_with('/'))
        .map(|line| {
            let path = line.trim_start_matches('.').trim_end_matches(".gz");
            path.replace("/zsh/vendor-completions/", "/zsh/site-functions/")
                .replace("/fish/vendor_completions.d/", "/fish/completions/")
        })
        .collect();
    // Debian's own, and a link that the rpm makes when it is installed.
    for only in [
        "/usr/share/lintian/overrides/mcp-bridge",
        "/usr/share/doc/mcp-bridge/copyright",
        "/usr/share/doc/mcp-bridge/changelog.Debian",
        "/usr/bin/mcp-bridged",
    ] {
        assert!(of_deb.remove(only), "the Debian package has no {only}");
    }
    let scripts = query("--scripts");
    assert!(
        scripts.contains("ln -sfn mcp-bridge /usr/bin/mcp-bridged\n")
            && scripts.contains("rm -f /usr/bin/mcp-bridged\n"),
        "{scripts}"
    );
    let of_rpm = listed(query("--list"));
    assert!(of_rpm.len() > 30, "{of_rpm:?}");
    assert_eq!(of_rpm, of_deb);

    let conffiles = output(
        Command::new("dpkg-deb")
            .arg("--info")
            .arg(&deb)
            .arg("conffiles"),
    );
    assert_eq!(listed(query("--configfiles")), listed(conffiles));
    let version = query("--qf=%{VERSION}-%{RELEASE}");
    let of_deb = output(
        Command::new("dpkg-deb")
            .arg("--field")
            .arg(&deb)
            .arg("Version"),
    );
    assert_eq!(version, of_deb.trim());
}

#[test]
fn both_packages_end_the_daemons_of_users_alike() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("text");
    let (deb, rpm) = (read("deb/prerm"), read("rpm/preun"));
    let from = |text: &str| text.find("    # Daemons of users' own").expect("there");
    assert_eq!(deb[from(&deb)..], rpm[from(&rpm)..]);
}
