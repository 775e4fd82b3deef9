//! On the leader of the meta group: which nodes have no room for more replicas, as far as they said lately.
//!
//! A disk that is nearly full has room in one moment and none in the next, and one on which nothing waits for room does
//! not say how little it has. Replicas must not be sent there again and again because of that: a node is full when it
//! has said so twice in a row, and has room again only when it has said that for a while, which is twice as long each
//! time. While a replica is copied to it, its room says nothing of what there will be after that.
//!
//! All of it may be lost: then everybody is asked again before anything is planned, and the first answer is believed.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use strata_types::{Feature, NodeId, ShardMap};

use crate::report::NodeReport;

/// Answers in a row after which a node is full.
const FULL_AFTER: u32 = 2;
/// Answers in a row after which one that was full has room again: half a minute, and longer each time.
const ROOM_AFTER: u32 = 6;
/// It does not get longer after so many times: two hours.
const TIMES_MAX: u32 = 9;
/// Answers in a row that there is room after which it is forgotten that there was none: ten minutes.
const FORGOTTEN_AFTER: u32 = 120;

/// What the nodes said of their room.
#[derive(Default)]
pub(crate) struct Rooms {
    nodes: BTreeMap<NodeId, Known>,
    /// Everybody was asked at least once.
    is_known: bool,
}

#[derive(Default)]
struct Known {
    is_full: bool,
    /// How often it has become full.
    times: u32,
    /// Answers in a row that said the same, and then answers in a row that said otherwise.
    same: u32,
    contrary: u32,
}

impl Known {
    /// The first answer: there is nothing better to go by.
    fn first(is_full: bool) -> Known {
        Known { is_full, times: u32::from(is_full), ..Known::default() }
    }

    /// Takes an answer, and returns whether it changes anything. `is_added_to`: a replica is on its way to the node.
    fn hear(&mut self, is_full: bool, is_added_to: bool) -> bool {
        if is_full == self.is_full {
            (self.same, self.contrary) = (self.same.saturating_add(u32::from(!is_added_to)), 0);
            if !is_full && self.same >= FORGOTTEN_AFTER {
                self.times = 0;
            }
            return false;
        }
        (self.same, self.contrary) = (0, self.contrary + 1);
        let enough = if self.is_full { ROOM_AFTER << self.times.saturating_sub(1) } else { FULL_AFTER };
        if self.contrary < enough {
            return false;
        }
        let times = (self.times + u32::from(is_full)).min(TIMES_MAX);
        *self = Known { is_full, times, ..Known::default() };
        true
    }
}

impl Rooms {
    /// All nodes were asked how they are. Returns whether one is full now that was not, or the other way round. Who
    /// does not answer stays what it was.
    pub(crate) fn heard(&mut self, reports: &BTreeMap<NodeId, Option<NodeReport>>, map: &ShardMap) -> bool {
        self.is_known = true;
        self.nodes.retain(|node, _| reports.contains_key(node));
        let added_to: BTreeSet<NodeId> =
            map.groups().filter_map(|group| group.changes.added()).map(|placement| placement.node).collect();
        let mut is_news = false;
        for (node, report) in reports {
            let Some(report) = report else { continue };
            let is_full = report.is_full();
            let is_changed = match self.nodes.entry(*node) {
                Entry::Vacant(unknown) => unknown.insert(Known::first(is_full)).is_full,
                Entry::Occupied(mut known) => known.get_mut().hear(is_full, added_to.contains(node)),
            };
            if is_changed {
                is_news = true;
                tracing::info!(%node, is_full, "a node has less room for replicas, or more");
            }
        }
        is_news
    }

    /// Whether enough is known to plan: everybody was asked, whoever answered, or nobody can be told of it anyway.
    pub(crate) fn is_known(&self, map: &ShardMap) -> bool {
        self.is_known || !map.has(Feature::FullNodes)
    }

    /// The nodes without room, if the machines of the cluster can be told of them.
    pub(crate) fn full(&self, map: &ShardMap) -> BTreeSet<NodeId> {
        let full = self.nodes.iter().filter(|(_, known)| known.is_full && map.has(Feature::FullNodes));
        full.map(|(node, _)| *node).collect()
    }
}

#[cfg(test)]
mod tests {
    use strata_types::{
        ChangeId, ChangeReason, ClusterVersion, ReplicaChange, ReplicaId, ReplicaPlacement, ShardPlacement, Term,
    };

    use super::*;
    use crate::report::Room;

    fn map(version: u32) -> ShardMap {
        ShardMap { version: ClusterVersion(version), ..ShardMap::default() }
    }

    /// Nothing is under way.
    fn hear(rooms: &mut Rooms, room: Room) -> bool {
        rooms.heard(&said(Some(room)), &map(3))
    }

    fn said(room: Option<Room>) -> BTreeMap<NodeId, Option<NodeReport>> {
        let report = |room| NodeReport { room, ..NodeReport::default() };
        BTreeMap::from([(NodeId(1), Some(report(Room::Enough))), (NodeId(2), room.map(report))])
    }

    #[test]
    fn a_node_is_full_after_two_answers_and_has_room_after_six() {
        let mut rooms = Rooms::default();
        assert!(!hear(&mut rooms, Room::Enough));
        assert!(!hear(&mut rooms, Room::No) && rooms.full(&map(3)).is_empty(), "said once");
        assert!(hear(&mut rooms, Room::Little));
        assert_eq!(rooms.full(&map(3)), BTreeSet::from([NodeId(2)]));
        for _ in 0..ROOM_AFTER - 1 {
            assert!(!hear(&mut rooms, Room::Enough));
        }
        assert!(!rooms.heard(&said(None), &map(3)), "no answer says nothing");
        assert!(!rooms.full(&map(3)).is_empty());
        assert!(hear(&mut rooms, Room::Enough) && rooms.full(&map(3)).is_empty());
    }

    #[test]
    fn the_first_answer_is_believed_and_nothing_is_planned_before_everybody_was_asked() {
        let mut rooms = Rooms::default();
        assert!(!rooms.is_known(&map(3)));
        assert!(rooms.is_known(&map(2)), "older machines are told of nobody");
        assert!(!rooms.heard(&said(None), &map(3)));
        assert!(rooms.is_known(&map(3)), "who does not answer keeps nobody waiting");
        assert!(hear(&mut rooms, Room::No));
        assert_eq!(rooms.full(&map(3)), BTreeSet::from([NodeId(2)]));
    }

    #[test]
    fn room_that_there_is_during_a_copy_does_not_make_it_forgotten_that_there_was_none() {
        let coming = ReplicaPlacement { replica: ReplicaId(9), node: NodeId(2) };
        let change = ReplicaChange {
            id: ChangeId(1),
            add: Some(coming),
            remove: None,
            reason: ChangeReason::TooFew,
            cancelled: false,
            decided: Term(0),
        };
        let mut copying = map(3);
        copying.shards.push(ShardPlacement::default());
        copying.shards[0].changes.change = Some(change);
        let mut rooms = Rooms::default();
        hear(&mut rooms, Room::No);
        for _ in 0..ROOM_AFTER {
            hear(&mut rooms, Room::Enough);
        }
        for _ in 0..2 * FORGOTTEN_AFTER {
            assert!(!rooms.heard(&said(Some(Room::Enough)), &copying));
        }
        for _ in 0..FULL_AFTER {
            hear(&mut rooms, Room::No);
        }
        for _ in 0..2 * ROOM_AFTER - 1 {
            assert!(!hear(&mut rooms, Room::Enough));
        }
        assert!(hear(&mut rooms, Room::Enough));
    }

    #[test]
    fn who_is_full_again_has_to_have_room_for_longer_until_that_is_long_ago() {
        let mut rooms = Rooms::default();
        let answers_until_news =
            |rooms: &mut Rooms, room| (1..).find(|_| hear(rooms, room)).expect("some time it is believed");
        hear(&mut rooms, Room::Enough);
        let mut needed = Vec::new();
        for _ in 0..11 {
            assert_eq!(answers_until_news(&mut rooms, Room::No), FULL_AFTER);
            needed.push(answers_until_news(&mut rooms, Room::Enough));
        }
        assert_eq!(needed, [6, 12, 24, 48, 96, 192, 384, 768, 1536, 1536, 1536]);
        for _ in 0..FORGOTTEN_AFTER {
            hear(&mut rooms, Room::Enough);
        }
        answers_until_news(&mut rooms, Room::No);
        assert_eq!(answers_until_news(&mut rooms, Room::Enough), ROOM_AFTER);
    }

    #[test]
    fn who_says_now_this_and_now_that_stays_what_it_was() {
        let mut rooms = Rooms::default();
        hear(&mut rooms, Room::Enough);
        for room in [Room::No, Room::Enough].repeat(20) {
            assert!(!hear(&mut rooms, room));
        }
        hear(&mut rooms, Room::No);
        assert!(hear(&mut rooms, Room::No));
        for room in [Room::Enough, Room::No].repeat(20) {
            assert!(!hear(&mut rooms, room));
        }
        assert_eq!(rooms.full(&map(3)), BTreeSet::from([NodeId(2)]));
    }

    #[test]
    fn older_machines_are_told_of_nobody_and_removed_nodes_are_forgotten() {
        let mut rooms = Rooms::default();
        hear(&mut rooms, Room::No);
        assert!(rooms.full(&map(2)).is_empty(), "they would plan otherwise");
        rooms.heard(&BTreeMap::from([(NodeId(1), None)]), &map(3));
        assert!(rooms.full(&map(3)).is_empty());
    }
}
