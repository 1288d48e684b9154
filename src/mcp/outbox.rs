//! The way out to the client: what an answer handed out is confirmed when it was
//! written, and not before.

use std::future::Future;

use rmcp::RoleServer;
use rmcp::model::JsonRpcMessage;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;

use super::agent::Agent;

/// A transport that confirms what was written through it.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    inner: T,
    agent: Agent,
}

impl<T> Outbox<T> {
    pub(super) fn new(inner: T, agent: Agent) -> Self {
        Self { inner, agent }
    }
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for Outbox<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let handed_out = match &item {
            JsonRpcMessage::Response(response) => self.agent.handed_out(&response.id),
            _ => None,
        };
        let (sent, agent) = (self.inner.send(item), self.agent.clone());
        async move {
            let Some(fetched) = handed_out else {
                return sent.await;
            };
            let _writing = agent.writing().await;
            sent.await?;
            agent.confirm(fetched).await;
            Ok(())
        }
    }

    fn receive(&mut self) -> impl Future<Output = Option<RxJsonRpcMessage<RoleServer>>> + Send {
        self.inner.receive()
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.inner.close()
    }
}
