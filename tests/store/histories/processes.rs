//! Agents and daemons: how they start, what they do, and how it reaches the
//! store.

use mcp_bridge::model::Fence;
use mcp_bridge::model::health::Turn;
use mcp_bridge::model::task::TaskState;

use super::Ms;
use super::faults::Fault;
use super::orchestrator::Orchestrator;
use super::store::TaskRow;
use super::world::{Event, Op, World, bits};

impl World {
    // Processes.

    pub(crate) fn start_daemon(&mut self, host: usize) {
        let process = &mut self.daemons[host].process;
        process.alive = true;
        process.life += 1;
        process.stopped_until = 0;
        let life = process.life;
        let pause = self.rng.u64(5..500);
        self.at(self.now + pause, Event::Daemon(host, life));
    }

    pub(crate) fn start_agent(&mut self, session: usize) {
        let agent = &mut self.agents[session];
        agent.process.alive = true;
        agent.process.life += 1;
        agent.process.stopped_until = 0;
        agent.stuck_until = 0;
        agent.work.clear();
        let life = agent.process.life;
        self.send(session, Op::Register(session));
        let pause = self.rng.u64(200..2_000);
        self.at(self.now + pause, Event::Agent(session, life));
    }

    pub(crate) fn kill_agent(&mut self, session: usize) {
        let process = &mut self.agents[session].process;
        if !process.alive {
            return;
        }
        process.alive = false;
        let host = self.store.sessions[session].host;
        if self.daemons[host].process.runs(self.now) {
            self.report_exits(host);
        }
    }

    pub(crate) fn start_orchestrator(&mut self, who: usize) {
        // Its host is one of the fleet's, or none of them.
        let host = Some(self.rng.usize(0..self.daemons.len() + 1));
        let boot = self.rng.u64(0..10_000_000_000);
        let fresh = Orchestrator::new(
            who,
            host,
            boot,
            self.limit,
            &self.keys,
            &self.store,
            self.now,
        );
        let (process, orchestrator, tick) = &mut self.orchestrators[who];
        process.alive = true;
        process.stopped_until = 0;
        *orchestrator = Some(fresh);
        *tick += 1;
        let tick = *tick;
        self.at(self.now + 10, Event::Look(who, tick));
    }

    // The network.

    /// Sends for an agent or a daemon on the session's host.
    fn send(&mut self, session: usize, op: Op) {
        let host = self.store.sessions[session].host;
        if self.now < self.silent_until[host] || self.rng.u8(0..100) < self.loss {
            return;
        }
        let slow = self.rng.u8(0..20) == 0;
        let delay = self
            .rng
            .u64(if slow && !self.mild { 50..3_000 } else { 1..30 });
        self.at(self.now + delay, Event::Arrive(op));
        if self.rng.u8(0..100) < self.twice {
            let delay = self.rng.u64(1..5_000);
            self.at(self.now + delay, Event::Arrive(op));
        }
    }

    /// Sends over a daemon's one connection: in order.
    fn send_in_order(&mut self, host: usize, op: Op) {
        let lost = self.rng.u8(0..100) < self.loss && !matches!(op, Op::Exit(..));
        if self.now < self.silent_until[host] || lost {
            return;
        }
        let delay = self.rng.u64(1..40);
        let daemon = &mut self.daemons[host];
        daemon.arrives = daemon.arrives.max(self.now + delay);
        let arrives = daemon.arrives;
        self.at(arrives, Event::Arrive(op));
        if self.rng.u8(0..100) < self.twice {
            self.at(arrives, Event::Arrive(op));
        }
    }

    pub(crate) fn arrive(&mut self, op: Op) {
        let now = self.now;
        if !self.store.takes_writes(now) {
            return;
        }
        match op {
            Op::Beat(sessions) => {
                for session in bits(sessions) {
                    self.store.beat(session, now);
                }
            }
            Op::Release(sessions) => {
                for session in bits(sessions) {
                    self.store.release(session, now);
                }
            }
            Op::Exit(session, life) => {
                if self.agents[session].process.life == life {
                    self.store.exit(session, now);
                    self.doorbell();
                }
            }
            Op::Register(session) => {
                // It comes from a process that lives, or lived just now.
                if self.agents[session].process.alive {
                    self.store.register(session, now);
                }
            }
            Op::Progress(session, task, fence) => self.store.progress(session, task, fence, now),
            Op::Done(session, task, fence) => self.store.done(session, task, fence, now),
            Op::Fail(session, task, fence) => {
                let random = self.rng.f64();
                self.store.fail(session, task, fence, random, now);
            }
        }
    }

    /// A hint to the orchestrators. It may be lost, and it may come twice.
    fn doorbell(&mut self) {
        for who in 0..self.orchestrators.len() {
            if self.rng.u8(0..4) > 0 && self.orchestrators[who].0.runs(self.now) {
                let tick = self.orchestrators[who].2;
                let delay = self.rng.u64(1..20);
                self.at(self.now + delay, Event::Look(who, tick));
            }
        }
    }

    // What the processes do.

    pub(crate) fn daemon(&mut self, host: usize, life: u32) {
        let process = self.daemons[host].process;
        if !process.alive || process.life != life {
            return;
        }
        if !process.runs(self.now) {
            return self.at(process.stopped_until, Event::Daemon(host, life));
        }
        self.report_exits(host);
        let mut sessions = 0;
        for session in self.sessions_of(host) {
            if self.agents[session].process.alive {
                self.known[session] = self.agents[session].process.life;
                sessions |= 1 << session;
            }
        }
        self.send_in_order(host, Op::Beat(sessions));
        let pause = self.rng.u64(4_500..5_500);
        self.at(self.now + pause, Event::Daemon(host, life));
    }

    /// Agents whose process the daemon knew and that is gone.
    fn report_exits(&mut self, host: usize) {
        for session in self.sessions_of(host) {
            let process = self.agents[session].process;
            if !process.alive && self.known[session] == process.life {
                self.send_in_order(host, Op::Exit(session, process.life));
                // Behind a dead network it tries again.
                if self.now >= self.silent_until[host] && self.store.takes_writes(self.now + 40) {
                    self.known[session] = 0;
                }
            }
        }
    }

    pub(crate) fn release(&mut self, host: usize) {
        let sessions = self.sessions_of(host).fold(0, |all, at| all | 1 << at);
        self.send_in_order(host, Op::Release(sessions));
    }

    pub(crate) fn sessions_of(&self, host: usize) -> impl Iterator<Item = usize> + use<> {
        let (hosts, sessions) = (self.daemons.len(), self.agents.len());
        (host..sessions).step_by(hosts)
    }

    pub(crate) fn agent(&mut self, session: usize, life: u32) {
        let process = self.agents[session].process;
        if !process.alive || process.life != life {
            return;
        }
        let stands = process.stopped_until.max(self.agents[session].stuck_until);
        if self.now < stands {
            if self.agents[session].stuck_until > self.now && self.reaches(session) {
                // Its turn ended, and it waits for its user.
                self.set_turn(session, false);
            }
            return self.at(stands, Event::Agent(session, life));
        }
        if self.reaches(session) {
            self.store.call(session, self.now);
            self.look_for_work(session);
        }
        if !self.agents[session].process.alive {
            return;
        }
        self.work(session);
        let busy = !self.agents[session].work.is_empty();
        let pause = self.rng.u64(if busy { 800..2_500 } else { 4_000..8_000 });
        self.at(self.now + pause, Event::Agent(session, life));
    }

    fn reaches(&self, session: usize) -> bool {
        let host = self.store.sessions[session].host;
        self.now >= self.silent_until[host] && self.store.takes_writes(self.now)
    }

    fn set_turn(&mut self, session: usize, inside: bool) {
        if self.agents[session].reports_turns {
            let turn = if inside { Turn::Inside } else { Turn::Outside };
            if self.store.sessions[session].turn != turn {
                self.store.sessions[session].turn = turn;
                self.store.call(session, self.now);
            }
        }
    }

    fn look_for_work(&mut self, session: usize) {
        // What it got the word to stop, and what it was given.
        let tasks = &self.store.tasks;
        let mine = |task: usize, fence: Fence| {
            tasks[task].state == TaskState::Leased
                && tasks[task].owner == Some(session)
                && tasks[task].fence == fence
        };
        let agent = &mut self.agents[session];
        agent.work.retain(|&(task, fence, _)| mine(task, fence));
        for (at, task) in self.store.tasks.iter_mut().enumerate() {
            let known = agent.work.iter().any(|&(known, ..)| known == at);
            if task.owner == Some(session) && task.state == TaskState::Leased && !known {
                task.known = true;
                agent.work.push((at, task.fence, self.rng.u8(1..6)));
            }
        }
        let role = self.store.sessions[session].role;
        let claimable = |task: &TaskRow| task.state == TaskState::Queued && task.role == role;
        if let Some(task) = self.store.tasks.iter().position(claimable)
            && self.rng.u8(0..4) == 0
            && let Ok(fence) = self.store.claim(session, task, self.now)
        {
            let left = self.rng.u8(1..6);
            self.agents[session].work.push((task, fence, left));
        }
        let work = &self.agents[session].work;
        if work.iter().any(|&(task, ..)| self.store.tasks[task].poison) {
            self.kill_agent(session);
            let pause = self.rng.u64(500..4_000);
            self.restart_agent(session, pause);
            return;
        }
        let busy = !work.is_empty();
        self.set_turn(session, busy);
    }

    /// A step of work, and what it writes into the store. What it believes to have may
    /// be another session's by now.
    fn work(&mut self, session: usize) {
        let Some((task, fence, left)) = self.agents[session].work.first().copied() else {
            return;
        };
        let op = match left {
            0 | 1 if self.rng.u8(0..12) == 0 => Op::Fail(session, task, fence),
            0 | 1 => Op::Done(session, task, fence),
            _ => Op::Progress(session, task, fence),
        };
        // At 1 it stays until it sees that its last word was heard.
        self.agents[session].work[0].2 = left.saturating_sub(1).max(1);
        self.send(session, op);
    }

    pub(crate) fn restart_agent(&mut self, session: usize, pause: Ms) {
        self.later(pause, Fault::StartAgent(session));
    }

    pub(crate) fn later(&mut self, pause: Ms, fault: Fault) {
        // Faults are sorted out of the queue by index.
        self.faults.push((self.now + pause, fault));
        self.at(self.now + pause, Event::Fault(self.faults.len() - 1));
    }
}
