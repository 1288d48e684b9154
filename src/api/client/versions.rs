//! A daemon of another version: what it does not know is said in words that help.

use bytes::Bytes;
use http::StatusCode;
use tokio::time::timeout;

use super::find::SOON;
use super::{Client, Connections, request};
use crate::api::Actor;
use crate::api::operations::{Answering, Health};
use crate::model::door::DoorError;
use crate::store::{Result, StoreError};

impl Client {
    /// The error of a daemon that does not know an operation, or a member of a request,
    /// says which version it is of. Each other is what it is.
    pub(super) async fn explained(
        &self,
        connections: &Connections,
        what: &str,
        error: StoreError,
    ) -> StoreError {
        let what = match &error {
            StoreError::Door(DoorError::NoOperation(_) | DoorError::NoMethod(_)) => what.to_owned(),
            StoreError::Door(DoorError::Malformed(why)) if why.contains("unknown") => {
                format!("{what}: {why}")
            }
            _ => return error,
        };
        let asked = connections.ask(request::<Health>(&Actor::Anyone, Bytes::new()));
        let Ok(Ok((status, body))) = timeout(SOON, asked).await else {
            return error;
        };
        let socket = connections.path().to_owned();
        if status != StatusCode::OK {
            let why = format!("it answers {status} to the question for its version");
            return DoorError::OtherApi { socket, why }.into();
        }
        match serde_json::from_slice::<Answering>(&body) {
            Ok(answering) => match ensure_understood(&answering, connections) {
                Ok(()) if is_same(&error, &answering) => error,
                Ok(()) => {
                    let version = answering.version;
                    let older = DoorError::Older {
                        socket,
                        version,
                        what,
                    };
                    older.into()
                }
                Err(refused) => refused,
            },
            Err(_) => error,
        }
    }
}

/// Whether a request was malformed for a daemon of this very version.
fn is_same(error: &StoreError, answering: &Answering) -> bool {
    let is_malformed = matches!(error, StoreError::Door(DoorError::Malformed(_)));
    is_malformed && answering.version == env!("CARGO_PKG_VERSION")
}

/// Refuses a daemon that does not speak this program's version of the API.
pub(super) fn ensure_understood(answering: &Answering, connections: &Connections) -> Result<()> {
    let api = answering.api;
    if api.is_understood() {
        return Ok(());
    }
    let versions = match api.from == api.to {
        true => api.to.to_string(),
        false => format!("{} to {}", api.from, api.to),
    };
    let socket = connections.path().to_owned();
    let version = &answering.version;
    let why = format!("it is version {version} and supports {versions}");
    Err(DoorError::OtherApi { socket, why }.into())
}
