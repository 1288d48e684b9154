//! Claude Code: woken by a hook of its own, and through its inbox.

mod hook;
mod inbound;
mod inbox;

use super::Way;

pub(super) use inbox::{is_claude, own_note};

/// The first one first.
pub(super) const WAYS: &[&dyn Way] = &[&hook::Hook, &inbox::Inbox];
