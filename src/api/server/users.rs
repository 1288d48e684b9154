//! What users have of the daemon at once: connections, and bytes that wait for them or
//! for the rest of what they send. What one user takes must leave enough for the others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::{Limits, listen};
use crate::api::Purpose;
use crate::model::door::DoorError;

/// Connections of operators, who are there for the time of a command. They are counted
/// by themselves: programs that take all of `api.sock` keep no operator out.
const OPERATORS: usize = 256;

/// Connections that a user gets even when others have taken nearly all.
const FEW: usize = 16;

/// One connection in this number is kept for users who have few.
const KEPT: usize = 8;

/// Bytes that one user's requests and unread answers take.
const HELD: usize = 64 * 1024 * 1024;

/// The same of all users; beyond it each still has a little.
const HELD_BY_ALL: usize = 256 * 1024 * 1024;
const LITTLE: usize = 4 * 1024 * 1024;

/// What is shorter is not counted: the number of connections is its limit.
const SHORT: usize = 16 * 1024;

/// Long answers of one user that are made at once; the next wait for their turn. Until
/// it is written, an answer is held whole, and nothing else counts it.
const UNDER_WAY: usize = 32;

/// The users who are there, by the socket and the user's number.
#[derive(Debug, Default)]
pub(super) struct Users {
    by_uid: Mutex<HashMap<(Purpose, u32), Arc<User>>>,
    held: Arc<AtomicUsize>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct User {
    uid: u32,
    connections: AtomicUsize,
    held: AtomicUsize,
    held_by_all: Arc<AtomicUsize>,
    under_way: Semaphore,
}

/// A connection, until it is dropped.
pub(super) struct Seat {
    of: Arc<Users>,
    socket: Purpose,
    pub(super) user: Arc<User>,
}

/// Bytes that are held for a user, until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    user: Arc<User>,
    bytes: usize,
}

impl Users {
    /// Takes a connection, if there is one for this user.
    pub(super) fn take(
        users: &Arc<Self>,
        limits: Limits,
        socket: Purpose,
        uid: u32,
    ) -> Option<Seat> {
        let mut by_uid = users.by_uid.lock().unwrap_or_else(PoisonError::into_inner);
        let here = by_uid.iter().filter(|((at, _), _)| *at == socket);
        let all: usize = here
            .map(|(_, user)| user.connections.load(Ordering::Relaxed))
            .sum();
        let user = by_uid
            .entry((socket, uid))
            .or_insert_with(|| Arc::new(User::new(uid, Arc::clone(&users.held))));
        let own = user.connections.load(Ordering::Relaxed);
        let has_room = match socket {
            Purpose::Operators => all < OPERATORS,
            Purpose::Sessions => {
                let few = own < FEW.min(limits.connections_per_user);
                let kept = if few { 0 } else { limits.connections / KEPT };
                let may = own < limits.connections_per_user || listen::is_trusted(uid);
                may && all < limits.connections - kept
            }
        };
        if !has_room {
            return None;
        }
        user.connections.store(own + 1, Ordering::Relaxed);
        let user = Arc::clone(user);
        let of = Arc::clone(users);
        Some(Seat { of, socket, user })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut by_uid = self
            .of
            .by_uid
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let user = &self.user;
        let left = user.connections.load(Ordering::Relaxed).saturating_sub(1);
        user.connections.store(left, Ordering::Relaxed);
        if left == 0 && user.held.load(Ordering::Relaxed) == 0 {
            by_uid.remove(&(self.socket, user.uid));
        }
    }
}

impl User {
    fn new(uid: u32, held_by_all: Arc<AtomicUsize>) -> Self {
        Self {
            uid,
            connections: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            held_by_all,
            under_way: Semaphore::new(UNDER_WAY),
        }
    }

    #[cfg(test)]
    pub(super) fn alone() -> Arc<Self> {
        Arc::new(Self::new(1, Arc::default()))
    }

    /// Waits for a turn to have a long answer made, which ends when it is dropped.
    pub(super) async fn turn(&self, time: Duration) -> Result<SemaphorePermit<'_>, DoorError> {
        match timeout(time, self.under_way.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(DoorError::Crowded(format!(
                "user {} waits for {UNDER_WAY} long answers already, and none was ready in time",
                self.uid
            ))),
        }
    }

    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    /// Counts these bytes as held; returns how many this user and all have now.
    fn take_anyway(&self, bytes: usize) -> (usize, usize) {
        let own = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let all = self.held_by_all.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (own, all)
    }

    /// Counts these bytes as held, if this user may hold them.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let (own, all) = self.take_anyway(bytes);
        let may = own <= HELD && (all <= HELD_BY_ALL || own <= LITTLE);
        if !may {
            self.give_back(bytes);
        }
        may
    }

    /// Refuses what would only take more, before it is worked on.
    pub(super) fn ensure_room(&self) -> Result<(), DoorError> {
        match self.held.load(Ordering::Relaxed) < HELD / 4 * 3 {
            true => Ok(()),
            false => Err(self.full()),
        }
    }

    fn full(&self) -> DoorError {
        DoorError::Crowded(format!(
            "the unfinished requests and unread answers of user {} take all the memory that the daemon allows",
            self.uid
        ))
    }

    /// They are held no more.
    pub(super) fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        self.held_by_all.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Held {
    /// None yet.
    pub(super) fn by(user: &Arc<User>) -> Self {
        let user = Arc::clone(user);
        Self { user, bytes: 0 }
    }

    /// All that is held from now on.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), DoorError> {
        let more = bytes.saturating_sub(self.bytes);
        if bytes <= SHORT || self.user.take(more) {
            self.bytes = if bytes <= SHORT { 0 } else { bytes };
            return Ok(());
        }
        Err(self.user.full())
    }

    /// Bytes that are held until the last copy of them is gone. Where they may not be
    /// refused, they are held even beyond what their user may have.
    pub(super) fn keeping(mut self, bytes: Vec<u8>, may_refuse: bool) -> Result<Bytes, DoorError> {
        match self.grow(bytes.len()) {
            Err(_) if !may_refuse => {
                let more = bytes.len().saturating_sub(self.bytes);
                self.user.take_anyway(more);
                self.bytes = bytes.len();
            }
            grown => grown?,
        }
        Ok(match self.bytes {
            0 => bytes.into(),
            _ => self.around(bytes),
        })
    }

    /// These bytes, of which `count` were counted already.
    pub(super) fn counted(user: &Arc<User>, count: usize, bytes: Vec<u8>) -> Bytes {
        let held = Self {
            user: Arc::clone(user),
            bytes: count,
        };
        held.around(bytes)
    }

    fn around(self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(CountedBytes { bytes, _held: self })
    }
}

/// Bytes with what counts them.
struct CountedBytes {
    bytes: Vec<u8>,
    _held: Held,
}

impl AsRef<[u8]> for CountedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.user.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(connections: usize) -> Limits {
        Limits {
            connections,
            connections_per_user: connections / 4,
            ..Limits::default()
        }
    }

    #[test]
    fn greedy_users_leave_connections_for_others() {
        let users = Arc::new(Users::default());
        let take = |socket, uid| Users::take(&users, limits(400), socket, uid);
        let mut seats = Vec::new();
        for uid in 70_001..70_007 {
            let taken: Vec<Seat> = (0..200)
                .map_while(|_| take(Purpose::Sessions, uid))
                .collect();
            assert!((FEW..=100).contains(&taken.len()), "{uid}: {}", taken.len());
            seats.extend(taken);
        }
        assert!(seats.len() <= 400);
        take(Purpose::Operators, 70_001).expect("it is no program's");
        take(Purpose::Sessions, 70_007).expect("a user who had none");
        drop(seats);
        assert!(users.by_uid.lock().expect("one at a time").is_empty());
    }

    #[test]
    fn one_user_s_bytes_are_no_other_user_s() {
        let users = Arc::new(Users::default());
        let seat = |uid| Users::take(&users, limits(400), Purpose::Sessions, uid);
        let seats: Vec<Seat> = (1..=6).filter_map(seat).collect();
        let mut held: Vec<Held> = Vec::new();
        for seat in &seats {
            let before = held.len();
            for _ in 0..100 {
                let mut more = Held::by(&seat.user);
                if more.grow(4 * 1024 * 1024).is_err() {
                    break;
                }
                held.push(more);
            }
            let most = HELD / (4 * 1024 * 1024);
            assert!((1..=most).contains(&(held.len() - before)));
        }
        let all = users.held.load(Ordering::Relaxed);
        assert!(all <= HELD_BY_ALL + seats.len() * LITTLE, "{all}");
        drop(held);
        assert_eq!(users.held.load(Ordering::Relaxed), 0);
        let mut short = Held::by(&seats[0].user);
        short.grow(SHORT).expect("short");
        assert_eq!(users.held.load(Ordering::Relaxed), 0);
        short.grow(SHORT + 1).expect("longer");
        assert_eq!(users.held.load(Ordering::Relaxed), SHORT + 1);
    }
}
