//! Leadership that goes to and fro.
//!
//! A replica that led, was deposed and leads again without having died remembers things from its earlier term. Whatever
//! that is, another leader has served in between (TXN-3, TXN-6).

use std::sync::Arc;
use std::time::Duration;

use strata_raft::Group;
use strata_types::{GroupId, NodeId, ReplicaId};
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::trace::trace;

/// How long a leader tries.
const PATIENCE: Duration = Duration::from_millis(400);
/// Of a group that has no leader it is looked again after this time.
const LOOK: Duration = Duration::from_millis(3);

/// Two replicas of a group that give leadership to each other.
pub(crate) struct Handovers {
    cluster: Arc<Cluster>,
    group: GroupId,
    two: [(ReplicaId, NodeId); 2],
}

impl Handovers {
    /// Of a shard, if there is one with two voters.
    pub(crate) fn choose(cluster: &Arc<Cluster>, dice: &mut Dice) -> Option<Handovers> {
        let map = cluster.newest_map();
        let groups: Vec<_> = map.groups().filter(|group| group.group.shard().is_some()).collect();
        let group = *(!groups.is_empty()).then(|| dice.pick(&groups))?;
        let mut members: Vec<_> = group.replicas.iter().map(|placed| (placed.replica, placed.node)).collect();
        if members.len() < 2 {
            return None;
        }
        let first = members.swap_remove(dice.between(0, members.len() as u64 - 1) as usize);
        Some(Handovers { cluster: cluster.clone(), group: group.group, two: [first, *dice.pick(&members)] })
    }

    /// Goes on for a while.
    pub(crate) async fn make(&self, dice: &mut Dice, time: Duration) {
        let until = Instant::now() + time;
        let pause_max = dice.between(2, 120);
        let mut made = 0;
        while Instant::now() < until {
            let Some(leader) = self.leader() else {
                sleep(LOOK).await;
                continue;
            };
            let [(first, _), (second, _)] = self.two;
            let to = if leader.replica() == first { second } else { first };
            // The leader may die while it is asked to.
            let handed_over = timeout(PATIENCE * 2, leader.transfer_leader(to, PATIENCE)).await;
            made += u64::from(handed_over == Ok(true));
            sleep(Duration::from_millis(dice.between(0, pause_max))).await;
        }
        trace!(self.cluster.trace, "{} changed its leader {made} times between {:?}", self.group, self.two);
    }

    fn leader(&self) -> Option<Arc<Group>> {
        let nodes = self.cluster.nodes();
        nodes.iter().filter_map(|(_, _, node)| node.host().group(self.group)).find(|group| group.status().is_leader)
    }
}
