//! A store in memory with the semantics of the real one: conditional writes,
//! each judged in one step on the rows as they are.

use mcp_bridge::model::Fence;
use mcp_bridge::model::health::Turn;
use mcp_bridge::model::observer::Held;
use mcp_bridge::model::task::{self, TaskState};

use super::oracle::{Check, Oracle};
use super::{Ms, Sabotage};

/// The ttl of a daemon's heartbeat.
pub(crate) const TTL: Ms = 20_000;
/// The ttl of a session that no daemon keeps. Shorter than the product's, so that
/// histories stay short.
pub(crate) const DEFAULT_TTL: Ms = 60_000;

#[derive(Debug)]
pub(crate) struct SessionRow {
    pub(crate) host: usize,
    pub(crate) role: usize,
    pub(crate) capacity: u32,
    pub(crate) seq: i64,
    pub(crate) kept: bool,
    pub(crate) exited: bool,
    pub(crate) activity: i64,
    pub(crate) unread: u64,
    pub(crate) open: u32,
    pub(crate) turn: Turn,
    pub(crate) standing: Held,
    /// For the oracle: when the last sign of life was committed, and the exit.
    pub(crate) life: Ms,
    pub(crate) exited_at: Ms,
    /// For the oracle: since when it may be given something again.
    pub(crate) eased: Ms,
}

impl SessionRow {
    pub(crate) fn is_well(&self) -> bool {
        use Held::{Stalled, Stirred, Well};
        matches!(self.standing, Well | Stalled | Stirred)
    }

    /// What was found of it, and nothing came since that overtakes it: its
    /// tasks may be taken.
    fn verdict_holds(&self) -> bool {
        match self.standing {
            Held::Lost { seq } => seq == self.seq,
            Held::Exited { seq } => self.exited || seq == self.seq,
            Held::Stalled => true,
            Held::Well | Held::Stirred | Held::NeverStarted => false,
        }
    }

    /// Whether something may be given to it, or claimed by it.
    fn is_there(&self) -> bool {
        let gone = matches!(self.standing, Held::Lost { .. } | Held::Exited { .. });
        !gone && !self.exited
    }

    pub(crate) fn ttl(&self) -> Ms {
        if self.kept { TTL } else { DEFAULT_TTL }
    }
}

#[derive(Debug)]
pub(crate) struct TaskRow {
    pub(crate) role: usize,
    pub(crate) state: TaskState,
    pub(crate) owner: Option<usize>,
    pub(crate) last: Option<usize>,
    pub(crate) fence: Fence,
    /// Bit `n`: session `n` counts as lost by it.
    pub(crate) lost: u64,
    /// How often it was taken from an owner.
    pub(crate) takings: u32,
    /// Its owner has read it.
    pub(crate) known: bool,
    pub(crate) failures: u32,
    pub(crate) retry_at: Ms,
    pub(crate) poison: bool,
    pub(crate) changed: Ms,
}

#[derive(Debug, Default)]
pub(crate) struct LeaderRow {
    pub(crate) holder: Option<usize>,
    pub(crate) epoch: i64,
    pub(crate) renewed: u64,
}

/// Why a conditional write changed no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    NotLeader,
    Stale,
}

/// An orchestrator that writes, and the epoch that it believes to act in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acting {
    pub(crate) who: usize,
    pub(crate) epoch: i64,
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) sessions: Vec<SessionRow>,
    pub(crate) tasks: Vec<TaskRow>,
    pub(crate) leader: LeaderRow,
    pub(crate) hold: bool,
    pub(crate) out_until: Ms,
    /// It takes no writes, from and until.
    pub(crate) locked: (Ms, Ms),
    /// Bit `n` of the entry at a position: session `n` changed then.
    pub(crate) changes: Vec<u8>,
    pub(crate) sabotage: Sabotage,
    pub(crate) oracle: Oracle,
}

impl Store {
    pub(crate) fn is_out(&self, now: Ms) -> bool {
        now < self.out_until
    }

    pub(crate) fn is_locked(&self, now: Ms) -> bool {
        now >= self.locked.0 && now < self.locked.1
    }

    /// Whether a write gets through.
    pub(crate) fn takes_writes(&self, now: Ms) -> bool {
        !self.is_out(now) && !self.is_locked(now)
    }

    fn changed(&mut self, session: usize) {
        self.changes.push(u8::try_from(session).expect("few"));
    }

    // What daemons and agents write.

    pub(crate) fn beat(&mut self, session: usize, now: Ms) {
        let row = &mut self.sessions[session];
        row.seq += 1;
        row.kept = true;
        row.exited = false;
        row.life = now;
        self.changed(session);
    }

    pub(crate) fn release(&mut self, session: usize, now: Ms) {
        let row = &mut self.sessions[session];
        if row.kept {
            row.kept = false;
            row.seq += 1;
            if !row.exited {
                row.life = now;
            }
            self.changed(session);
        }
    }

    pub(crate) fn exit(&mut self, session: usize, now: Ms) {
        let row = &mut self.sessions[session];
        if !row.exited {
            row.exited = true;
            row.turn = Turn::Unknown;
            row.seq += 1;
            row.exited_at = now;
            self.changed(session);
        }
    }

    /// An agent's first call. An exit is taken back by its daemon alone.
    pub(crate) fn register(&mut self, session: usize, now: Ms) {
        self.call(session, now);
    }

    /// An authenticated call of the agent; it reads its mail.
    pub(crate) fn call(&mut self, session: usize, now: Ms) {
        self.sessions[session].unread = 0;
        self.touch(session, now);
    }

    /// What every call of the agent does: a verdict on its silence is overtaken.
    fn touch(&mut self, session: usize, now: Ms) {
        let row = &mut self.sessions[session];
        row.activity += 1;
        row.life = now;
        match row.standing {
            Held::Lost { .. } => row.standing = Held::Lost { seq: -1 },
            Held::Stalled => row.standing = Held::Stirred,
            _ => {}
        }
        self.changed(session);
    }

    pub(crate) fn claim(&mut self, session: usize, task: usize, now: Ms) -> Result<Fence, Refused> {
        let row = &self.sessions[session];
        if self.tasks[task].state != TaskState::Queued
            || row.exited
            || (row.open >= row.capacity && self.sabotage != Sabotage::IgnoreCapacity)
        {
            return Err(Refused::Stale);
        }
        let fence = self.grant(task, session, now);
        self.tasks[task].known = true;
        Ok(fence)
    }

    fn grant(&mut self, task: usize, to: usize, now: Ms) -> Fence {
        self.let_go(task, now);
        let row = &mut self.tasks[task];
        if self.sabotage != Sabotage::FenceStands || row.fence.0 == 0 {
            row.fence = row.fence.next();
        }
        row.state = TaskState::Leased;
        row.owner = Some(to);
        row.last = Some(to);
        row.known = false;
        row.changed = now;
        let fence = row.fence;
        let owner = &mut self.sessions[to];
        owner.open += 1;
        owner.unread += 1;
        let (open, capacity) = (owner.open, owner.capacity);
        self.oracle.granted(task, fence, open, capacity, now);
        self.changed(to);
        fence
    }

    fn let_go(&mut self, task: usize, now: Ms) {
        if let Some(owner) = self.tasks[task].owner.take() {
            self.sessions[owner].open -= 1;
            self.sessions[owner].eased = now;
            self.changed(owner);
        }
    }

    /// Whether an owner's write is good: the fence it carries still stands.
    fn owned(&mut self, session: usize, task: usize, fence: Fence, now: Ms) -> Result<(), Refused> {
        let row = &self.tasks[task];
        let again = self.sabotage == Sabotage::EffectAgain && row.state == TaskState::Done;
        let good = (row.state == TaskState::Leased && row.owner == Some(session)) || again;
        let fenceless = self.sabotage == Sabotage::IgnoreFence && row.state == TaskState::Leased;
        if (good && row.fence == fence) || fenceless {
            self.oracle.written(task, fence, now);
            return Ok(());
        }
        Err(Refused::Stale)
    }

    pub(crate) fn progress(&mut self, session: usize, task: usize, fence: Fence, now: Ms) {
        // Refused: the agent sees that when it reads next.
        if self.owned(session, task, fence, now).is_ok() {
            self.touch(session, now);
        }
    }

    pub(crate) fn done(&mut self, session: usize, task: usize, fence: Fence, now: Ms) {
        if self.owned(session, task, fence, now).is_ok() {
            self.let_go(task, now);
            self.tasks[task].state = TaskState::Done;
            self.tasks[task].changed = now;
            self.oracle.took_effect(task, now);
            self.touch(session, now);
        }
    }

    pub(crate) fn fail(&mut self, session: usize, task: usize, fence: Fence, random: f64, now: Ms) {
        if self.owned(session, task, fence, now).is_err() {
            return;
        }
        self.touch(session, now);
        self.let_go(task, now);
        let row = &mut self.tasks[task];
        row.failures += 1;
        row.state = TaskState::after_failure(row.failures);
        let pause = task::retry_delay(row.failures, random) / 10;
        row.retry_at = now + u64::try_from(pause.as_millis()).expect("short");
        row.changed = now;
    }

    // What an orchestrator writes, each checked against its epoch.

    /// Takes over, if the leader was not heard of since it was looked at: with
    /// the epoch alone, one who awoke meanwhile would be robbed.
    pub(crate) fn lead(&mut self, who: usize, seen: (i64, u64)) -> Result<i64, Refused> {
        if (self.leader.epoch, self.leader.renewed) != seen {
            return Err(Refused::Stale);
        }
        self.leader.holder = Some(who);
        if self.sabotage != Sabotage::EpochStands {
            self.leader.epoch += 1;
        }
        self.leader.renewed += 1;
        Ok(self.leader.epoch)
    }

    fn acts(&mut self, acting: Acting, now: Ms) -> Result<(), Refused> {
        if self.leader.epoch != acting.epoch {
            return Err(Refused::NotLeader);
        }
        self.oracle.leader_wrote(acting.epoch, acting.who, now);
        Ok(())
    }

    pub(crate) fn renew(&mut self, acting: Acting, now: Ms) -> Result<(), Refused> {
        self.acts(acting, now)?;
        self.leader.renewed += 1;
        Ok(())
    }

    /// Sets a verdict, if what it was judged on still stands.
    pub(crate) fn judge(
        &mut self,
        acting: Acting,
        session: usize,
        judged: (i64, i64),
        standing: Held,
        now: Ms,
    ) -> Result<(), Refused> {
        self.acts(acting, now)?;
        let row = &mut self.sessions[session];
        let lost = matches!(standing, Held::Lost { .. });
        if (standing != Held::Well && (row.seq, row.activity) != judged)
            || (lost && self.hold && self.sabotage != Sabotage::IgnoreHold)
        {
            return Err(Refused::Stale);
        }
        row.standing = standing;
        row.eased = now;
        self.changed(session);
        if lost {
            let hold = self.hold;
            self.oracle.must(Check::HoldHolds, now, !hold, || {
                format!("session {session} was lost during a hold")
            });
        }
        Ok(())
    }

    pub(crate) fn assign(
        &mut self,
        acting: Acting,
        (task, fence): (usize, Fence),
        to: usize,
        taken: bool,
        now: Ms,
    ) -> Result<(), Refused> {
        self.acts(acting, now)?;
        let (row, target) = (&self.tasks[task], &self.sessions[to]);
        let full = target.open >= target.capacity && self.sabotage != Sabotage::IgnoreCapacity;
        let waits = matches!(row.state, TaskState::Queued | TaskState::Leased);
        let back = row
            .owner
            .is_some_and(|owner| owner == to || !self.sessions[owner].verdict_holds());
        if row.fence != fence || !waits || back || !target.is_there() || full {
            return Err(Refused::Stale);
        }
        if taken {
            self.loss(task);
        }
        self.grant(task, to, now);
        self.oracle.moved(acting.epoch, now);
        Ok(())
    }

    /// Ends a claim: back to the queue, or for good.
    pub(crate) fn unassign(
        &mut self,
        acting: Acting,
        (task, fence): (usize, Fence),
        state: TaskState,
        taken: bool,
        now: Ms,
    ) -> Result<(), Refused> {
        self.acts(acting, now)?;
        let row = &self.tasks[task];
        let back = row
            .owner
            .is_some_and(|owner| !self.sessions[owner].verdict_holds());
        if row.fence != fence || !row.state.is_open() || back {
            return Err(Refused::Stale);
        }
        if taken {
            self.loss(task);
            self.oracle.moved(acting.epoch, now);
        }
        self.let_go(task, now);
        let row = &mut self.tasks[task];
        row.fence = row.fence.next();
        row.state = state;
        row.changed = now;
        let fence = row.fence;
        self.oracle.fenced(task, fence);
        if state == TaskState::Dead {
            self.oracle.given_up(task, now);
        }
        Ok(())
    }

    fn loss(&mut self, task: usize) {
        let row = &mut self.tasks[task];
        row.takings += 1;
        if let Some(owner) = row.owner {
            row.lost |= u64::from(row.known) << owner;
            self.oracle.taken(task, owner, row.known);
        }
    }
}
