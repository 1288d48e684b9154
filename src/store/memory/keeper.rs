//! The backend in memory as a store: opened, watched, closed.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use async_trait::async_trait;

use super::tables::NAME;
use super::{Memory, MemoryEngine, MemoryReader, Troubles};
use crate::doorbell::{Doorbell, Listener, Mode, Paths, Writer};
use crate::model::message::Message;
use crate::model::{MessageId, SessionKey, StoreName};
use crate::store::executor::{Executor, ReadEngine, Readers, plain_threads};
use crate::store::postponed::Postponed;
use crate::store::writes::{Writes, health_of};
use crate::store::{
    Arrival, Backend, Look, OnRing, Result, Signalled, Store, StoreError, WriteHealth,
};

/// Connections that read.
const READERS: usize = 2;

impl Memory {
    /// Opens it as a process of its own would.
    #[must_use]
    pub fn store(&self, troubles: &Troubles) -> Store {
        let writes = [(); 2].map(|()| Arc::new(Writes::default()));
        let [full, normal] = writes.clone().map(|writes| {
            let engine = MemoryEngine::new(self, troubles);
            Executor::new(Box::new(engine), writes, plain_threads())
        });
        let reader = || -> Box<dyn ReadEngine> { Box::new(MemoryReader::new(self, troubles)) };
        let readers = std::iter::repeat_with(reader).take(READERS).collect();
        Store {
            full,
            normal,
            reads: Readers::new(readers, &plain_threads()),
            postponed: Arc::new(Postponed::new(Arc::clone(&writes[1]))),
            backend: Arc::new(Keeper {
                memory: self.clone(),
                writes,
                counted: AtomicBool::new(false),
            }),
        }
    }
}

#[derive(Debug)]
struct Keeper {
    memory: Memory,
    writes: [Arc<Writes>; 2],
    counted: AtomicBool,
}

#[async_trait]
impl Backend for Keeper {
    fn location(&self) -> &StoreName {
        &NAME
    }

    fn doorbell(&self, _mode: Mode, on_ring: OnRing) -> Result<Doorbell> {
        let listening = Listening {
            look: MemoryLook {
                memory: self.memory.clone(),
                head: self.memory.newest(),
                work: 0,
                access: 0,
                agents: 0,
                owed: 0,
            },
            rings: self.memory.rings(),
            on_ring,
        };
        // There is no file to watch: it asks, and often.
        let [database, log, bell] = [(); 3].map(|()| NAME.file().to_owned());
        let paths = Paths {
            database,
            log,
            bell,
        };
        Doorbell::spawn(paths, Mode::Poll, Arc::default(), Box::new(listening))
            .map_err(|error| StoreError::Io(NAME.clone(), error.to_string()))
    }

    fn renew(&self) {}

    fn log_bytes(&self) -> u64 {
        0
    }

    fn writes(&self) -> WriteHealth {
        let [full, normal] = &self.writes;
        health_of(full, normal)
    }

    fn stands_still(&self) -> bool {
        // Once, so that the first daemon finds out whether it can be written.
        !self.counted.swap(true, Ordering::Relaxed)
    }

    async fn note_count(&self) -> Result<()> {
        Ok(())
    }

    fn committed_at(&self) -> u64 {
        self.memory.committed_at()
    }

    async fn close(&self, threads: Vec<JoinHandle<()>>) {
        for thread in threads {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

struct Listening {
    look: MemoryLook,
    rings: u64,
    on_ring: OnRing,
}

impl Listener for Listening {
    fn writer(&mut self) -> Writer {
        Writer::None
    }

    fn published(&mut self) -> bool {
        true
    }

    fn look(&mut self) {
        (self.on_ring)(&mut self.look);
    }

    fn changed(&mut self) -> bool {
        let rings = self.look.memory.rings();
        std::mem::replace(&mut self.rings, rings) != rings
    }
}

struct MemoryLook {
    memory: Memory,
    head: MessageId,
    work: u64,
    access: u64,
    agents: u64,
    owed: u64,
}

impl MemoryLook {
    /// The messages since the last look, in the order of their ids.
    fn new_ones(&mut self) -> Vec<Message> {
        let new = self.memory.messages_after(self.head);
        if let Some(newest) = new.last() {
            self.head = newest.id;
        }
        new
    }
}

impl Look for MemoryLook {
    fn arrivals(&mut self, whole: &HashSet<SessionKey>) -> Result<Vec<Arrival>> {
        let new = self.new_ones().into_iter();
        let arrivals = new.map(|message| Arrival {
            id: message.id,
            to: message.recipient(),
            message: whole.contains(&message.recipient()).then_some(message),
        });
        Ok(arrivals.collect())
    }

    fn messages(&mut self, of: &HashSet<SessionKey>) -> Result<Vec<Message>> {
        let mut new = self.new_ones();
        new.retain(|message| of.contains(&message.recipient()));
        Ok(new)
    }

    fn signalled(&mut self) -> Result<Signalled> {
        let [work, access, agents, owed] = self.memory.signals();
        Ok(Signalled {
            work: std::mem::replace(&mut self.work, work) != work,
            access: std::mem::replace(&mut self.access, access) != access,
            agents: std::mem::replace(&mut self.agents, agents) != agents,
            owed: std::mem::replace(&mut self.owed, owed) != owed,
        })
    }
}
