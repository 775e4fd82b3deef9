//! What a leader does for transactions that nobody finishes, and for rows that nobody needs any more.
//!
//! A coordinator that dies leaves intents, and records of what it committed. Whoever meets them sees to them; what nobody
//! meets is found here, because it would keep others waiting later, and history from being collected. Nothing here is
//! needed for anything to be right: it may be late, and it may be done by several at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use strata_codec::encode_collect;
use strata_env::Mono;
use strata_machine::View;
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
    /// Where the next round goes on, so that those who cannot be finished do not hide the others; `None`: at the
    /// beginning.
    resume: Option<Bytes>,
    /// Those of them that were there since it was looked from the beginning on.
    met: BTreeSet<TransactionId>,
}

impl Seen {
    /// Notes what a round has found, when the log was applied up to there. Returns those that have been unfinished for
    /// long.
    fn note(
        &mut self,
        mut found: Vec<Unfinished>,
        resume: Option<Bytes>,
        applied: LogIndex,
        now: Mono,
    ) -> Vec<Unfinished> {
        let is_all = self.resume.is_none() && resume.is_none();
        self.clean_at = (is_all && found.is_empty()).then_some(applied);
        self.resume = resume;
        self.met.extend(found.iter().map(|found| found.transaction.id));
        found.retain(|found| {
            let since = *self.unfinished.entry(found.transaction.id).or_insert(now);
            now.since(since) >= ABANDONED_AFTER
        });
        if self.resume.is_none() {
            let met = std::mem::take(&mut self.met);
            self.unfinished.retain(|id, _| met.contains(id));
        }
        found
    }
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
        let from = self.seen().lock().get(&shard).and_then(|seen| seen.resume.clone());
        let look = move |view: &dyn View| strata_shard::unfinished_from(view, from.as_ref(), UNFINISHED_MAX);
        // What cannot be read is told to those who read it.
        let Ok((found, resume)) = survey(env, group.tablet(), look).await else { return };
        let abandoned = self.seen().lock().entry(shard).or_default().note(found, resume, applied, env.now());
        for unfinished in abandoned {
            self.finish_one(slot, unfinished).await;
        }
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
            let look = move |view: &dyn View| strata_shard::garbage(view, horizon, from.as_ref(), COLLECT_ROWS_MAX);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn found(ids: std::ops::Range<u128>) -> Vec<Unfinished> {
        let anchor = Slot::new(0).expect("a slot");
        let of = |id| Unfinished {
            transaction: Transaction { id: TransactionId(id), anchor, read_timestamp: Timestamp(1), age: Timestamp(1) },
            state: UnfinishedState::Prepared { at: Timestamp(2) },
        };
        ids.map(of).collect()
    }

    #[test]
    fn who_was_not_looked_at_in_a_round_is_not_forgotten() {
        let (mut seen, resume) = (Seen::default(), || Some(Bytes::from_static(b"there")));
        let at = |seconds| Mono(Duration::from_secs(seconds));
        let mut note = |ids, resume, seconds| seen.note(found(ids), resume, LogIndex(1), at(seconds)).len();
        assert_eq!(note(0..3, resume(), 0), 0);
        assert_eq!(note(3..5, None, 1), 0);
        assert_eq!(note(0..3, resume(), 3), 3, "they are known for three seconds");
        assert_eq!(note(4..5, None, 4), 1);
        assert_eq!(note(0..5, None, 5), 4, "one was gone, and is new");
        assert_eq!(note(0..0, resume(), 6), 0);
        assert_eq!(note(0..0, None, 7), 0);
        assert_eq!((seen.unfinished.len(), seen.clean_at), (0, None), "in two looks something may be missed");
        assert_eq!(seen.note(Vec::new(), None, LogIndex(9), at(8)), []);
        assert_eq!(seen.clean_at, Some(LogIndex(9)));
    }
}
