//! Prepares that come twice.
//!
//! ```text
//!   a shard:             prepare: at 5 -------------- read at 9 -- the same prepare: at 5, or later? -- resolve: at 7?
//!   the anchor's shard:                commit: at 7
//! ```
//! A copy of a prepare gets the answer of the first one (SHARD-8). If it were carried out anew, it would be stamped as late as
//! anything that was read there since, and a part that is stamped later than its transaction is committed can never be
//! resolved (SIM-TXN-6). The copy must come after such a read and before the part is resolved: by chance that hardly ever
//! happens.

use std::sync::Arc;

use bytes::Bytes;
use strata_txn::TransactionHandle;
use strata_types::{
    Feature, Part, Prepared, ShardMap, Slot, Space, SpaceKey, SpaceWrite, Timestamp, Transaction, TransactionCall,
    TransactionId, TransactionReply,
};

use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::probe::{Probe, Seated, seated};
use crate::trace::trace;
use crate::txn::{Book, Notes, Story};

/// One client, which takes the steps of a transaction over two shards one by one, and leaves the last one to others.
pub(crate) struct RepeatedPrepare {
    cluster: Arc<Cluster>,
    book: Arc<Book>,
    probe: Arc<Probe>,
}

/// A key that it writes, and who leads the key's shard.
struct Place {
    key: String,
    leader: Seated,
}

impl Place {
    fn slot(&self) -> Slot {
        Slot::of_key(self.key.as_bytes())
    }
}

impl RepeatedPrepare {
    pub(crate) fn new(cluster: Arc<Cluster>, book: Arc<Book>, probe: Arc<Probe>) -> RepeatedPrepare {
        RepeatedPrepare { cluster, book, probe }
    }

    /// Does it once, if there are timestamps and two shards that are led.
    pub(crate) async fn put_to_the_test(&self, dice: &mut Dice) {
        let map = self.cluster.newest_map();
        if !map.has(Feature::Transactions) {
            return;
        }
        let Some([here, anchor]) = self.places(&map, dice) else { return };
        let Ok(begun) = self.probe.begin().await else { return };
        let id = TransactionId(u128::from(dice.next()) << 64 | u128::from(dice.next()));
        let transaction = Transaction { id, anchor: anchor.slot(), read_timestamp: begun, age: begun };
        trace!(self.cluster.trace, "{id} prepares {} twice, on host-{}", here.key, here.leader.host);

        let mut notes = Notes::open(&self.book, self.book.fresh_client(), Story::Registers);
        let mut part = |place: &Place, prepared| part(transaction, &place.key, notes.write(&place.key), prepared);
        let first = part(&here, Prepared::default());
        let mut last = part(&anchor, Prepared::default());
        let Some(at) = self.prepare(&map, &here, &first).await else { return };
        last.prepared = Prepared { at, participants: vec![here.slot()] };
        notes.committing(TransactionHandle::from(&transaction));
        let commit = TransactionCall::Commit(last);
        let answer = self.probe.step(&map, &anchor.key, anchor.leader.node, commit).await;
        let Some(TransactionReply::Committed { at }) = answer else { return };
        notes.committed(Some(at));

        if self.read_beside(&map, &here).await {
            self.prepare(&map, &here, &first).await;
        }
    }

    /// Two keys of different shards.
    fn places(&self, map: &ShardMap, dice: &mut Dice) -> Option<[Place; 2]> {
        let first = dice.between(0, 1_000);
        let shard_of = |key: &str| Some(map.shard_of(Slot::of_key(key.as_bytes()))?.shard);
        let keys = || (first..first + 100).map(|number| format!("p/{number}"));
        let one = keys().next()?;
        let other = keys().find(|key| shard_of(key) != shard_of(&one))?;
        let place = |key: String| Some(Place { leader: seated(&self.cluster, &key)?.0, key });
        Some([place(one)?, place(other)?])
    }

    /// When it is prepared, if the leader says that it is.
    async fn prepare(&self, map: &ShardMap, place: &Place, part: &Part) -> Option<Timestamp> {
        let call = TransactionCall::Prepare(part.clone());
        match self.probe.step(map, &place.key, place.leader.node, call).await? {
            TransactionReply::Prepared { at } => Some(at),
            _ => None,
        }
    }

    /// Reads what is not prepared, later than anything that is committed by now. Returns whether there was an answer.
    async fn read_beside(&self, map: &ShardMap, place: &Place) -> bool {
        let shard_of = |key: &str| Some(map.shard_of(Slot::of_key(key.as_bytes()))?.shard);
        let mut keys = (0..100).map(|number| format!("p/none/{number}"));
        let Some(key) = keys.find(|key| shard_of(key) == shard_of(&place.key)) else { return false };
        let Ok(at) = self.probe.begin().await else { return false };
        self.probe.look(map, &key, place.leader.node, at).await.is_some()
    }
}

fn part(transaction: Transaction, key: &str, value: Bytes, prepared: Prepared) -> Part {
    let key = SpaceKey { space: Space::default(), key: Bytes::copy_from_slice(key.as_bytes()) };
    let slot = key.slot();
    let writes = vec![SpaceWrite { key, value: Some(value) }];
    Part { transaction, slot, reads: Vec::new(), ranges: Vec::new(), writes, prepared }
}
