//! The daemon's side of the door.

mod answer;
mod asked;
mod connections;
mod events;
mod follow;
mod hub;
mod json;
mod limits;
mod listen;
mod patient;
mod users;
mod watched;

pub use hub::Hub;
pub use limits::Limits;
pub use listen::{Bound, bind};

use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::http::header;
use axum::routing::{get, post};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::operations::{self, each_operation};
use super::{Method, PREFIX, Purpose, SERVED, stream};
use crate::store::SharedStore;
use asked::Kind;
use limits::Quotas;
use users::User;

/// What all connections share.
#[derive(Debug)]
pub struct Door {
    store: watch::Receiver<Option<SharedStore>>,
    hub: Arc<Hub>,
    limits: RwLock<Limits>,
    quotas: Quotas,
    /// The door closes: subscriptions get a last line that says so.
    ends: CancellationToken,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
struct Peer {
    socket: Purpose,
    user: Arc<User>,
    /// Its process, if it is of this PID namespace.
    pid: Option<u32>,
}

impl Door {
    /// A door to the store that is open at the time of each request. What is pushed
    /// to subscribers comes from the hub.
    #[must_use]
    pub fn new(
        store: watch::Receiver<Option<SharedStore>>,
        hub: Arc<Hub>,
        limits: Limits,
        ends: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            hub,
            limits: RwLock::new(limits),
            quotas: Quotas::default(),
            ends,
        })
    }

    /// Puts other limits in force: for the next requests of connections that are open,
    /// and for new ones.
    pub fn limit(&self, limits: Limits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    fn limits(&self) -> Limits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers at these sockets until the door closes; then it lets the requests
    /// end that are under way.
    pub async fn serve(self: Arc<Self>, bound: Bound) {
        let router = router(Arc::clone(&self));
        connections::serve(self, bound, router).await;
    }
}

/// Reads a body as each operation would: the problems that are answered. For `fuzz/`.
#[doc(hidden)]
#[must_use]
pub fn problems_with(body: &[u8]) -> Vec<super::Problem> {
    let mut problems = Vec::new();
    macro_rules! read {
        ($($operation:ident),* $(,)?) => {
            $(if let Err(error) = (Kind::of::<operations::$operation>().read)(body) {
                problems.push(super::Problem::from(&error));
            })*
        };
    }
    each_operation!(read);
    problems
}

fn router(door: Arc<Door>) -> Router {
    let mut router = Router::new();
    macro_rules! route {
        ($($operation:ident),* $(,)?) => {
            $(router = routed(router, Kind::of::<operations::$operation>());)*
        };
    }
    each_operation!(route);
    router
        .route(
            &format!("{PREFIX}{}", stream::NAME),
            answer::subscription(follow::begin),
        )
        .route(
            &format!("{PREFIX}{}", super::events::NAME),
            answer::subscription(events::begin),
        )
        .route(
            &format!("{PREFIX}openapi.json"),
            get(async || ([(header::CONTENT_TYPE, "application/json")], SERVED)),
        )
        .fallback(answer::no_operation)
        .method_not_allowed_fallback(answer::no_method)
        .with_state(door)
}

fn routed(router: Router<Arc<Door>>, kind: Kind) -> Router<Arc<Door>> {
    let handle = move |door, peer, headers, body| answer::handle(kind, door, peer, headers, body);
    let method = match kind.route.method {
        Method::Get => get(handle),
        Method::Post => post(handle),
    };
    router.route(&format!("{PREFIX}{}", kind.route.name), method)
}
