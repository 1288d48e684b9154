//! Which client acts for a session.

use jiff::Timestamp;

use crate::store::ops::registrations;
use crate::store::{Boot, Caller, RegisteredSession, Registration, Result, Store};

impl Store {
    /// Notes which client acts for the caller's session, in the place of the one before.
    /// `false` if that is known already. Counts as nothing that the agent did.
    ///
    /// # Errors
    /// Credentials.
    pub async fn register_agent(
        &self,
        caller: &Caller,
        registration: Registration,
        now: Timestamp,
    ) -> Result<bool> {
        let (caller, registration) = (caller.clone(), registration.cleaned());
        self.normal
            .write("registering a client", move |transaction| {
                registrations::register(transaction, &caller, &registration, now)
            })
            .await
    }

    /// Which client acts for the caller's session.
    ///
    /// # Errors
    /// Credentials.
    pub async fn registration(
        &self,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Option<Registration>> {
        let caller = caller.clone();
        self.reads
            .read("looking at a client", move |rows| {
                registrations::of_caller(rows, &caller, now)
            })
            .await
    }

    /// All sessions whose client's process is of this boot and this namespace, of all
    /// users or of one; without those that were closed.
    pub async fn registered_here(
        &self,
        boot: &Boot,
        uid: Option<u32>,
        now: Timestamp,
    ) -> Result<Vec<RegisteredSession>> {
        let boot = boot.clone();
        self.reads
            .read("looking at the clients of this machine", move |rows| {
                registrations::here(rows, &boot, uid, now)
            })
            .await
    }
}
