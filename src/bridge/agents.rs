//! Which client acts for a session.

use super::Bridge;
use crate::api::operations::{RegisterAgent, Registered};
use crate::model::client::Client;
use crate::store::{Caller, Result};

impl Bridge {
    /// Says which client acts for this session. With `yields`, one that is registered
    /// already and runs keeps its place.
    ///
    /// # Errors
    /// Credentials.
    pub async fn register_agent(
        &self,
        caller: &Caller,
        client: Client,
        yields: bool,
    ) -> Result<Registered> {
        let said = RegisterAgent {
            client: client.name,
            version: client.version,
            boot_id: client.boot.id,
            pid_ns: client.boot.pid_ns,
            pid: client.process.map(|process| process.pid),
            pid_start: client.process.map(|process| process.start),
            directory: client.directory,
            yields,
        };
        self.ask_as(caller, said).await
    }
}
