//! Telling the store of turns: at once, or later where it is away.

use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::try_join_all;

use super::block_on;
use crate::bridge::Bridge;
use crate::exit::Exit;
use crate::model::health::{DEFAULT_TTL, TurnSaid};
use crate::model::wake::Mail;
use crate::session::notes::{AgentNote, Notes, Saying};
use crate::session::{Access, Acting};
use crate::store::StoreError;

/// How long a process of its own goes on trying.
const TRIES: u32 = 200;

/// Between two of its tries.
const PAUSE: Duration = Duration::from_secs(3);

/// Activity within a turn, or a helper's, is worth a write of the store this often.
pub(super) const ACTIVITY_EVERY_MS: u64 = 2_000;

/// Says it for all sessions of the agent. Returns the mail of each. A call that is given up
/// may still reach the store, at any time: it has no say in what was said after it.
pub(super) async fn say(
    bridge: &Bridge,
    acting: &Acting,
    Saying { turn, at }: Saying,
) -> Result<Vec<Mail>, StoreError> {
    let at = Duration::from_millis(at);
    let said = TurnSaid { turn, at };
    let each = acting.members.iter();
    try_join_all(each.map(|member| bridge.say_turn(&member.caller, DEFAULT_TTL, said))).await
}

/// Says that the agent waits, or does no more, where that is news.
pub(super) async fn say_waiting(
    bridge: &Bridge,
    acting: &Acting,
    waits: bool,
    told: &AgentNote,
) -> anyhow::Result<()> {
    if waits == told.waits {
        return Ok(());
    }
    Ok(acting.say_waiting(bridge, waits).await?)
}

/// Says what waits. Returns whether nothing waits any more: another program may be
/// saying it just now.
pub(super) async fn catch_up(
    notes: &Notes,
    bridge: &Bridge,
    acting: &Acting,
) -> anyhow::Result<bool> {
    if notes.waiting()?.is_empty() {
        return Ok(true);
    }
    let Some(_turn) = notes.turn_to_say()? else {
        return Ok(false);
    };
    loop {
        let waiting = notes.waiting()?;
        if waiting.is_empty() {
            return Ok(true);
        }
        for saying in &waiting {
            match say(bridge, acting, *saying).await {
                // What the store refuses today, it refuses tomorrow.
                Err(error) if error.is_refusal() => {}
                said => drop(said?),
            }
            notes.said(1)?;
        }
    }
}

/// Keeps it for later, and starts a process that says it when the store is there again:
/// the next hook may be the one that a wake calls, and no wake comes to an agent that
/// looks busy.
pub(super) fn later(notes: &Notes, access: &Access, saying: Saying) -> anyhow::Result<()> {
    notes.keep(saying)?;
    let mut command = Command::new(std::env::current_exe()?);
    for file in access.files() {
        command.arg("--credentials").arg(file);
    }
    command
        .args(["hook", "flush"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn()?;
    Ok(())
}

/// `hook flush`: says what waits, as soon as the store takes it. One such process is
/// enough for an agent, however many of its hooks found the store away.
pub(super) fn flush(access: &Access) -> Exit {
    let done = block_on(async {
        let mut alone = None;
        for _ in 0..TRIES {
            // Credentials that are gone have nothing to say.
            let acting = access.acting()?;
            let Some(notes) = Notes::of(&acting) else {
                return Ok(());
            };
            if alone.is_none() {
                alone = notes.turn_to_flush()?;
            }
            if alone.is_none() {
                return Ok(());
            }
            // Afresh each time: a daemon may be found then, or a store.
            let access = access.afresh();
            let said = async { catch_up(&notes, &access.open().await?, &acting).await }.await;
            if !matches!(said, Ok(true)) {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            // A hook that keeps something now starts a process of its own; what one kept
            // before is there to be seen.
            drop(alone.take());
            if notes.waiting()?.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    });
    match done {
        Ok(()) => Exit::Success,
        Err(_) => Exit::Failure,
    }
}
