//! The words of the product as types, and its pure decisions.
//!
//! Nothing here does I/O, reads a clock or imports another module of ours: what depends
//! on time takes `now` as a parameter, so that thousands of histories can be tried in a
//! second.

pub mod alert;
pub mod assignment;
pub mod client;
pub mod door;
pub mod health;
pub mod ids;
pub mod message;
pub mod observer;
pub mod process;
pub(crate) mod quoting;
pub mod rate;
pub mod redact;
pub mod session;
pub mod standing;
mod store_name;
pub mod task;
pub mod timestamp;
pub mod token;
pub mod wake;
pub mod wall;
pub(crate) mod wire;

pub use ids::{ConversationId, Fence, InvalidId, Label, MessageId, SessionKey, Side, TaskId};
pub use store_name::{DOOR, StoreName};
