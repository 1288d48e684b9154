//! What tables of settings are made of: shapes, limits, checks, the messages of errors,
//! and how a key is documented.
//!
//! Stands below `config` and below those whose tables stand beside their code (the
//! adapters of `wake` and `alert`). Knows no table and no key by name.

mod adapters;
mod dirs;
mod error;
mod exec;
mod findings;
mod key;
mod needs;
mod origins;
pub(crate) mod secret_file;
mod section;
mod shape;

pub(crate) use adapters::{AdapterTable, adapters};
pub(crate) use dirs::CredentialsDirs;
pub use dirs::LOADED_AS;
pub use error::{ConfigError, SettingPlace, Source};
pub(crate) use error::{all_of, did_you_mean, one_of};
pub use exec::ExecSettings;
pub(crate) use exec::{EXEC_TIMEOUT, OUTPUT_LIMIT};
pub(crate) use findings::{
    Findings, Limits, Range, YEAR, days, hours, limits, millis, mins, range, secs,
};
#[cfg(test)]
pub(crate) use key::duration;
pub use key::{Key, KeyRole};
pub(crate) use key::{Value, key};
pub(crate) use needs::Needs;
pub(crate) use origins::Origins;
pub(crate) use section::Section;
pub(crate) use shape::{RawDuration, table};
