//! The end of a schedule: everything arrives, everything is resolved, everything is read once more.

use std::cell::RefCell;
use std::rc::Rc;

use super::client;
use super::context::Context;
use super::group::SEATS;
use super::schedule::{Actor, progress};
use super::world::World;

/// More turns than the last actors need.
const TURNS_MAX: u32 = 20_000;

/// Lets everything come to its end. What is then still prepared, or different on replicas, is a violation.
pub(crate) fn settle(world: &Rc<RefCell<World>>) {
    {
        let mut world = world.borrow_mut();
        world.note(|| "everything settles".to_owned());
        (world.losses, world.elections) = (0, 0);
        for shard in 0..world.groups.len() {
            (0..SEATS).for_each(|seat| world.groups[shard].learn(seat));
        }
        drain(&mut world);
    }
    run(world, client::recovery(Context::new(world.clone())));
    run(world, client::snapshot(Context::new(world.clone())));
    let mut world = world.borrow_mut();
    drain(&mut world);
    check(&mut world);
}

/// Lets all messages arrive, late as they are, and applies everything.
fn drain(world: &mut World) {
    for shard in 0..world.groups.len() {
        let leader = world.groups[shard].leader();
        while world.groups[shard].seats[leader].open_term().is_none() {
            world.open_clock(shard, leader);
        }
    }
    while !world.bag.is_empty() {
        world.step += 1;
        world.deliver(0);
    }
    for shard in 0..world.groups.len() {
        let leader = world.groups[shard].leader();
        for seat in 0..SEATS {
            while !world.groups[shard].seats[seat].in_hand.is_empty() {
                world.groups[shard].hand_over(seat);
            }
        }
        world.groups[shard].commit(usize::MAX / 2);
        world.step += 1;
        while world.apply(shard, leader) {}
    }
}

/// One actor has all turns that the world does not need.
fn run(world: &Rc<RefCell<World>>, life: impl Future<Output = ()> + 'static) {
    let mut actor = Actor::new(life, 1, false);
    for turn in 0..TURNS_MAX {
        world.borrow_mut().step += 1;
        if actor.poll() {
            return;
        }
        let mut world = world.borrow_mut();
        if turn % 8 == 7 { drain(&mut world) } else { progress(&mut world) }
    }
    world.borrow_mut().violate(|| "what was left over cannot be settled".to_owned());
}

fn check(world: &mut World) {
    for shard in 0..world.groups.len() {
        for seat in 0..SEATS {
            while world.apply(shard, seat) {}
        }
        let group = &world.groups[shard];
        let state = strata_shard::shard_state(group.rows(0));
        let is_settled = state.prepared == 0 && state.ranged == 0;
        let is_equal = (1..SEATS).all(|seat| group.rows(seat) == group.rows(0));
        if !is_settled {
            world.violate(|| format!("shard {shard} has locks when all is settled"));
        }
        if !is_equal {
            world.violate(|| format!("the replicas of shard {shard} differ"));
        }
    }
}
