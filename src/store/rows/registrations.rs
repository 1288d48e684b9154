//! Rows of ours about clients.

use jiff::Timestamp;

use crate::model::SessionKey;
use crate::store::{Registration, Result};

/// Operations on registrations: one for each session, which the next one replaces.
pub trait RegistrationRows {
    /// The client of a session.
    ///
    /// # Errors
    /// The engine's.
    fn registration(&mut self, session: &SessionKey) -> Result<Option<Registration>>;

    /// Those whose process is of this boot and this namespace of process ids, and that
    /// this user registered, where one is named; by session.
    ///
    /// # Errors
    /// The engine's.
    fn registrations(
        &mut self,
        boot_id: &str,
        pid_ns: i64,
        uid: Option<u32>,
    ) -> Result<Vec<(SessionKey, Registration)>>;

    /// Notes the client of a session.
    ///
    /// # Errors
    /// The engine's.
    fn set_registration(
        &mut self,
        session: &SessionKey,
        registration: &Registration,
        now: Timestamp,
    ) -> Result<()>;

    /// Forgets the client of a session, if there is one.
    ///
    /// # Errors
    /// The engine's.
    fn forget_registration(&mut self, session: &SessionKey) -> Result<()>;
}
