//! ShardMapReply.

use std::sync::Arc;

use strata_types::{Epoch, Error, ShardMap};

use crate::v1;

impl v1::ShardMapReply {
    /// The reply to a node or client that has the map of epoch `newer_than`; zero means that it has none.
    pub fn answer(map: &ShardMap, newer_than: Epoch) -> v1::ShardMapReply {
        let newer = newer_than == Epoch(0) || map.epoch > newer_than;
        v1::ShardMapReply { map: newer.then(|| v1::ShardMap::from(map)) }
    }

    /// The map, if there was a newer one.
    pub fn into_map(self) -> Result<Option<Arc<ShardMap>>, Error> {
        self.map.map(|map| ShardMap::try_from(map).map(Arc::new)).transpose()
    }
}
