//! The parts that are played by processes of their own. They use the product
//! as any program would, and tell what they do as JSON lines on stdout.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::cli::Exit;
use crate::cli::follow::{Begin, Following, follow};
use crate::clock;
use crate::credentials::Credentials;
use crate::doorbell::Mode;
use crate::model::message::{Draft, Message};
use crate::store::locate::{self, Hints};
use crate::store::sqlite::{Create, SqliteStore};
use crate::store::{Caller, Messages, SharedStore};

/// What an actor tells. Times are nanoseconds of the monotonic clock, which
/// all processes share.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Told {
    /// The orchestrator waits for answers.
    Listening,
    /// COMMIT of a work message returned.
    Sent { id: i64, at: u64 },
    /// An agent has a work message in its hand.
    Read { id: i64, at: u64 },
    /// COMMIT of an answer returned.
    Answered { id: i64, work: i64, at: u64 },
    /// An answer stands in the orchestrator's process.
    Answer { id: i64, work: i64, at: u64 },
}

fn tell(told: &Told) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(told)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

async fn enter(credentials: &Path) -> anyhow::Result<(Vec<Caller>, Arc<SqliteStore>)> {
    // Whoever started this is gone: so is the stage.
    #[cfg(target_os = "linux")]
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let credentials = Credentials::read(credentials)?;
    let location = locate::locate(&Hints {
        credentials: credentials.store.as_deref(),
        ..Hints::default()
    })?;
    let store = SqliteStore::open(&location.path, Create::No).await?;
    Ok((credentials.callers, Arc::new(store)))
}

/// Sits idle until a line comes through `inbox`, then reads its mail and
/// answers each message once, whatever happens in between.
pub(super) async fn agent(credentials: &Path, inbox: &Path) -> anyhow::Result<Exit> {
    let (callers, store) = enter(credentials).await?;
    let me = callers.into_iter().next().context("no session")?;
    // Opened for writing too, so that it never ends.
    let pipe = OpenOptions::new().read(true).write(true).open(inbox)?;
    let (woken, mut wakes) = mpsc::channel(1);
    std::thread::spawn(move || {
        for _pointer in BufReader::new(pipe).lines().map_while(Result::ok) {
            // A wake that finds one waiting says nothing new.
            let _ = woken.try_send(());
        }
    });
    // Mail may have come before it did.
    read_mail(&store, &me).await?;
    while wakes.recv().await.is_some() {
        read_mail(&store, &me).await?;
    }
    Ok(Exit::Success)
}

async fn read_mail(store: &SqliteStore, me: &Caller) -> anyhow::Result<()> {
    let fetched = store.fetch(me, 100, clock::now()).await?;
    let at = clock::monotonic_nanos();
    for message in &fetched.messages {
        tell(&Told::Read {
            id: message.id.0,
            at,
        })?;
        // The client id makes a second answer to the same work, by an agent
        // that took over in the middle, the same message.
        let mut answer = Draft::text(format!("done {}", message.id).parse()?);
        answer.client_id = Some(format!("done-{}", message.id).parse()?);
        let sent = store.send(me, &[answer], clock::now()).await?;
        let at = store.committed_at();
        for sent in sent.iter().filter(|sent| !sent.duplicate) {
            tell(&Told::Answered {
                id: sent.id.0,
                work: message.id.0,
                at,
            })?;
        }
    }
    if let Some(id) = &fetched.id {
        store.fetch_written(id, clock::now()).await?;
    }
    Ok(())
}

/// Sends work to each of its sessions in turn, and tells of every answer the
/// moment it is pushed.
pub(super) async fn orchestrator(credentials: &Path, messages: u32) -> anyhow::Result<Exit> {
    const PACE: Duration = Duration::from_millis(50);
    let (callers, store) = enter(credentials).await?;
    let following = Following {
        begin: Begin::Unread,
        mode: Mode::Events,
        full_look: Duration::from_secs(5),
    };
    let shared: SharedStore = store.clone();
    let listen = follow(
        &shared,
        &callers,
        following,
        Box::new(|answer| hear(answer)),
    );
    let work = async {
        tell(&Told::Listening)?;
        for number in 0..messages {
            tokio::time::sleep(PACE).await;
            let to = &callers[number as usize % callers.len()];
            let draft = Draft::text(format!("please do piece {number} of the work").parse()?);
            for sent in store.send(to, &[draft], clock::now()).await? {
                tell(&Told::Sent {
                    id: sent.id.0,
                    at: store.committed_at(),
                })?;
            }
        }
        // The play decides when it is over.
        std::future::pending::<anyhow::Result<Exit>>().await
    };
    tokio::select! {
        ended = listen => ended.map(|()| Exit::Success),
        ended = work => ended,
    }
}

fn hear(answer: &Message) -> std::io::Result<()> {
    let at = clock::monotonic_nanos();
    let work = answer
        .message
        .strip_prefix("done ")
        .and_then(|id| id.parse().ok());
    tell(&Told::Answer {
        id: answer.id.0,
        work: work.unwrap_or_default(),
        at,
    })
}
