//! Duty *reassignment*: gives out the tasks that wait, and moves those of
//! sessions that are gone, at a bounded rate. What is planned is pure; what is
//! written is checked again by the store, fence by fence.

mod crashing;
mod starved;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::alerts::AlertDesk;
use super::fleet::{Known, SharedFleet};
use super::links::{LeaderLink, StoreLink};
use super::{Bells, Duty, DutyBell, Figure, Patience, Report, Round};
use crate::clock;
use crate::config::{
    MatchRole, OrchestratorSettings, ReassignmentSettings, RoleSettings, Settings,
};
use crate::model::assignment::{
    self, Action, AssignmentPolicy, Candidate, Crashes, MoveBudget, OpenTask, TaskPlace,
};
use crate::model::health::Health;
use crate::model::{SessionKey, TaskId};
use crate::store::{Leader, Move, Moved, SharedStore, StoreError, Waiting, Why};
use crate::text;

/// Between two looks for tasks without a bell: a pause after a failure may be over.
const LOOK: Duration = Duration::from_secs(2);
/// Moves of one transaction. A rate that the store cannot keep up with costs a
/// round its end and not its work, and others write in between.
const MOVES: usize = 50;

/// The duty.
pub struct Reassignment {
    settings: ReassignmentSettings,
    link: StoreLink,
    leader: LeaderLink,
    fleet: SharedFleet,
    desk: AlertDesk,
    leadership: DutyBell,
    budget: MoveBudget,
    /// The store that knows the capacity of this configuration.
    told: Option<(SharedStore, (u32, u32))>,
    /// Roles whose tasks wait for a healthy agent, since when, and whether that stands
    /// in the store as an alert.
    starved: HashMap<String, (Duration, bool)>,
    crashes: Crashes,
    /// Sessions that crash, as the store's alerts say.
    crashing: HashSet<String>,
    /// Since which epoch we know what the leader before us had raised.
    adopted: Option<i64>,
}

/// What a round did.
#[derive(Debug, Clone, Default)]
pub struct ReassignmentReport {
    /// Tasks that still wait.
    pub waiting: usize,
    /// Tasks that an agent got.
    pub given: usize,
    /// Tasks that were taken back or given up.
    pub taken: usize,
    trouble: Option<String>,
    acts: bool,
    /// Its time was over before its plan was written.
    goes_on: bool,
}

impl Reassignment {
    /// The duty. It rings `leadership` when another daemon seems to lead.
    #[must_use]
    pub fn new(
        settings: &OrchestratorSettings,
        (link, leader): (StoreLink, LeaderLink),
        fleet: SharedFleet,
        bells: &Bells,
        desk: AlertDesk,
    ) -> Self {
        Self {
            settings: settings.reassignment.clone(),
            link,
            leader,
            fleet,
            desk,
            leadership: bells.leadership.clone(),
            budget: MoveBudget::new(moves(&settings.reassignment)),
            told: None,
            starved: HashMap::new(),
            crashes: Crashes::default(),
            crashing: HashSet::new(),
            adopted: None,
        }
    }

    async fn round(
        &mut self,
        store: &SharedStore,
        leader: &Leader,
        report: &mut ReassignmentReport,
    ) -> Result<(), StoreError> {
        let patience = Patience::begin();
        self.tell_capacity(store, leader, patience).await?;
        let revocable = self.revocable();
        let waiting = store.waiting_tasks(&revocable, self.settings.losses_within, clock::now());
        let waiting = patience.bounded(store.location(), waiting).await?;
        report.acts = true;
        report.waiting = waiting.len();
        let Some(candidates) = self.candidates() else {
            return Ok(());
        };
        self.adopt(store, leader, patience).await?;
        self.tell_crashing(store, leader, patience).await?;
        self.tell_starved(store, leader, patience, &waiting, &candidates)
            .await?;
        if waiting.is_empty() {
            return Ok(());
        }
        let left = self.budget.left(clock::since_boot());
        let moves = self.plan(&waiting, &candidates, left);
        if moves.is_empty() {
            return Ok(());
        }
        let mut parts = moves.chunks(MOVES).peekable();
        while let Some(moves) = parts.next() {
            self.carry_out(store, leader, patience, moves, report)
                .await?;
            if patience.is_over() {
                report.goes_on = parts.peek().is_some();
                break;
            }
        }
        Ok(())
    }

    /// Writes a part of the plan, and says what became of it.
    async fn carry_out(
        &mut self,
        store: &SharedStore,
        leader: &Leader,
        patience: Patience,
        moves: &[Move],
        report: &mut ReassignmentReport,
    ) -> Result<(), StoreError> {
        let made = store.move_tasks(leader, moves, clock::now());
        let made = patience.bounded(store.location(), made).await?;
        let count = made
            .iter()
            .filter(|made| matches!(made, Moved::Made(_)))
            .count();
        self.budget.spend(count, clock::since_boot());
        for (planned, made) in moves.iter().zip(made) {
            match made {
                Moved::Made(fence) => {
                    self.note(planned);
                    let given = planned.to.is_some();
                    report.given += usize::from(given);
                    report.taken += usize::from(!given);
                    report.waiting -= usize::from(given || planned.give_up.is_some());
                    self.say(planned, fence.0);
                }
                Moved::Void(why) => {
                    debug!(task = %planned.task, "not moved: {why}");
                    // Read again soon, so that the next plan names another.
                    self.fleet.lock().refused.extend(planned.to.clone());
                }
            }
        }
        Ok(())
    }

    /// How many tasks a session may have stands in the store, so that an agent
    /// that claims by itself keeps to it, too.
    async fn tell_capacity(
        &mut self,
        store: &SharedStore,
        leader: &Leader,
        patience: Patience,
    ) -> Result<(), StoreError> {
        let (capacity, losses) = (self.settings.capacity, self.settings.max_losses);
        let same = |(known, told): &(SharedStore, (u32, u32))| {
            Arc::ptr_eq(known, store) && *told == (capacity, losses)
        };
        if !self.told.as_ref().is_some_and(same) {
            let telling = store.set_capacity(Some(leader), capacity, losses);
            patience.bounded(store.location(), telling).await?;
            self.told = Some((Arc::clone(store), (capacity, losses)));
        }
        Ok(())
    }

    fn revocable(&self) -> Vec<SessionKey> {
        let fleet = self.fleet.lock();
        let revocable = fleet.sessions.values().filter(|known| known.revocable);
        revocable.map(|known| known.row.key.clone()).collect()
    }

    /// Agents that may get a task; `None` before the fleet was judged.
    fn candidates(&mut self) -> Option<Vec<Candidate>> {
        let fleet = self.fleet.lock();
        if !fleet.judged {
            return None;
        }
        let now = clock::since_boot();
        let rows = fleet.sessions.values().map(|known| &known.row);
        let counts = rows.map(|row| (row.key.clone(), row.crashes));
        self.crashes
            .see(counts.filter(|(_, crashes)| *crashes > 0), now);
        let crashes = &self.crashes;
        let candidate = |known: &Known| Candidate {
            key: known.row.key.clone(),
            role: known.row.role.clone(),
            health: known.health,
            // Our programs can hand it a task by hand; nothing fetches it by itself.
            draining: known.draining || known.row.is_elsewhere() || known.is_stopped(),
            paused: crashes.is_paused(&known.row.key, now),
            open: known.row.open_tasks,
            capacity: known.row.capacity.unwrap_or(self.settings.capacity),
        };
        Some(fleet.sessions.values().map(candidate).collect())
    }

    fn plan(&self, waiting: &[Waiting], candidates: &[Candidate], budget: usize) -> Vec<Move> {
        let policy = AssignmentPolicy {
            any_role: self.settings.match_role == MatchRole::Any,
            max_losses: self.settings.max_losses,
            loss_window: self.settings.losses_within,
        };
        let tasks: Vec<OpenTask> = waiting
            .iter()
            .map(|task| OpenTask {
                id: task.task,
                role: task.role.clone(),
                place: if task.owner.is_some() {
                    TaskPlace::Orphaned
                } else {
                    TaskPlace::Queued
                },
                fence: task.fence,
                last_owner: task.owner.clone().or_else(|| task.last_owner.clone()),
                losses: task.losses,
                fetched: task.fetched,
            })
            .collect();
        let owners: HashMap<TaskId, &SessionKey> = waiting
            .iter()
            .filter_map(|task| Some((task.task, task.owner.as_ref()?)))
            .collect();
        let fleet = self.fleet.lock();
        let why = |task: TaskId| match owners.get(&task) {
            None => Why::Waited,
            Some(owner) => match fleet.sessions.get(*owner).map(|known| known.health) {
                Some(Health::Exited) => Why::Exited,
                Some(health) if !health.is_gone() && fleet.sessions[*owner].revocable => {
                    Why::Stalled
                }
                _ => Why::Lost,
            },
        };
        assignment::plan(&tasks, candidates, &policy, budget)
            .into_iter()
            .map(|action| {
                let task = action.task();
                let (fence, to, give_up) = match action {
                    Action::Assign { fence, to, .. } => (fence, Some(to), None),
                    Action::Requeue { fence, .. } => (fence, None, None),
                    Action::Bury { fence, losses, .. } => {
                        let why = format!(
                            "{} were lost while they had it, within {}",
                            text::count(losses, "owner"),
                            humantime::format_duration(self.settings.losses_within)
                        );
                        (fence, None, Some(why))
                    }
                };
                Move {
                    task,
                    fence,
                    to,
                    why: why(task),
                    give_up,
                }
            })
            .collect()
    }

    /// Counts a move that was made, until the rows are read again.
    fn note(&self, made: &Move) {
        if let Some(to) = &made.to
            && let Some(known) = self.fleet.lock().sessions.get_mut(to)
        {
            known.row.open_tasks += 1;
        }
    }

    fn say(&self, made: &Move, fence: i64) {
        let name = |key: &SessionKey| {
            let fleet = self.fleet.lock();
            fleet
                .sessions
                .get(key)
                .map_or_else(|| key.to_string(), Known::name)
        };
        let task = made.task;
        match (&made.to, &made.give_up) {
            (_, Some(why)) => {
                warn!(event = "task-dead", %task, fence, "task {task} is dead: {why}");
            }
            (Some(to), None) => info!(
                event = "task-given", %task, fence, conversation = %to.conversation, session = %to,
                label = name(to), "task {task} is with {} (fence {fence})", name(to)
            ),
            (None, None) => info!(
                event = "task-queued", %task, fence,
                "task {task} waits: no healthy session can take it (fence {fence})"
            ),
        }
    }
}

fn moves(settings: &ReassignmentSettings) -> usize {
    usize::try_from(settings.moves_per_second).unwrap_or(usize::MAX)
}

impl Duty for Reassignment {
    type Report = ReassignmentReport;

    fn name(&self) -> &'static str {
        "reassignment"
    }

    async fn tick(&mut self) -> Round<ReassignmentReport> {
        let store = self.link.borrow_and_update().clone();
        let leader = self.leader.borrow_and_update().clone();
        let (Some(store), Some(leader)) = (store, leader) else {
            self.starved.clear();
            self.crashing.clear();
            self.adopted = None;
            // The leader of the meantime may say otherwise.
            self.told = None;
            return Round {
                report: ReassignmentReport::default(),
                next: Instant::now() + LOOK,
            };
        };
        let mut report = ReassignmentReport::default();
        if let Err(error) = self.round(&store, &leader, &mut report).await {
            // What was given out before that is counted.
            report = ReassignmentReport {
                given: report.given,
                taken: report.taken,
                ..ReassignmentReport::default()
            };
            if let StoreError::NotLeading(_) = error {
                self.leadership.ring();
            } else {
                report.acts = true;
                report.trouble = Some(error.to_string());
            }
        }
        // The rate is used up: go on as soon as it allows.
        let now = clock::since_boot();
        let pause = match self.budget.next(now) {
            Some(next) if report.waiting > 0 => next.saturating_sub(now),
            _ if report.goes_on => Duration::ZERO,
            _ => LOOK,
        };
        Round {
            report,
            next: Instant::now() + pause,
        }
    }

    fn reload(&mut self, settings: &Arc<Settings>) {
        if let RoleSettings::Orchestrator(own) = &settings.role {
            self.settings = own.reassignment.clone();
            self.budget = MoveBudget::new(moves(&self.settings));
        }
    }
}

impl Report for ReassignmentReport {
    fn summary(&self) -> String {
        match self.waiting {
            _ if !self.acts || self.trouble.is_some() => String::new(),
            0 => "no task waits".into(),
            1 => "1 task waits".into(),
            waiting => format!("{waiting} tasks wait"),
        }
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    fn figures(&self) -> Vec<Figure> {
        let mut figures = vec![
            Figure::counter("tasks_given", self.given as u64),
            Figure::counter("tasks_taken_back", self.taken as u64),
        ];
        if self.acts && self.trouble.is_none() {
            figures.push(Figure::gauge("tasks_waiting", self.waiting as u64));
        }
        figures
    }
}

impl std::fmt::Debug for Reassignment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reassignment")
            .field("settings", &self.settings)
            .field("starved", &self.starved)
            .finish_non_exhaustive()
    }
}
