//! Which session gets which task: pure.
//!
//! A plan is made from one look at the store and may be old when it is carried
//! out: every action names the fence that it was decided on, and is written
//! only if that fence still stands.

mod crashes;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

pub use crashes::{CRASH_WITHIN, Crashes, crash_pause};

use super::health::Health;
use super::ids::{Fence, SessionKey, TaskId};

/// Most moves within [`MOVE_WINDOW`]: a fleet that fails all at once must not
/// be buried under its own hand-overs.
pub const MOVES_A_SECOND: usize = 50;
/// What [`MOVES_A_SECOND`] is counted over.
pub const MOVE_WINDOW: Duration = Duration::from_secs(1);

/// The settings that a plan depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssignmentPolicy {
    /// Whether a task may go to any other role when no agent of its own has room.
    pub any_role: bool,
    /// After this number of owners lost within the window, the task is given up.
    pub max_losses: u32,
    /// How far back losses count; the caller that counts them applies it.
    pub loss_window: Duration,
}

impl Default for AssignmentPolicy {
    fn default() -> Self {
        Self {
            any_role: false,
            max_losses: 3,
            loss_window: Duration::from_secs(72 * 3600),
        }
    }
}

/// Where a task stands that waits for an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskPlace {
    /// In the queue.
    Queued,
    /// With a session that is lost or exited, or from which it is taken.
    Orphaned,
}

/// A task that waits for an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTask {
    /// Which one.
    pub id: TaskId,
    /// The role that is to do it.
    pub role: String,
    /// Where it is.
    pub place: TaskPlace,
    /// Its fence when it was looked at.
    pub fence: Fence,
    /// Who has or had it last.
    pub last_owner: Option<SessionKey>,
    /// Owners that had fetched it and that it lost within the window, each session
    /// once, without the one that it is being taken from now.
    pub losses: u32,
    /// Whether the one that it is being taken from now had fetched it: an owner
    /// that never knew of it was not lost by it.
    pub fetched: bool,
}

/// A session that may get tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which one.
    pub key: SessionKey,
    /// Its role.
    pub role: String,
    /// Its health.
    pub health: Health,
    /// It gets nothing new.
    pub draining: bool,
    /// Its agents end right after they are given a task: it waits for the next.
    pub paused: bool,
    /// Tasks that it has.
    pub open: u32,
    /// Tasks that it may have.
    pub capacity: u32,
}

impl Candidate {
    fn may_take(&self) -> bool {
        self.health.takes_work() && !self.draining && !self.paused && self.open < self.capacity
    }
}

/// One write, to be made only if the task still has `fence`. Each makes the
/// fence grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Give it to `to`.
    Assign {
        /// The task.
        task: TaskId,
        /// The fence that it must still have.
        fence: Fence,
        /// The session that loses it; `None` out of the queue.
        from: Option<SessionKey>,
        /// Its new owner.
        to: SessionKey,
    },
    /// No agent can take it: back to the queue, so that its old owner is out.
    Requeue {
        /// The task.
        task: TaskId,
        /// The fence that it must still have.
        fence: Fence,
        /// The session that loses it.
        from: Option<SessionKey>,
    },
    /// It lost too many owners: give it up, before it costs another.
    Bury {
        /// The task.
        task: TaskId,
        /// The fence that it must still have.
        fence: Fence,
        /// The session that loses it.
        from: Option<SessionKey>,
        /// Owners lost, this one included.
        losses: u32,
    },
}

impl Action {
    /// The task that it is about.
    #[must_use]
    pub fn task(&self) -> TaskId {
        match self {
            Self::Assign { task, .. } | Self::Requeue { task, .. } | Self::Bury { task, .. } => {
                *task
            }
        }
    }
}

/// Decides about at most `budget` tasks: those whose owner is gone first, then the
/// queue, each in the order of their ids. A task goes to the healthy session of its
/// role with the fewest open tasks, never above its capacity, and to its last owner
/// only if no other has room. What is over the budget waits for the next plan. Equal
/// input in any order makes an equal plan.
#[must_use]
pub fn plan(
    tasks: &[OpenTask],
    sessions: &[Candidate],
    policy: &AssignmentPolicy,
    budget: usize,
) -> Vec<Action> {
    if budget == 0 || tasks.is_empty() {
        return Vec::new();
    }
    let mut order: Vec<&OpenTask> = tasks.iter().collect();
    order.sort_unstable_by_key(|task| (task.place == TaskPlace::Queued, task.id));
    order.dedup_by_key(|task| task.id);
    let mut pool = Pool::new(sessions, policy.any_role);
    let mut actions = Vec::new();
    for task in order {
        if actions.len() == budget {
            break;
        }
        let (id, fence) = (task.id, task.fence);
        let orphaned = task.place == TaskPlace::Orphaned;
        let from = task.last_owner.clone().filter(|_| orphaned);
        let losses = task
            .losses
            .saturating_add(u32::from(orphaned && task.fetched));
        if losses >= policy.max_losses {
            actions.push(Action::Bury {
                task: id,
                fence,
                from,
                losses,
            });
        } else if let Some(to) = pool.take(&task.role, task.last_owner.as_ref()) {
            actions.push(Action::Assign {
                task: id,
                fence,
                from,
                to: to.clone(),
            });
        } else if orphaned {
            actions.push(Action::Requeue {
                task: id,
                fence,
                from,
            });
        }
    }
    actions
}

/// `(open tasks, rank)`, least first. Ranks are those of the keys, so that a
/// tie is broken the same way each time.
type Heap = BinaryHeap<Reverse<(u32, usize)>>;

/// The sessions with room, by role. A session stands in at most two heaps, its
/// role's and the one of all, once in each; an entry whose count is old is set
/// right when it comes up.
struct Pool<'a> {
    ranked: Vec<&'a Candidate>,
    open: Vec<u32>,
    roles: HashMap<&'a str, Heap>,
    all: Heap,
}

impl<'a> Pool<'a> {
    fn new(sessions: &'a [Candidate], any_role: bool) -> Self {
        let mut ranked: Vec<&Candidate> = sessions.iter().filter(|s| s.may_take()).collect();
        ranked.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        ranked.dedup_by(|a, b| a.key == b.key);
        let open: Vec<u32> = ranked.iter().map(|session| session.open).collect();
        let mut roles: HashMap<&str, Vec<Reverse<(u32, usize)>>> = HashMap::new();
        for (rank, session) in ranked.iter().enumerate() {
            roles
                .entry(&session.role)
                .or_default()
                .push(Reverse((session.open, rank)));
        }
        let all = if any_role {
            open.iter()
                .enumerate()
                .map(|(rank, &open)| Reverse((open, rank)))
                .collect()
        } else {
            Heap::new()
        };
        Self {
            ranked,
            open,
            roles: roles.into_iter().map(|(r, v)| (r, v.into())).collect(),
            all,
        }
    }

    /// Books a task for an agent of `role`.
    fn take(&mut self, role: &str, rather_not: Option<&SessionKey>) -> Option<&'a SessionKey> {
        let (ranked, open) = (&self.ranked, &mut self.open);
        let from_role = self
            .roles
            .get_mut(role)
            .and_then(|heap| pick(heap, ranked, open, rather_not));
        let rank = match from_role {
            Some(rank) => rank,
            None => pick(&mut self.all, ranked, open, rather_not)?,
        };
        Some(&ranked[rank].key)
    }
}

fn pick(
    heap: &mut Heap,
    ranked: &[&Candidate],
    open: &mut [u32],
    rather_not: Option<&SessionKey>,
) -> Option<usize> {
    let first = pop(heap, ranked, open)?;
    let mut chosen = first;
    if Some(&ranked[first].key) == rather_not
        && let Some(second) = pop(heap, ranked, open)
    {
        heap.push(Reverse((open[first], first)));
        chosen = second;
    }
    open[chosen] += 1;
    if open[chosen] < ranked[chosen].capacity {
        heap.push(Reverse((open[chosen], chosen)));
    }
    Some(chosen)
}

/// The least loaded of a heap, by counts that hold now.
fn pop(heap: &mut Heap, ranked: &[&Candidate], open: &[u32]) -> Option<usize> {
    while let Some(Reverse((count, rank))) = heap.pop() {
        if count == open[rank] {
            return Some(rank);
        }
        if open[rank] < ranked[rank].capacity {
            heap.push(Reverse((open[rank], rank)));
        }
    }
    None
}

/// How many moves are left in the window that ends now. Count a move when it
/// was *written*: a program that stood still between plan and write must not
/// write two plans in one second.
#[derive(Debug, Clone)]
pub struct MoveBudget {
    limit: usize,
    /// When, on the boot clock, and how many; oldest first.
    spent: VecDeque<(Duration, usize)>,
}

impl MoveBudget {
    /// A budget of `limit` moves within [`MOVE_WINDOW`].
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            spent: VecDeque::new(),
        }
    }

    /// Moves that may be made at `now`.
    pub fn left(&mut self, now: Duration) -> usize {
        while self
            .spent
            .front()
            .is_some_and(|&(at, _)| now.saturating_sub(at) >= MOVE_WINDOW)
        {
            self.spent.pop_front();
        }
        let spent = self.spent.iter().map(|&(_, moves)| moves).sum();
        self.limit.saturating_sub(spent)
    }

    /// `moves` were written at `now`.
    pub fn spend(&mut self, moves: usize, now: Duration) {
        if moves > 0 {
            self.spent.push_back((now, moves));
        }
    }

    /// When there is room again, if there is none at `now`.
    pub fn next(&mut self, now: Duration) -> Option<Duration> {
        if self.left(now) > 0 {
            return None;
        }
        self.spent.front().map(|&(at, _)| at + MOVE_WINDOW)
    }
}

impl Default for MoveBudget {
    fn default() -> Self {
        Self::new(MOVES_A_SECOND)
    }
}

#[cfg(test)]
mod tests;
