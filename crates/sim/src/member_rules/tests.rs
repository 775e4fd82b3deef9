use std::sync::Arc;

use strata_types::{
    ChangeId, ChangeReason, Epoch, NodeDescriptor, NodeId, ReplicaChange, ReplicaPlacement, ShardId, ShardMap,
    ShardPlacement, SlotRange,
};

use super::*;

const GROUP: GroupId = GroupId(1);

fn placed(replica: u64) -> ReplicaPlacement {
    ReplicaPlacement { replica: ReplicaId(replica), node: NodeId(replica) }
}

/// A shard on three nodes of four, which is to move from the third to the fourth.
fn map(epoch: u64, replicas: [u64; 3], decided: u64) -> Arc<ShardMap> {
    let change = ReplicaChange {
        id: ChangeId(1),
        add: Some(placed(4)),
        remove: Some(ReplicaId(3)),
        reason: ChangeReason::Operator,
        cancelled: false,
        decided: Term(decided),
    };
    let mut shard = ShardPlacement {
        shard: ShardId(0),
        slots: SlotRange::share(0, 1),
        replicas: replicas.into_iter().map(placed).collect(),
        ..ShardPlacement::default()
    };
    match replicas[2] {
        3 => shard.changes.change = Some(change),
        _ => shard.changes.generation = 1,
    }
    let nodes = (1..=4).map(|id| NodeDescriptor { id: NodeId(id), ..NodeDescriptor::default() }).collect();
    Arc::new(ShardMap { epoch: Epoch(epoch), nodes, shards: vec![shard], ..ShardMap::default() })
}

struct World {
    maps: MapHistory,
    files: Files,
    rules: MemberRules,
    committed: BTreeMap<GroupId, LogIndex>,
}

impl World {
    fn new(maps: &[Arc<ShardMap>]) -> World {
        let mut world = World {
            maps: MapHistory::default(),
            files: Files::default(),
            rules: MemberRules::default(),
            committed: [(GROUP, LogIndex(10))].into(),
        };
        for map in maps {
            world.maps.see(NodeId(1), 1, map);
        }
        for replica in 1..=4 {
            world.files.opened(replica, ReplicaId(replica));
        }
        world
    }

    /// What a leader in term 5 with these voters, and replicas that are this far, break.
    fn broken_by(&mut self, voters: &[u64], is_joint: bool, lasts: &[(u64, u64)]) -> String {
        let status = |(replica, last): &(u64, u64)| GroupStatus {
            group: GROUP,
            replica: ReplicaId(*replica),
            term: Term(5),
            last: LogIndex(*last),
            serving: true,
            is_leader: *replica == lasts[0].0,
            ..GroupStatus::default()
        };
        let members = Members {
            voters: voters.iter().map(|id| (ReplicaId(*id), NodeId(*id))).collect(),
            is_joint,
            is_committed: true,
            ..Members::default()
        };
        let groups: Vec<_> = lasts.iter().map(|one| (status(one), Some(members.clone()))).collect();
        let look = Look { groups: &groups, maps: &self.maps, files: &self.files, committed: &self.committed };
        let broken = self.rules.look(&look);
        broken.iter().map(|text| text.split(' ').next().unwrap_or("").to_string()).collect()
    }
}

const ALL: [(u64, u64); 3] = [(1, 10), (2, 10), (3, 10)];

#[tokio::test(start_paused = true)]
async fn voters_are_those_of_the_map_or_of_a_decided_change() {
    let mut undecided = World::new(&[map(5, [1, 2, 3], 0)]);
    assert_eq!(undecided.broken_by(&[1, 2, 3], false, &ALL), "");
    assert_eq!(undecided.broken_by(&[1, 2, 3, 4], true, &ALL), "SIM-MEMBER-2", "nobody decided it");
    let mut decided = World::new(&[map(5, [1, 2, 3], 5)]);
    assert_eq!(decided.broken_by(&[1, 2, 3, 4], true, &ALL), "");
    assert_eq!(decided.broken_by(&[1, 2, 4], false, &ALL), "");
    assert_eq!(decided.broken_by(&[1, 2], false, &ALL), "SIM-MEMBER-2");
    let mut done = World::new(&[map(6, [1, 2, 4], 0)]);
    assert_eq!(done.broken_by(&[1, 2, 3], false, &ALL), "SIM-MEMBER-2", "it leaves and still has a vote");
    let mut old = World::new(&[map(5, [1, 2, 3], 6), map(6, [1, 2, 4], 0)]);
    assert_eq!(old.broken_by(&[1, 2, 3], false, &ALL), "", "a later leader has decided it: this one is deposed");
}

#[tokio::test(start_paused = true)]
async fn a_majority_keeps_its_files_and_what_was_committed() {
    let maps = [map(5, [1, 2, 3], 0)];
    let three = [1, 2, 3];
    assert_eq!(World::new(&maps).broken_by(&three, false, &[(1, 10), (2, 9), (3, 10)]), "");
    assert_eq!(World::new(&maps).broken_by(&three, false, &[(1, 10), (2, 9), (3, 9)]), "SIM-MEMBER-3");
    assert_eq!(World::new(&maps).broken_by(&three, false, &[(1, 10), (2, 9)]), "", "the third one may have it");
    let mut one_gone = World::new(&maps);
    one_gone.files.deleted(3, ReplicaId(3));
    assert_eq!(one_gone.broken_by(&three, false, &[(1, 10), (2, 9)]), "");
    one_gone.files.wiped(2);
    assert_eq!(one_gone.broken_by(&three, false, &[(1, 10)]), "SIM-MEMBER-3");
}

#[tokio::test(start_paused = true)]
async fn who_left_leads_no_more() {
    let mut world = World::new(&[map(5, [1, 2, 3], 5), map(6, [1, 2, 4], 0)]);
    assert_eq!(world.broken_by(&[1, 2, 4], false, &[(3, 10)]), "", "it made the change");
    tokio::time::sleep(FAREWELL * 2).await;
    assert_eq!(world.broken_by(&[1, 2, 4], false, &[(3, 10)]), "", "in the same term");
    world.rules.led.clear();
    assert_eq!(world.broken_by(&[1, 2, 4], false, &[(3, 10)]), "SIM-MEMBER-4");
}
