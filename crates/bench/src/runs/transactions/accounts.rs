//! Accounts: keys with amounts, and pairs of them on two shards.

use anyhow::{Context, Result};
use bytes::{BufMut, Bytes, BytesMut};
use strata_client::{Batch, Client, Item, ShardMap};
use strata_types::{ShardId, Slot};
use tokio::task::JoinSet;

use crate::load::{Dice, key};
use crate::report::{number, print_error};

/// What every account has at the beginning.
pub(super) const OPENING: u64 = 1_000;
/// Size of a value: an amount, and what else may be known of an account.
pub(super) const VALUE_BYTES: usize = 64;
const AMOUNT_BYTES: usize = 8;
/// Accounts of one batch, and batches under way.
const BATCH: usize = 500;
const BATCHES: usize = 32;
/// Progress is told after so many accounts.
const TOLD: u32 = 1_000_000;
/// Tries of one batch.
const ATTEMPTS: u32 = 10;

/// The value of an account with this amount.
pub(super) fn with_amount(amount: u64) -> Bytes {
    let mut value = BytesMut::with_capacity(VALUE_BYTES);
    value.put_u64(amount);
    value.put_bytes(0, VALUE_BYTES - AMOUNT_BYTES);
    value.freeze()
}

/// The amount in a value; `None` if it is no account's.
pub(super) fn amount_in(value: &[u8]) -> Option<u64> {
    (value.len() == VALUE_BYTES).then_some(())?;
    value.first_chunk::<AMOUNT_BYTES>().map(|bytes| u64::from_be_bytes(*bytes))
}

/// The amount of an account that was read.
pub(super) fn amount_of(item: Option<&Item>) -> Result<u64, String> {
    let item = item.ok_or("the account is missing")?;
    amount_in(&item.value).ok_or_else(|| "the account holds something else".to_owned())
}

/// The shard of an account.
pub(super) fn shard_of(map: &ShardMap, account: u64) -> Option<ShardId> {
    map.shard_of(Slot::of_key(&key(account))).map(|placement| placement.shard)
}

/// Two accounts of `first..first + count` on different shards.
pub(super) fn draw_pair(dice: &mut Dice, map: &ShardMap, first: u64, count: u64) -> (u64, u64) {
    loop {
        let (from, to) = (first + dice.below(count), first + dice.below(count));
        if shard_of(map, from) != shard_of(map, to) {
            return (from, to);
        }
    }
}

/// Writes the accounts `0..count`, in batches of one shard.
pub(super) async fn open(client: &Client, count: u32) -> Result<()> {
    let map = client.map();
    let mut gathered: Vec<(Batch, usize)> = map.shards.iter().map(|_| (Batch::new(), 0)).collect();
    let mut under_way = JoinSet::new();
    for account in 0..count {
        let key = key(u64::from(account));
        let slot = Slot::of_key(&key).number();
        let at = map.shards.partition_point(|shard| shard.slots.start <= slot).saturating_sub(1);
        let (batch, length) = std::mem::take(&mut gathered[at]);
        gathered[at] = (batch.put(key, with_amount(OPENING)), length + 1);
        if gathered[at].1 == BATCH {
            if under_way.len() == BATCHES {
                ended(under_way.join_next().await)?;
            }
            under_way.spawn(write(client.clone(), std::mem::take(&mut gathered[at]).0));
        }
        if (account + 1).is_multiple_of(TOLD) {
            print_error(&format!("transactions: {} accounts are open", number(f64::from(account + 1))));
        }
    }
    for (batch, length) in gathered {
        if length > 0 {
            under_way.spawn(write(client.clone(), batch));
        }
    }
    while let Some(end) = under_way.join_next().await {
        ended(Some(end))?;
    }
    Ok(())
}

/// Writing the same again does no harm.
async fn write(client: Client, batch: Batch) -> Result<()> {
    let mut attempt = 1;
    loop {
        match client.batch(batch.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) if attempt == ATTEMPTS => return Err(error).context("the accounts cannot be opened"),
            Err(_) => attempt += 1,
        }
    }
}

fn ended(end: Option<Result<Result<()>, tokio::task::JoinError>>) -> Result<()> {
    end.unwrap_or(Ok(Ok(())))?
}

#[cfg(test)]
mod tests {
    use strata_types::{ShardPlacement, SlotRange};

    use super::*;

    #[test]
    fn amounts_survive_in_values() {
        for amount in [0, 7, u64::MAX] {
            assert_eq!(with_amount(amount).len(), VALUE_BYTES);
            assert_eq!(amount_in(&with_amount(amount)), Some(amount));
        }
        assert_eq!(amount_in(b"short"), None);
        assert!(amount_of(None).is_err());
    }

    #[test]
    fn pairs_lie_on_two_shards_and_in_their_range() {
        let shards = (0..16).map(|shard| ShardPlacement {
            shard: ShardId(shard),
            slots: SlotRange::share(shard, 16),
            ..ShardPlacement::default()
        });
        let map = ShardMap { shards: shards.collect(), ..ShardMap::default() };
        let mut dice = Dice::new(1, 1);
        for _ in 0..1_000 {
            let (from, to) = draw_pair(&mut dice, &map, 100, 20);
            assert!((100..120).contains(&from) && (100..120).contains(&to));
            assert_ne!(shard_of(&map, from), shard_of(&map, to));
        }
    }
}
