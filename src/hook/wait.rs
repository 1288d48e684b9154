//! `hook wait`: wakes an idle client when mail comes.
//!
//! The client runs it in the background, from the start of a session and again from the
//! end of each turn, and shows its agent what stands on standard error when it ends with
//! code 2. It ends with its client, there is one for each agent, and it tells of no
//! message twice.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, getppid, kill_process};

use super::answer::how;
use super::event::{Call, Event};
use super::{block_on, tell};
use crate::api::follow::{Begin, Cursor};
use crate::clock;
use crate::exit::Exit;
use crate::host;
use crate::liveness;
use crate::model::MessageId;
use crate::model::process::ProcessId;
use crate::model::wake::ClientWay;
use crate::session::news::{newest, pointer, together};
use crate::session::notes::{AgentNote, Notes, millis};
use crate::session::waking::{self, Begun, Unclaimed};
use crate::session::{Access, Acting, Ended, Following, follow};

/// The code by which a client knows that its agent is to be woken.
const WAKE: Exit = Exit::Usage;

/// The client's process, as Claude Code says it to its hooks.
const CLIENT: &str = "CLAUDE_PID";

/// Between two tries of a store that is away.
const PAUSE: Duration = Duration::from_secs(2);

/// How long the end of a turn may take to be said: the hook that says it runs beside
/// this one.
const FIRST_LOOK: Duration = Duration::from_millis(20);

/// How long after the start of its session a client may take no wake yet: it was seen
/// to drop one silently. The agent gets what is unread then at its start.
const SETTLES: Duration = Duration::from_secs(3);

/// Waits. Ends with [`WAKE`] when there is mail to tell of. The call says from where on
/// the client has it wait.
pub(super) fn run(access: &Access, call: &Call) -> Exit {
    let begun = clock::since_boot();
    let settled = match call.event {
        Event::SessionStart => begun + SETTLES,
        _ => begun,
    };
    let outcome = block_on(async {
        let Some(acting) = access.acting_if_any()? else {
            return Ok(Exit::Success);
        };
        let Some(notes) = Notes::of(&acting) else {
            return Ok(Exit::Success);
        };
        let woken = async {
            let _alone = replace(&notes).await?;
            wake(access, &acting, &notes, settled).await
        };
        tokio::select! {
            () = liveness::ended(client()) => Ok(Exit::Success),
            woken = woken => woken.map(|()| WAKE),
        }
    });
    outcome.unwrap_or_else(|error| {
        tell(&error.to_string());
        Exit::Success
    })
}

/// The client: it says so itself, or it is the process that started this one.
fn client() -> i32 {
    let said = std::env::var(CLIENT).ok().and_then(|pid| pid.parse().ok());
    said.or_else(|| getppid().map(Pid::as_raw_nonzero).map(Into::into))
        .unwrap_or(0)
}

/// Takes the place of the agent's waiter, if it has one. A client that was killed may
/// leave one behind, and one that arms it at each turn would pile them up.
async fn replace(notes: &Notes) -> anyhow::Result<File> {
    let mut file = notes.waiter()?;
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut text = String::new();
        file.rewind()?;
        std::io::Read::by_ref(&mut file)
            .take(64)
            .read_to_string(&mut text)?;
        if let Some(former) = process(&text).filter(|former| liveness::runs(*former)) {
            let pid = i32::try_from(former.pid).ok().and_then(Pid::from_raw);
            // It may have ended this moment.
            let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if let Some(own) = liveness::own() {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{} {}", own.pid, own.start)?;
    }
    Ok(file)
}

fn process(text: &str) -> Option<ProcessId> {
    let (pid, start) = text.trim().split_once(' ')?;
    Some(ProcessId {
        pid: pid.parse().ok()?,
        start: start.parse().ok()?,
    })
}

/// Returns when the agent is to be woken, after it was said why.
async fn wake(
    access: &Access,
    acting: &Acting,
    notes: &Notes,
    settled: Duration,
) -> anyhow::Result<()> {
    loop {
        // Afresh each time: a daemon may have come, or gone.
        match try_once(&access.afresh(), acting, notes, settled).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if super::answer::is_refusal(&error) => return Err(error),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Waits for a message that the agent has not heard of, or until it is to be reminded
/// of one; and reports its mail, unless that was read meanwhile.
async fn try_once(
    access: &Access,
    acting: &Acting,
    notes: &Notes,
    settled: Duration,
) -> anyhow::Result<bool> {
    let boot = host::boot();
    let bridge = access.open().await?;
    let sessions = acting.members.iter();
    let sessions: Vec<_> = sessions.map(|one| one.caller.session.clone()).collect();
    let told = notes.told(&boot.id);
    let mail = together(&bridge.unread(&sessions).await?);
    // The turn that ended may be the one that the waiter before this one led to.
    waking::end_read(&bridge, (acting, notes), mail.oldest_unread).await;
    let behind = sessions.iter().cloned();
    let behind = behind.map(|session| (session, MessageId(told.newest)));
    let following = Following {
        begin: Begin::After(behind.collect::<Cursor>()),
        count: Some(1),
        limit: (mail.unread > 0).then(|| told.reminded_in(millis(boot.now))),
        ..Following::default()
    };
    let (sink, refused) = (Box::new(|_| Ok(())), Box::new(|_| ()));
    let callers = acting.callers();
    let followed = tokio::select! {
        followed = follow(&bridge, &callers, following, sink, refused) => followed?,
        () = access.until_served(&bridge) => return Ok(false),
    };
    tokio::time::sleep(settled.saturating_sub(clock::since_boot())).await;

    let mut pause = FIRST_LOOK;
    loop {
        let each = bridge.unread(&sessions).await?;
        let (mail, told) = (together(&each), notes.told(&boot.id));
        let newest = newest(&mail);
        let is_due = |told: &AgentNote| match followed {
            Ended::Counted => newest > told.newest,
            Ended::TimeUp => told.reminded_in(millis(host::boot().now)).is_zero(),
        };
        if mail.unread == 0 || !is_due(&told) {
            return Ok(false);
        }
        // An agent at work hears of it from its other hooks, at the latest when it stops.
        if !mail.in_turn {
            let (who, what) = ((acting, notes), (&*each, newest));
            let way = (ClientWay::Hook, Unclaimed::Made);
            let begun = waking::begin(&bridge, who, what, way, is_due).await?;
            if let Begun::Here { .. } = begun {
                let _ = writeln!(std::io::stderr(), "{}", pointer(&mail, acting, &how()));
                return Ok(true);
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}
