//! An operation by its bytes: a request is read, and its answer written, by what stands
//! here, so that all the rest of answering is there once and not for each operation.

use async_trait::async_trait;

use super::json::{encode, parse};
use crate::api::{At, Operation, Quota, Route};
use crate::store::Result;

/// What a request asks for.
#[async_trait]
pub(super) trait Asked: Send + Sync {
    /// As [`Operation::takes`].
    fn takes(&self) -> Option<(Quota, u64)>;

    /// As [`Operation::run`]; the answer as JSON.
    async fn run(self: Box<Self>, at: At<'_>) -> Result<Vec<u8>>;
}

struct As<O>(O);

#[async_trait]
impl<O: Operation> Asked for As<O> {
    fn takes(&self) -> Option<(Quota, u64)> {
        self.0.takes()
    }

    async fn run(self: Box<Self>, at: At<'_>) -> Result<Vec<u8>> {
        Ok(encode(&self.0.run(at).await?))
    }
}

/// A kind of operation: how it is called, and how its request is read.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) route: Route,
    pub(super) read: fn(&[u8]) -> Result<Box<dyn Asked>>,
}

impl Kind {
    pub(super) fn of<O: Operation>() -> Self {
        Self {
            route: O::ROUTE,
            read: |body| Ok(Box::new(As(parse::<O>(body)?))),
        }
    }
}
