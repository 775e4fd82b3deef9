//! How actors read: a barrier, and then a look at the rows of a replica.

use strata_machine::View;
use strata_shard::Obstacle;
use strata_types::{Item, Operation, Reach, Reply, RequestHeader, Timestamp, Transaction, TransactionStatus};

use super::context::Context;
use super::group::{ASTRAY, Noted, SEATS};
use super::history::{KEYS, NOTHING, Value};
use super::rows::WithoutIntents;
use super::rule::Rule;
use super::world::World;

/// How many turns a reader waits until a replica has what it must have.
const PATIENCE: u32 = 40;
/// How often it tries, so that every actor comes to an end.
const TRIES: u32 = 6;

/// What is read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Key(usize),
    /// All keys of a shard.
    Range(usize),
}

/// What a read has found: the values of all keys it was about.
pub(crate) type Values = [Value; KEYS];

/// Why a read has found nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotRead {
    TooOld,
    GaveUp,
}

enum Looked {
    Values(Values),
    Obstacle(Obstacle),
}

impl Context {
    /// Reads at a timestamp, or what there is now; whatever is in the way is pushed and resolved.
    pub(crate) async fn read(
        &self,
        shard: usize,
        at: Option<Timestamp>,
        target: Target,
    ) -> Result<(Values, Timestamp), NotRead> {
        self.read_with(shard, at, target, None).await
    }

    /// The same; a witness saw that a majority voted for the leader of this term.
    pub(crate) async fn read_with(
        &self,
        shard: usize,
        at: Option<Timestamp>,
        target: Target,
        witness: Option<u32>,
    ) -> Result<(Values, Timestamp), NotRead> {
        for _ in 0..TRIES {
            let reach = match (at, target) {
                (Some(_), Target::Key(key)) => Reach::of(&Operation::Get { key: self.world().keys[key].clone() }),
                _ => Reach::ALL,
            };
            let Some(seat) = self.barrier(shard, at, reach, witness).await else { continue };
            let (looked, beneath, clock) = {
                let world = self.world();
                let rows = world.groups[shard].rows(seat);
                let beneath = world.is_without(Rule::ResolveThenRead);
                let beneath = beneath.then(|| look(&world, &WithoutIntents(rows), at, target));
                let clock = world.groups[shard].seats.get(seat).map_or(Timestamp(0), |seat| seat.clock);
                (look(&world, rows, at, target), beneath, clock)
            };
            match looked {
                Looked::Values(values) => return Ok((values, clock)),
                Looked::Obstacle(Obstacle::TooOld { .. }) => return Err(NotRead::TooOld),
                Looked::Obstacle(Obstacle::Blocked(by)) => {
                    self.pause().await;
                    if let Some(Looked::Values(values)) = beneath
                        && let Some(TransactionStatus::Unknown) = self.push_gently(&by).await
                    {
                        return Ok((values, clock));
                    }
                    self.clear(shard, &by).await;
                }
            }
        }
        Err(NotRead::GaveUp)
    }

    async fn push_gently(&self, by: &Transaction) -> Option<TransactionStatus> {
        let anchor = self.world().shard_of_slot(by.anchor);
        self.status(anchor, by).await
    }

    /// Waits until a replica of a shard may be read: on a leader, or on a follower that has asked one. With a
    /// timestamp, nothing is written at or below it any more when that is the case.
    pub(super) async fn barrier(
        &self,
        shard: usize,
        at: Option<Timestamp>,
        reach: Reach,
        witness: Option<u32>,
    ) -> Option<usize> {
        let noted = {
            let mut world = self.world();
            let seat = world.any_leader(shard);
            let without = world.without;
            let group = &mut world.groups[shard];
            match at {
                Some(_) if group.seats[seat].open_term().is_none() => None,
                Some(at) => Some(group.begin_read(seat, at, without)),
                None => group.seats[seat].leads.map(|term| Noted { seat, term, number: 0 }),
            }
        };
        let Some(noted) = noted else {
            self.pause().await;
            return None;
        };
        self.dawdle().await;
        let index = self.witnessed(shard, noted, witness).or_else(|| self.confirm(shard, noted))?;
        self.dawdle().await;
        let follower = {
            let mut world = self.world();
            let seat = world.dice.between(0, SEATS as u64 * 2) as usize;
            (seat < SEATS && seat != noted.seat).then_some(seat)
        };
        // Who reads elsewhere is told how far the leader is.
        let reach = if follower.is_some() { Reach::ALL } else { reach };
        if !self.catch_up(shard, noted, index, reach).await {
            return None;
        }
        match follower {
            Some(seat) => self.follower(shard, noted, seat).await,
            None => Some(noted.seat),
        }
    }

    /// A round of the leader: how far the log must be applied, if a majority still follows it.
    fn confirm(&self, shard: usize, noted: Noted) -> Option<usize> {
        let world = self.world();
        let (group, seat) = (&world.groups[shard], &world.groups[shard].seats[noted.seat]);
        let is_confirmed = group.term == noted.term && seat.leads == Some(noted.term);
        if !is_confirmed && !world.is_without(Rule::ReadConfirms) {
            return None;
        }
        Some(seat.known)
    }

    /// The same without a round, if the leader is the one that the witness voted for, and takes itself for it.
    fn witnessed(&self, shard: usize, noted: Noted, witness: Option<u32>) -> Option<usize> {
        let world = self.world();
        let seat = &world.groups[shard].seats[noted.seat];
        (witness == Some(noted.term) && seat.leads == witness).then_some(seat.known)
    }

    /// Waits until the leader has applied what it must have, of what is reached.
    async fn catch_up(&self, shard: usize, noted: Noted, index: usize, reach: Reach) -> bool {
        for _ in 0..PATIENCE {
            {
                let mut world = self.world();
                // Not always as far as it could.
                while world.dice.chance(800) && world.apply(shard, noted.seat) {}
                let (group, seat) = (&world.groups[shard], &world.groups[shard].seats[noted.seat]);
                if seat.leads != Some(noted.term) {
                    return false;
                }
                let is_settled = group.has_applied_own(noted.seat) || world.is_without(Rule::OwnTermFirst);
                let is_later = |(number, its): &(u64, Reach)| *number > noted.number || !its.meets(&reach);
                let is_complete = seat.in_flight.iter().all(is_later);
                let has_caught_up = seat.applied >= index || reach != Reach::ALL;
                if is_settled && is_complete && has_caught_up {
                    return true;
                }
            }
            self.pause().await;
        }
        false
    }

    /// A follower catches up with its leader, by log id.
    async fn follower(&self, shard: usize, noted: Noted, seat: usize) -> Option<usize> {
        let index = self.world().groups[shard].seats[noted.seat].applied;
        for _ in 0..PATIENCE {
            self.dawdle().await;
            {
                let mut world = self.world();
                if world.is_without(Rule::LogId) && world.goes_astray(shard, seat, index) {
                    return Some(ASTRAY);
                }
                while world.apply(shard, seat) {}
                if world.groups[shard].seats[seat].applied >= index {
                    return Some(seat);
                }
            }
            self.pause().await;
        }
        None
    }
}

fn look(world: &World, rows: &dyn View, at: Option<Timestamp>, target: Target) -> Looked {
    let header = RequestHeader { at, ..RequestHeader::default() };
    let value = |item: &Item| item.value[0];
    let mut values = [NOTHING; KEYS];
    match target {
        Target::Key(key) => match strata_shard::get(rows, &header, &world.keys[key]) {
            Ok(item) => values[key] = item.as_ref().map_or(0, value),
            Err(obstacle) => return Looked::Obstacle(obstacle),
        },
        Target::Range(shard) => match strata_shard::scan(rows, &header, b"a", Some(b"z"), 100, &|_| true) {
            Ok(Reply::Scan { items, .. }) => {
                (0..KEYS).filter(|key| world.shard_of(*key) == shard).for_each(|key| values[key] = 0);
                items.iter().for_each(|item| values[world.key_of(&item.key)] = value(item));
            }
            Ok(reply) => panic!("not the answer to a scan: {reply:?}"),
            Err(obstacle) => return Looked::Obstacle(obstacle),
        },
    }
    Looked::Values(values)
}
