//! Acting for sessions: what every face needs that speaks for an agent.
//!
//! A face is started with a store and credentials ([`Access`]), or in a work tree that a session
//! joined ([`joined`]); these name the sessions that it acts for ([`Acting`]). A name that a user
//! or an agent wrote means a session ([`Name`]). Mail is fetched for all of them, and confirmed
//! once the reply was written ([`mail`]); it is followed as it comes ([`follow()`]), and framed,
//! so that no text of another agent passes for one of ours ([`framing`]). Errors say what
//! happened; the face adds what to do about it, in its own words.

mod access;
mod acting;
mod error;
mod follow;
pub mod framing;
pub mod joined;
pub mod known;
pub mod made;
pub mod mail;
mod naming;
pub(crate) mod news;
pub(crate) mod notes;
pub mod registering;
pub(crate) mod waking;

pub use access::{Access, CREDENTIALS_VARIABLE};
pub use acting::{Acting, Member};
pub use error::SessionError;
pub use follow::{Ended, Following, Refused, Sink, follow};
pub use naming::{Name, NamedSession, Whom, conversation, labels, named, session, session_or_host};

/// What acting for a session comes to.
pub type Result<T> = std::result::Result<T, SessionError>;
