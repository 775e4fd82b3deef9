//! Where the cluster is, and who owns what.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::select_ok;
use strata_env::Env;
use strata_net::tls::Dialer;
use strata_proto::v1;
use strata_proto::v1::admin_client::AdminClient;
use strata_types::{Epoch, Error, ErrorCode, Result, ShardMap};

use super::wire::{CONNECT_TIMEOUT, endpoint, explain, explain_status};

/// Nodes asked for the map at the same time.
const ASKED_AT_ONCE: usize = 3;
/// Pause between rounds while the cluster is not there yet.
const ROUND_PAUSE: Duration = Duration::from_millis(200);

/// The addresses a client was given, and the newest map it saw.
pub(super) struct AddressBook {
    env: Env,
    seeds: Vec<String>,
    dialer: Option<Dialer>,
    map: ArcSwap<ShardMap>,
}

impl AddressBook {
    pub(super) fn new(env: Env, seeds: Vec<String>, dialer: Option<Dialer>) -> Result<AddressBook> {
        if seeds.is_empty() {
            let message = "at least one address of a node is needed, such as 127.0.0.1:7400";
            return Err(Error::not_applied(ErrorCode::InvalidArgument, message));
        }
        for seed in &seeds {
            endpoint(seed)?;
        }
        Ok(AddressBook { env, seeds, dialer, map: ArcSwap::default() })
    }

    pub(super) fn map(&self) -> Arc<ShardMap> {
        self.map.load_full()
    }

    /// Keeps a map if it is newer, and not another cluster's.
    pub(super) fn learn(&self, map: &Arc<ShardMap>) {
        let is_ours = |known: &ShardMap| known.shards.is_empty() || known.cluster == map.cluster;
        self.map.rcu(|known| if map.epoch > known.epoch && is_ours(known) { map.clone() } else { known.clone() });
    }

    /// The map, as soon as any node has one.
    pub(super) async fn first_map(&self, deadline: Duration) -> Result<Arc<ShardMap>> {
        let end = self.env.now() + deadline;
        loop {
            let left = end.since(self.env.now());
            let error = match self.env.timeout(left, self.fetch(Epoch(0))).await {
                Ok(Ok(map)) if !map.shards.is_empty() => return Ok(map),
                Ok(Ok(_)) => {
                    Error::not_applied(ErrorCode::NotReady, "the cluster is not founded yet: nodes are missing")
                }
                Ok(Err(error)) => error,
                Err(_) => Error::not_applied(ErrorCode::DeadlineExceeded, format!("no node answered in {deadline:?}")),
            };
            if end <= self.env.now() + ROUND_PAUSE {
                return Err(error);
            }
            self.env.sleep(self.env.jittered(ROUND_PAUSE)).await;
        }
    }

    /// Asks nodes until one answers. Returns the newest map known, which may be the one known before.
    pub(super) async fn fetch(&self, newer_than: Epoch) -> Result<Arc<ShardMap>> {
        let mut reasons = Vec::new();
        for some in self.candidates().chunks(ASKED_AT_ONCE) {
            match select_ok(some.iter().map(|address| Box::pin(self.ask(address, newer_than)))).await {
                Ok((Some(map), _)) => {
                    self.learn(&map);
                    return Ok(self.map());
                }
                Ok((None, _)) => return Ok(self.map()),
                Err(error) => reasons.push(error),
            }
        }
        let message = format!("no node sent the shard map: {}", reasons.join("; "));
        Err(Error::not_applied(ErrorCode::Unavailable, message))
    }

    /// Addresses of the map and those given at first, each once, from a random one on so that no node is asked by all.
    pub(super) fn candidates(&self) -> Vec<String> {
        let map = self.map();
        let mut all: Vec<String> = map.nodes.iter().map(|node| node.client_address.clone()).collect();
        all.extend(
            self.seeds.iter().filter(|seed| !map.nodes.iter().any(|node| node.client_address == **seed)).cloned(),
        );
        let start = self.env.random_below(all.len().max(1) as u64) as usize;
        all.rotate_left(start);
        all
    }

    async fn ask(&self, address: &str, newer_than: Epoch) -> std::result::Result<Option<Arc<ShardMap>>, String> {
        let ask = async {
            let endpoint = endpoint(address).map_err(|error| error.message)?;
            let channel = strata_net::grpc::connect(&endpoint, self.dialer.as_ref()).await;
            let channel = channel.map_err(|error| format!("{address}: {}", explain(&error)))?;
            let reply = AdminClient::new(channel).shard_map(v1::ShardMapRequest { newer_than: newer_than.0 }).await;
            let reply = reply.map_err(|status| format!("{address}: {}", explain_status(&status)))?;
            let map = reply.into_inner().into_map().map_err(|error| format!("{address}: {}", error.message))?;
            map.as_ref()
                .map_or(Ok(()), |map| self.check_cluster(map))
                .map_err(|error| format!("{address}: {error}"))?;
            Ok::<_, String>(map)
        };
        let late = |_| format!("{address}: no answer within {:?}", 2 * CONNECT_TIMEOUT);
        self.env.timeout(2 * CONNECT_TIMEOUT, ask).await.map_err(late)?
    }

    /// An address may be handed to a node of another cluster; routing by its map would mix two data sets. Other nodes
    /// may still know better.
    fn check_cluster(&self, map: &ShardMap) -> std::result::Result<(), String> {
        let known = self.map();
        if known.shards.is_empty() || known.cluster == map.cluster {
            return Ok(());
        }
        Err(format!("a node of cluster {} answered, this client belongs to {}", map.cluster, known.cluster))
    }
}

#[cfg(test)]
mod tests;
