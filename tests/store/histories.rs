//! The pure core under seeded histories: a small world of hosts, daemons,
//! agents and orchestrators in which everything goes wrong, and an oracle that
//! checks named invariants after every write. Nothing reads a clock, so that a
//! seed is a history for ever.
//!
//! `MCP_BRIDGE_TEST_SEED=n` runs one history and tells it, event by event.
//! `MCP_BRIDGE_TEST_FULL=1` runs two million instead of a hundred thousand.

#![expect(
    clippy::expect_used,
    reason = "a history that cannot be set up has nothing to say"
)]
#![expect(
    clippy::print_stdout,
    reason = "a history that is run alone is printed"
)]

mod endings;
mod faults;
mod oracle;
mod orchestrator;
mod processes;
mod store;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use oracle::{Check, Violation};
use world::World;

/// Milliseconds since the beginning of a history.
pub(crate) type Ms = u64;

/// What is broken on purpose, so that a check can be seen to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    ForgetOrphans,
    EffectAgain,
    IgnoreFence,
    FenceStands,
    HalfTtl,
    NeverGood,
    IgnoreHold,
    IgnoreCapacity,
    Unlimited,
    EpochStands,
    ForgetLosses,
    NoCorrelation,
    IgnoreLock,
    CountUnread,
}

impl Sabotage {
    /// The check that must notice it. The others may notice it, too.
    pub(crate) fn check(self) -> Option<Check> {
        Some(match self {
            Self::None => return None,
            Self::ForgetOrphans => Check::NoTaskLost,
            Self::EffectAgain => Check::OneEffect,
            Self::IgnoreFence => Check::NoOldFence,
            Self::FenceStands => Check::OneLiveFence,
            Self::HalfTtl => Check::NoFalseLost,
            Self::NeverGood => Check::DeathsFound,
            Self::IgnoreHold => Check::HoldHolds,
            Self::IgnoreCapacity => Check::CapacityKept,
            Self::Unlimited => Check::MovesLimited,
            Self::EpochStands => Check::OneLeader,
            Self::ForgetLosses => Check::PoisonBuried,
            Self::NoCorrelation => Check::NoMassExpiry,
            Self::IgnoreLock => Check::NoLossWhileLocked,
            Self::CountUnread => Check::InnocentLives,
        })
    }
}

fn history(seed: u64, sabotage: Sabotage) -> Option<Violation> {
    World::new(seed, sabotage, false).run()
}

/// The first seed below `seeds` that violates something.
fn search(seeds: u64, sabotage: Sabotage) -> Option<(u64, Violation)> {
    const CHUNK: u64 = 64;
    let next = AtomicU64::new(0);
    let found: Mutex<Option<(u64, Violation)>> = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let first = next.fetch_add(CHUNK, Ordering::Relaxed);
                    if first >= seeds || found.lock().expect("no panic").is_some() {
                        return;
                    }
                    for seed in first..seeds.min(first + CHUNK) {
                        if let Some(violation) = history(seed, sabotage) {
                            let mut found = found.lock().expect("no panic");
                            if found.as_ref().is_none_or(|&(other, _)| seed < other) {
                                *found = Some((seed, violation));
                            }
                            break;
                        }
                    }
                }
            });
        }
    });
    found.into_inner().expect("no panic")
}

#[test]
fn no_history_violates_an_invariant() {
    if let Ok(seed) = std::env::var("MCP_BRIDGE_TEST_SEED") {
        let seed = seed.parse().expect("MCP_BRIDGE_TEST_SEED is a number");
        let violation = World::new(seed, Sabotage::None, true).run();
        assert!(violation.is_none(), "seed {seed}: {violation:?}");
        return;
    }
    let full = std::env::var_os("MCP_BRIDGE_TEST_FULL").is_some_and(|value| value == "1");
    let seeds = if full { 2_000_000 } else { 100_000 };
    if let Some((seed, violation)) = search(seeds, Sabotage::None) {
        panic!(
            "{:?} is violated at {} ms: {}\nrun it alone: MCP_BRIDGE_TEST_SEED={seed}",
            violation.check, violation.at, violation.what
        );
    }
}

/// Each check can fail: a world that breaks its rule is found out.
mod sabotage {
    use super::*;

    fn is_found(sabotage: Sabotage) {
        let found = search(4_000, sabotage);
        let (_, violation) = found.unwrap_or_else(|| panic!("{sabotage:?} went unnoticed"));
        assert_eq!(Some(violation.check), sabotage.check());
    }

    macro_rules! found {
        ($($name:ident: $sabotage:ident,)*) => {
            $(#[test]
            fn $name() {
                is_found(Sabotage::$sabotage);
            })*
        };
    }

    found! {
        a_watchdog_that_forgets_orphans: ForgetOrphans,
        a_store_in_which_done_takes_effect_again: EffectAgain,
        a_store_that_ignores_the_fence: IgnoreFence,
        a_store_whose_fence_does_not_grow: FenceStands,
        a_watchdog_with_half_the_ttl: HalfTtl,
        a_watchdog_that_never_trusts_its_eyes: NeverGood,
        a_watchdog_and_a_store_that_ignore_the_hold: IgnoreHold,
        a_plan_and_a_store_that_ignore_capacity: IgnoreCapacity,
        a_watchdog_without_a_budget: Unlimited,
        a_store_whose_epoch_does_not_grow: EpochStands,
        a_watchdog_that_forgets_losses: ForgetLosses,
        a_watchdog_that_expires_all_at_once: NoCorrelation,
        a_watchdog_that_ignores_its_own_writes: IgnoreLock,
        a_plan_that_counts_owners_that_never_read_the_task: CountUnread,
    }
}
