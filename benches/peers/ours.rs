//! A store that both processes have open.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mcp_bridge::bridge::{Begin, Bridge, News, Subscription};
use mcp_bridge::clock;
use mcp_bridge::model::token::Token;
use mcp_bridge::model::{SessionKey, Side};
use mcp_bridge::store::sqlite::Create;
use mcp_bridge::store::{Caller, SharedStore};
use tokio::runtime::Runtime;

use crate::common::{self, Pair, draft};
use crate::reader::{self, Job};
use crate::{Made, Writer};

struct Embedded {
    runtime: Runtime,
    path: PathBuf,
    store: SharedStore,
    pair: Pair,
}

pub(crate) fn embedded(directory: &Path) -> Made {
    let runtime = Runtime::new()?;
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

pub(crate) fn read(path: &Path, conversation: &str, token: &str) -> anyhow::Result<()> {
    let caller = Caller {
        session: SessionKey::new(conversation.parse()?, Side::B),
        token: Token::parse(token)?,
    };
    Runtime::new()?.block_on(async {
        let store = common::open(path, Create::No).await;
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
        let bridge = Bridge::from(Arc::clone(&store));
        bridge.follow(&subscription, sink).await?;
        Ok(())
    })
}
