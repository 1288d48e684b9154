//! What goes wrong, and when.

use fastrand::Rng;

use super::Ms;
use super::world::World;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    PauseAgent(usize, Ms),
    PauseDaemon(usize, Ms),
    PauseOrchestrator(usize, Ms),
    /// Between its next look and the writes that follow from it.
    PauseBeforeWrite(usize, Ms),
    KillAgent(usize, Option<Ms>),
    StartAgent(usize),
    KillDaemon(usize, Option<Ms>),
    StopDaemon(usize, Option<Ms>),
    StartDaemon(usize),
    KillHost(usize),
    KillOrchestrator(usize, Ms),
    StartOrchestrator(usize),
    Outage(Ms),
    /// Reads are answered, writes wait.
    Locked(Ms),
    /// The agent ends and is started again, for so long.
    Crash(usize, Ms),
    SilentHost(usize, Ms),
    AllSilent(Ms),
    Hold(Ms),
    EndHold,
    Stick(usize, Ms),
    /// The next loss is overtaken: a heartbeat arrives that was on its way when the
    /// host died, and the leader that wrote the loss dies before it sees the heartbeat.
    LateBeat,
}

impl Fault {
    /// How long it goes on by itself.
    pub(crate) fn lasts(self) -> Ms {
        match self {
            Self::PauseAgent(_, ms)
            | Self::PauseDaemon(_, ms)
            | Self::PauseOrchestrator(_, ms)
            | Self::KillOrchestrator(_, ms)
            | Self::Outage(ms)
            | Self::Locked(ms)
            | Self::Crash(_, ms)
            | Self::SilentHost(_, ms)
            | Self::AllSilent(ms)
            | Self::Hold(ms)
            | Self::Stick(_, ms) => ms,
            Self::PauseBeforeWrite(_, ms) => ms + 1_000,
            Self::KillAgent(_, again) | Self::KillDaemon(_, again) | Self::StopDaemon(_, again) => {
                again.unwrap_or(0)
            }
            Self::StartAgent(_)
            | Self::StartDaemon(_)
            | Self::StartOrchestrator(_)
            | Self::KillHost(_)
            | Self::EndHold
            | Self::LateBeat => 0,
        }
    }
}

/// The faults of one history, with their times. A mild one has nothing but
/// pauses of up to ten seconds, one for each process.
pub(crate) fn scenario(
    rng: &mut Rng,
    mild: bool,
    poison: bool,
    hosts: usize,
    sessions: usize,
) -> Vec<(Ms, Fault)> {
    let mut faults = Vec::new();
    let start = |rng: &mut Rng| rng.u64(1_000..15_000);
    if mild {
        for host in 0..hosts {
            faults.push((
                start(rng),
                Fault::PauseDaemon(host, rng.u64(1_000..=10_000)),
            ));
        }
        for who in 0..2 {
            faults.push((
                start(rng),
                Fault::PauseOrchestrator(who, rng.u64(1_000..=10_000)),
            ));
        }
        let session = rng.usize(0..sessions);
        faults.push((
            start(rng),
            Fault::PauseAgent(session, rng.u64(1_000..=10_000)),
        ));
        return faults;
    }
    // Poison is a fault of its own.
    let most = if poison { 2 } else { 5 };
    for _ in 0..rng.usize(0..=most) {
        let at = start(rng);
        let again = |rng: &mut Rng, range| rng.bool().then(|| rng.u64(range));
        let (host, session, who) = (rng.usize(0..hosts), rng.usize(0..sessions), rng.usize(0..2));
        let fault = match rng.u8(0..17) {
            0 => Fault::PauseAgent(session, rng.u64(1_000..30_000)),
            1 => Fault::PauseDaemon(host, rng.u64(1_000..30_000)),
            2 => Fault::PauseOrchestrator(who, rng.u64(1_000..20_000)),
            3 => Fault::PauseBeforeWrite(who, rng.u64(1_000..20_000)),
            4 | 5 => Fault::KillAgent(session, again(rng, 500..12_000)),
            6 => Fault::KillDaemon(host, again(rng, 500..25_000)),
            7 => Fault::StopDaemon(host, again(rng, 500..25_000)),
            8 => Fault::KillHost(host),
            9 => Fault::KillOrchestrator(who, rng.u64(1_000..15_000)),
            10 => Fault::Outage(rng.u64(200..25_000)),
            11 => Fault::SilentHost(host, rng.u64(3_000..30_000)),
            12 => Fault::AllSilent(rng.u64(16_000..26_000)),
            14 => Fault::Locked(rng.u64(8_000..30_000)),
            15 => Fault::Crash(session, rng.u64(10_000..30_000)),
            13 => Fault::Hold(rng.u64(3_000..25_000)),
            _ => Fault::Stick(session, rng.u64(10_000..50_000)),
        };
        faults.push((at, fault));
    }
    let ends: Vec<_> = faults
        .iter()
        .filter_map(|&(at, fault)| match fault {
            Fault::KillAgent(session, Some(again)) => {
                Some((at + again, Fault::StartAgent(session)))
            }
            Fault::KillDaemon(host, Some(again)) | Fault::StopDaemon(host, Some(again)) => {
                Some((at + again, Fault::StartDaemon(host)))
            }
            Fault::KillOrchestrator(who, again) => {
                Some((at + again, Fault::StartOrchestrator(who)))
            }
            Fault::Hold(lasts) => Some((at + lasts, Fault::EndHold)),
            _ => None,
        })
        .collect();
    faults.extend(ends);
    faults
}

/// What would hardly come about by itself: a session is lost, then there is a sign of
/// it that no leader judges, and then none any more.
pub(crate) fn relapse(rng: &mut Rng, hosts: usize) -> [(Ms, Fault); 2] {
    let (at, host) = (rng.u64(4_000..15_000), rng.usize(0..hosts));
    [(at, Fault::LateBeat), (at, Fault::SilentHost(host, 45_000))]
}

/// Does it.
pub(crate) fn strike(world: &mut World, fault: Fault) {
    let now = world.now;
    match fault {
        Fault::PauseAgent(session, ms) => {
            let until = &mut world.agents[session].process.stopped_until;
            *until = (*until).max(now + ms);
        }
        Fault::PauseDaemon(host, ms) => {
            let until = &mut world.daemons[host].process.stopped_until;
            *until = (*until).max(now + ms);
        }
        Fault::PauseOrchestrator(who, ms) => {
            if let Some((process, ..)) = world.orchestrators.get_mut(who) {
                process.stopped_until = process.stopped_until.max(now + ms);
            }
        }
        Fault::PauseBeforeWrite(who, ms) => world.stop_before_write[who] = ms,
        Fault::KillAgent(session, _) => world.kill_agent(session),
        Fault::StartAgent(session) => {
            if !world.agents[session].process.alive {
                world.start_agent(session);
            }
        }
        Fault::KillDaemon(host, _) => world.daemons[host].process.alive = false,
        Fault::StopDaemon(host, _) => {
            let process = &mut world.daemons[host].process;
            if process.alive && now >= process.stopped_until {
                process.alive = false;
                world.release(host);
            }
        }
        Fault::StartDaemon(host) => {
            if !world.daemons[host].process.alive {
                world.start_daemon(host);
            }
        }
        Fault::KillHost(host) => {
            world.daemons[host].process.alive = false;
            for session in world.sessions_of(host) {
                world.kill_agent(session);
            }
        }
        Fault::KillOrchestrator(who, _) => {
            if let Some((process, orchestrator, _)) = world.orchestrators.get_mut(who) {
                process.alive = false;
                *orchestrator = None;
            }
        }
        Fault::StartOrchestrator(who) => {
            let dead = world.orchestrators.get(who).is_some_and(|o| !o.0.alive);
            if dead {
                world.start_orchestrator(who);
            }
        }
        Fault::Outage(ms) => world.store.out_until = world.store.out_until.max(now + ms),
        Fault::Locked(ms) => {
            if !world.store.is_locked(now) {
                world.store.locked = (now, now + ms);
            }
        }
        Fault::Crash(session, left) => {
            world.kill_agent(session);
            world.restart_agent(session, 300);
            if left > 2_000 {
                let again = Fault::Crash(session, left - 2_000);
                world.later(2_000, again);
            }
        }
        Fault::SilentHost(host, ms) => {
            let until = &mut world.silent_until[host];
            *until = (*until).max(now + ms);
        }
        Fault::AllSilent(ms) => {
            for until in &mut world.silent_until {
                *until = (*until).max(now + ms);
            }
            world.mass = (now, now + ms);
        }
        Fault::Hold(_) => world.store.hold = true,
        Fault::EndHold => world.store.hold = false,
        Fault::LateBeat => world.late_beat = true,
        Fault::Stick(session, ms) => {
            let until = &mut world.agents[session].stuck_until;
            *until = (*until).max(now + ms);
        }
    }
}
