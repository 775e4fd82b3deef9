//! On the leader of the meta group: which nodes have no room for more replicas, as they said last (`room_watch`).
//!
//! All of it may be lost: then everybody is asked again before anything is planned.

use std::collections::{BTreeMap, BTreeSet};

use strata_types::{Feature, NodeId, ShardMap};

use crate::report::NodeReport;

/// What the nodes said of their room.
#[derive(Default)]
pub(crate) struct Rooms {
    full: BTreeSet<NodeId>,
    /// Everybody was asked at least once.
    is_known: bool,
}

impl Rooms {
    /// All nodes were asked how they are. Returns whether one is full now that was not, or the other way round. Who
    /// does not answer stays what it was.
    pub(crate) fn heard(&mut self, reports: &BTreeMap<NodeId, Option<NodeReport>>) -> bool {
        self.is_known = true;
        let is_full = |node: &NodeId, report: &Option<NodeReport>| match report {
            Some(report) => report.is_full(),
            None => self.full.contains(node),
        };
        let full = reports.iter().filter(|(node, report)| is_full(node, report)).map(|(node, _)| *node).collect();
        let before = std::mem::replace(&mut self.full, full);
        for node in before.symmetric_difference(&self.full) {
            let is_full = self.full.contains(node);
            tracing::info!(%node, is_full, "a node has less room for replicas, or more");
        }
        before != self.full
    }

    /// Whether enough is known to plan: everybody was asked, whoever answered, or nobody can be told of it anyway.
    pub(crate) fn is_known(&self, map: &ShardMap) -> bool {
        self.is_known || !map.has(Feature::FullNodes)
    }

    /// The nodes without room, if the machines of the cluster can be told of them.
    pub(crate) fn full(&self, map: &ShardMap) -> BTreeSet<NodeId> {
        if map.has(Feature::FullNodes) { self.full.clone() } else { BTreeSet::new() }
    }
}

#[cfg(test)]
mod tests {
    use strata_types::ClusterVersion;

    use super::*;
    use crate::report::Room;

    fn map(version: u32) -> ShardMap {
        ShardMap { version: ClusterVersion(version), ..ShardMap::default() }
    }

    fn hear(rooms: &mut Rooms, room: Option<Room>) -> bool {
        let report = |room| NodeReport { room, ..NodeReport::default() };
        rooms.heard(&BTreeMap::from([(NodeId(1), Some(report(Room::Enough))), (NodeId(2), room.map(report))]))
    }

    #[test]
    fn what_a_node_said_last_counts_and_silence_says_nothing() {
        let (mut rooms, second) = (Rooms::default(), BTreeSet::from([NodeId(2)]));
        for room in [Room::No, Room::Little] {
            assert!(!hear(&mut rooms, Some(Room::Enough)) && rooms.full(&map(3)).is_empty());
            assert!(hear(&mut rooms, Some(room)));
            assert!(!hear(&mut rooms, None));
            assert_eq!(rooms.full(&map(3)), second);
            assert!(hear(&mut rooms, Some(Room::Enough)));
        }
    }

    #[test]
    fn nothing_is_planned_before_everybody_was_asked() {
        let mut rooms = Rooms::default();
        assert!(!rooms.is_known(&map(3)));
        assert!(rooms.is_known(&map(2)), "older machines are told of nobody");
        assert!(!hear(&mut rooms, None));
        assert!(rooms.is_known(&map(3)), "who does not answer keeps nobody waiting");
    }

    #[test]
    fn older_machines_are_told_of_nobody_and_removed_nodes_are_forgotten() {
        let mut rooms = Rooms::default();
        hear(&mut rooms, Some(Room::No));
        assert!(rooms.full(&map(2)).is_empty(), "they would plan otherwise");
        rooms.heard(&BTreeMap::from([(NodeId(1), None)]));
        assert!(rooms.full(&map(3)).is_empty());
    }
}
