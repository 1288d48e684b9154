//! What can be wrong with a configuration, in words for the person who wrote it.
//!
//! Every message names the source, the key's dotted path, what is wrong and
//! what to do, in one line or two. A value is quoted only where it cannot be a
//! secret: never a store URL, never the value of a wrong type.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a configuration was refused. The daemon ends with exit code 78 on it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file given by `--config` is not there.
    #[error("{}: no such file; create it, or name another one with --config", path.display())]
    Missing {
        /// The file as it was named.
        path: PathBuf,
    },

    /// A directory stands where a file is wanted.
    #[error("{0}: is a directory; name a file, such as {0}/worker.toml", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
    },

    /// The place of the drop-ins is taken by something that is no directory.
    #[error("{}: is not a directory; drop-ins are the *.toml files in a directory of this name", path.display())]
    NotADirectory {
        /// What stands there.
        path: PathBuf,
    },

    /// The system refused to hand the file, or the directory, over.
    #[error("{}: {}", path.display(), unreadable(cause))]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason. Part of the message, so not a `source`.
        cause: io::Error,
    },

    /// The file is not UTF-8 text.
    #[error("{}:{line}: not UTF-8 text; save the file as UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line of the first byte that does not fit, counted from 1.
        line: usize,
    },

    /// The file is not TOML.
    #[error("{}:{line}:{column}: not TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// What the parser says; never a piece of the file.
        message: String,
    },

    /// A key that no table of this version has.
    #[error("{at}: unknown key; {remedy}")]
    UnknownKey {
        /// Where it is.
        at: SettingPlace,
        /// The key that was probably meant, or those known there.
        remedy: String,
    },

    /// A value of the wrong TOML type.
    #[error("{at}: must be {expected}, not {found}")]
    WrongType {
        /// Where it is.
        at: SettingPlace,
        /// The type that is wanted, with an example.
        expected: String,
        /// The type that was found; never the value.
        found: &'static str,
    },

    /// A value of the right type that cannot be used.
    #[error("{at}: {problem}")]
    Invalid {
        /// Where it is.
        at: SettingPlace,
        /// What is wrong, and what to do.
        problem: String,
    },

    /// A key that has to be there and is not.
    #[error("{at}: missing; {remedy}")]
    MissingKey {
        /// Where it belongs.
        at: SettingPlace,
        /// What to write.
        remedy: String,
    },

    /// Several of the above, in the order of their sources; a line or two each.
    #[error("{}", lines(.0))]
    Several(Vec<ConfigError>),
}

impl ConfigError {
    /// The single errors, for a caller that puts a word such as `error: ` before each.
    pub fn each(&self) -> impl Iterator<Item = &ConfigError> {
        match self {
            Self::Several(errors) => errors.iter(),
            one => std::slice::from_ref(one).iter(),
        }
    }

    pub(crate) fn invalid(at: SettingPlace, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self::Invalid { at, problem }
    }

    pub(crate) fn missing(at: SettingPlace, remedy: impl Into<String>) -> Self {
        let remedy = remedy.into();
        Self::MissingKey { at, remedy }
    }

    /// `Ok` without errors, otherwise the one or all of them.
    pub(crate) fn all(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }
}

/// A source of settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The main file or a drop-in.
    File(PathBuf),
    /// An environment variable, by its name.
    Variable(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Variable(name) => name.fmt(f),
        }
    }
}

/// Where a setting stands: `worker.toml: session 2: wake.order`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingPlace {
    /// The file or the variable.
    pub source: Source,
    /// Which `[[session]]` of that source, counted from 1.
    pub session: Option<usize>,
    /// The dotted path, within the session where there is one.
    pub key: String,
}

impl fmt::Display for SettingPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)?;
        if let Some(number) = self.session {
            write!(f, ": session {number}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        Ok(())
    }
}

/// "did you mean `x`?", where one of `known` is close enough to `word`.
pub(crate) fn did_you_mean(word: &str, known: &[&str]) -> Option<String> {
    let word = word.to_lowercase();
    // One slip in a short word, more in a long one; beyond that a guess misleads.
    let close = (word.chars().count() / 3).clamp(1, 4);
    let (distance, best) = known
        .iter()
        .map(|&candidate| (strsim::osa_distance(&word, candidate), candidate))
        .min()?;
    let shortened = || {
        known
            .iter()
            .find(|known| word.len() > 2 && known.contains(&word))
    };
    let best = match distance <= close {
        true => Some(best),
        false => shortened().copied(),
    };
    best.map(|best| format!("did you mean `{best}`?"))
}

/// `` `a`, `b` or `c` ``.
pub(crate) fn one_of(words: &[&str]) -> String {
    listed(words, "or")
}

/// `` `a`, `b` and `c` ``.
pub(crate) fn all_of(words: &[&str]) -> String {
    listed(words, "and")
}

fn listed(words: &[&str], joint: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} {joint} {last}", first.join(", ")),
        None => String::new(),
    }
}

fn unreadable(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => {
            "permission denied; make it readable to the user that mcp-bridged runs as".to_owned()
        }
        // A drop-in: for the main file these two have words of their own.
        io::ErrorKind::NotFound => "a link to a missing file; correct or remove it".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory; a drop-in is a file".to_owned(),
        _ => format!("cannot be read: {cause}"),
    }
}

fn lines(errors: &[ConfigError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
