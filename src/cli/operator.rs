//! Who may give an operator's order: the owner of the store's directory, or root.
//!
//! This holds against other users who come through our commands, and no further:
//! a user who may write the store's file can write into it by other means. See
//! docs/threat-model.md.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::geteuid;

use super::context::Context;
use super::error::CliError;
use crate::bridge::Bridge;
use crate::host;
use crate::model::{ConversationId, SessionKey};
use crate::store::StoreError;

/// Mode bit of a directory in which each user's files are that user's own.
const STICKY: u32 = 0o1000;

/// Refuses an order of a user who is no operator of this store.
///
/// # Errors
/// [`CliError::NotOperator`].
pub(super) fn ensure(context: &Context) -> anyhow::Result<()> {
    let path = context.location()?.path;
    // Named before any thread takes another user's place.
    let me = host::caller();
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let Ok(found) = std::fs::metadata(directory) else {
        // The command itself says what is wrong with it.
        return Ok(());
    };
    let owner = match found.mode() & STICKY != 0 {
        true => std::fs::metadata(&path).map_or(found.uid(), |file| file.uid()),
        false => found.uid(),
    };
    if may(geteuid().as_raw(), owner) {
        return Ok(());
    }
    Err(CliError::NotOperator {
        directory: directory.to_owned(),
        owner: host::user_name(owner),
        caller: me.name.clone(),
        store: path,
    }
    .into())
}

fn may(caller: u32, owner: u32) -> bool {
    caller == 0 || caller == owner
}

/// The same, but a session of the credentials may do it with its own
/// conversation.
///
/// # Errors
/// As [`ensure`].
pub(super) async fn ensure_or_party(
    context: &Context,
    bridge: &Bridge,
    conversation: &ConversationId,
) -> anyhow::Result<()> {
    let Err(refused) = ensure(context) else {
        return Ok(());
    };
    let of = |session: &SessionKey| session.conversation == *conversation;
    match holds_credentials(context, bridge, of).await? {
        true => Ok(()),
        false => Err(refused),
    }
}

/// The same, but the session that created a task may do it with that one.
///
/// # Errors
/// As [`ensure`].
pub(super) async fn ensure_or_creator(
    context: &Context,
    bridge: &Bridge,
    creator: Option<&SessionKey>,
) -> anyhow::Result<()> {
    let Err(refused) = ensure(context) else {
        return Ok(());
    };
    let of = |session: &SessionKey| Some(session) == creator;
    match holds_credentials(context, bridge, of).await? {
        true => Ok(()),
        false => Err(refused),
    }
}

/// Whether the credentials hold for a session of this kind; one whose
/// conversation has ended is still itself.
async fn holds_credentials(
    context: &Context,
    bridge: &Bridge,
    of: impl Fn(&SessionKey) -> bool,
) -> anyhow::Result<bool> {
    let Some(acting) = context.acting_if_any()? else {
        return Ok(false);
    };
    let mut callers = acting.callers();
    callers.retain(|caller| of(&caller.session));
    let verdicts = bridge.verify(&callers).await?;
    Ok(verdicts.iter().any(|verdict| {
        matches!(
            verdict,
            Ok(_) | Err(StoreError::Expired { .. } | StoreError::Closed(_))
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_and_root_may() {
        assert!(may(0, 1_000) && may(1_000, 1_000) && may(0, 0));
        assert!(!may(1_001, 1_000) && !may(1_000, 0));
    }
}
