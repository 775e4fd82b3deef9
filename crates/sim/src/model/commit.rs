//! The coordinator: commits a transaction on one shard or several, or finds that it cannot.

use bytes::Bytes;
use strata_types::{
    ConflictReason, Decision, Operation, Part, Prepared, Slot, Space, SpaceKey, SpaceRange, SpaceWrite, Timestamp,
    Transaction, TransactionCall, TransactionStatus,
};

use super::context::{Context, Sent, order_of};
use super::group::Answer;
use super::history::{KEYS, NOTHING, Told};
use super::reading::{Target, Values};
use super::rule::Rule;
use super::world::World;

/// A transaction that has read all it wants and is to be committed.
pub(super) struct Commit {
    pub(super) context: Context,
    pub(super) op: usize,
    pub(super) at: Timestamp,
    pub(super) targets: Vec<Target>,
    pub(super) writes: Values,
}

impl Commit {
    pub(super) async fn run(self) {
        let transaction = self.transaction();
        let mut parts = self.parts(transaction);
        let anchor = self.context.world().shard_of_slot(transaction.anchor);
        let last = parts.iter().position(|(shard, _)| *shard == anchor).expect("it writes there");
        let (_, last) = parts.remove(last);
        let others: Vec<usize> = parts.iter().map(|(shard, _)| *shard).collect();
        let decision = match self.prepare(&parts).await {
            Some(at) => {
                self.context.dawdle().await;
                let Some(decision) = self.commit(anchor, last, at, &others).await else { return };
                decision
            }
            None => {
                self.context.tell(self.op, Told::Refused);
                let answer = self.send(anchor, &TransactionCall::Abort { transaction }, Timestamp(0)).await;
                match answer {
                    Some(Answer::Status(TransactionStatus::Decided(decision))) => decision,
                    _ => return,
                }
            }
        };
        if !others.is_empty() {
            self.clean_up(transaction, anchor, &others, decision).await;
        }
    }

    fn transaction(&self) -> Transaction {
        let world = self.context.world();
        let first = self.writes.iter().position(|value| *value != NOTHING).expect("it writes something");
        let (id, anchor) = (World::transaction_of(self.op), Slot::of_key(&world.keys[first]));
        Transaction { id, anchor, read_timestamp: self.at, age: self.at }
    }

    /// What it has read and writes, by shard.
    fn parts(&self, transaction: Transaction) -> Vec<(usize, Part)> {
        let world = self.context.world();
        let space_key = |key: usize| SpaceKey { space: Space::default(), key: world.keys[key].clone() };
        let (start, end) = (Bytes::from_static(b"a"), Some(Bytes::from_static(b"z")));
        let range = SpaceRange { space: Space::default(), start, end };
        let mut parts = Vec::new();
        for shard in 0..world.groups.len() {
            let slot = Slot::of_key(&world.keys[shard]);
            let (reads, ranges, writes) = (Vec::new(), Vec::new(), Vec::new());
            let mut part = Part { transaction, slot, reads, ranges, writes, prepared: Prepared::default() };
            for target in &self.targets {
                match target {
                    Target::Key(key) if world.shard_of(*key) == shard => part.reads.push(space_key(*key)),
                    Target::Range(its) if *its == shard => part.ranges.push(range.clone()),
                    Target::Key(_) | Target::Range(_) => {}
                }
            }
            part.reads.sort();
            part.reads.dedup();
            part.ranges.dedup();
            for key in (0..KEYS).filter(|key| world.shard_of(*key) == shard && self.writes[*key] != NOTHING) {
                let value = self.writes[key];
                let value = (value != 0).then(|| Bytes::from(vec![value]));
                part.writes.push(SpaceWrite { key: space_key(key), value });
            }
            let has_read = !part.reads.is_empty() || !part.ranges.is_empty();
            if !has_read && world.is_without(Rule::StampAboveRead) {
                // The shard would refuse it, too.
                part.transaction.read_timestamp = Timestamp(0);
            }
            if !part.writes.is_empty() || (has_read && !world.is_without(Rule::ReadersPrepare)) {
                parts.push((shard, part));
            }
        }
        parts
    }

    fn stamped_above(&self, part: &Part) -> Timestamp {
        let is_blind = part.reads.is_empty() && part.ranges.is_empty();
        let is_free = is_blind && self.context.world().is_without(Rule::StampAboveRead);
        if is_free { Timestamp(0) } else { self.at.next() }
    }

    async fn send(&self, shard: usize, call: &TransactionCall, not_before: Timestamp) -> Option<Answer> {
        self.context.transact(shard, Some(self.op), call, not_before).await
    }

    /// What is said when nobody can tell.
    fn not_known(&self) -> Told {
        if self.context.world().is_without(Rule::UnknownIsSaid) { Told::Refused } else { Told::Unknown }
    }

    /// Prepares all other parts at once; the highest of their stamps, if each was.
    async fn prepare(&self, parts: &[(usize, Part)]) -> Option<Timestamp> {
        let mut sent = Vec::new();
        for (shard, part) in parts {
            let not_before = self.stamped_above(part);
            let call = Operation::Transact(Box::new(TransactionCall::Prepare(part.clone())));
            let order = order_of(call, Timestamp(0));
            let (shard, op) = (*shard, Some(self.op));
            let call = self.context.world().send("prepare", shard, op, order.clone(), not_before, true);
            sent.push((Sent { what: "prepare", shard, op, order, not_before, repeatable: true }, call));
        }
        let mut highest = Timestamp(0);
        for (sent, call) in sent {
            match self.context.follow(sent, call).await {
                Some(Answer::Prepared(at)) => highest = highest.max(at),
                _ => return None,
            }
        }
        let ignores = self.context.world().is_without(Rule::HighestStamp);
        Some(if ignores { Timestamp(0) } else { highest })
    }

    /// Commits the last part, and tells the client. `None`: nobody knows what became of it, and others have to clean up.
    async fn commit(&self, anchor: usize, last: Part, at: Timestamp, others: &[usize]) -> Option<Decision> {
        let participants: Vec<Slot> = {
            let world = self.context.world();
            others.iter().map(|shard| Slot::of_key(&world.keys[*shard])).collect()
        };
        let not_before = self.stamped_above(&last).max(at);
        let call = TransactionCall::Commit(Part { prepared: Prepared { at, participants }, ..last });
        let (told, decision) = match self.send(anchor, &call, not_before).await {
            Some(Answer::Committed(at)) => (Told::Done, Some(Decision::Committed(at))),
            // It may be the second time that it is asked, and the first answer may have been collected.
            Some(Answer::Conflict(ConflictReason::TooOld)) | None => (self.not_known(), None),
            // No copy of it will have more luck.
            Some(Answer::Conflict(_)) => (Told::Refused, Some(Decision::Aborted)),
            Some(Answer::Invalid) => (Told::Unknown, None),
            Some(answer) => panic!("not an answer to a commit: {answer:?}"),
        };
        self.context.tell(self.op, told);
        decision
    }

    /// Resolves all other parts, and lets the record go when each has answered.
    async fn clean_up(&self, transaction: Transaction, anchor: usize, shards: &[usize], decision: Decision) {
        let forgets_early = self.context.world().is_without(Rule::ForgetLast);
        let is_committed = decision != Decision::Aborted;
        if forgets_early && is_committed {
            self.send(anchor, &TransactionCall::Forget { transaction }, Timestamp(0)).await;
        }
        let mut all = true;
        for shard in shards {
            self.context.dawdle().await;
            all &= self.context.resolve(*shard, &transaction, decision).await;
        }
        if all && is_committed {
            self.send(anchor, &TransactionCall::Forget { transaction }, Timestamp(0)).await;
        }
    }
}
