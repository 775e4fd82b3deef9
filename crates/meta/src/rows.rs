//! The rows of the meta tablet, and the shard map that they make up.
//!
//! ```text
//!   key:   KeyKind::Meta  row kind u8  [id, big-endian]      value: format byte 2, then
//!          3              0                                  head   cluster u128, epoch, next node, next shard,
//!                                                                   next replica, replicas of the meta group,
//!                                                                   its changes, next change, cluster version
//!          3              1            node id u64           node   peer address, client address, zone, instance,
//!                                                                   weight, state, versions
//!          3              2            shard id u32          shard  first slot, slot after the last, replicas, changes
//!          3              3                                  time   the last timestamp that was reserved
//! ```
//! Format 1 ended before the changes of the meta group, before the instance, and before the changes of the shard. It is
//! read and never written.

use std::collections::BTreeMap;
use std::convert::Infallible;

use bytes::Bytes;
use strata_codec::{DecodeError, Decoder, Encoder, KeyKind};
use strata_machine::{View, ViewMut};
use strata_types::{
    ChangeId, ClusterId, ClusterVersion, Epoch, GroupChanges, NodeDescriptor, NodeId, NodeState, ReplicaId,
    ReplicaPlacement, ShardId, ShardMap, ShardPlacement,
};

use crate::fields::{
    decode_changes, decode_node, decode_plain_node, decode_replicas, decode_shard, encode_changes, encode_node,
    encode_replicas, encode_shard,
};
use crate::founding::NODE_ID_MAX;
use crate::state::State;

/// The format byte that every row begins with.
pub(crate) const FORMAT: u8 = 2;

/// Highest shard id that is ever given out: reading the map counts up to it.
const SHARD_ID_MAX: u32 = 1 << 20;

/// The format before nodes could come and go.
const FORMAT_PLAIN: u8 = 1;

/// The kinds of rows. Numbers are only ever appended.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum RowKind {
    Head = 0,
    Node = 1,
    Shard = 2,
    Time = 3,
}

/// What there is one of.
struct Head {
    cluster: ClusterId,
    epoch: Epoch,
    next_node: NodeId,
    next_shard: ShardId,
    next_replica: ReplicaId,
    meta: Vec<ReplicaPlacement>,
    meta_changes: GroupChanges,
    next_change: ChangeId,
    version: ClusterVersion,
}

/// Something that rows of the meta tablet can be read from, such as a snapshot of an engine.
pub trait RowReader {
    /// Why a read failed.
    type Error;

    /// The value of a tablet key. All calls for one map must see one state.
    fn row(&self, key: &[u8]) -> Result<Option<Bytes>, Self::Error>;
}

/// A shard map could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadMapError<E> {
    /// The reader failed.
    #[error("meta row unreadable")]
    Reader(#[source] E),
    /// A row is not what it should be.
    #[error("meta row damaged")]
    Damaged(#[source] DecodeError),
}

impl<E> From<DecodeError> for ReadMapError<E> {
    fn from(error: DecodeError) -> Self {
        ReadMapError::Damaged(error)
    }
}

pub(crate) struct ViewReader<'a>(pub(crate) &'a dyn View);

impl RowReader for ViewReader<'_> {
    type Error = Infallible;

    fn row(&self, key: &[u8]) -> Result<Option<Bytes>, Infallible> {
        Ok(self.0.get(key))
    }
}

/// The shard map in a view; `None` before the cluster was founded.
///
/// # Panics
/// When a row cannot be decoded: a broken invariant, which stops the node.
pub fn load_map(view: &dyn View) -> Option<ShardMap> {
    load_state(view).map(|state| state.map)
}

/// The shard map behind a reader that may fail; `None` before the cluster was founded.
pub fn read_map<R: RowReader + ?Sized>(reader: &R) -> Result<Option<ShardMap>, ReadMapError<R::Error>> {
    Ok(read_state(reader)?.map(|state| state.map))
}

/// All rows of a view, as [`load_map`].
pub(crate) fn load_state(view: &dyn View) -> Option<State> {
    match read_state(&ViewReader(view)) {
        Ok(state) => state,
        Err(ReadMapError::Reader(never)) => match never {},
        Err(ReadMapError::Damaged(error)) => panic!("meta row damaged: {error}"),
    }
}

fn read_state<R: RowReader + ?Sized>(reader: &R) -> Result<Option<State>, ReadMapError<R::Error>> {
    let Some(row) = reader.row(&head_key()).map_err(ReadMapError::Reader)? else { return Ok(None) };
    let head = decode_head(row)?;
    let (mut nodes, mut removed, mut shards) = (Vec::new(), Vec::new(), Vec::new());
    for id in (0..head.next_node.0).map(NodeId) {
        if let Some(row) = reader.row(&node_key(id)).map_err(ReadMapError::Reader)? {
            let node = decode_node_row(row, id)?;
            if node.state == NodeState::Removed { removed.push(node) } else { nodes.push(node) }
        }
    }
    for id in (0..head.next_shard.0).map(ShardId) {
        if let Some(row) = reader.row(&shard_key(id)).map_err(ReadMapError::Reader)? {
            shards.push(decode_shard_row(row, id)?);
        }
    }
    shards.sort_by_key(|shard| shard.slots.start);
    let Head { cluster, epoch, meta, meta_changes, version, .. } = head;
    Ok(Some(State {
        map: ShardMap { cluster, epoch, nodes, shards, meta, meta_changes, version },
        removed,
        next_node: head.next_node,
        next_shard: head.next_shard,
        next_replica: head.next_replica,
        next_change: head.next_change,
    }))
}

/// Writes the rows in which `after` differs from `before`, the head last.
pub(crate) fn store_difference(view: &mut dyn ViewMut, before: Option<&State>, after: &State) {
    let old_nodes = before.into_iter().flat_map(State::all_nodes).map(|node| (node.id, node));
    let old_nodes: BTreeMap<NodeId, &NodeDescriptor> = old_nodes.collect();
    for node in after.all_nodes().filter(|node| old_nodes.get(&node.id) != Some(node)) {
        view.put(node_key(node.id), encode_node_row(node));
    }
    let old_shards = before.map(|state| state.map.shards.as_slice()).unwrap_or_default();
    for (position, shard) in after.map.shards.iter().enumerate() {
        if old_shards.get(position) != Some(shard) {
            view.put(shard_key(shard.shard), encode_shard_row(shard));
        }
    }
    let head = encode_head(after);
    if before.map(encode_head).as_ref() != Some(&head) {
        view.put(head_key(), head);
    }
}

fn encode_head(state: &State) -> Bytes {
    let map = &state.map;
    let mut row = Encoder::with_capacity(128);
    row.u8(FORMAT).u128(map.cluster.0).u64(map.epoch.0);
    row.u64(state.next_node.0).u32(state.next_shard.0).u64(state.next_replica.0);
    encode_replicas(&mut row, &map.meta);
    encode_changes(&mut row, &map.meta_changes);
    row.u64(state.next_change.0).u32(map.version.0);
    row.finish()
}

fn encode_node_row(node: &NodeDescriptor) -> Bytes {
    let mut row = Encoder::with_capacity(128);
    row.u8(FORMAT);
    encode_node(&mut row, node);
    row.finish()
}

fn encode_shard_row(shard: &ShardPlacement) -> Bytes {
    let mut row = Encoder::with_capacity(96);
    row.u8(FORMAT);
    encode_shard(&mut row, shard);
    encode_changes(&mut row, &shard.changes);
    row.finish()
}

pub(crate) fn head_key() -> Bytes {
    row_key(RowKind::Head, &[])
}

fn node_key(id: NodeId) -> Bytes {
    row_key(RowKind::Node, &id.0.to_be_bytes())
}

fn shard_key(id: ShardId) -> Bytes {
    row_key(RowKind::Shard, &id.0.to_be_bytes())
}

pub(crate) fn row_key(kind: RowKind, id: &[u8]) -> Bytes {
    let mut key = Encoder::with_capacity(2 + id.len());
    key.u8(KeyKind::Meta as u8).u8(kind as u8).raw(id);
    key.finish()
}

/// Starts on a row: whether it is of the plain format.
fn row_decoder(row: Bytes) -> Result<(Decoder, bool), DecodeError> {
    let mut decoder = Decoder::new(row);
    match decoder.u8("meta row format")? {
        FORMAT => Ok((decoder, false)),
        FORMAT_PLAIN => Ok((decoder, true)),
        format => Err(DecodeError::BadValue { field: "meta row format", value: format.into() }),
    }
}

fn decode_head(row: Bytes) -> Result<Head, DecodeError> {
    let (mut row, is_plain) = row_decoder(row)?;
    let mut head = Head {
        cluster: ClusterId(row.u128("cluster")?),
        epoch: Epoch(row.u64("epoch")?),
        next_node: NodeId(row.u64("next node")?),
        next_shard: ShardId(row.u32("next shard")?),
        next_replica: ReplicaId(row.u64("next replica")?),
        meta: decode_replicas(&mut row)?,
        meta_changes: GroupChanges::default(),
        next_change: State::FIRST_CHANGE,
        version: ClusterVersion::FIRST,
    };
    if !is_plain {
        head.meta_changes = decode_changes(&mut row)?;
        head.next_change = ChangeId(row.u64("next change")?);
        head.version = ClusterVersion(row.u32("cluster version")?);
    }
    row.finish()?;
    // Rows are found by counting up to these: a damaged number must not make that endless.
    if head.next_node.0 > NODE_ID_MAX + 1 {
        return Err(DecodeError::BadValue { field: "next node", value: head.next_node.0 });
    }
    if head.next_shard.0 > SHARD_ID_MAX + 1 {
        return Err(DecodeError::BadValue { field: "next shard", value: head.next_shard.0.into() });
    }
    Ok(head)
}

fn decode_node_row(row: Bytes, id: NodeId) -> Result<NodeDescriptor, DecodeError> {
    let (mut row, is_plain) = row_decoder(row)?;
    let node = if is_plain { decode_plain_node(&mut row, id)? } else { decode_node(&mut row, id)? };
    row.finish()?;
    Ok(node)
}

fn decode_shard_row(row: Bytes, id: ShardId) -> Result<ShardPlacement, DecodeError> {
    let (mut row, is_plain) = row_decoder(row)?;
    let mut shard = decode_shard(&mut row, id)?;
    if !is_plain {
        shard.changes = decode_changes(&mut row)?;
    }
    row.finish()?;
    Ok(shard)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Rows in memory, or a reader that fails.
    enum Rows {
        Healthy(BTreeMap<Bytes, Bytes>),
        Broken,
    }

    impl RowReader for Rows {
        type Error = &'static str;

        fn row(&self, key: &[u8]) -> Result<Option<Bytes>, Self::Error> {
            match self {
                Rows::Healthy(rows) => Ok(rows.get(key).cloned()),
                Rows::Broken => Err("unplugged"),
            }
        }
    }

    #[test]
    fn failing_readers_and_damaged_rows_are_errors() {
        assert_eq!(read_map(&Rows::Broken), Err(ReadMapError::Reader("unplugged")));
        assert_eq!(read_map(&Rows::Healthy(BTreeMap::new())), Ok(None));
        let damaged = BTreeMap::from([(head_key(), Bytes::from_static(&[9]))]);
        let error = DecodeError::BadValue { field: "meta row format", value: 9 };
        assert_eq!(read_map(&Rows::Healthy(damaged)), Err(ReadMapError::Damaged(error)));
        let mut endless = Encoder::default();
        endless.u8(FORMAT_PLAIN).u128(1).u64(1).u64(u64::MAX).u32(1).u64(1).u32(0);
        let endless = BTreeMap::from([(head_key(), endless.finish())]);
        let error = DecodeError::BadValue { field: "next node", value: u64::MAX };
        assert_eq!(read_map(&Rows::Healthy(endless)), Err(ReadMapError::Damaged(error)));
    }
}
