//! What somebody waits for, and how far it is.

use strata_proto::v1;
use strata_types::{ChangeId, GroupId, GroupPlacement, NodeId, ShardId, ShardMap};

use super::{ask_map, ask_shards, balance, name_of};
use crate::failure::Failure;
use crate::output::count;
use crate::session::Session;

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The node leads no shard.
    LeadsNothing(NodeId),
    /// The node leads every shard that it is to lead.
    LeadsItsOwn(NodeId),
    /// No group has a replica on the node, also none that is being added.
    HoldsNothing(NodeId),
    /// The node is no member any more.
    IsRemoved(NodeId),
    /// The change is over, and the node has a replica of the group.
    Moved(GroupId, ChangeId, NodeId),
    /// The node leads the shard.
    Leads(ShardId, NodeId),
    /// Nothing is under way, and nothing is left to do.
    Balanced,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is reached.
    Reached,
    /// Not yet: what is missing.
    Missing(String),
    /// It will not be reached.
    Hopeless(String),
}

impl Goal {
    /// Looks how far it is.
    pub async fn look(self, session: &Session) -> Result<Progress, Failure> {
        match self {
            Goal::LeadsNothing(_) | Goal::LeadsItsOwn(_) | Goal::Leads(..) => {
                Ok(self.look_at_shards(&ask_shards(session).await?))
            }
            Goal::HoldsNothing(_) | Goal::IsRemoved(_) | Goal::Moved(..) => {
                Ok(self.look_at_map(&ask_map(session).await?))
            }
            Goal::Balanced => {
                let left = balance::ask(session, true).await?.changes.len();
                let map = ask_map(session).await?;
                let under_way = map.groups().map(|group| jobs(&group)).sum::<usize>();
                Ok(missing(under_way + left, "change", "to go"))
            }
        }
    }

    fn look_at_shards(self, shards: &[v1::ShardStatus]) -> Progress {
        let preferred = |shard: &v1::ShardStatus| {
            let placement = shard.placement.as_ref()?;
            placement.replicas.first().map(|replica| replica.node)
        };
        match self {
            Goal::LeadsNothing(node) => {
                // Without a leader that is known, any replica may lead or be elected.
                let may_lead = |shard: &v1::ShardStatus| match (shard.leader, &shard.placement) {
                    (Some(leader), _) => leader == node.0,
                    (None, Some(placement)) => placement.replicas.iter().any(|replica| replica.node == node.0),
                    (None, None) => true,
                };
                let led = shards.iter().filter(|shard| may_lead(shard)).count();
                missing(led, "shard", &format!("still led by {node}, or by nobody yet"))
            }
            Goal::LeadsItsOwn(node) => {
                let own = shards.iter().filter(|shard| preferred(shard) == Some(node.0));
                let absent = own.filter(|shard| shard.leader != Some(node.0)).count();
                missing(absent, "shard", &format!("not yet led by {node}"))
            }
            Goal::Leads(id, node) => {
                let is_it = |placement: &v1::ShardPlacement| placement.shard == id.0;
                let found = shards.iter().find(|shard| shard.placement.as_ref().is_some_and(is_it));
                let leader = found.and_then(|shard| shard.leader);
                match leader {
                    Some(leader) if leader == node.0 => Progress::Reached,
                    Some(leader) => Progress::Missing(format!("{id} is still led by n{leader}")),
                    None => Progress::Missing(format!("{id} has no leader")),
                }
            }
            _ => Progress::Missing("the shards do not tell".to_owned()),
        }
    }

    fn look_at_map(self, map: &ShardMap) -> Progress {
        let held = |node| {
            let holds = |group: &GroupPlacement<'_>| group.open_replicas().any(|placement| placement.node == node);
            map.groups().filter(holds).count()
        };
        match self {
            Goal::HoldsNothing(node) => missing(held(node), "replica", &format!("still on {node}")),
            Goal::IsRemoved(node) => match map.node(node) {
                None => Progress::Reached,
                Some(found) if found.state.keeps() => {
                    Progress::Hopeless(format!("{node} is {}: somebody took the removal back", found.state))
                }
                Some(_) => Progress::Missing(format!("{} still on {node}", count(held(node), "replica"))),
            },
            Goal::Moved(group, change, to) => {
                let name = name_of(group.shard().map(|shard| shard.0));
                let Some(placement) = map.group(group) else { return Progress::Hopeless(format!("{name} is gone")) };
                let is_under_way = placement.changes.change.is_some_and(|present| present.id == change);
                let is_there = placement.replicas.iter().any(|replica| replica.node == to);
                match (is_under_way, is_there) {
                    (true, _) => Progress::Missing(format!("the replica of {name} on {to} is not yet a member")),
                    (false, true) => Progress::Reached,
                    (false, false) => Progress::Hopeless(format!("the move of {name} to {to} was cancelled")),
                }
            }
            _ => Progress::Missing("the shard map does not tell".to_owned()),
        }
    }
}

fn jobs(group: &GroupPlacement<'_>) -> usize {
    usize::from(group.changes.change.is_some()) + group.changes.leaving.len()
}

fn missing(number: usize, what: &str, how: &str) -> Progress {
    match number {
        0 => Progress::Reached,
        number => Progress::Missing(format!("{} {how}", count(number, what))),
    }
}

#[cfg(test)]
mod tests {
    use strata_types::{
        ChangeReason, NodeDescriptor, NodeState, ReplicaChange, ReplicaId, ReplicaPlacement, ShardPlacement, Term,
    };

    use super::*;

    const GROUP: GroupId = GroupId::of_shard(ShardId(0));

    /// One shard on nodes 1 and 2, and a node 3 beside.
    fn map() -> ShardMap {
        let place = |replica, node| ReplicaPlacement { replica: ReplicaId(replica), node: NodeId(node) };
        ShardMap {
            nodes: (1..=3).map(|id| NodeDescriptor { id: NodeId(id), ..NodeDescriptor::default() }).collect(),
            shards: vec![ShardPlacement { replicas: vec![place(1, 1), place(2, 2)], ..ShardPlacement::default() }],
            ..ShardMap::default()
        }
    }

    fn moving(map: &mut ShardMap, to: u64) {
        map.shards[0].changes.change = Some(ReplicaChange {
            id: ChangeId(7),
            add: Some(ReplicaPlacement { replica: ReplicaId(9), node: NodeId(to) }),
            remove: Some(ReplicaId(2)),
            reason: ChangeReason::Operator,
            cancelled: false,
            decided: Term(0),
        });
    }

    fn is_missing(progress: &Progress) -> bool {
        matches!(progress, Progress::Missing(_))
    }

    #[test]
    fn a_node_is_empty_when_no_replica_is_or_comes_there() {
        let mut map = map();
        assert_eq!(Goal::HoldsNothing(NodeId(3)).look_at_map(&map), Progress::Reached);
        let missing = Progress::Missing("1 replica still on n2".to_owned());
        assert_eq!(Goal::HoldsNothing(NodeId(2)).look_at_map(&map), missing);
        moving(&mut map, 3);
        assert!(is_missing(&Goal::HoldsNothing(NodeId(3)).look_at_map(&map)));
    }

    #[test]
    fn a_removal_is_over_when_the_node_is_unknown() {
        let mut map = map();
        map.nodes[2].state = NodeState::Removing;
        assert!(is_missing(&Goal::IsRemoved(NodeId(3)).look_at_map(&map)), "also when it holds nothing");
        map.nodes[2].state = NodeState::Draining;
        assert!(matches!(Goal::IsRemoved(NodeId(3)).look_at_map(&map), Progress::Hopeless(_)));
        map.nodes.pop();
        assert_eq!(Goal::IsRemoved(NodeId(3)).look_at_map(&map), Progress::Reached);
    }

    #[test]
    fn a_move_ends_at_its_node_or_not_at_all() {
        let goal = Goal::Moved(GROUP, ChangeId(7), NodeId(3));
        let mut under_way = map();
        moving(&mut under_way, 3);
        assert!(is_missing(&goal.look_at_map(&under_way)));
        assert!(matches!(goal.look_at_map(&map()), Progress::Hopeless(_)), "it is over, and nothing is there");
        let mut moved = map();
        moved.shards[0].replicas[1].node = NodeId(3);
        assert_eq!(goal.look_at_map(&moved), Progress::Reached);
    }

    #[test]
    fn leaders_are_where_they_are_wished() {
        let shard = |leader| v1::ShardStatus {
            placement: Some(v1::ShardPlacement::from(&map().shards[0])),
            leader,
            ..v1::ShardStatus::default()
        };
        let at = |leader, goal: Goal| goal.look_at_shards(&[shard(leader)]);
        assert!(is_missing(&at(Some(1), Goal::LeadsNothing(NodeId(1)))));
        assert_eq!(at(Some(2), Goal::LeadsNothing(NodeId(1))), Progress::Reached);
        assert!(is_missing(&at(None, Goal::LeadsNothing(NodeId(1)))), "it may be node 1 that is elected");
        assert_eq!(at(None, Goal::LeadsNothing(NodeId(3))), Progress::Reached, "node 3 has no replica");
        assert!(is_missing(&at(Some(2), Goal::LeadsItsOwn(NodeId(1)))), "node 1 is the preferred one");
        assert_eq!(at(Some(1), Goal::LeadsItsOwn(NodeId(1))), Progress::Reached);
        assert_eq!(at(Some(2), Goal::Leads(ShardId(0), NodeId(2))), Progress::Reached);
        let still = Progress::Missing("s0 is still led by n1".to_owned());
        assert_eq!(at(Some(1), Goal::Leads(ShardId(0), NodeId(2))), still);
        assert!(is_missing(&at(None, Goal::Leads(ShardId(0), NodeId(2)))));
    }
}
