//! What must hold in every history. The oracle keeps its own books of what the
//! store accepted; it trusts neither the store's columns nor the product.

use mcp_bridge::model::Fence;

use super::Ms;

/// One named invariant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Every acknowledged task ends, or waits for a reason.
    NoTaskLost,
    /// A task takes effect at most once.
    OneEffect,
    /// No write with an old fence is accepted.
    NoOldFence,
    /// Each claim has a fence of its own, higher than all before.
    OneLiveFence,
    /// No session is lost that gave a sign within its ttl, nor after any pause of ten
    /// seconds.
    NoFalseLost,
    /// A death is found within the ttl and a second of good observation, a
    /// confirmed exit within a second.
    DeathsFound,
    /// No session is lost during an operator's hold; an exit counts.
    HoldHolds,
    /// No session has more tasks than it may.
    CapacityKept,
    /// No more moves of one leader in any second than the policy says.
    MovesLimited,
    /// Writes of two orchestrators are never accepted in one epoch.
    OneLeader,
    /// A task that lost three owners gets no fourth.
    PoisonBuried,
    /// No session expires while most hosts are silent together.
    NoMassExpiry,
    /// No session is lost for a silence while the store took no writes.
    NoLossWhileLocked,
    /// A task is given up only if three sessions were lost that had read it.
    InnocentLives,
}

#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) check: Check,
    pub(crate) at: Ms,
    pub(crate) what: String,
}

#[derive(Debug, Default)]
struct TaskBook {
    fence: i64,
    effects: u32,
    /// Bit `n`: session `n` had read it and was lost.
    lost: u64,
}

#[derive(Debug)]
pub(crate) struct Oracle {
    tasks: Vec<TaskBook>,
    moves: Vec<(i64, Ms)>,
    moves_a_second: usize,
    /// Who wrote in which epoch.
    epochs: Vec<(i64, usize)>,
    /// Only this one is looked for, if any.
    only: Option<Check>,
    pub(crate) violation: Option<Violation>,
}

impl Oracle {
    pub(crate) fn new(moves_a_second: usize, only: Option<Check>) -> Self {
        Self {
            tasks: Vec::new(),
            moves: Vec::new(),
            moves_a_second,
            epochs: Vec::new(),
            only,
            violation: None,
        }
    }

    /// Notes the first violation.
    pub(crate) fn must(
        &mut self,
        check: Check,
        at: Ms,
        holds: bool,
        what: impl FnOnce() -> String,
    ) {
        let wanted = self.only.is_none_or(|only| only == check);
        if !holds && wanted && self.violation.is_none() {
            let what = what();
            self.violation = Some(Violation { check, at, what });
        }
    }

    pub(crate) fn added(&mut self) {
        self.tasks.push(TaskBook::default());
    }

    /// A session got a task, and with it a fence.
    pub(crate) fn granted(&mut self, task: usize, fence: Fence, open: u32, capacity: u32, now: Ms) {
        let before = self.tasks[task].fence;
        let losses = self.tasks[task].lost.count_ones();
        self.must(Check::OneLiveFence, now, fence.0 > before, || {
            format!("task {task} was given out with fence {fence} after {before}")
        });
        self.must(Check::CapacityKept, now, open <= capacity, || {
            format!("the owner of task {task} has {open} of {capacity}")
        });
        self.must(Check::PoisonBuried, now, losses < 3, || {
            format!("task {task} was given out after {losses} losses")
        });
        self.tasks[task].fence = before.max(fence.0);
    }

    /// It was taken from a session that is gone or does not move.
    pub(crate) fn taken(&mut self, task: usize, owner: usize, known: bool) {
        self.tasks[task].lost |= u64::from(known) << owner;
    }

    /// It was given up for its losses.
    pub(crate) fn given_up(&mut self, task: usize, now: Ms) {
        let lost = self.tasks[task].lost.count_ones();
        self.must(Check::InnocentLives, now, lost >= 3, || {
            format!("task {task} is dead, and {lost} sessions had read it and were lost")
        });
    }

    /// Its fence grew without a new owner.
    pub(crate) fn fenced(&mut self, task: usize, fence: Fence) {
        self.tasks[task].fence = self.tasks[task].fence.max(fence.0);
    }

    /// An owner's write was accepted.
    pub(crate) fn written(&mut self, task: usize, fence: Fence, now: Ms) {
        let current = self.tasks[task].fence;
        self.must(Check::NoOldFence, now, fence.0 == current, || {
            format!("a write to task {task} with fence {fence} was taken, {current} is out")
        });
    }

    pub(crate) fn took_effect(&mut self, task: usize, now: Ms) {
        self.tasks[task].effects += 1;
        let effects = self.tasks[task].effects;
        self.must(Check::OneEffect, now, effects == 1, || {
            format!("task {task} took effect {effects} times")
        });
    }

    /// A process that was started again does not know what its earlier life moved in
    /// the second before.
    pub(crate) fn moved(&mut self, epoch: i64, now: Ms) {
        self.moves.push((epoch, now));
        let limit = self.moves_a_second;
        let first = self.moves.len().checked_sub(limit + 1);
        let holds = first.is_none_or(|first| {
            let (of, at) = self.moves[first];
            of != epoch || now - at >= 1_000
        });
        self.must(Check::MovesLimited, now, holds, || {
            format!("more than {limit} moves within a second")
        });
    }

    pub(crate) fn leader_wrote(&mut self, epoch: i64, who: usize, now: Ms) {
        if self.epochs.last() == Some(&(epoch, who)) {
            return;
        }
        let other = self.epochs.iter().any(|&(e, w)| e == epoch && w != who);
        self.must(Check::OneLeader, now, !other, || {
            format!("orchestrator {who} wrote in epoch {epoch} of another")
        });
        self.epochs.push((epoch, who));
    }
}
