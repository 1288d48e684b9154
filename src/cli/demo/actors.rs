//! The parts that are played by processes of their own. They use the product
//! as any program would, and tell what they do as JSON lines on stdout.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::mail::InHand;
use crate::bridge::Bridge;
use crate::credentials::Credentials;
use crate::exit::Exit;
use crate::leash;
use crate::model::health::Turn;
use crate::model::message::{Draft, Message};
use crate::model::{Fence, TaskId};
use crate::session::{Following, follow};
use crate::store::locate::{self, Hints};
use crate::store::sqlite::{Create, SqliteStore};
use crate::store::{Caller, NewTask, Outcome, Store, StoreError, TaskError};
use crate::{clock, host};

/// The role of the agents, for which the tasks are.
pub(super) const ROLE: &str = "worker";
/// How long a task takes: twice this, with a note in the middle.
const HALF_A_TASK: Duration = Duration::from_millis(500);
/// What the agent's own calls are good for; its daemon's heartbeat counts.
const CALL: Duration = Duration::from_secs(4);

/// What an actor tells. Times are nanoseconds of the monotonic clock, which
/// all processes share.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum DemoEvent {
    /// COMMIT of the new tasks returned.
    Added { tasks: Vec<i64>, at: u64 },
    /// These were fetched, by this process.
    Got { process: u32, messages: Vec<InHand> },
    /// An agent has got a task.
    Taken {
        task: i64,
        fence: i64,
        who: String,
        at: u64,
    },
    /// COMMIT of an ordinary message returned.
    Sent { id: i64, at: u64 },
    /// COMMIT of the end of a task returned.
    Done {
        task: i64,
        fence: i64,
        who: String,
        at: u64,
    },
    /// The end of a task was refused: another agent has it by now.
    Refused {
        task: i64,
        fence: i64,
        who: String,
        why: String,
    },
    /// A message stands in the orchestrator's process; if it is about the end
    /// of a task, which.
    Heard { id: i64, task: Option<i64>, at: u64 },
}

fn tell(told: &DemoEvent) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(told)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// Reported before the fetch is confirmed: a kill in between hands them out again.
fn got(messages: &[Message]) -> std::io::Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    tell(&DemoEvent::Got {
        process: std::process::id(),
        messages: messages.iter().map(InHand::from).collect(),
    })
}

async fn enter(credentials: &Path) -> anyhow::Result<(Vec<Caller>, Arc<Store>, String)> {
    // The stage ends with the process that started this one.
    leash::hold()?;
    let credentials = Credentials::read(credentials)?;
    let location = locate::locate(&Hints {
        credentials: credentials.store.as_deref(),
        ..Hints::default()
    })?;
    let store = SqliteStore::open(location.path(), Create::No).await?;
    let name = credentials.label.map(|label| label.to_string());
    Ok((
        credentials.callers,
        Arc::new(store),
        name.unwrap_or_default(),
    ))
}

/// Sits idle until a line comes through `inbox`, then reads its mail and does
/// the tasks that came with it, one after the other.
pub(super) async fn agent(credentials: &Path, inbox: &Path) -> anyhow::Result<Exit> {
    let (callers, store, name) = enter(credentials).await?;
    let agent = Agent {
        me: callers.into_iter().next().context("no session")?,
        store,
        name,
    };
    // Its client reports turns, and between them it waits: so a task that it
    // sits on may be taken from it.
    let (turn, boot) = (Some(Turn::Outside), host::boot());
    let calling = agent
        .store
        .call_in(&agent.me, CALL, turn, &boot, clock::now());
    calling.await?;
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
    agent.read_mail().await?;
    while wakes.recv().await.is_some() {
        agent.read_mail().await?;
    }
    Ok(Exit::Success)
}

struct Agent {
    me: Caller,
    store: Arc<Store>,
    name: String,
}

impl Agent {
    async fn read_mail(&self) -> anyhow::Result<()> {
        let fetched = self.store.fetch(&self.me, 100, clock::now()).await?;
        let at = clock::monotonic_nanos();
        got(&fetched.messages)?;
        // The task in hand now is this process's to do, or to lose.
        if let Some(id) = &fetched.id {
            let me = &self.me.session;
            self.store.fetch_written(me, id, clock::now()).await?;
        }
        for message in &fetched.messages {
            let Some((task, fence)) = InHand::from(message).task() else {
                continue;
            };
            tell(&DemoEvent::Taken {
                task: task.0,
                fence: fence.0,
                who: self.name.clone(),
                at,
            })?;
            self.work(task, fence).await?;
        }
        Ok(())
    }

    async fn work(&self, task: TaskId, fence: Fence) -> anyhow::Result<()> {
        tokio::time::sleep(HALF_A_TASK).await;
        let draft = Draft::text(format!("half of task {task} is done").parse()?);
        for sent in self.store.send(&self.me, &[draft], clock::now()).await? {
            let at = self.store.committed_at();
            tell(&DemoEvent::Sent { id: sent.id.0, at })?;
        }
        let note = "half of it is done".parse()?;
        let noting = self
            .store
            .task_progress(&self.me, task, fence, &note, None, clock::now());
        if let Err(error) = noting.await {
            return self.refused(task, fence, error);
        }
        tokio::time::sleep(HALF_A_TASK).await;
        let outcome = Outcome::Done(format!("done by {}", self.name).parse()?);
        let ending = self
            .store
            .end_task(&self.me, task, fence, &outcome, clock::now());
        match ending.await {
            Ok(_) => tell(&DemoEvent::Done {
                task: task.0,
                fence: fence.0,
                who: self.name.clone(),
                at: self.store.committed_at(),
            })?,
            Err(error) => self.refused(task, fence, error)?,
        }
        Ok(())
    }

    fn refused(&self, task: TaskId, fence: Fence, error: StoreError) -> anyhow::Result<()> {
        let StoreError::Task(TaskError::StaleLease { now_with, .. }) = &error else {
            return Err(error.into());
        };
        let why = now_with.clone();
        let (task, fence, who) = (task.0, fence.0, self.name.clone());
        Ok(tell(&DemoEvent::Refused {
            task,
            fence,
            who,
            why,
        })?)
    }
}

/// Adds the tasks, and tells of every message the moment it is pushed.
pub(super) async fn orchestrator(credentials: &Path, tasks: u32) -> anyhow::Result<Exit> {
    let (callers, store, _) = enter(credentials).await?;
    let following = Following {
        full_look: Duration::from_secs(5),
        ..Following::default()
    };
    let bridge = Bridge::from(Arc::clone(&store));
    let hearing = Box::new(|message| hear(&message));
    let refused = Box::new(|_| {});
    let listen = follow(&bridge, &callers, following, hearing, refused);
    let work = async {
        let me = callers.first().context("no session")?;
        let mut new = Vec::new();
        for number in 1..=tasks {
            new.push(NewTask {
                role: ROLE.into(),
                title: format!("Piece {number} of the work").parse()?,
                body: "Do it, and say when half of it is done.".parse()?,
                files: Vec::new(),
                client_id: None,
            });
        }
        let added = store.add_tasks(Some(me), &new, clock::now()).await?;
        tell(&DemoEvent::Added {
            tasks: added.iter().map(|added| added.id.0).collect(),
            at: store.committed_at(),
        })?;
        // Read as an agent reads, so that nothing is left unread.
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            for caller in &callers {
                let fetched = store.fetch(caller, 100, clock::now()).await?;
                got(&fetched.messages)?;
                if let Some(id) = &fetched.id {
                    let by = &caller.session;
                    store.fetch_written(by, id, clock::now()).await?;
                }
            }
        }
    };
    tokio::select! {
        ended = listen => Ok(ended.map(|_| Exit::Success)?),
        ended = work => ended,
    }
}

fn hear(message: &Message) -> std::io::Result<()> {
    let at = clock::monotonic_nanos();
    let field = |name: &str| message.metadata.get(name);
    let ended = field("event").and_then(|event| event.as_str()) == Some("task-ended");
    let task = field("task_id").filter(|_| ended);
    tell(&DemoEvent::Heard {
        id: message.id.0,
        task: task.and_then(serde_json::Value::as_i64),
        at,
    })
}
