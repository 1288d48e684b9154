//! The plugin for Claude Code.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::scratch::Scratch;
use crate::installed;

fn plugin() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/claude-code")
}

/// The files below a folder, by their path in it.
fn files(folder: &Path, within: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, within, found);
        } else {
            let name = path.strip_prefix(within).expect("below the folder");
            found.push(name.display().to_string());
        }
    }
}

#[test]
fn the_plugin_has_the_version_of_the_program() {
    let text = std::fs::read_to_string(plugin().join(".claude-plugin/plugin.json"));
    let manifest: Value = serde_json::from_str(&text.expect("a manifest")).expect("JSON");
    assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_package_has_every_file_of_the_plugin() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    let cargo: toml::Table = text.expect("Cargo.toml").parse().expect("TOML");
    let mut packed: Vec<String> = cargo["package"]["metadata"]["deb"]["assets"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|asset| {
            let (from, to) = (asset.get(0)?.as_str()?, asset.get(1)?.as_str()?);
            let name = from.strip_prefix("plugins/claude-code/")?;
            let folder = name.rfind('/').map_or("", |end| &name[..=end]);
            assert_eq!(
                to,
                format!("usr/share/mcp-bridge/plugins/claude-code/{folder}")
            );
            Some(name.to_owned())
        })
        .collect();
    let mut there = Vec::new();
    files(&plugin(), &plugin(), &mut there);
    packed.sort();
    there.sort();
    assert_eq!(packed, there);
}

#[test]
fn claude_finds_nothing_to_report_in_the_plugin() {
    let Some(claude) = installed("claude") else {
        return;
    };
    let scratch = Scratch::new();
    let mut command = scratch.program(&claude.to_string_lossy());
    command
        .args(["plugin", "validate", "--profile", "directory"])
        .arg(plugin());
    let ran = scratch.outcome(command);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("found nothing to report"), "{ran:?}");
}
