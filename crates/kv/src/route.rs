//! Whether a batch belongs here.

use strata_router::{lies_in, slot_of};
use strata_types::{
    Epoch, Error, ErrorCode, NodeId, Operation, ReplicaPlacement, Request, ShardId, ShardMap, ShardPlacement,
};

/// The shard's placement, if the map names a replica of it on this node and the batch was not routed by a map under which
/// its keys lay elsewhere. A replica that is being added counts: it may lead before the map knows that it is a member.
/// `None`: the sender needs another map than it has, or than this node has.
pub(crate) fn placement<'a>(
    map: &'a ShardMap,
    node: NodeId,
    shard: ShardId,
    epoch: Epoch,
    requests: &[Request],
) -> Option<&'a ShardPlacement> {
    let placement = map.shard(shard)?;
    let is_here = |replica: ReplicaPlacement| replica.node == node;
    let is_current =
        || epoch == map.epoch || requests.iter().all(|request| lies_in(&request.operation, placement.slots));
    (placement.as_group().open_replicas().any(is_here) && is_current()).then_some(placement)
}

/// Why a request cannot be for this shard under any map: it was routed by the map of this very epoch.
pub(crate) fn misrouted(placement: &ShardPlacement, operation: &Operation) -> Option<Error> {
    if lies_in(operation, placement.slots) {
        return None;
    }
    let shard = placement.shard;
    let begins_here = slot_of(operation).is_some_and(|slot| placement.slots.contains(slot));
    Some(match operation {
        Operation::Batch { .. } if begins_here => Error::not_applied(
            ErrorCode::CrossShard,
            format!("the keys of a batch must live on one shard, and some of these are not on shard {shard}"),
        ),
        _ => Error::not_applied(ErrorCode::InvalidArgument, format!("the key does not live on shard {shard}")),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use strata_types::{
        ChangeId, ChangeReason, GroupChanges, Mutation, NodeDescriptor, ReplicaChange, ReplicaId, RequestHeader, Slot,
        SlotRange, Term,
    };

    use super::*;

    fn map() -> ShardMap {
        let node = |id| NodeDescriptor { id: NodeId(id), ..NodeDescriptor::default() };
        let shard = |shard: u32, nodes: &[u64]| ShardPlacement {
            shard: ShardId(shard),
            slots: SlotRange::share(shard, 2),
            replicas: nodes
                .iter()
                .map(|&node| ReplicaPlacement { replica: ReplicaId(u64::from(shard) * 10 + node), node: NodeId(node) })
                .collect(),
            ..ShardPlacement::default()
        };
        ShardMap {
            epoch: Epoch(5),
            nodes: vec![node(1), node(2)],
            shards: vec![shard(0, &[1]), shard(1, &[1, 2])],
            ..ShardMap::default()
        }
    }

    fn key(shard: usize) -> Bytes {
        let slots = map().shards[shard].slots;
        let mut keys = (0..100).map(|number| format!("key {number}"));
        keys.find(|key| slots.contains(Slot::of_key(key.as_bytes()))).expect("half of all keys").into()
    }

    fn get(shard: usize) -> Request {
        Request { header: RequestHeader::default(), operation: Operation::Get { key: key(shard) } }
    }

    #[test]
    fn batches_belong_to_nodes_and_slots() {
        let map = map();
        let found = |node, shard, epoch, requests: &[Request]| {
            placement(&map, NodeId(node), ShardId(shard), Epoch(epoch), requests).is_some()
        };
        assert!(found(1, 0, 5, &[get(0)]));
        assert!(!found(2, 0, 5, &[get(0)]), "not on this node");
        assert!(!found(1, 7, 5, &[get(0)]), "no such shard");
        assert!(found(1, 0, 4, &[get(0)]), "an old map that was right");
        assert!(!found(1, 0, 4, &[get(0), get(1)]), "an old map that was wrong");
        assert!(!found(1, 0, 6, &[get(1)]), "this node's map is the old one");
        assert!(found(1, 0, 5, &[get(1)]), "the same map: the request is wrong, not the route");
    }

    #[test]
    fn a_replica_that_is_added_counts_and_one_that_left_does_not() {
        let mut map = map();
        let change = ReplicaChange {
            id: ChangeId(1),
            add: Some(ReplicaPlacement { replica: ReplicaId(9), node: NodeId(2) }),
            remove: Some(ReplicaId(1)),
            reason: ChangeReason::Operator,
            cancelled: false,
            decided: Term(0),
        };
        map.shards[0].changes.change = Some(change);
        let found = |map: &ShardMap, node| placement(map, NodeId(node), ShardId(0), Epoch(5), &[get(0)]).is_some();
        assert!(found(&map, 1) && found(&map, 2));
        map.shards[0].replicas = change.add.into_iter().collect();
        map.shards[0].changes = GroupChanges {
            generation: 1,
            change: None,
            leaving: vec![ReplicaPlacement { replica: ReplicaId(1), node: NodeId(1) }],
        };
        assert!(!found(&map, 1) && found(&map, 2));
    }

    #[test]
    fn what_no_map_puts_together_is_said_so() {
        let map = map();
        let code = |operation: &Operation| misrouted(&map.shards[0], operation).map(|error| error.code);
        let batch = |shards: &[usize]| Operation::Batch {
            mutations: shards.iter().map(|&shard| Mutation::Delete { key: key(shard) }).collect(),
        };
        assert_eq!(code(&get(0).operation), None);
        assert_eq!(code(&get(1).operation), Some(ErrorCode::InvalidArgument));
        assert_eq!(code(&batch(&[0, 0])), None);
        assert_eq!(code(&batch(&[0, 1])), Some(ErrorCode::CrossShard));
        assert_eq!(code(&batch(&[1, 1])), Some(ErrorCode::InvalidArgument));
        assert_eq!(code(&Operation::Scan { start: Bytes::new(), end: None, limit: 1 }), None);
    }
}
