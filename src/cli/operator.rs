//! Who may give an order: an operator of the store, and for some the session that it
//! concerns.

use super::context::Context;
use super::error::CliError;
use crate::bridge::Bridge;
use crate::model::{ConversationId, SessionKey};
use crate::store::StoreError;

/// Refuses an order of a user who is no operator of this store.
///
/// # Errors
/// [`CliError::NotOperator`].
pub(super) async fn ensure(context: &Context) -> anyhow::Result<()> {
    let found = context.found().await?;
    Ok(Bridge::ensure_operator(found).map_err(CliError::NotOperator)?)
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
    let Err(refused) = ensure(context).await else {
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
    let Err(refused) = ensure(context).await else {
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
