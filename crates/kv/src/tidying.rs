//! What a leader does for transactions that nobody finishes, and for rows that nobody needs any more.
//!
//! A coordinator that dies leaves intents, and records of what it committed. Whoever meets them sees to them; what nobody
//! meets is found here, because it would keep others waiting later, and history from being collected. Nothing here is
//! needed for anything to be right: it may be late, and it may be done by several at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use strata_codec::encode_collect;
use strata_env::Mono;
use strata_raft::Group;
use strata_shard::{Unfinished, UnfinishedState};
use strata_types::{
    Decision, Feature, GroupId, LogIndex, ShardId, Slot, Timestamp, Transaction, TransactionCall, TransactionId,
};

use crate::LocalShards;
use crate::blockers::{InTheWay, note};
use crate::reads::survey;

/// How often it is looked for something to do.
const ROUND: Duration = Duration::from_secs(1);
/// A transaction that has been unfinished for this long is taken for abandoned: its coordinator has had time for
/// everything.
const ABANDONED_AFTER: Duration = Duration::from_secs(3);
/// Most transactions that are looked at in one round of one shard.
const UNFINISHED_MAX: usize = 256;
/// Most rows that one command collects: it is applied in one piece.
const COLLECT_ROWS_MAX: usize = 1_000;
/// Garbage is looked for in every so many rounds.
const COLLECT_ROUNDS: u64 = 5;

/// What is known of a shard from the rounds before.
#[derive(Default)]
pub(crate) struct Seen {
    /// The log when it was looked for unfinished transactions last, and there were none.
    clean_at: Option<LogIndex>,
    /// Since when each of them is known to be unfinished.
    unfinished: BTreeMap<TransactionId, Mono>,
}

/// Makes rounds until the node ends.
pub(crate) async fn run(local: Weak<LocalShards>) {
    let mut round = 0u64;
    loop {
        let Some(strong) = local.upgrade() else { return };
        let env = strong.node().env().clone();
        drop(strong);
        env.sleep(env.jittered(ROUND)).await;
        let Some(strong) = local.upgrade() else { return };
        strong.holds().drop_late(env.now());
        if !strong.node().map().has(Feature::Transactions) {
            continue;
        }
        round += 1;
        let led = led(&strong);
        strong.seen().lock().retain(|shard, _| led.iter().any(|(led, _, _)| led == shard));
        for (shard, slot, group) in led {
            strong.finish(shard, slot, &group).await;
            if round.is_multiple_of(COLLECT_ROUNDS) {
                strong.collect(&group).await;
            }
        }
    }
}

/// The shards that this node leads, each with one of its slots.
pub(crate) fn led(local: &LocalShards) -> Vec<(ShardId, Slot, Arc<Group>)> {
    let map = local.node().map();
    let of = |placement: &strata_types::ShardPlacement| {
        let group = local.node().host().group(GroupId::of_shard(placement.shard))?;
        let slot = Slot::new(placement.slots.start)?;
        (group.leads() && group.is_sound()).then_some((placement.shard, slot, group))
    };
    map.shards.iter().filter_map(of).collect()
}

impl LocalShards {
    /// Sees to it that what was abandoned here is decided, and that what is decided is resolved.
    async fn finish(&self, shard: ShardId, slot: Slot, group: &Arc<Group>) {
        let (env, applied) = (self.node().env(), group.applied());
        if self.seen().lock().get(&shard).is_some_and(|seen| seen.clean_at == Some(applied)) {
            return;
        }
        let found = survey(env, group.tablet(), |view| strata_shard::unfinished(view, UNFINISHED_MAX)).await;
        // What cannot be read is told to those who read it.
        let Ok(found) = found else { return };
        for unfinished in self.abandoned(shard, applied, found) {
            self.finish_one(slot, unfinished).await;
        }
    }

    /// Those of the unfinished transactions of a shard that have been so for long.
    fn abandoned(&self, shard: ShardId, applied: LogIndex, mut found: Vec<Unfinished>) -> Vec<Unfinished> {
        let now = self.node().env().now();
        let mut shards = self.seen().lock();
        let seen = shards.entry(shard).or_default();
        seen.clean_at = found.is_empty().then_some(applied);
        seen.unfinished.retain(|id, _| found.iter().any(|found| found.transaction.id == *id));
        found.retain(|found| {
            let since = *seen.unfinished.entry(found.transaction.id).or_insert(now);
            now.since(since) >= ABANDONED_AFTER
        });
        found
    }

    /// How long a transaction is known to be unfinished on a shard.
    pub(crate) fn unfinished_for(&self, shard: ShardId, transaction: TransactionId) -> Duration {
        let shards = self.seen().lock();
        let since = shards.get(&shard).and_then(|seen| seen.unfinished.get(&transaction));
        since.map_or(Duration::ZERO, |since| self.node().env().now().since(*since))
    }

    async fn finish_one(&self, slot: Slot, unfinished: Unfinished) {
        let Unfinished { transaction, state } = unfinished;
        let blockers = &self.steps().blockers;
        tracing::debug!(transaction = %transaction.id, ?state, "finishing what its coordinator left");
        match state {
            UnfinishedState::Prepared { .. } => {
                let mut in_the_way = InTheWay::new();
                note(&mut in_the_way, transaction, None);
                blockers.clear(slot, in_the_way).await;
            }
            UnfinishedState::Committed { at, participants } => {
                self.resolve_everywhere(transaction, at, participants).await;
            }
        }
    }

    async fn resolve_everywhere(&self, transaction: Transaction, at: Timestamp, participants: Vec<Slot>) {
        let blockers = &self.steps().blockers;
        let resolve = |slot| blockers.resolve(slot, transaction, Decision::Committed(at));
        let resolved = futures_util::future::join_all(participants.into_iter().map(resolve)).await;
        if resolved.iter().all(Result::is_ok) {
            let _ = blockers.call(TransactionCall::Forget { transaction }).await;
        }
    }

    /// Has rows removed that no reader above the cluster's horizon needs.
    async fn collect(&self, group: &Arc<Group>) {
        let horizon = self.node().timestamps().horizon();
        if horizon == Timestamp(0) || group.clock().is_none() {
            return;
        }
        let mut from = None;
        loop {
            let tablet = group.tablet();
            let look = move |view: &dyn strata_machine::View| {
                strata_shard::garbage(view, horizon, from.as_ref(), COLLECT_ROWS_MAX)
            };
            let Ok(garbage) = survey(self.node().env(), tablet, look).await else { return };
            if !garbage.rows.is_empty() {
                metrics::counter!("strata_kv_rows_collected_total").increment(garbage.rows.len() as u64);
                let command = encode_collect(horizon, &garbage.rows);
                // Whoever leads next goes on.
                let Some(Ok(_)) = group.propose(vec![command]).await.pop() else { return };
            }
            from = garbage.resume;
            if from.is_none() {
                return;
            }
        }
    }
}
