//! The machine's directory of stores: its daemon's own, and what opens it to a store that
//! the Python bridge shares.

use std::path::Path;

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
    etc.join(TMPFILES.0).exists() && sets_mode(etc)
}

/// Whether a drop-in says what mode the directory has.
fn sets_mode(etc: &Path) -> bool {
    let below = |directory: &Path| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let is_ours = |unit: &std::path::PathBuf| {
        let name = unit.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("mcp-bridged@") && name.ends_with(".service.d")
    };
    let units = below(&etc.join(UNITS)).into_iter().filter(is_ours);
    units.flat_map(|unit| below(&unit)).any(|drop_in| {
        let text = std::fs::read_to_string(&drop_in).unwrap_or_default();
        let is_read = drop_in.extension().is_some_and(|end| end == "conf");
        is_read
            && text
                .lines()
                .any(|line| line.trim_start().starts_with("StateDirectoryMode="))
    })
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
