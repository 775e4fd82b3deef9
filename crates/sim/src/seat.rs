//! One machine and what runs on it.

use std::sync::Arc;

use parking_lot::Mutex;
use strata_cluster::{ClusterName, Node, NodeSettings};
use strata_env::TaskHandle;
use strata_env::sim::SimNode;
use strata_net::Switchboard;
use strata_raft::{SNAPSHOT_BYTES_PER_SECOND, Timing};
use strata_storage::memory::Durable;
use strata_types::VersionRange;
use strata_wal::WalOptions;

use crate::fabric::{Host, SimTransport, address_of};
use crate::shape::Shape;

/// A place for a machine. The machine is another one after its disk was wiped.
pub(crate) struct Seat {
    pub(crate) machine: SimNode,
    pub(crate) tablets: Arc<Durable>,
    /// Whether it is meant to run; faults stop it for a while all the same.
    pub(crate) in_service: bool,
    /// Whether it is started with the line of the founding; otherwise it joins a cluster that there is.
    pub(crate) may_found: bool,
    /// What its program knows.
    pub(crate) versions: VersionRange,
    /// Counts the lives of the node.
    pub(crate) life: u64,
    /// Why its present life did not begin.
    pub(crate) failure: Option<String>,
    pub(crate) running: Option<Running>,
}

/// One life of a node.
pub(crate) struct Running {
    pub(crate) transport: Arc<SimTransport>,
    /// Keeps the inbox that the network points to.
    pub(crate) _switchboard: Arc<Switchboard>,
    /// The node, once it has found its cluster.
    pub(crate) node: Arc<Mutex<Option<Arc<Node>>>>,
    pub(crate) starting: TaskHandle,
}

impl Seat {
    /// The node that runs here and knows who it is.
    pub(crate) fn node(&self) -> Option<Arc<Node>> {
        let node = self.running.as_ref()?.node.lock().clone()?;
        self.machine.is_up().then_some(node)
    }

    pub(crate) fn settings(&self, shape: &Shape, host: Host) -> NodeSettings {
        let founding = (0..shape.founders).map(address_of).collect();
        let others = (0..shape.machines()).filter(|other| *other != host).map(address_of).collect();
        NodeSettings {
            cluster: ClusterName::default(),
            peer_address: address_of(host),
            client_address: format!("host-{host}:7400"),
            zone: if shape.zones == 0 { String::new() } else { format!("zone-{}", host % shape.zones) },
            join: if self.may_found { founding } else { others },
            weight: shape.weights[host],
            versions: self.versions,
            expect: self.may_found.then_some(shape.founders as u32),
            shards: self.may_found.then_some(shape.shards),
            cores: 2,
            timing: Timing { lease_reads: shape.lease_reads, ..Timing::default() },
            replace_after: shape.replace_after,
            retention: shape.retention,
            snapshot_bytes_per_second: SNAPSHOT_BYTES_PER_SECOND,
            wal: WalOptions { segment_bytes: shape.segment_bytes(), ..WalOptions::default() },
        }
    }
}
