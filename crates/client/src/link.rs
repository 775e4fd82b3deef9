//! The router's link over gRPC: one stream to each node, and the shard map from whoever answers.

mod address_book;
mod call;
mod clock;
mod pipe;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::RwLock;
use strata_env::Env;
use strata_net::tls::Dialer;
use strata_router::{Link, LinkError, ShardBatch, ShardReply, TimestampKind};
use strata_types::{Epoch, NodeId, Result, ShardMap, Timestamp};

use address_book::AddressBook;
use clock::Clock;
use pipe::Pipe;

/// Connections to one node at one address.
struct Route {
    address: String,
    pipes: Vec<Arc<Pipe>>,
    turn: AtomicUsize,
}

/// The link.
pub(crate) struct GrpcLink {
    env: Env,
    book: AddressBook,
    clock: Clock,
    connections: usize,
    dialer: Option<Dialer>,
    routes: RwLock<BTreeMap<NodeId, Arc<Route>>>,
}

impl GrpcLink {
    /// A link that has connected to nobody yet.
    pub(crate) fn new(
        env: Env,
        addresses: Vec<String>,
        connections: usize,
        dialer: Option<Dialer>,
    ) -> Result<Arc<GrpcLink>> {
        let book = AddressBook::new(env.clone(), addresses, dialer.clone())?;
        let clock = Clock::new(env.clone(), dialer.clone());
        Ok(Arc::new(GrpcLink { env, book, clock, connections, dialer, routes: RwLock::default() }))
    }

    /// The shard map, as soon as any node has one.
    pub(crate) async fn first_map(&self, deadline: Duration) -> Result<Arc<ShardMap>> {
        self.book.first_map(deadline).await
    }

    fn pipe(&self, node: NodeId) -> std::result::Result<Arc<Pipe>, LinkError> {
        let map = self.book.map();
        let Some(descriptor) = map.node(node) else {
            return Err(LinkError::NotSent { detail: format!("the shard map has no node {node}") });
        };
        let address = &descriptor.client_address;
        let known = self.routes.read().get(&node).filter(|route| route.address == *address).cloned();
        let route = match known {
            Some(route) => route,
            None => self.route_to(node, address)?,
        };
        let turn = if route.pipes.len() == 1 { 0 } else { route.turn.fetch_add(1, Ordering::Relaxed) };
        Ok(route.pipes[turn % route.pipes.len()].clone())
    }

    fn route_to(&self, node: NodeId, address: &str) -> std::result::Result<Arc<Route>, LinkError> {
        let endpoint = wire::endpoint(address).map_err(|error| LinkError::NotSent { detail: error.message })?;
        let cluster = self.book.map().cluster;
        let mut routes = self.routes.write();
        match routes.get(&node) {
            Some(route) if route.address == address => Ok(route.clone()),
            _ => {
                let pipe = |_| Pipe::new(self.env.clone(), endpoint.clone(), self.dialer.clone(), cluster);
                let pipes = (0..self.connections).map(pipe).collect();
                let route = Arc::new(Route { address: address.to_owned(), pipes, turn: AtomicUsize::new(0) });
                routes.insert(node, route.clone());
                Ok(route)
            }
        }
    }

    /// Closes the connections to nodes that are no members any more, as soon as nobody uses them.
    fn forget_removed(&self, map: &ShardMap) {
        self.routes.write().retain(|node, _| map.node(*node).is_some());
    }
}

#[async_trait]
impl Link for GrpcLink {
    async fn execute(
        &self,
        node: NodeId,
        batch: ShardBatch,
        deadline: Duration,
    ) -> std::result::Result<ShardReply, LinkError> {
        let reply = self.pipe(node)?.call(batch, deadline).await?;
        if let ShardReply::StaleRoute(map) = &reply {
            self.book.learn(map);
        }
        Ok(reply)
    }

    async fn fetch_map(&self, newer_than: Epoch) -> Result<Arc<ShardMap>> {
        let map = self.book.fetch(newer_than).await?;
        self.forget_removed(&map);
        Ok(map)
    }

    async fn timestamp(&self, kind: TimestampKind, deadline: Duration) -> Result<Timestamp> {
        let cluster = self.book.map().cluster;
        self.clock.timestamp(cluster, || self.book.candidates(), Some(kind), Timestamp(0), deadline).await
    }

    async fn hold(&self, at: Timestamp, deadline: Duration) -> Result<()> {
        let cluster = self.book.map().cluster;
        self.clock.timestamp(cluster, || self.book.candidates(), None, at, deadline).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use strata_env::real;
    use strata_types::NodeDescriptor;

    use super::*;

    fn map(epoch: u64, nodes: impl IntoIterator<Item = u64>) -> Arc<ShardMap> {
        let node = |id: u64| {
            let client_address = format!("127.0.0.1:{id}");
            NodeDescriptor { id: NodeId(id), client_address, ..NodeDescriptor::default() }
        };
        Arc::new(ShardMap { epoch: Epoch(epoch), nodes: nodes.into_iter().map(node).collect(), ..ShardMap::default() })
    }

    #[tokio::test]
    async fn connections_to_removed_nodes_are_closed() {
        let link = GrpcLink::new(real::env(), vec!["127.0.0.1:1".to_owned()], 1, None).expect("a link");
        link.book.learn(&map(1, [1, 2]));
        let [kept, removed] = [1, 2].map(|node| Arc::downgrade(&link.pipe(NodeId(node)).expect("a member")));
        let newer = map(2, [1]);
        link.book.learn(&newer);
        link.forget_removed(&newer);
        assert!(kept.upgrade().is_some() && removed.upgrade().is_none());
    }
}
