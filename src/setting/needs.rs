//! What a setting needs of the machine.

use std::path::Path;

/// What an adapter needs of this machine, for those who look before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs<'a> {
    /// Nothing that could be looked at.
    Nothing,
    /// A program: a path, or a name that is looked up in PATH.
    Program(&'a str),
    /// A file that this user may write, or make.
    File(&'a Path),
}
