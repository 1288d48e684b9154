//! A store that both processes have open, and one that a daemon has open for them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mcp_bridge::bridge::{Begin, Bridge, News, Subscription};
use mcp_bridge::clock;
use mcp_bridge::model::token::Token;
use mcp_bridge::model::{SessionKey, Side};
use mcp_bridge::store::sqlite::Create;
use mcp_bridge::store::{Caller, SharedStore};
use rustix::process::Signal;
use tokio::runtime::Runtime;

use crate::common::{self, Pair, draft};
use crate::reader::{self, Job};
use crate::server::Server;
use crate::{Made, Writer};

/// As the command line has it: one thread.
fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

struct Embedded {
    runtime: Runtime,
    path: PathBuf,
    store: SharedStore,
    pair: Pair,
}

pub(crate) fn embedded(directory: &Path) -> Made {
    let runtime = runtime()?;
    let path = directory.join("bridge.db");
    let (store, pair) = runtime.block_on(async {
        let store = common::open(&path, Create::Yes).await;
        common::unlimited(&store).await;
        let pair = common::pair(&store, clock::now()).await;
        (store, pair)
    });
    Ok(Ok(Box::new(Embedded {
        runtime,
        path,
        store,
        pair,
    })))
}

impl Writer for Embedded {
    fn send(&mut self, text: &str) -> anyhow::Result<()> {
        let drafts = [draft(text)];
        let send = self.store.send(&self.pair.a, &drafts, clock::now());
        self.runtime.block_on(send)?;
        Ok(())
    }

    fn job(&self) -> Job {
        let Caller { session, token } = &self.pair.b;
        Job::Embedded {
            store: self.path.clone(),
            conversation: session.conversation.to_string(),
            token: token.expose().to_owned(),
        }
    }
}

/// Asks a daemon.
struct Door {
    // Ended before the daemon.
    runtime: Runtime,
    bridge: Bridge,
    socket: PathBuf,
    pair: Pair,
    _daemon: Server,
}

pub(crate) fn door(directory: &Path) -> Made {
    let runtime = runtime()?;
    let path = directory.join("door.db");
    let pair = runtime.block_on(async {
        let store = common::open(&path, Create::Yes).await;
        common::unlimited(&store).await;
        let pair = common::pair(&store, clock::now()).await;
        store.close().await;
        pair
    });
    let (config, socket) = (directory.join("door.toml"), directory.join("s/api.sock"));
    let (store, state) = (path.display(), directory.join("s.json"));
    let text = format!(
        "role = \"worker\"\n[store]\nurl = \"{store}\"\n[service]\nstate_file = \"{}\"\n",
        state.display()
    );
    std::fs::write(&config, text)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-bridged"));
    command.arg("--config").arg(&config).env("HOME", directory);
    let daemon = Server::start(command, &socket, Signal::TERM)?;
    let bridge = Bridge::through(&socket);
    runtime.block_on(bridge.answering())?;
    Ok(Ok(Box::new(Door {
        runtime,
        bridge,
        socket,
        pair,
        _daemon: daemon,
    })))
}

impl Writer for Door {
    fn send(&mut self, text: &str) -> anyhow::Result<()> {
        let drafts = [draft(text)];
        let send = self.bridge.send(&self.pair.a, &drafts);
        self.runtime.block_on(send)?;
        Ok(())
    }

    fn job(&self) -> Job {
        let Caller { session, token } = &self.pair.b;
        Job::Door {
            socket: self.socket.clone(),
            conversation: session.conversation.to_string(),
            token: token.expose().to_owned(),
        }
    }
}

/// Reads with the store's file open.
pub(crate) fn read(path: &Path, conversation: &str, token: &str) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let store = runtime.block_on(common::open(path, Create::No));
    follow(&runtime, &Bridge::from(store), conversation, token)
}

/// Reads what a daemon pushes.
pub(crate) fn read_through(socket: &Path, conversation: &str, token: &str) -> anyhow::Result<()> {
    follow(&runtime()?, &Bridge::through(socket), conversation, token)
}

fn follow(
    runtime: &Runtime,
    bridge: &Bridge,
    conversation: &str,
    token: &str,
) -> anyhow::Result<()> {
    let caller = Caller {
        session: SessionKey::new(conversation.parse()?, Side::B),
        token: Token::parse(token)?,
    };
    runtime.block_on(async {
        let subscription = Subscription {
            callers: vec![caller],
            begin: Begin::Unread,
            poll: false,
            full_look: Duration::from_secs(30),
        };
        let sink = Box::new(|news| {
            match news {
                News::CaughtUp(_) => reader::ready()?,
                News::Message(message) => reader::has(&message.message)?,
                News::Refused(why) => return Err(std::io::Error::other(why)),
            }
            Ok(ControlFlow::Continue(()))
        });
        bridge.follow(&subscription, sink).await?;
        Ok(())
    })
}
