//! The rows of the meta tablet, and the shard map that they make up.
//!
//! ```text
//!   key:   KeyKind::Meta  row kind u8  [id, big-endian]      value: format byte 1, then
//!          3              0                                  head   cluster u128, epoch, next node, next shard,
//!                                                                   next replica, replicas of the meta group
//!          3              1            node id u64           node   peer address, client address, zone
//!          3              2            shard id u32          shard  first slot, slot after the last, replicas
//! ```

use std::convert::Infallible;

use bytes::Bytes;
use strata_codec::{DecodeError, Decoder, Encoder, KeyKind};
use strata_machine::{View, ViewMut};
use strata_types::{
    ClusterId, Epoch, NodeDescriptor, NodeId, ReplicaId, ReplicaPlacement, SLOT_COUNT, ShardId, ShardMap,
    ShardPlacement, SlotRange,
};

/// The format byte that every row begins with.
const FORMAT: u8 = 1;

/// Bytes of an encoded replica.
const REPLICA_BYTES: usize = 16;

/// The kinds of rows. Numbers are only ever appended.
#[derive(Clone, Copy)]
#[repr(u8)]
enum RowKind {
    Head = 0,
    Node = 1,
    Shard = 2,
}

/// What there is one of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) cluster: ClusterId,
    pub(crate) epoch: Epoch,
    pub(crate) next_node: NodeId,
    pub(crate) next_shard: ShardId,
    pub(crate) next_replica: ReplicaId,
    pub(crate) meta: Vec<ReplicaPlacement>,
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

struct ViewReader<'a>(&'a dyn View);

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
    match read_map(&ViewReader(view)) {
        Ok(map) => map,
        Err(ReadMapError::Reader(never)) => match never {},
        Err(ReadMapError::Damaged(error)) => panic!("meta row damaged: {error}"),
    }
}

/// The shard map behind a reader that may fail; `None` before the cluster was founded.
pub fn read_map<R: RowReader + ?Sized>(reader: &R) -> Result<Option<ShardMap>, ReadMapError<R::Error>> {
    let Some(row) = reader.row(&head_key()).map_err(ReadMapError::Reader)? else { return Ok(None) };
    let head = decode_head(row)?;
    let (mut nodes, mut shards) = (Vec::new(), Vec::new());
    for id in (0..head.next_node.0).map(NodeId) {
        if let Some(row) = reader.row(&node_key(id)).map_err(ReadMapError::Reader)? {
            nodes.push(decode_node(row, id)?);
        }
    }
    for id in (0..head.next_shard.0).map(ShardId) {
        if let Some(row) = reader.row(&shard_key(id)).map_err(ReadMapError::Reader)? {
            shards.push(decode_shard(row, id)?);
        }
    }
    shards.sort_by_key(|shard| shard.slots.start);
    Ok(Some(ShardMap { cluster: head.cluster, epoch: head.epoch, nodes, shards, meta: head.meta }))
}

pub(crate) fn load_head(view: &dyn View) -> Option<Head> {
    view.get(&head_key()).map(|row| decode_head(row).unwrap_or_else(|error| panic!("meta head row damaged: {error}")))
}

pub(crate) fn load_node(view: &dyn View, id: NodeId) -> Option<NodeDescriptor> {
    let row = view.get(&node_key(id))?;
    Some(decode_node(row, id).unwrap_or_else(|error| panic!("meta node row damaged: {error}")))
}

pub(crate) fn put_head(view: &mut dyn ViewMut, head: &Head) {
    let mut row = Encoder::with_capacity(64);
    row.u8(FORMAT).u128(head.cluster.0).u64(head.epoch.0);
    row.u64(head.next_node.0).u32(head.next_shard.0).u64(head.next_replica.0);
    encode_replicas(&mut row, &head.meta);
    view.put(head_key(), row.finish());
}

pub(crate) fn put_node(view: &mut dyn ViewMut, node: &NodeDescriptor) {
    let mut row = Encoder::with_capacity(64);
    row.u8(FORMAT);
    encode_descriptor(&mut row, node);
    view.put(node_key(node.id), row.finish());
}

pub(crate) fn put_shard(view: &mut dyn ViewMut, shard: &ShardPlacement) {
    let mut row = Encoder::with_capacity(64);
    row.u8(FORMAT).u16(shard.slots.start).u16(shard.slots.end);
    encode_replicas(&mut row, &shard.replicas);
    view.put(shard_key(shard.shard), row.finish());
}

fn head_key() -> Bytes {
    row_key(RowKind::Head, &[])
}

fn node_key(id: NodeId) -> Bytes {
    row_key(RowKind::Node, &id.0.to_be_bytes())
}

fn shard_key(id: ShardId) -> Bytes {
    row_key(RowKind::Shard, &id.0.to_be_bytes())
}

fn row_key(kind: RowKind, id: &[u8]) -> Bytes {
    let mut key = Encoder::with_capacity(2 + id.len());
    key.u8(KeyKind::Meta as u8).u8(kind as u8).raw(id);
    key.finish()
}

/// Starts on a row: checks its format.
fn row_decoder(row: Bytes) -> Result<Decoder, DecodeError> {
    let mut decoder = Decoder::new(row);
    match decoder.u8("meta row format")? {
        FORMAT => Ok(decoder),
        format => Err(DecodeError::BadValue { field: "meta row format", value: format.into() }),
    }
}

fn decode_head(row: Bytes) -> Result<Head, DecodeError> {
    let mut row = row_decoder(row)?;
    let head = Head {
        cluster: ClusterId(row.u128("cluster")?),
        epoch: Epoch(row.u64("epoch")?),
        next_node: NodeId(row.u64("next node")?),
        next_shard: ShardId(row.u32("next shard")?),
        next_replica: ReplicaId(row.u64("next replica")?),
        meta: decode_replicas(&mut row)?,
    };
    row.finish()?;
    Ok(head)
}

fn decode_node(row: Bytes, id: NodeId) -> Result<NodeDescriptor, DecodeError> {
    let mut row = row_decoder(row)?;
    let node = decode_descriptor(&mut row, id)?;
    row.finish()?;
    Ok(node)
}

fn decode_shard(row: Bytes, shard: ShardId) -> Result<ShardPlacement, DecodeError> {
    let mut row = row_decoder(row)?;
    let slots = SlotRange { start: row.u16("first slot")?, end: row.u16("slot after the last")? };
    if slots.end > SLOT_COUNT {
        return Err(DecodeError::BadValue { field: "slot after the last", value: slots.end.into() });
    }
    let replicas = decode_replicas(&mut row)?;
    row.finish()?;
    Ok(ShardPlacement { shard, slots, replicas })
}

/// A node without its id, which stands in the key of its row.
pub(crate) fn encode_descriptor(encoder: &mut Encoder, node: &NodeDescriptor) {
    encoder.bytes(node.peer_address.as_bytes()).bytes(node.client_address.as_bytes()).bytes(node.zone.as_bytes());
}

pub(crate) fn decode_descriptor(decoder: &mut Decoder, id: NodeId) -> Result<NodeDescriptor, DecodeError> {
    let peer_address = decoder.string("peer address")?;
    let client_address = decoder.string("client address")?;
    let zone = decoder.string("zone")?;
    Ok(NodeDescriptor { id, peer_address, client_address, zone })
}

pub(crate) fn encode_replicas(encoder: &mut Encoder, replicas: &[ReplicaPlacement]) {
    encoder.u32(u32::try_from(replicas.len()).expect("replicas of a group are few"));
    for placement in replicas {
        encoder.u64(placement.replica.0).u64(placement.node.0);
    }
}

pub(crate) fn decode_replicas(decoder: &mut Decoder) -> Result<Vec<ReplicaPlacement>, DecodeError> {
    let count = decoder.count(REPLICA_BYTES, "replica count")?;
    (0..count)
        .map(|_| {
            let replica = ReplicaId(decoder.u64("replica")?);
            Ok(ReplicaPlacement { replica, node: NodeId(decoder.u64("replica node")?) })
        })
        .collect()
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
    }
}
