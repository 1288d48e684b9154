//! What would keep a set-up from working: where the program stands, and whether the
//! daemons of this user run on. Each is a line that says what is wrong, and one with
//! what to do.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::cli::heard::configs;
use crate::guarded;
use crate::host;

/// What there is to report of the program that a client is configured to start.
pub(super) fn program(program: &Path) -> Vec<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = on_path(program, std::env::split_paths(&path));
    place(program).into_iter().chain(on_path).collect()
}

fn place(program: &Path) -> Option<String> {
    let shown = program.display();
    let directory = program.parent().unwrap_or(Path::new("/"));
    // Cargo keeps this beside what it builds.
    if directory.join(".fingerprint").is_dir() {
        return Some(format!(
            "{shown} is in the build directory: the client loses it when that is cleaned\n  install it (cargo install --path ., or the package), and run the installed program"
        ));
    }
    guarded::exposed_program(program).map(|exposed| {
        format!(
            "{shown}: other users may write {}, and could replace the program\n  install it in a directory that only you or root may write, and run that program",
            exposed.display()
        )
    })
}

/// An agent calls `mcp-bridge` by its name.
fn on_path(program: &Path, mut path: impl Iterator<Item = PathBuf>) -> Option<String> {
    let is_program = |file: &PathBuf| {
        let meta = file.metadata();
        meta.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let first = path.find_map(|directory| Some(directory.join("mcp-bridge")).filter(is_program));
    let shown = program.display();
    match first {
        None => Some(format!(
            "mcp-bridge is not on PATH: an agent cannot find it\n  add {} to PATH",
            program.parent().unwrap_or(Path::new("/")).display()
        )),
        Some(other) if other.canonicalize().ok() != program.canonicalize().ok() => Some(format!(
            "mcp-bridge on PATH is another program, {}; the client will start {shown}\n  put the right one first on PATH, and run it again",
            other.display()
        )),
        Some(_) => None,
    }
}

/// How this user's daemons are kept running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Service {
    /// The machine is systemd's.
    is_systemd: bool,
    /// The unit of our daemons is there for users.
    has_unit: bool,
    /// This user's own manager runs.
    is_reachable: bool,
    /// It goes on when the user is logged out.
    lingers: bool,
}

impl Service {
    /// As it is here.
    pub(in crate::cli) fn look() -> Self {
        let user = rustix::process::geteuid().as_raw();
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty());
        let runtime = runtime.map_or_else(|| format!("/run/user/{user}").into(), PathBuf::from);
        let units = [
            "/etc/systemd/user",
            "/usr/local/lib/systemd/user",
            "/usr/lib/systemd/user",
        ];
        let own = configs::user_units();
        let mut places = units.iter().map(PathBuf::from).chain(own);
        Self {
            is_systemd: Path::new("/run/systemd/system").is_dir(),
            has_unit: places.any(|place| place.join("mcp-bridged@.service").exists()),
            is_reachable: runtime.join("systemd/private").exists(),
            lingers: Path::new("/var/lib/systemd/linger")
                .join(host::user_name(user))
                .exists(),
        }
    }

    /// Whether `systemctl --user` starts our daemons.
    pub(in crate::cli) fn starts_daemons(self) -> bool {
        self.is_systemd && self.has_unit
    }

    /// What there is to say of it, where daemons of this user are meant.
    pub(in crate::cli) fn warnings(self) -> Vec<&'static str> {
        let mut found = Vec::new();
        if !self.starts_daemons() {
            return found;
        }
        if !self.is_reachable {
            found.push(
                "the service manager of this user cannot be reached (su and sudo start none)\n  log in as this user (ssh or console), or run: sudo loginctl enable-linger $USER",
            );
        }
        if !self.lingers {
            found.push(
                "daemons of this user end when the user logs out\n  to keep them running: loginctl enable-linger",
            );
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    fn program_in(directory: &Path) -> PathBuf {
        let file = directory.join("mcp-bridge");
        std::fs::write(&file, "").expect("written");
        std::fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("a mode");
        file
    }

    #[test]
    fn a_program_in_a_safe_place_is_well() {
        let scratch = tempfile::tempdir().expect("a directory");
        let file = program_in(scratch.path());
        assert_eq!(place(&file), None);
        let path = [PathBuf::from("/nowhere"), scratch.path().to_owned()];
        assert_eq!(on_path(&file, path.into_iter()), None);
    }

    #[test]
    fn program_that_others_may_replace_is_warned_of() {
        let scratch = tempfile::tempdir().expect("a directory");
        let file = program_in(scratch.path());
        let says = |file: &Path, word: &str| {
            let said = place(file).unwrap_or_default();
            assert!(said.contains(word), "{said}");
        };
        std::fs::set_permissions(&file, Permissions::from_mode(0o757)).expect("a mode");
        says(&file, "other users may write");
        std::fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("a mode");
        std::fs::set_permissions(scratch.path(), Permissions::from_mode(0o777)).expect("a mode");
        says(&file, "other users may write");
        std::fs::create_dir(scratch.path().join(".fingerprint")).expect("a directory");
        says(&file, "in the build directory");
    }

    #[test]
    fn another_program_on_path_is_warned_of() {
        let scratch = tempfile::tempdir().expect("a directory");
        let other = scratch.path().join("other");
        std::fs::create_dir(&other).expect("a directory");
        let (file, first) = (program_in(scratch.path()), program_in(&other));
        let said = on_path(&file, [other, scratch.path().to_owned()].into_iter());
        let said = said.expect("a warning");
        assert!(said.contains(&first.display().to_string()), "{said}");
        assert!(on_path(&file, [PathBuf::from("/nowhere")].into_iter()).is_some());
    }

    #[test]
    fn missing_manager_or_lingering_is_reported() {
        let well = Service {
            is_systemd: true,
            has_unit: true,
            is_reachable: true,
            lingers: true,
        };
        assert_eq!(well.warnings(), Vec::<&str>::new());
        let logs_out = Service {
            lingers: false,
            ..well
        };
        assert!(logs_out.warnings()[0].contains("enable-linger"));
        let by_su = Service {
            is_reachable: false,
            ..well
        };
        assert!(by_su.warnings()[0].contains("cannot be reached"));
        let elsewhere = Service {
            is_systemd: false,
            is_reachable: false,
            lingers: false,
            ..well
        };
        assert_eq!(elsewhere.warnings(), Vec::<&str>::new());
    }
}
