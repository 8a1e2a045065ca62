//! A deterministic simulation: several vault processes over one log and one custody, stopped anywhere.
//!
//! Each call of a port is two scheduling points, before and after its effect; a seeded scheduler decides who
//! goes on. A crash drops every future of a process where it stands. Writes get lost, fail after they
//! happened, or happen later. A failure prints its seed, and the same seed fails the same way.

mod ports;
mod world;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ports::Random;
use world::{OWNERS, Operation, World};

use crate::vault::Vault;

/// Vault processes at once.
const PROCESSES: usize = 3;
/// Operations that one process has under way at once.
const TASKS: usize = 3;
/// Steps of the scheduler in one run.
const STEPS: usize = 2_500;
/// Runs: seeds 1 to this.
const RUNS: u64 = 400;

type Running = Pin<Box<dyn Future<Output = ()>>>;

/// One process: booting, or with a vault and what it is doing.
#[derive(Default)]
struct Process {
    booting: Option<Pin<Box<dyn Future<Output = Option<Vault>>>>>,
    vault: Option<Vault>,
    /// What is under way, and the step until which it stands still.
    tasks: Vec<(Running, usize)>,
}

impl Process {
    fn step(&mut self, world: &Arc<World>, random: &mut Random, step: usize) {
        let Some(vault) = &self.vault else {
            let booting = self
                .booting
                .get_or_insert_with(|| Box::pin(Arc::clone(world).boot()));
            if let Poll::Ready(vault) = poll(booting) {
                self.booting = None;
                self.vault = vault;
            }
            return;
        };
        if self.tasks.len() < TASKS && random.below(3) == 0 {
            let owners = 1 + step * OWNERS / (STEPS + 1);
            let operation = Operation::random(random, owners, world.mood);
            let run = Arc::clone(world).run(vault.clone(), operation);
            self.tasks.push((Box::pin(run), 0));
        }
        if self.tasks.is_empty() {
            return;
        }
        let chosen = random.below(self.tasks.len());
        let (task, sleeps_until) = &mut self.tasks[chosen];
        if *sleeps_until > step {
            return;
        }
        if poll(task).is_ready() {
            drop(self.tasks.swap_remove(chosen));
        } else if random.below(50) == 0 {
            // Paused by its machine, while the others go on for as long as a rotation takes.
            *sleeps_until = step + random.below(STEPS / 4);
        }
    }
}

fn poll<T>(future: &mut Pin<Box<dyn Future<Output = T>>>) -> Poll<T> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls to the end: nothing else runs meanwhile.
fn finish<T>(future: impl Future<Output = T> + 'static) -> T {
    let mut future: Pin<Box<dyn Future<Output = T>>> = Box::pin(future);
    for _ in 0..10_000_000 {
        if let Poll::Ready(done) = poll(&mut future) {
            return done;
        }
    }
    panic!("a future does not end");
}

/// The answer of a future that never waits.
fn finish_now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("memory does not wait"),
    }
}

/// Says which seed it was when a run panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulation failed with seed {}", self.0);
        }
    }
}

/// What all runs together did, so that a simulation that tests nothing does not pass.
#[derive(Default, Debug)]
struct Tally {
    sealed: usize,
    opened: usize,
    erased: usize,
    expired: usize,
    copies_before: usize,
    rotations: u64,
}

fn run(seed: u64, tally: &mut Tally) {
    let _seed = Seed(seed);
    let mut random = Random::new(seed);
    let world = Arc::new(World::new(seed));
    let mut processes: Vec<_> = (0..PROCESSES).map(|_| Process::default()).collect();
    for step in 0..STEPS {
        let process = random.below(PROCESSES);
        match random.below(400) {
            0..=3 => processes[process] = Process::default(),
            4..=6 => {
                let hours = u64::try_from(random.below(60) + 1).unwrap();
                world.clock.advance(Duration::from_secs(hours * 3_600));
            }
            7..=9 => world.log.land_one(&mut random),
            _ => processes[process].step(&world, &mut random, step),
        }
    }
    // Everybody stops where they are; one process comes back, on ports that work.
    drop(processes);
    world.calm();
    let vault = finish(Arc::clone(&world).boot()).expect("a vault starts");
    let checks = Arc::clone(&world).check(vault);
    let found = finish(checks);
    tally.sealed += found.sealed;
    tally.opened += found.opened;
    tally.erased += found.erased;
    tally.expired += found.expired;
    tally.copies_before += found.copies_before;
    tally.rotations += found.rotations;
}

#[test]
fn no_interleaving_revives_an_erased_key_or_loses_a_live_one() {
    let mut tally = Tally::default();
    for seed in 1..=RUNS {
        run(seed, &mut tally);
    }
    println!("seeds 1 to {RUNS}: {tally:?}");
    // Each of these must have happened often, or the runs prove nothing.
    let runs = usize::try_from(RUNS).unwrap();
    assert!(tally.sealed > runs * 10, "{tally:?}");
    assert!(tally.opened > runs * 3, "{tally:?}");
    assert!(tally.erased > runs / 4, "{tally:?}");
    assert!(tally.expired > runs / 4, "{tally:?}");
    assert!(tally.copies_before > runs / 4, "{tally:?}");
    assert!(tally.rotations > RUNS, "{tally:?}");
}
