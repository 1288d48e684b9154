//! The Debian package, made of the binaries of this test run.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use super::machine::{Machine, wait_for};

/// The package of this tree.
pub(crate) fn package() -> PathBuf {
    built("mcp-bridge.deb", concat!(env!("CARGO_PKG_VERSION"), "-1"))
}

/// Makes it, unless it is newer than the binaries and everything else in it.
/// Test programs run side by side and one of them makes it for all.
fn built(name: &str, version: &str) -> PathBuf {
    let bridge = Path::new(env!("CARGO_BIN_EXE_mcp-bridge"));
    let directory = bridge.parent().expect("it stands somewhere");
    let deb = directory.join(name);
    let lock = File::create(deb.with_extension("lock")).expect("made");
    wait_for("the process that makes the package", || {
        match lock.try_lock() {
            Ok(()) => Some(()),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(error)) => panic!("{error}"),
        }
    });
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let newest = [
        "config",
        "systemd",
        "packaging",
        "docs",
        "examples",
        "Cargo.toml",
    ]
    .iter()
    .map(|part| newest(&root.join(part)))
    .chain([newest(bridge)])
    .max();
    if Some(modified(&deb)) > newest {
        return deb;
    }
    let profile = directory.file_name().expect("debug or release");
    let output = Command::new("cargo")
        .args([
            "deb",
            "--no-build",
            "--fast",
            // Unpacked by every machine, four times as fast as xz.
            "--compress-type=gz",
            // cargo-deb's own takes minutes where it was built without
            // optimisation, as the checks do.
            "--compress-system",
            "--strip",
            "--no-dbgsym",
            "--quiet",
        ])
        .args([
            "--profile",
            if profile == "release" {
                "release"
            } else {
                "dev"
            },
        ])
        .args(["--deb-version", version])
        .arg("--output")
        .arg(&deb)
        .current_dir(root)
        .env(
            "CARGO_TARGET_DIR",
            directory.parent().expect("the target directory"),
        )
        .output()
        .expect("cargo");
    assert!(
        output.status.success(),
        "cargo deb (cargo install --locked cargo-deb): {}",
        String::from_utf8_lossy(&output.stderr)
    );
    deb
}

fn modified(path: &Path) -> SystemTime {
    let meta = fs::metadata(path).and_then(|meta| meta.modified());
    meta.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// When the newest file below `path` was changed.
fn newest(path: &Path) -> SystemTime {
    let Ok(entries) = fs::read_dir(path) else {
        return modified(path);
    };
    entries
        .filter_map(|entry| Some(newest(&entry.ok()?.path())))
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Installs a package, as an operator does with a file.
#[track_caller]
pub(crate) fn install(machine: &Machine, deb: &Path) {
    fs::copy(deb, machine.root("/root/mcp-bridge.deb")).expect("copied");
    machine.sh("dpkg --install /root/mcp-bridge.deb").ok();
}
