//! Which keys an open loop writes.

use std::collections::VecDeque;
use std::sync::Arc;

use strata_client::ShardMap;
use strata_types::Slot;

use super::dice;

/// Key numbers, none of them twice, each with the position of its shard in the map.
pub(crate) struct Numbers {
    map: Arc<ShardMap>,
    next: u32,
    turns: Option<Turns>,
}

/// Shards that take turns. Numbers are looked through in order; what comes before its shard's turn waits.
struct Turns {
    waiting: Vec<VecDeque<u32>>,
    turn: usize,
}

impl Numbers {
    /// One after the other: shards come as the hash of the key wants it.
    pub(crate) fn in_order(map: Arc<ShardMap>, first: u32) -> Numbers {
        Numbers { map, next: first, turns: None }
    }

    /// Every shard as often as every other one, by turns.
    pub(crate) fn even(map: Arc<ShardMap>, first: u32) -> Numbers {
        let waiting = map.shards.iter().map(|_| VecDeque::new()).collect();
        Numbers { map, next: first, turns: Some(Turns { waiting, turn: 0 }) }
    }

    /// The next one, and its shard.
    pub(crate) fn draw(&mut self) -> (u32, usize) {
        let Some(mut turns) = self.turns.take() else { return self.following() };
        let shard = turns.turn;
        turns.turn = (shard + 1) % turns.waiting.len();
        while turns.waiting[shard].is_empty() {
            let (number, shard) = self.following();
            turns.waiting[shard].push_back(number);
        }
        let number = turns.waiting[shard].pop_front().unwrap_or_default();
        self.turns = Some(turns);
        (number, shard)
    }

    fn following(&mut self) -> (u32, usize) {
        let number = self.next;
        self.next += 1;
        let slot = Slot::of_key(&dice::key(u64::from(number))).number();
        let after = self.map.shards.partition_point(|shard| shard.slots.start <= slot);
        (number, after.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use strata_types::{ShardId, ShardPlacement, SlotRange};

    use super::*;

    fn map() -> Arc<ShardMap> {
        let shards = (0..16).map(|shard| ShardPlacement {
            shard: ShardId(shard),
            slots: SlotRange::share(shard, 16),
            ..ShardPlacement::default()
        });
        Arc::new(ShardMap { shards: shards.collect(), ..ShardMap::default() })
    }

    #[test]
    fn shards_take_turns_and_no_key_comes_twice() {
        let mut numbers = Numbers::even(map(), 500);
        let drawn: Vec<(u32, usize)> = (0..1_600).map(|_| numbers.draw()).collect();
        for (at, (number, shard)) in drawn.iter().enumerate() {
            assert_eq!(*shard, at % 16);
            assert!(map().shards[*shard].slots.contains(Slot::of_key(&dice::key(u64::from(*number)))), "{number}");
        }
        let different: BTreeSet<u32> = drawn.iter().map(|(number, _)| *number).collect();
        assert_eq!(different.len(), drawn.len());
        assert!(different.first() >= Some(&500));
    }

    #[test]
    fn without_turns_numbers_come_in_order() {
        let mut numbers = Numbers::in_order(map(), 7);
        assert_eq!([numbers.draw().0, numbers.draw().0, numbers.draw().0], [7, 8, 9]);
    }
}
