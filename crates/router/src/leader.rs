//! Which replica to ask, and what to say when none of them leads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use strata_types::{NodeId, ShardPlacement};

/// No node has this id.
const NOBODY: u64 = u64::MAX;

/// Why a replica was of no use when it was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// It did not answer.
    Silent,
    /// It answered that it does not lead.
    Follows,
}

/// What is believed about the leader of one shard. Wrong beliefs cost an attempt, never an answer, so nothing here
/// needs more than single atomic words.
#[derive(Debug)]
pub(crate) struct LeaderGuess {
    node: AtomicU64,
    /// While no leader is known: the replica to ask, counted from the preferred leader.
    turn: AtomicUsize,
    /// The replicas that were of no use since the shard last had a leader: for people who ask why.
    misses: Mutex<BTreeMap<NodeId, Miss>>,
    /// Whether there are any, so that good answers take no lock.
    has_misses: AtomicBool,
}

/// Why a shard has no leader, as far as one router can tell.
pub(crate) struct Absence {
    /// One clause.
    pub(crate) reason: String,
    /// When to try again.
    pub(crate) advice: &'static str,
}

impl LeaderGuess {
    pub(crate) fn new() -> LeaderGuess {
        LeaderGuess {
            node: AtomicU64::new(NOBODY),
            turn: AtomicUsize::new(0),
            misses: Mutex::default(),
            has_misses: AtomicBool::new(false),
        }
    }

    /// The node to ask next. `None` only for a placement without replicas.
    pub(crate) fn target(&self, placement: &ShardPlacement) -> Option<NodeId> {
        let node = NodeId(self.node.load(Ordering::Relaxed));
        if position(placement, node).is_some() {
            return Some(node);
        }
        let turn = self.turn.load(Ordering::Relaxed) % placement.replicas.len().max(1);
        placement.replicas.get(turn).map(|replica| replica.node)
    }

    /// A node answered as the leader.
    pub(crate) fn confirm(&self, node: NodeId) {
        if self.node.load(Ordering::Relaxed) != node.0 {
            self.node.store(node.0, Ordering::Relaxed);
        }
        if self.has_misses.load(Ordering::Relaxed) {
            self.has_misses.store(false, Ordering::Relaxed);
            self.misses.lock().clear();
        }
    }

    /// A node said who leads. `false` when that is of no use: nobody of this shard, or itself.
    pub(crate) fn hint(&self, asked: NodeId, leader: NodeId, placement: &ShardPlacement) -> bool {
        let useful = leader != asked && position(placement, leader).is_some();
        if useful {
            self.node.store(leader.0, Ordering::Relaxed);
        }
        useful
    }

    /// Remembers why a replica was of no use.
    pub(crate) fn note(&self, asked: NodeId, why: Miss) {
        self.misses.lock().insert(asked, why);
        self.has_misses.store(true, Ordering::Relaxed);
    }

    /// What the replicas' answers, and their silence, say about why there is no leader. `None` if nothing was noted.
    pub(crate) fn absence(&self, placement: &ShardPlacement) -> Option<Absence> {
        let misses = self.misses.lock();
        let of = |why| -> Vec<NodeId> {
            let nodes = placement.replicas.iter().map(|replica| replica.node);
            nodes.filter(|node| misses.get(node) == Some(&why)).collect()
        };
        let (silent, following) = (of(Miss::Silent), of(Miss::Follows));
        drop(misses);
        absence(placement, &silent, &following)
    }

    /// A node does not lead, or does not answer: ask the one after it, unless somebody knows better by now.
    pub(crate) fn miss(&self, asked: NodeId, placement: &ShardPlacement) {
        let forget = self.node.compare_exchange(asked.0, NOBODY, Ordering::Relaxed, Ordering::Relaxed);
        if forget.is_ok() || forget == Err(NOBODY) {
            // Setting, not adding: several workers that report the same miss move the turn once.
            let next = position(placement, asked).map_or(0, |position| position + 1);
            self.turn.store(next, Ordering::Relaxed);
        }
    }
}

fn absence(placement: &ShardPlacement, silent: &[NodeId], following: &[NodeId]) -> Option<Absence> {
    let (shard, count) = (placement.shard, placement.replicas.len());
    let group = |nodes: &[NodeId], one: &str, many: &str| {
        let names: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
        let verb = if nodes.len() == 1 { one } else { many };
        let replicas = match (count, nodes.len()) {
            (1, _) => "its only replica".to_owned(),
            (_, some) => format!("{some} of its {count} replicas"),
        };
        format!("{replicas} {verb} ({})", names.join(", "))
    };
    let said_nothing = group(silent, "does not answer", "do not answer");
    let does_not_lead = group(following, "does not lead", "do not lead");
    if !silent.is_empty() && count - silent.len() < count / 2 + 1 {
        let advice = if count == 1 { "retry when it is back" } else { "retry when a majority is back" };
        return Some(Absence { reason: format!("shard {shard} has no leader: {said_nothing}"), advice });
    }
    let known = match silent.len() + following.len() {
        0 => return None,
        asked if asked == count => format!("shard {shard} has no leader"),
        _ => format!("no leader of shard {shard} was found"),
    };
    let reason = match (silent.is_empty(), following.is_empty()) {
        (false, false) => format!("{known}: {said_nothing}, {does_not_lead}"),
        (false, true) => format!("{known}: {said_nothing}"),
        (true, _) => format!("{known}: {does_not_lead}"),
    };
    Some(Absence { reason, advice: "retry in a moment" })
}

/// Where a node is among the replicas. One that is being added comes last: it may lead before the map has it as one.
fn position(placement: &ShardPlacement, node: NodeId) -> Option<usize> {
    placement.as_group().open_replicas().position(|replica| replica.node == node)
}

#[cfg(test)]
mod tests {
    use strata_types::{ReplicaId, ReplicaPlacement, ShardId, SlotRange};

    use super::*;

    fn placement(replicas: u64) -> ShardPlacement {
        let replica = |number| ReplicaPlacement { replica: ReplicaId(number), node: NodeId(number) };
        let slots = SlotRange { start: 0, end: 16_384 };
        ShardPlacement {
            shard: ShardId(3),
            slots,
            replicas: (1..=replicas).map(replica).collect(),
            ..ShardPlacement::default()
        }
    }

    fn said(replicas: u64, misses: &[(u64, Miss)]) -> Option<String> {
        let guess = LeaderGuess::new();
        for (node, why) in misses {
            guess.note(NodeId(*node), *why);
        }
        guess.absence(&placement(replicas)).map(|absence| format!("{}; {}", absence.reason, absence.advice))
    }

    /// How many replicas there are, what was noted of which, the sentence.
    type Case = (u64, &'static [(u64, Miss)], &'static str);

    #[test]
    fn the_reason_counts_and_names_the_replicas() {
        use Miss::{Follows, Silent};
        let table: [Case; 6] = [
            (
                3,
                &[(1, Follows), (2, Silent), (3, Silent)],
                "shard s3 has no leader: 2 of its 3 replicas do not answer (n2, n3); retry when a majority is back",
            ),
            (
                3,
                &[(1, Follows), (2, Silent), (3, Follows)],
                "shard s3 has no leader: 1 of its 3 replicas does not answer (n2), 2 of its 3 replicas do not lead \
                 (n1, n3); retry in a moment",
            ),
            (
                3,
                &[(1, Follows), (2, Follows), (3, Follows)],
                "shard s3 has no leader: 3 of its 3 replicas do not lead (n1, n2, n3); retry in a moment",
            ),
            (
                3,
                &[(2, Silent)],
                "no leader of shard s3 was found: 1 of its 3 replicas does not answer (n2); retry in a moment",
            ),
            (
                2,
                &[(2, Silent)],
                "shard s3 has no leader: 1 of its 2 replicas does not answer (n2); retry when a majority is back",
            ),
            (1, &[(1, Silent)], "shard s3 has no leader: its only replica does not answer (n1); retry when it is back"),
        ];
        for (replicas, misses, sentence) in table {
            assert_eq!(said(replicas, misses).as_deref(), Some(sentence));
        }
        assert_eq!(said(3, &[]), None);
        assert_eq!(said(3, &[(9, Silent)]), None, "a node that has no replica says nothing");
    }

    #[test]
    fn the_last_word_counts_until_somebody_leads() {
        let guess = LeaderGuess::new();
        guess.note(NodeId(1), Miss::Silent);
        guess.note(NodeId(1), Miss::Follows);
        let reason = guess.absence(&placement(1)).map(|absence| absence.reason);
        assert_eq!(reason.as_deref(), Some("shard s3 has no leader: its only replica does not lead (n1)"));
        guess.confirm(NodeId(1));
        assert!(guess.absence(&placement(1)).is_none());
    }
}
