//! The machine's directory of stores: its daemon's own, and what opens it to a store that
//! the Python bridge shares.

use std::path::{Path, PathBuf};

/// The package makes it.
pub(super) const DIRECTORY: &str = "/var/lib/mcp-bridge";

/// What the unit needs, below `/etc`: the directory's mode at every start, and that of
/// files.
pub(super) const DROP_IN: (&str, &str) = (
    "systemd/system/mcp-bridged@.service.d/shared-store.conf",
    "[Service]\nStateDirectoryMode=2770\nUMask=0007\n",
);

/// What counts at every boot, below `/etc`, in the place of the package's file of this
/// name.
pub(super) const TMPFILES: (&str, &str) = (
    "tmpfiles.d/mcp-bridge-store.conf",
    "d /var/lib/mcp-bridge 2770 mcp-bridge mcp-bridge -\n",
);

/// The drop-ins of the service's units, below `/etc`.
const UNITS: &str = "systemd/system";

/// Whether the operator opened the directory to the group, for starts and for boots.
pub(super) fn is_kept_open(etc: &Path) -> bool {
    missing(etc).is_empty()
}

/// What that needs and is not there.
pub(super) fn missing(etc: &Path) -> Vec<(&'static str, &'static str)> {
    let at_start = opening_drop_in(etc).is_none().then_some(DROP_IN);
    let at_boot = (!etc.join(TMPFILES.0).exists()).then_some(TMPFILES);
    at_start.into_iter().chain(at_boot).collect()
}

/// The file by which the operator opened it, if there is one.
pub(super) fn opened_by(etc: &Path) -> Option<PathBuf> {
    let at_boot = etc.join(TMPFILES.0);
    opening_drop_in(etc).or_else(|| at_boot.exists().then_some(at_boot))
}

/// A drop-in of the service that lets others than the owner into the directory.
fn opening_drop_in(etc: &Path) -> Option<PathBuf> {
    let below = |directory: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let is_ours = |unit: &PathBuf| {
        let name = unit.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("mcp-bridged@") && name.ends_with(".service.d")
    };
    let units = below(&etc.join(UNITS)).into_iter().filter(is_ours);
    units.flat_map(|unit| below(&unit)).find(|drop_in| {
        let text = std::fs::read_to_string(drop_in).unwrap_or_default();
        let is_read = drop_in.extension().is_some_and(|end| end == "conf");
        is_read
            && text
                .lines()
                .filter_map(mode_in)
                .any(|mode| mode & 0o077 != 0)
    })
}

/// `StateDirectoryMode=2770`.
fn mode_in(line: &str) -> Option<u32> {
    let (key, mode) = line.split_once('=')?;
    let mode = mode.trim();
    (key.trim() == "StateDirectoryMode").then(|| u32::from_str_radix(mode, 8).ok())?
}

/// What an operator does about a store in there that others share, word for word.
pub(super) fn remedy(store: &Path) -> String {
    let indented = |text: &str| -> String {
        let lines: Vec<String> = text.lines().map(|line| format!("  {line}")).collect();
        lines.join("\n")
    };
    format!(
        "move it to a directory of its own (docs/migration.md), or open this one to its group:\n\
         systemctl edit mcp-bridged@.service\n{}\n\
         /etc/{}\n{}\n\
         systemd-tmpfiles --create mcp-bridge-store.conf && chmod g+rw {}* && systemctl restart 'mcp-bridged@*'",
        indented(DROP_IN.1),
        TMPFILES.0,
        indented(TMPFILES.1),
        store.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_drop_in_that_lets_others_in_opens() {
        for (text, opens) in [
            (DROP_IN.1, true),
            ("[Service]\nStateDirectoryMode = 0750\n", true),
            ("[Service]\nStateDirectoryMode=0700\n", false),
            ("[Service]\n#StateDirectoryMode=2770\n", false),
            ("[Service]\nReadWritePaths=/srv\n", false),
        ] {
            let etc = tempfile::tempdir().expect("a directory");
            let drop_ins = etc.path().join(UNITS).join("mcp-bridged@worker.service.d");
            std::fs::create_dir_all(&drop_ins).expect("made");
            std::fs::write(drop_ins.join("override.conf"), text).expect("written");
            assert_eq!(opened_by(etc.path()).is_some(), opens, "{text}");
            assert!(!is_kept_open(etc.path()), "not at a boot");
            let at_boot = etc.path().join(TMPFILES.0);
            std::fs::create_dir_all(at_boot.parent().expect("a parent")).expect("made");
            std::fs::write(at_boot, TMPFILES.1).expect("written");
            assert_eq!(is_kept_open(etc.path()), opens, "{text}");
        }
    }
}
