//! Which replica to ask when any of them will do.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use strata_env::Mono;
use strata_types::{NodeId, ShardPlacement};

/// A node that did not answer is not the first to be asked for this long.
const SHUNNED_FOR: Duration = Duration::from_secs(1);

/// The nodes that did not answer lately. For choosing among several that would do; nobody is left out when there is no
/// other.
#[derive(Debug, Default)]
pub(crate) struct Shunned(Mutex<BTreeMap<NodeId, Mono>>);

impl Shunned {
    /// A node did not answer.
    pub(crate) fn note(&self, node: NodeId, now: Mono) {
        self.0.lock().insert(node, now + SHUNNED_FOR);
    }

    /// A node answered.
    pub(crate) fn forgive(&self, node: NodeId) {
        let mut shunned = self.0.lock();
        if !shunned.is_empty() {
            shunned.remove(&node);
        }
    }

    fn holds(&self, node: NodeId, now: Mono) -> bool {
        self.0.lock().get(&node).is_some_and(|until| *until > now)
    }

    /// The replica to ask: the `own` node at first, then in turn from `turn` on, and not `avoid` if there is another. A
    /// replica that is being added is not asked: it has nothing to show yet.
    pub(crate) fn choose(
        &self,
        placement: &ShardPlacement,
        own: Option<NodeId>,
        turn: usize,
        avoid: Option<NodeId>,
        now: Mono,
    ) -> Option<NodeId> {
        let count = placement.replicas.len();
        let turns = (0..count).map(|step| placement.replicas[(turn + step) % count].node);
        let own = own.filter(|own| placement.replicas.iter().any(|replica| replica.node == *own));
        let mut candidates: Vec<NodeId> = own.into_iter().chain(turns).filter(|node| Some(*node) != avoid).collect();
        // A stable sort: who answers comes first, each in its turn.
        candidates.sort_by_key(|node| self.holds(*node, now));
        candidates.first().copied().or(avoid)
    }
}

#[cfg(test)]
mod tests {
    use strata_types::{ReplicaId, ReplicaPlacement};

    use super::*;

    #[test]
    fn replicas_take_turns_the_own_one_comes_first_and_silent_ones_last() {
        let replica = |number| ReplicaPlacement { replica: ReplicaId(number), node: NodeId(number) };
        let placement = ShardPlacement { replicas: [1, 2, 3].map(replica).to_vec(), ..ShardPlacement::default() };
        let (shunned, now) = (Shunned::default(), Mono::default());
        let choose = |own, turn, avoid: Option<u64>, now| {
            shunned.choose(&placement, own, turn, avoid.map(NodeId), now).map(|node| node.0)
        };
        assert_eq!([0, 1, 2, 3].map(|turn| choose(None, turn, None, now)), [1, 2, 3, 1].map(Some));
        assert_eq!(choose(Some(NodeId(3)), 0, None, now), Some(3));
        assert_eq!(choose(Some(NodeId(9)), 0, None, now), Some(1), "it has no replica");
        assert_eq!(choose(Some(NodeId(3)), 0, Some(3), now), Some(1));
        shunned.note(NodeId(1), now);
        assert_eq!([0, 1].map(|turn| choose(None, turn, None, now)), [2, 2].map(Some));
        assert_eq!(choose(None, 0, None, now + SHUNNED_FOR), Some(1));
        shunned.note(NodeId(2), now);
        shunned.note(NodeId(3), now);
        assert_eq!(choose(None, 0, Some(1), now), Some(2), "somebody is asked");
        let alone = ShardPlacement { replicas: vec![replica(1)], ..ShardPlacement::default() };
        assert_eq!(shunned.choose(&alone, None, 5, Some(NodeId(1)), now), Some(NodeId(1)));
        assert_eq!(shunned.choose(&ShardPlacement::default(), None, 0, None, now), None);
    }
}
