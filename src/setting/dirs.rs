//! Where a relative file with a secret in it is looked for.

use std::path::{Path, PathBuf};

/// Where a relative file with a secret in it is looked for.
#[derive(Debug)]
pub(crate) struct CredentialsDirs {
    /// `$CREDENTIALS_DIRECTORY`, which wins where the file is there.
    pub(crate) systemd: Option<PathBuf>,
    /// The main file's directory, for drop-ins too.
    pub(crate) config: PathBuf,
}

/// What systemd puts before the name of each file when it loads a whole
/// directory: `LoadCredential=mcp-bridge:/etc/mcp-bridge/credentials`.
pub const LOADED_AS: &str = "mcp-bridge_";

/// The directory beside the main file that is loaded so.
const CREDENTIALS: &str = "credentials";

impl CredentialsDirs {
    /// The first place that has the file, or else the one where it belongs: it
    /// may come later.
    pub(crate) fn resolve(&self, name: &str) -> PathBuf {
        let beside = self.config.join(name);
        let own = self.config.join(CREDENTIALS);
        let apart = own.join(name);
        let loaded = self.systemd.iter().flat_map(|directory| {
            [
                directory.join(name),
                directory.join(format!("{LOADED_AS}{name}")),
            ]
        });
        loaded
            .chain([beside.clone(), apart.clone()])
            .find(|path| path.is_file())
            .unwrap_or_else(|| if own.is_dir() { apart } else { beside })
    }
}

impl CredentialsDirs {
    /// Whether the service manager has not handed over `path`, which is where `name`
    /// was found, although it hands over such files.
    pub(crate) fn not_handed_over(&self, name: &str, path: &Path) -> bool {
        let handed = self.systemd.as_ref();
        handed.is_some_and(|handed| Path::new(name).is_relative() && !path.starts_with(handed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Each place counts only where the ones before it have no such file.
    #[test]
    fn a_relative_name_is_looked_for_in_order() {
        let root = tempfile::tempdir().expect("a directory");
        let [systemd, config] = ["run", "etc"].map(|name| root.path().join(name));
        fs::create_dir_all(config.join("credentials")).expect("made");
        fs::create_dir_all(&systemd).expect("made");
        let dirs = CredentialsDirs {
            systemd: Some(systemd.clone()),
            config: config.clone(),
        };
        let places = [
            systemd.join("one.toml"),
            systemd.join("mcp-bridge_one.toml"),
            config.join("one.toml"),
            config.join("credentials/one.toml"),
        ];
        for place in places.iter().rev() {
            fs::write(place, "").expect("written");
            assert_eq!(&dirs.resolve("one.toml"), place);
        }
        let absolute = config.join("credentials/one.toml");
        assert_eq!(dirs.resolve(&absolute.to_string_lossy()), absolute);

        let alone = CredentialsDirs {
            systemd: None,
            ..dirs
        };
        assert_eq!(alone.resolve("one.toml"), places[2]);
    }

    #[test]
    fn missing_file_has_its_place() {
        let root = tempfile::tempdir().expect("a directory");
        let dirs = CredentialsDirs {
            systemd: Some(root.path().join("run")),
            config: root.path().to_owned(),
        };
        assert_eq!(dirs.resolve("one.toml"), root.path().join("one.toml"));
        fs::create_dir(root.path().join("credentials")).expect("made");
        assert_eq!(
            dirs.resolve("one.toml"),
            root.path().join("credentials/one.toml")
        );
        // A directory of that name is no file.
        fs::create_dir(root.path().join("one.toml")).expect("made");
        assert_eq!(
            dirs.resolve("one.toml"),
            root.path().join("credentials/one.toml")
        );
    }
}
