//! One schedule: actors and a world, chosen and driven by one seed.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Waker};

use super::client;
use super::context::Context;
use super::group::SEATS;
use super::judge::judge;
use super::rule::Rule;
use super::settle::settle;
use super::world::World;
use crate::dice::Dice;

/// A schedule that goes on for longer has actors that wait for each other; it is ended.
const STEPS_MAX: u32 = 1_500;

/// What became of a schedule.
pub struct Outcome {
    /// Steps until it was settled.
    pub steps: u32,
    /// Transactions and single operations that took effect.
    pub effects: usize,
    /// What is wrong, if anything is.
    pub violation: Option<String>,
    /// What happened, if it was asked for.
    pub trace: Vec<String>,
}

pub(crate) struct Actor {
    life: Pin<Box<dyn Future<Output = ()>>>,
    /// How often it is chosen, compared to others.
    weight: u64,
    /// Whether it can crash.
    is_mortal: bool,
}

impl Actor {
    pub(crate) fn new(life: impl Future<Output = ()> + 'static, weight: u64, is_mortal: bool) -> Actor {
        Actor { life: Box::pin(life), weight, is_mortal }
    }

    /// A turn; whether it has come to its end.
    pub(crate) fn poll(&mut self) -> bool {
        self.life.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_ready()
    }
}

/// Plays the schedule of a seed.
pub fn play(seed: u64, without: Option<Rule>, trace: bool) -> Outcome {
    let world = Rc::new(RefCell::new(World::new(Dice::new(seed, "model"), without, trace)));
    let mut actors = cast(&world);
    while !actors.is_empty() && world.borrow().step < STEPS_MAX && world.borrow().violation.is_none() {
        let roll = {
            let mut world = world.borrow_mut();
            world.step += 1;
            world.dice.between(0, 99)
        };
        match roll {
            0..40 => act(&world, &mut actors),
            40..60 => deliver(&mut world.borrow_mut()),
            60..97 => progress(&mut world.borrow_mut()),
            _ => fault(&mut world.borrow_mut(), &mut actors),
        }
    }
    drop(actors);
    if world.borrow().violation.is_none() {
        settle(&world);
    }
    let mut world = world.borrow_mut();
    if world.violation.is_none()
        && let Some(what) = judge(&world.ops)
    {
        world.violate(|| what);
    }
    Outcome {
        steps: world.step,
        effects: world.ops.iter().filter(|op| op.effect.is_some()).count(),
        violation: world.violation.take(),
        trace: world.trace.take().unwrap_or_default(),
    }
}

/// Who takes part. Some are slow, so that others do much in between.
fn cast(world: &Rc<RefCell<World>>) -> Vec<Actor> {
    let mut shared = world.borrow_mut();
    let (transactions, snapshots) = (shared.dice.between(2, 4), shared.dice.between(0, 2));
    let sessions = shared.dice.between(0, 2) as u8;
    let collects = shared.dice.chance(400);
    let mut weight = || *shared.dice.pick(&[1, 4, 4, 16, 64]);
    let mut actors = Vec::with_capacity(9);
    let context = || Context::new(world.clone());
    for _ in 0..transactions {
        actors.push(Actor::new(client::transaction(context()), weight(), true));
    }
    for _ in 0..snapshots {
        actors.push(Actor::new(client::snapshot(context()), weight(), true));
    }
    for number in 0..sessions {
        actors.push(Actor::new(client::session(context(), number), weight(), true));
    }
    if collects {
        actors.push(Actor::new(client::collector(context()), weight(), false));
    }
    actors
}

/// An actor has its turn.
fn act(world: &Rc<RefCell<World>>, actors: &mut Vec<Actor>) {
    let all: u64 = actors.iter().map(|actor| actor.weight).sum();
    let mut left = world.borrow_mut().dice.between(0, all - 1);
    let chosen = actors.iter().position(|actor| {
        let is_it = left < actor.weight;
        left = left.saturating_sub(actor.weight);
        is_it
    });
    let chosen = chosen.expect("one of all");
    if actors[chosen].poll() {
        drop(actors.swap_remove(chosen));
    }
}

/// A message arrives, if there is one.
fn deliver(world: &mut World) {
    if !world.bag.is_empty() {
        let at = world.dice.between(0, world.bag.len() as u64 - 1) as usize;
        if !world.bag[at].is_slow || world.dice.chance(50) {
            world.deliver(at);
        }
    }
}

/// A shard gets on: with the first thing, from a random one on, that there is to do.
pub(crate) fn progress(world: &mut World) {
    let shard = world.dice.between(0, world.groups.len() as u64 - 1) as usize;
    let first = world.dice.between(0, 3);
    for thing in 0..4 {
        let group = &world.groups[shard];
        let leader = group.leader();
        match (first + thing) % 4 {
            0 => {
                let waits = |seat: &usize| !group.seats[*seat].in_hand.is_empty();
                let Some(seat) = (0..SEATS).find(waits) else { continue };
                // One that does not lead has nobody to hand it to, now; it may lead again.
                if seat != leader && !world.dice.chance(200) {
                    continue;
                }
                return world.groups[shard].hand_over(seat);
            }
            1 if group.log.len() > group.committed => {
                let more = world.dice.between(1, 3) as usize;
                return world.groups[shard].commit(more);
            }
            2 => {
                let is_applied = world.apply(shard, leader);
                if is_applied {
                    return;
                }
            }
            3 => {
                let is_closed =
                    |seat: &usize| group.seats[*seat].leads.is_some_and(|term| term != group.seats[*seat].opened);
                if let Some(seat) = (0..SEATS).find(is_closed) {
                    return world.open_clock(shard, seat);
                }
            }
            _ => {}
        }
    }
}

/// An election, a deposed leader that hears of it, or a crash.
fn fault(world: &mut World, actors: &mut Vec<Actor>) {
    let shard = world.dice.between(0, world.groups.len() as u64 - 1) as usize;
    match world.dice.between(0, 7) {
        0..3 if world.elections > 0 => {
            world.elections -= 1;
            world.elect(shard);
        }
        3..5 => {
            let seat = world.dice.between(0, SEATS as u64 - 1) as usize;
            world.groups[shard].learn(seat);
        }
        5 if world.elections > 0 => {
            world.elections -= 1;
            world.counter.elect();
            world.note(|| "the meta group elects another leader".to_owned());
        }
        6 if world.losses > 0 => {
            let at = world.dice.between(0, actors.len() as u64 - 1) as usize;
            if actors[at].is_mortal && world.dice.chance(150) {
                world.note(|| "an actor crashes".to_owned());
                drop(actors.swap_remove(at));
            }
        }
        _ => {
            let at = world.dice.between(0, actors.len() as u64 - 1) as usize;
            actors[at].weight = *world.dice.pick(&[1, 4, 16, 64]);
        }
    }
}
