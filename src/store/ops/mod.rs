//! What the product's operations mean, written once for every backend: over the
//! rows of one transaction ([`super::rows`]), without SQL and without I/O.

mod callers;
mod limits;
mod messages;

pub(crate) use callers::{authenticate, came_back};
pub(crate) use messages::{acknowledge, clean, confirm, fetch, peek, send};
