//! The door: how a daemon's store is used by other programs of its machine.
//!
//! HTTP/1.1 with JSON on two Unix sockets. `operations` says what can be asked, who
//! may, and what is done; `server` answers on the daemon's side and `client` asks on
//! the other. Both read the same list, and so does the document that describes it
//! (`openapi`), so none of the three can differ.

pub mod client;
pub mod events;
pub mod follow;
mod openapi;
mod operation;
pub mod operations;
mod problem;
pub mod server;
mod sockets;
mod stream;

pub use openapi::{SERVED, document, routes};
pub use operation::{Actor, At, Method, Operation, Quota, Rights, Route};
pub use problem::Problem;
pub use sockets::{Purpose, Sockets};

/// What every path begins with. Within one version a newer daemon understands older
/// programs: members are added, never renamed or taken away.
pub const PREFIX: &str = "/v1/";

/// Names the session that a request acts for: `conv_0123456789abcdef/b`.
pub const SESSION_HEADER: &str = "mcp-bridge-session";

/// Says that the same was asked for before, and that the answer was lost.
pub const REPEATED_HEADER: &str = "mcp-bridge-repeated";
