//! How actors get timestamps: at once, from whoever takes itself for the leader of the meta group, and confirmed
//! afterwards (TXN-1). What is begun with a read is read meanwhile, so clocks are raised by what nobody may use then.

use futures_util::future::join;
use strata_types::Timestamp;

use super::context::Context;
use super::counter::Claim;
use super::reading::{Target, Values};
use super::rule::Rule;
use super::world::World;

/// So often somebody may be asked who leads no more.
const TRIES: u32 = 6;

/// For each shard the term of the leader that a majority voted for, when it was looked at.
type Votes = Vec<u32>;

fn votes(world: &World) -> Votes {
    world.groups.iter().map(|group| group.term).collect()
}

impl Context {
    /// A timestamp that is certain.
    pub(crate) async fn begin(&self) -> Timestamp {
        for _ in 0..TRIES {
            let (claim, _) = self.claim(true).await;
            if self.is_confirmed(claim).await {
                return claim.at;
            }
        }
        loop {
            let (claim, _) = self.claim(false).await;
            if self.is_confirmed(claim).await {
                return claim.at;
            }
        }
    }

    /// A timestamp, and what is read at it before it is certain: nobody is told of it if it does not become so.
    pub(crate) async fn begin_with(&self, target: Target) -> Option<(Timestamp, Values)> {
        let shard = match target {
            Target::Key(key) => self.world().shard_of(key),
            Target::Range(shard) => shard,
        };
        for _ in 0..TRIES {
            let (claim, votes) = self.claim(true).await;
            let confirmed = self.is_confirmed(claim);
            let witness = self.world().dice.chance(500).then(|| votes[shard]);
            let (read, is_confirmed) = join(self.read_with(shard, Some(claim.at), target, witness), confirmed).await;
            if is_confirmed && let Ok((values, _)) = read {
                return Some((claim.at, values));
            }
        }
        None
    }

    /// A timestamp from who leads the meta group, or from who led it: `deposed` says whether that may be. Who waits at the
    /// same time may get the same one. With it comes what was looked at when it was there.
    async fn claim(&self, deposed: bool) -> (Claim, Votes) {
        let (question, before) = {
            let mut world = self.world();
            (world.counter.ask(), votes(&world))
        };
        self.pause().await;
        let claimed = {
            let mut world = self.world();
            let world = &mut *world;
            let deposed = deposed && world.dice.chance(400);
            let old = world.counter.last_answer.filter(|_| world.without == Some(Rule::FreshQuestion));
            let claim = match old.filter(|_| world.dice.chance(300)) {
                Some(old) => old,
                None => world.counter.answer(question, deposed, || world.dice.chance(300)),
            };
            let votes = if world.without == Some(Rule::WitnessAfterTime) { before } else { votes(world) };
            (claim, votes)
        };
        self.dawdle().await;
        claimed
    }

    /// Asks whether who handed it out leads. Any moment after the question came will do.
    async fn is_confirmed(&self, claim: Claim) -> bool {
        self.dawdle().await;
        let mut world = self.world();
        let is_confirmed = world.counter.is_confirmed(claim);
        if !is_confirmed {
            world.note(|| format!("the timestamp {} is from who does not lead any more", claim.at.0));
        }
        is_confirmed || world.is_without(Rule::MetaConfirms)
    }
}
