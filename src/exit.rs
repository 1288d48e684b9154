//! Exit codes, and how an error is shown.

use std::io::Write;
use std::process::ExitCode;

use crate::advice;
use crate::config::ConfigError;
use crate::credentials::CredentialsError;
use crate::model::InvalidId;
use crate::model::message::InvalidMessage;
use crate::model::task::InvalidTask;
use crate::session::SessionError;
use crate::store::{ErrorClass, StoreError};
use crate::text::shown::{shown_lines, shown_page};

/// The exit codes of both programs; scripts may rely on them. Where one of
/// sysexits.h fits, it is that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Success = 0,
    /// Something failed that no other code names.
    Failure = 1,
    /// The arguments are wrong. Clap ends with the same.
    Usage = 2,
    /// The input is wrong: a message, an id, a label, a task.
    Input = 65,
    /// The store cannot be used now: missing, read-only, full, replaced.
    Unavailable = 69,
    /// A duty of the daemon died or hung.
    DutyDied = 70,
    /// Try again later: rate limit, or a lock that was not released.
    TryAgain = 75,
    /// The task is not the caller's any more.
    Stale = 76,
    /// Credentials that are missing, wrong, expired, or open to others.
    Denied = 77,
    /// The configuration is wrong, or the store is not one for this program.
    Config = 78,
    /// No message came within the time limit, as `timeout` ends.
    TimeUp = 124,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// The exit code of one cause of an error, if it is one that a face knows.
pub type OfCause = fn(&(dyn std::error::Error + 'static)) -> Option<Exit>;

/// What a face knows of errors that the library does not.
#[derive(Debug, Clone, Copy)]
pub struct Face {
    /// The exit codes of its own errors.
    pub code: OfCause,
    /// What to do about an error of acting for sessions: added to its text.
    pub remedy: fn(&SessionError) -> String,
}

impl Face {
    /// A face that knows nothing more.
    pub const PLAIN: Self = Self {
        code: |_| None,
        remedy: |_| String::new(),
    };
}

/// The causes of an error, the outermost first; one that was only passed on counts as
/// itself.
fn causes(error: &anyhow::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    error.chain().map(|cause| {
        let session = cause.downcast_ref::<SessionError>();
        session.and_then(SessionError::passed_on).unwrap_or(cause)
    })
}

impl Exit {
    /// The code for an error, by the first cause in its chain that has one: by
    /// `face`, for what a face alone knows, or by the library's errors.
    #[must_use]
    pub fn of(error: &anyhow::Error, face: OfCause) -> Self {
        causes(error)
            .find_map(|cause| face(cause).or_else(|| Self::of_cause(cause)))
            .unwrap_or(Self::Failure)
    }

    fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Self> {
        if let Some(error) = cause.downcast_ref::<StoreError>() {
            return Some(match error.class() {
                ErrorClass::Input => Self::Input,
                ErrorClass::Denied => Self::Denied,
                ErrorClass::Unavailable => Self::Unavailable,
                ErrorClass::Retry => Self::TryAgain,
                ErrorClass::Stale => Self::Stale,
                ErrorClass::Unusable => Self::Config,
                ErrorClass::Other => Self::Failure,
            });
        }
        if let Some(error) = cause.downcast_ref::<SessionError>() {
            return Some(Self::of_session(error));
        }
        if cause.is::<CredentialsError>() {
            return Some(Self::Denied);
        }
        if cause.is::<ConfigError>() {
            return Some(Self::Config);
        }
        if cause.is::<InvalidMessage>() || cause.is::<InvalidId>() || cause.is::<InvalidTask>() {
            return Some(Self::Input);
        }
        None
    }

    fn of_session(error: &SessionError) -> Self {
        match error {
            SessionError::NoCredentials
            | SessionError::NoSuchCredentials { .. }
            | SessionError::NoSuchSide(_)
            | SessionError::Credentials(_)
            | SessionError::NotMade { .. }
            | SessionError::TokenInEnvironment
            | SessionError::TwoStores(..)
            | SessionError::TwoTokens(..)
            | SessionError::NotMine { .. } => Self::Denied,
            SessionError::ToWhom { .. }
            | SessionError::ForWhom(_)
            | SessionError::NoSuchConversation { .. }
            | SessionError::NoSuchWhom { .. }
            | SessionError::NoSuchHost { .. }
            | SessionError::SessionOrHost(_)
            | SessionError::Id(_)
            | SessionError::NoSuchMessage(_) => Self::Input,
            SessionError::Store(_)
            | SessionError::Follow(_)
            | SessionError::NoRandom(_)
            | SessionError::NotNoted { .. } => Self::Failure,
        }
    }
}

/// Prints an error for a person, `error: ` first, and returns its exit code. Output
/// whose reader has gone (`| head`) is no failure.
#[must_use]
pub fn report(error: &anyhow::Error, face: Face) -> Exit {
    let closed = causes(error).any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    });
    if closed {
        return Exit::Success;
    }
    let mut out = anstream::stderr().lock();
    let style = anstyle::AnsiColor::Red.on_default().bold();
    // Nothing is left to be done if even this cannot be written.
    let _ = match error.downcast_ref::<ConfigError>() {
        Some(errors) => errors.each().try_for_each(|error| {
            let text = error.to_string();
            writeln!(out, "{style}error:{style:#} {}", shown_lines(&text))
        }),
        None => {
            let session = error.chain().find_map(|cause| cause.downcast_ref());
            let remedy = session.map(face.remedy).unwrap_or_default();
            let text = advice::as_given(&format!("{error:#}{remedy}"));
            writeln!(out, "{style}error:{style:#} {}", shown_lines(&text))
        }
    };
    Exit::of(error, face.code)
}

/// Prints what clap says of arguments, in its colours; the arguments that it
/// repeats are shown, not obeyed. `--help` and `--version` come this way too.
#[must_use]
pub fn refuse(error: &clap::Error) -> ExitCode {
    let page = error.render().ansi().to_string();
    let page = shown_page(&page);
    let printed = if error.use_stderr() {
        write!(anstream::stderr().lock(), "{page}")
    } else {
        write!(anstream::stdout().lock(), "{page}")
    };
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    printed.map_or(ExitCode::FAILURE, |()| code.into())
}
