//! On the leader of the meta group: how busy the leaders of the shards are, as far as it was told lately, and when that is
//! a reason to hand leaderships over. All of it may be lost: then it is watched again for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use strata_env::Mono;
use strata_types::{GroupId, NodeId, ShardId, ShardMap};

use crate::report::NodeReport;

/// How long a leader must have led for its load to mean something, and how long it is watched before anything is wished.
const STEADY: Duration = Duration::from_secs(20);
/// How long nothing is wished after leaderships were handed over; twice as long each time.
const REST: Duration = Duration::from_secs(30);
const REST_MAX: Duration = Duration::from_secs(600);

/// What is remembered of the leaders' loads.
pub(crate) struct LeaderLoads {
    shards: BTreeMap<ShardId, Led>,
    /// When wishes may be thought of again.
    until: Mono,
    pause: Duration,
}

struct Led {
    leader: NodeId,
    since: Mono,
    /// Operations a second, smoothed.
    load: u64,
}

impl LeaderLoads {
    pub(crate) fn new(now: Mono) -> LeaderLoads {
        LeaderLoads { shards: BTreeMap::new(), until: now + STEADY, pause: REST }
    }

    /// All nodes were asked how they are. A shard that nobody says to lead, or whose leader's node is too old to tell its
    /// load, is not known.
    pub(crate) fn heard(&mut self, now: Mono, map: &ShardMap, reports: &BTreeMap<NodeId, Option<NodeReport>>) {
        let mut shards = BTreeMap::new();
        for shard in &map.shards {
            let Some((leader, load)) = told(GroupId::of_shard(shard.shard), reports) else { continue };
            let former = self.shards.remove(&shard.shard).filter(|led| led.leader == leader);
            let led = match former {
                Some(Led { since, load: before, .. }) => Led { leader, since, load: (before * 3 + load) / 4 },
                None => Led { leader, since: now, load },
            };
            shards.insert(shard.shard, led);
        }
        self.shards = shards;
    }

    /// How much each node leads by its load, as it is now.
    pub(crate) fn of_nodes(&self, map: &ShardMap) -> Vec<(u64, u32)> {
        let nodes = map.nodes.iter().filter(|node| node.state.takes());
        let led = |id: NodeId| -> u64 { self.shards.values().filter(|led| led.leader == id).map(|led| led.load).sum() };
        nodes.map(|node| (led(node.id), node.weight)).collect()
    }

    /// Operations a second of all shards together, as far as they are known.
    pub(crate) fn of_all(&self) -> u64 {
        self.shards.values().map(|led| led.load).sum()
    }

    /// The loads by which leaderships may be handed over now; `None` while too little is known, or too much is moving.
    pub(crate) fn ripe(&self, now: Mono, map: &ShardMap) -> Option<BTreeMap<ShardId, u64>> {
        let is_quiet = map.groups().all(|group| group.changes.change.is_none());
        if now < self.until || !is_quiet {
            return None;
        }
        let ripe = |shard: &strata_types::ShardPlacement| {
            let led = self.shards.get(&shard.shard)?;
            let is_steady = now.since(led.since) >= STEADY;
            let is_preferred = shard.replicas.first().is_some_and(|first| first.node == led.leader);
            (is_steady && is_preferred).then_some((shard.shard, led.load))
        };
        map.shards.iter().map(ripe).collect()
    }

    /// Leaderships are handed over, or none had to be.
    pub(crate) fn wished(&mut self, now: Mono, count: usize) {
        if count > 0 {
            self.until = now + self.pause;
            self.pause = (self.pause * 2).min(REST_MAX);
        } else if now.since(self.until) >= self.pause {
            // Nothing to do for long.
            (self.until, self.pause) = (now, (self.pause / 2).max(REST));
        }
    }
}

/// Who leads a group and how busy that is, in the words of the leader in the highest term.
fn told(group: GroupId, reports: &BTreeMap<NodeId, Option<NodeReport>>) -> Option<(NodeId, u64)> {
    let reports = reports.iter().filter_map(|(node, report)| Some((*node, report.as_ref()?)));
    let all = reports.flat_map(|(node, report)| report.groups.iter().map(move |one| (node, one)));
    let leading = all.filter(|(_, one)| one.group == group && one.is_leader);
    let (node, one) = leading.max_by_key(|(_, one)| one.term)?;
    Some((node, one.figures?.operations))
}

#[cfg(test)]
mod tests {
    use strata_types::{NodeDescriptor, ReplicaFigures, ReplicaId, ReplicaPlacement, ShardPlacement, Term};

    use super::*;
    use crate::report::GroupReport;

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    /// Two shards; node 1 is to lead the first one, node 2 the other.
    fn map() -> ShardMap {
        let place = |replica, node| ReplicaPlacement { replica: ReplicaId(replica), node: NodeId(node) };
        let shard = |shard, replicas| ShardPlacement { shard: ShardId(shard), replicas, ..ShardPlacement::default() };
        ShardMap {
            nodes: (1..=2).map(|id| NodeDescriptor { id: NodeId(id), ..NodeDescriptor::default() }).collect(),
            shards: vec![shard(0, vec![place(1, 1), place(2, 2)]), shard(1, vec![place(3, 2), place(4, 1)])],
            ..ShardMap::default()
        }
    }

    /// What nodes say that lead these shards with these loads.
    fn reports(led: &[(u64, u32, Option<u64>)]) -> BTreeMap<NodeId, Option<NodeReport>> {
        let mut reports = BTreeMap::from([(NodeId(1), None), (NodeId(2), None)]);
        for (node, shard, operations) in led {
            let group = GroupReport {
                group: GroupId::of_shard(ShardId(*shard)),
                is_leader: true,
                term: Term(3),
                figures: operations.map(|operations| ReplicaFigures { operations, ..ReplicaFigures::default() }),
                ..GroupReport::default()
            };
            let report: &mut Option<NodeReport> = reports.entry(NodeId(*node)).or_default();
            report.get_or_insert_default().groups.push(group);
        }
        reports
    }

    #[test]
    fn loads_are_ripe_when_all_leaders_have_been_where_they_should_be_for_a_while() {
        let both = reports(&[(1, 0, Some(800)), (2, 1, Some(100))]);
        let mut loads = LeaderLoads::new(at(100));
        loads.heard(at(100), &map(), &both);
        assert_eq!(loads.ripe(at(119), &map()), None, "not long enough");
        let wanted = BTreeMap::from([(ShardId(0), 800), (ShardId(1), 100)]);
        assert_eq!(loads.ripe(at(120), &map()), Some(wanted.clone()));
        assert_eq!(loads.of_nodes(&map()), [(800, 1), (100, 1)]);

        loads.heard(at(121), &map(), &reports(&[(2, 0, Some(800)), (2, 1, Some(100))]));
        assert_eq!(loads.ripe(at(150), &map()), None, "a leader that is not the preferred one");
        loads.heard(at(151), &map(), &both);
        assert_eq!(loads.ripe(at(170), &map()), None, "it has just come back");
        assert_eq!(loads.ripe(at(171), &map()), Some(wanted));

        loads.heard(at(172), &map(), &reports(&[(1, 0, Some(800))]));
        assert_eq!(loads.ripe(at(300), &map()), None, "a shard without a leader");
        loads.heard(at(301), &map(), &reports(&[(1, 0, Some(800)), (2, 1, None)]));
        assert_eq!(loads.ripe(at(400), &map()), None, "a program that does not tell");
    }

    #[test]
    fn loads_are_smoothed_and_the_newest_term_counts() {
        let mut loads = LeaderLoads::new(at(0));
        loads.heard(at(0), &map(), &reports(&[(1, 0, Some(1_000)), (2, 1, Some(0))]));
        loads.heard(at(5), &map(), &reports(&[(1, 0, Some(200)), (2, 1, Some(400))]));
        assert_eq!(loads.of_nodes(&map()), [(800, 1), (100, 1)]);
        let mut two = reports(&[(1, 0, Some(1_000)), (2, 0, Some(5)), (2, 1, Some(400))]);
        let deposed = two.get_mut(&NodeId(1)).and_then(Option::as_mut).expect("it answers");
        deposed.groups[0].term = Term(2);
        loads.heard(at(10), &map(), &two);
        assert_eq!(loads.of_nodes(&map()), [(0, 1), (180, 1)]);
    }

    #[test]
    fn after_a_handover_there_is_rest_and_more_of_it_each_time() {
        let both = reports(&[(1, 0, Some(800)), (2, 1, Some(100))]);
        let mut loads = LeaderLoads::new(at(0));
        loads.heard(at(0), &map(), &both);
        loads.wished(at(100), 2);
        assert!(loads.ripe(at(129), &map()).is_none() && loads.ripe(at(130), &map()).is_some());
        loads.wished(at(130), 1);
        assert!(loads.ripe(at(189), &map()).is_none() && loads.ripe(at(190), &map()).is_some());
        // Nothing to do for two minutes, and then for one.
        for second in [200, 310, 311, 371, 372] {
            loads.wished(at(second), 0);
        }
        loads.wished(at(400), 1);
        assert!(loads.ripe(at(430), &map()).is_some(), "all is forgotten");
    }
}
