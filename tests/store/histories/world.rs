//! The world: hosts with daemons, agents, orchestrators, a network and a store,
//! all driven by one queue of events. A seed is one history.

use fastrand::Rng;
use mcp_bridge::model::health::Turn;
use mcp_bridge::model::observer::Held;
use mcp_bridge::model::task::TaskState;
use mcp_bridge::model::{ConversationId, Fence, SessionKey, Side};

use super::faults::{self, Fault};
use super::oracle::{Oracle, Violation};
use super::orchestrator::Orchestrator;
use super::store::{LeaderRow, SessionRow, Store, TaskRow};
use super::{Ms, Sabotage};

/// Faults end; then everything has this long to come to rest.
const CALM: Ms = 45_000;

/// A process: it may be stopped, or dead and started again.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Process {
    pub(crate) alive: bool,
    /// Counts starts; events of an older life are void.
    pub(crate) life: u32,
    pub(crate) stopped_until: Ms,
}

impl Process {
    pub(crate) fn runs(&self, now: Ms) -> bool {
        self.alive && now >= self.stopped_until
    }
}

#[derive(Debug, Default)]
pub(crate) struct Agent {
    pub(crate) process: Process,
    /// Tasks that it believes to have, and the steps that are left.
    pub(crate) work: Vec<(usize, Fence, u8)>,
    pub(crate) reports_turns: bool,
    /// It lives and does nothing.
    pub(crate) stuck_until: Ms,
}

#[derive(Debug, Default)]
pub(crate) struct Daemon {
    pub(crate) process: Process,
    /// When its last write arrives: they arrive in order.
    pub(crate) arrives: Ms,
}

/// A write on its way to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    Beat(u64),
    Release(u64),
    Exit(usize, u32),
    Register(usize),
    Progress(usize, usize, Fence),
    Done(usize, usize, Fence),
    Fail(usize, usize, Fence),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    Fault(usize),
    Arrive(Op),
    Daemon(usize, u32),
    Agent(usize, u32),
    Look(usize, u32),
    Write(usize, u32),
    Add,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: Ms,
    /// What happens when, the next one last.
    pub(crate) queue: Vec<(Ms, Event)>,
    pub(crate) store: Store,
    pub(crate) agents: Vec<Agent>,
    /// The life of each agent that its daemon saw last.
    pub(crate) known: Vec<u32>,
    pub(crate) daemons: Vec<Daemon>,
    pub(crate) silent_until: Vec<Ms>,
    pub(crate) orchestrators: Vec<(Process, Option<Orchestrator>, u32)>,
    /// Stop so long before the next write, once there is one.
    pub(crate) stop_before_write: Vec<Ms>,
    /// A heartbeat follows the next loss.
    pub(crate) late_beat: bool,
    pub(crate) keys: Vec<SessionKey>,
    pub(crate) limit: usize,
    /// Writes that are dropped or sent twice, of a hundred.
    pub(crate) loss: u8,
    pub(crate) twice: u8,
    pub(crate) faults: Vec<(Ms, Fault)>,
    /// All hosts silent together since, and until.
    pub(crate) mass: (Ms, Ms),
    pub(crate) mild: bool,
    pub(crate) tasks_left: usize,
    pub(crate) last_fault: Ms,
    pub(crate) trace: bool,
}

impl World {
    pub(crate) fn new(seed: u64, sabotage: Sabotage, trace: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mild = seed.is_multiple_of(4);
        let hosts = rng.usize(1..=4);
        let sessions = rng.usize(1..=6).max(hosts);
        let roles = rng.usize(1..=2);
        let poison = !mild && rng.u8(0..4) == 0;
        let limit = [2, 5, 50][rng.usize(0..3)];
        let rows = (0..sessions).map(|at| SessionRow {
            host: at % hosts,
            role: at % roles,
            capacity: rng.u32(1..=3),
            seq: 0,
            kept: false,
            exited: false,
            activity: 0,
            unread: 0,
            open: 0,
            turn: Turn::Unknown,
            standing: Held::Well,
            life: 0,
            exited_at: 0,
            eased: 0,
        });
        let store = Store {
            sessions: rows.collect(),
            tasks: Vec::new(),
            leader: LeaderRow::default(),
            hold: false,
            out_until: 0,
            locked: (0, 0),
            changes: Vec::new(),
            sabotage,
            oracle: Oracle::new(limit, sabotage.check()),
        };
        let keys = (0..sessions as u64)
            .map(|at| SessionKey::new(ConversationId::from_random(at.to_be_bytes()), Side::B))
            .collect();
        let mut faults = faults::scenario(&mut rng, mild, poison, hosts, sessions);
        if seed % 16 == 1 {
            faults.extend(faults::relapse(&mut rng, hosts));
        }
        let last_fault = faults.iter().map(|(at, fault)| at + fault.lasts()).max();
        let mut world = Self {
            now: 0,
            queue: Vec::new(),
            agents: (0..sessions)
                .map(|_| Agent {
                    reports_turns: rng.bool(),
                    ..Agent::default()
                })
                .collect(),
            known: vec![0; sessions],
            daemons: (0..hosts).map(|_| Daemon::default()).collect(),
            silent_until: vec![0; hosts],
            orchestrators: (0..rng.usize(1..=2))
                .map(|_| (Process::default(), None, 0))
                .collect(),
            stop_before_write: vec![0; 2],
            late_beat: false,
            keys,
            limit,
            loss: if mild { 0 } else { [0, 2, 10][rng.usize(0..3)] },
            twice: [0, 5, 20][rng.usize(0..3)],
            mass: (Ms::MAX, 0),
            mild,
            tasks_left: rng.usize(1..=10),
            last_fault: last_fault.unwrap_or(0),
            faults,
            store,
            rng,
            trace,
        };
        world.begin(poison);
        world
    }

    fn begin(&mut self, poison: bool) {
        for host in 0..self.daemons.len() {
            self.start_daemon(host);
        }
        for session in 0..self.agents.len() {
            self.start_agent(session);
        }
        for who in 0..self.orchestrators.len() {
            self.start_orchestrator(who);
        }
        for at in 0..self.faults.len() {
            self.at(self.faults[at].0, Event::Fault(at));
        }
        if poison {
            self.add_task(true);
        }
        self.at(0, Event::Add);
    }

    pub(crate) fn at(&mut self, at: Ms, event: Event) {
        // Events of one instant keep their order. A few dozen wait: as a heap they
        // would cost more, in a build without optimisation.
        let place = self.queue.partition_point(|&(other, _)| other > at);
        self.queue.insert(place, (at, event));
    }

    /// Runs to the end and says what was violated.
    pub(crate) fn run(mut self) -> Option<Violation> {
        let end = self.last_fault.max(15_000) + CALM;
        let mut healed = false;
        while let Some((at, event)) = self.queue.pop() {
            self.now = at;
            if self.store.oracle.violation.is_some() || at >= end || self.is_over() {
                break;
            }
            if !healed && at > self.last_fault {
                healed = true;
                self.heal();
            }
            self.handle(event);
        }
        if self.store.oracle.violation.is_none() {
            self.check_end();
        }
        self.store.oracle.violation
    }

    /// All is done, and there was time to find each death.
    fn is_over(&self) -> bool {
        self.now > self.last_fault + 23_000
            && self.tasks_left == 0
            && self.store.tasks.iter().all(|task| !task.state.is_open())
    }

    /// The rest of the history is quiet: the network works, and there is an
    /// orchestrator.
    fn heal(&mut self) {
        (self.loss, self.twice) = (0, 0);
        self.store.hold = false;
        self.late_beat = false;
        for who in 0..self.orchestrators.len() {
            if !self.orchestrators[who].0.alive {
                self.start_orchestrator(who);
            }
        }
    }

    fn handle(&mut self, event: Event) {
        if self.trace {
            println!("{:>7} {event:?}", self.now);
        }
        match event {
            Event::Fault(at) => {
                let fault = self.faults[at].1;
                if self.trace {
                    println!("        {fault:?}");
                }
                faults::strike(self, fault);
            }
            Event::Arrive(op) => self.arrive(op),
            Event::Daemon(host, life) => self.daemon(host, life),
            Event::Agent(session, life) => self.agent(session, life),
            Event::Look(who, tick) => self.look(who, tick),
            Event::Write(who, tick) => self.write(who, tick),
            Event::Add => {
                if self.tasks_left > 0 {
                    self.tasks_left -= 1;
                    self.add_task(false);
                    let pause = self.rng.u64(100..4_000);
                    self.at(self.now + pause, Event::Add);
                }
            }
        }
    }

    fn add_task(&mut self, poison: bool) {
        let roles = self.store.sessions.iter().map(|row| row.role).max();
        self.store.tasks.push(TaskRow {
            role: self.rng.usize(0..=roles.unwrap_or(0)),
            state: TaskState::Queued,
            owner: None,
            last: None,
            fence: Fence(0),
            lost: 0,
            takings: 0,
            known: false,
            failures: 0,
            retry_at: 0,
            poison,
            changed: self.now,
        });
        self.store.oracle.added();
    }

    // Orchestrators.

    fn look(&mut self, who: usize, tick: u32) {
        let (process, orchestrator, current) = &mut self.orchestrators[who];
        if !process.alive || tick != *current {
            return;
        }
        if !process.runs(self.now) {
            let until = process.stopped_until;
            return self.at(until, Event::Look(who, tick));
        }
        let Some(orchestrator) = orchestrator else {
            return;
        };
        if orchestrator.in_round {
            orchestrator.rung = true;
            return;
        }
        *current += 1;
        let tick = *current;
        let agents = &self.agents;
        let alive = |session: usize| agents[session].process.alive;
        if orchestrator.look(&self.store, alive, self.now) {
            let stop = std::mem::take(&mut self.stop_before_write[who]);
            if stop > 0 {
                process.stopped_until = self.now + stop;
            }
            orchestrator.in_round = true;
            let delay = self.rng.u64(1..30);
            self.at(self.now + delay, Event::Write(who, tick));
        } else {
            let next = orchestrator.plan_next(false, self.now);
            self.at(next, Event::Look(who, tick));
        }
    }

    fn write(&mut self, who: usize, tick: u32) {
        let (process, orchestrator, current) = &mut self.orchestrators[who];
        if !process.alive || tick != *current {
            return;
        }
        if !process.runs(self.now) {
            let until = process.stopped_until;
            return self.at(until, Event::Write(who, tick));
        }
        let Some(orchestrator) = orchestrator else {
            return;
        };
        let before: Vec<bool> = self.store.sessions.iter().map(is_lost).collect();
        let agents = &self.agents;
        let alive = |session: usize| agents[session].process.alive;
        orchestrator.in_round = false;
        let rung = std::mem::take(&mut orchestrator.rung);
        let eager = orchestrator.write(&mut self.store, alive, self.now) || rung;
        let next = orchestrator.plan_next(eager, self.now);
        self.at(next, Event::Look(who, tick));
        let lost = |(row, before): (&SessionRow, &bool)| is_lost(row) && !before;
        if let Some(lost) = self.store.sessions.iter().zip(&before).position(lost) {
            self.check_losses();
            if std::mem::take(&mut self.late_beat) {
                self.relapse(who, lost);
            }
        }
    }

    fn relapse(&mut self, who: usize, lost: usize) {
        let host = self.store.sessions[lost].host;
        faults::strike(self, Fault::KillHost(host));
        faults::strike(self, Fault::KillOrchestrator(who, 0));
        let delay = self.rng.u64(1..300);
        self.at(self.now + delay, Event::Arrive(Op::Beat(1 << lost)));
        // Another has long taken over.
        self.faults
            .push((self.now + 20_000, Fault::StartOrchestrator(who)));
        self.at(self.now + 20_000, Event::Fault(self.faults.len() - 1));
    }
}

pub(crate) fn is_lost(row: &SessionRow) -> bool {
    matches!(row.standing, Held::Lost { .. })
}

pub(crate) fn bits(mask: u64) -> impl Iterator<Item = usize> {
    (0..64).filter(move |bit| mask & (1 << bit) != 0)
}
