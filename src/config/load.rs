//! The sources of a configuration, found and read in their order.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use figment::Figment;

use super::layer::Layer;
use super::raw::RawSettings;
use super::sessions::LayeredSession;
use super::settings::Settings;
use super::validate::{Identity, validate};
use crate::setting::{ConfigError, CredentialsDirs, Origins, Source};

/// What an environment variable begins with to be a setting.
const PREFIX: &str = "MCP_BRIDGE__";

/// Where systemd puts the credentials of a unit.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Reads the configuration of one daemon.
///
/// The sources, each over the one before: the file at `path`; the drop-ins
/// `<stem>.d/*.toml` beside it, in the order of their names; the variables of
/// `env` whose name begins with `MCP_BRIDGE__`, where two underscores part
/// section and key. `[[session]]` tables add up instead.
///
/// Of `env`, only those variables and `CREDENTIALS_DIRECTORY` are looked at;
/// [`environment`] gives the process's.
///
/// # Errors
///
/// Everything that is wrong at the first stage that finds anything: files that
/// cannot be read or parsed, then keys and types, then values.
pub fn load(
    path: &Path,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, ConfigError> {
    let env: BTreeMap<String, String> = env.into_iter().collect();

    let mut layers = read_files(path)?;
    layers.extend(env.iter().filter_map(|(name, text)| {
        let keys = name.strip_prefix(PREFIX)?;
        Some(Layer::from_variable(name, keys, text))
    }));

    let mut errors = Vec::new();
    for layer in &layers {
        layer.check_shape(&mut errors);
    }
    ConfigError::all(errors)?;

    let sessions = take_sessions(&mut layers);
    let merged = layers.into_iter().fold(Figment::new(), Figment::merge);
    let main = Source::File(path.to_owned());
    // Every layer fits the shape by itself, and only equal shapes are merged.
    let raw: RawSettings = merged.extract().map_err(|error| ConfigError::Unreadable {
        path: path.to_owned(),
        cause: io::Error::other(error.kind.to_string()),
    })?;

    let identity = Identity {
        source: path.to_owned(),
        instance: instance(path),
        credentials: credentials_dirs(path, &env),
    };
    validate(identity, &raw, &sessions, &Origins::new(merged, main))
}

/// The variables of this process that [`load`] looks at.
///
/// `std::env::vars` would panic on a foreign variable that is not UTF-8; here
/// one of ours keeps its place with the odd bytes replaced, and is refused in words.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(|(name, text)| (lossy(name), lossy(text)))
        .filter(|(name, _)| name.starts_with(PREFIX) || name == CREDENTIALS_DIRECTORY)
        .collect()
}

/// How many drop-ins belong to the file at `path`.
#[must_use]
pub fn drop_in_count(path: &Path) -> usize {
    drop_ins(&path.with_extension("d")).map_or(0, |found| found.len())
}

/// The main file, without which nothing else matters, and the drop-ins.
fn read_files(path: &Path) -> Result<Vec<Layer>, ConfigError> {
    let main = Layer::from_file(path).map_err(|error| match error {
        ConfigError::Unreadable { path, cause } => match cause.kind() {
            io::ErrorKind::NotFound => ConfigError::Missing { path },
            io::ErrorKind::IsADirectory => ConfigError::Directory { path },
            _ => ConfigError::Unreadable { path, cause },
        },
        other => other,
    });
    if let Err(error @ (ConfigError::Missing { .. } | ConfigError::Directory { .. })) = main {
        return Err(error);
    }

    let (drop_ins, unlisted) = match drop_ins(&path.with_extension("d")) {
        Ok(paths) => (paths, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let mut layers = Vec::new();
    let mut errors = Vec::new();
    let drop_ins = drop_ins.iter().map(|path| Layer::from_file(path));
    for layer in std::iter::once(main).chain(drop_ins) {
        match layer {
            Ok(layer) => layers.push(layer),
            Err(error) => errors.push(error),
        }
    }
    errors.extend(unlisted);
    ConfigError::all(errors)?;
    Ok(layers)
}

/// `*.toml` in lexical order. As with a shell's pattern, a leading dot hides a file.
fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let refused = |cause: io::Error| {
        let path = directory.to_owned();
        match cause.kind() {
            io::ErrorKind::NotADirectory => ConfigError::NotADirectory { path },
            _ => ConfigError::Unreadable { path, cause },
        }
    };
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(refused)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(refused)?.path();
        let hidden = path
            .file_name()
            .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden
            && path
                .extension()
                .is_some_and(|extension| extension == "toml")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn take_sessions(layers: &mut [Layer]) -> Vec<LayeredSession> {
    layers
        .iter_mut()
        .flat_map(|layer| {
            let source = layer.source.clone();
            let numbered = (1..).zip(layer.take_sessions());
            numbered.map(move |(number, raw)| LayeredSession {
                source: source.clone(),
                number,
                raw,
            })
        })
        .collect()
}

fn credentials_dirs(path: &Path, env: &BTreeMap<String, String>) -> CredentialsDirs {
    let beside = path.parent().unwrap_or(Path::new(""));
    let beside = match beside.as_os_str().is_empty() {
        true => Path::new("."),
        false => beside,
    };
    CredentialsDirs {
        systemd: env
            .get(CREDENTIALS_DIRECTORY)
            .filter(|directory| !directory.is_empty())
            .map(PathBuf::from),
        // Absolute, so that a session's path means the same after a chdir; where
        // there is no working directory, the relative path is all there is.
        config: std::path::absolute(beside).unwrap_or_else(|_| beside.to_owned()),
    }
}

/// The name of the daemon that is configured at `path`: the file's stem.
#[must_use]
pub fn instance(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
