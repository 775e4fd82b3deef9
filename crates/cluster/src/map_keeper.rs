//! The newest shard map that this node knows.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use strata_types::{Epoch, ShardMap};
use tokio::sync::watch;

use crate::address_book::AddressBook;

/// Holds the map and tells everybody who waits for a newer one.
pub(crate) struct MapKeeper {
    book: Arc<AddressBook>,
    map: ArcSwap<ShardMap>,
    changed: watch::Sender<Arc<ShardMap>>,
    /// Held while a map is installed.
    installing: Mutex<()>,
}

impl MapKeeper {
    /// Begins with the nodes of the charter, at epoch 0.
    pub(crate) fn new(first: ShardMap, book: Arc<AddressBook>) -> MapKeeper {
        let first = Arc::new(first);
        book.follow(&ShardMap::default(), &first);
        let changed = watch::Sender::new(first.clone());
        MapKeeper { book, map: ArcSwap::new(first), changed, installing: Mutex::new(()) }
    }

    /// The newest map; epoch 0 before the cluster is founded.
    pub(crate) fn map(&self) -> Arc<ShardMap> {
        self.map.load_full()
    }

    /// Changes with each newer map.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<ShardMap>> {
        self.changed.subscribe()
    }

    /// Takes a map if it is newer (CLUSTER-4) and of this cluster. Returns whether it was.
    pub(crate) fn install(&self, map: ShardMap) -> bool {
        let _alone = self.installing.lock();
        let old = self.map.load_full();
        if map.epoch <= old.epoch || map.cluster != old.cluster {
            return false;
        }
        if let Err(error) = map.validate() {
            tracing::error!(epoch = %map.epoch, %error, "ignored a shard map that is not one");
            return false;
        }
        self.book.follow(&old, &map);
        metrics::gauge!("strata_cluster_map_epoch").set(map.epoch.0 as f64);
        let map = Arc::new(map);
        self.map.store(map.clone());
        self.changed.send_replace(map);
        true
    }

    /// Completes when the map is newer than an epoch.
    pub(crate) async fn newer_than(&self, epoch: Epoch) -> Arc<ShardMap> {
        let mut changes = self.watch();
        match changes.wait_for(|map| map.epoch > epoch).await {
            Ok(map) => map.clone(),
            // Impossible while `self`, which holds the sender, is borrowed.
            Err(_) => self.map(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_trait::async_trait;
    use bytes::Bytes;
    use strata_net::{Lane, Message, NetError, Transport};
    use strata_types::{ClusterId, NodeDescriptor, NodeId};

    use super::*;
    use crate::address_book::Heard;

    #[derive(Default)]
    struct Addresses(Mutex<Vec<(u64, String)>>);

    #[async_trait]
    impl Transport for Addresses {
        fn send(&self, _lane: Lane, _message: Message) -> Result<(), NetError> {
            Ok(())
        }

        fn identify(&self, _cluster: ClusterId, _node: NodeId) {}

        fn set_address(&self, node: NodeId, address: &str) {
            self.0.lock().push((node.0, address.to_owned()));
        }

        async fn introduce(&self, address: &str, _body: Bytes, _deadline: Duration) -> Result<Bytes, NetError> {
            Err(NetError::Unreachable { target: address.to_owned(), detail: "nobody".into() })
        }
    }

    fn map(epoch: u64, addresses: &[&str]) -> ShardMap {
        let node = |(id, address): (u64, &&str)| NodeDescriptor {
            id: NodeId(id),
            peer_address: (*address).to_owned(),
            ..NodeDescriptor::default()
        };
        let nodes = (1..).zip(addresses).map(node).collect();
        ShardMap { cluster: ClusterId(1), epoch: Epoch(epoch), nodes, ..ShardMap::default() }
    }

    fn take(transport: &Addresses) -> Vec<(u64, String)> {
        std::mem::take(&mut *transport.0.lock())
    }

    /// CLUSTER-4
    #[test]
    fn epochs_only_rise_and_other_clusters_are_ignored() {
        let keeper = MapKeeper::new(map(0, &["a"]), Arc::new(AddressBook::new(Arc::new(Addresses::default()))));
        assert!(keeper.install(map(2, &["a"])));
        assert!(!keeper.install(map(2, &["b"])));
        assert!(!keeper.install(map(1, &["b"])));
        assert!(!keeper.install(ShardMap { cluster: ClusterId(2), ..map(3, &["b"]) }));
        assert_eq!(keeper.map().epoch, Epoch(2));
    }

    #[test]
    fn few_nodes_that_no_map_names_are_given_an_address() {
        let transport = Arc::new(Addresses::default());
        let book = Arc::new(AddressBook::new(transport.clone()));
        let keeper = MapKeeper::new(map(0, &["a:1", "b:1"]), book.clone());
        let hear = |node: u64| book.hear(NodeId(node), Heard { incarnation: node, address: format!("x:{node}") });
        (100..300).for_each(hear);
        assert_eq!(take(&transport).len(), 2 + 64);
        [2, 100, 299].into_iter().for_each(hear);
        assert_eq!(take(&transport), [(2, "x:2".into()), (100, "x:100".into())], "a member, and one that was heard of");
        // What the map names is no stranger, and who was removed is forgotten.
        keeper.install(map(1, &["a:1", "b:1", "c:1"]));
        hear(3);
        assert_eq!(take(&transport), [(3, "c:1".into()), (3, "x:3".into())]);
        keeper.install(map(2, &["a:1"]));
        assert_eq!((book.heard(NodeId(3)), book.heard(NodeId(100)).is_some()), (None, true));
        hear(299);
        assert_eq!(take(&transport), []);
    }

    #[test]
    fn what_a_node_said_of_itself_counts_more_than_an_old_map() {
        let transport = Arc::new(Addresses::default());
        let book = Arc::new(AddressBook::new(transport.clone()));
        let keeper = MapKeeper::new(map(0, &["a:1", "b:1"]), book.clone());
        assert_eq!(take(&transport), [(1, "a:1".into()), (2, "b:1".into())]);
        book.hear(NodeId(2), Heard { incarnation: 7, address: "b:9".into() });
        take(&transport);
        keeper.install(map(4, &["a:4", "b:4"]));
        assert_eq!(take(&transport), [(1, "a:4".into())], "the map is of before the restart");
        keeper.install(map(5, &["a:4", "b:9"]));
        assert_eq!(take(&transport), [(2, "b:9".into())], "this change came after it");
    }
}
