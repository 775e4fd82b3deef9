//! What a node is started with.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use strata_env::{Disk, Env};
use strata_meta::Joiner;
use strata_net::{Caller, Switchboard, Transport};
use strata_raft::{Retention, Timing};
use strata_storage::Tablets;
use strata_types::limits::{NODE_NAME_BYTES_MAX, NODE_WEIGHT_MAX, NODES_MAX, SHARDS_MAX};
use strata_types::{InstanceId, VersionRange};
use strata_wal::WalOptions;

use crate::{ClusterName, Phase, StartError};

/// Settings of one node.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// What its cluster is called.
    pub cluster: ClusterName,
    /// Where other nodes reach it, `host:port`.
    pub peer_address: String,
    /// Where clients reach it, `host:port`.
    pub client_address: String,
    /// Failure domain; empty when not set.
    pub zone: String,
    /// How much it takes relative to others.
    pub weight: u32,
    /// Which cluster versions this program can take part in. Programs have one, but can be told to act as an older one.
    pub versions: VersionRange,
    /// Peer addresses: of the nodes to be founded with, the same list on every node, or of any members of a cluster to
    /// join. Empty: this node founds.
    pub join: Vec<String>,
    /// Nodes that the cluster is founded with. `None`: with a join list, this node founds nothing and joins a cluster;
    /// without one it founds a cluster alone.
    pub expect: Option<u32>,
    /// Shards that the cluster is founded with; by default as many as suits the cores of all nodes.
    pub shards: Option<u32>,
    /// Cores of this machine.
    pub cores: u32,
    /// How long a node may be silent before its replicas are replaced. Counts on the leader of the meta group.
    pub replace_after: Duration,
    /// How quickly leaders are replaced.
    pub timing: Timing,
    /// When tablets are flushed and logs are cut.
    pub retention: Retention,
    /// How many bytes of snapshots come and go a second at most.
    pub snapshot_bytes_per_second: u64,
    /// The log.
    pub wal: WalOptions,
}

/// Everything a node is made of. The transport must deliver to the switchboard from before the start.
pub struct NodeParts {
    /// Time, randomness, tasks.
    pub env: Env,
    /// The data directory.
    pub disk: Arc<dyn Disk>,
    /// The tablets in it.
    pub tablets: Arc<dyn Tablets>,
    /// The way to other nodes.
    pub transport: Arc<dyn Transport>,
    /// What arrives from them.
    pub switchboard: Arc<Switchboard>,
    /// Calls to them.
    pub caller: Arc<Caller>,
    /// Settings.
    pub settings: NodeSettings,
    /// Hears of each step; must not block.
    pub progress: Arc<dyn Fn(Phase) + Send + Sync>,
}

impl NodeSettings {
    /// How long a node may be silent by default: longer than a restart takes, shorter than a second failure is likely.
    pub const REPLACE_AFTER: Duration = Duration::from_secs(300);

    /// Checks what needs no other node.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        let invalid = |detail: String| Err(StartError::Settings { detail });
        if let Some(expect) = self.expect.filter(|&expect| expect == 0 || expect > NODES_MAX) {
            return invalid(format!("a cluster is founded with 1 to {NODES_MAX} nodes, not {expect}"));
        }
        if self.shards.is_some_and(|shards| shards == 0 || shards > SHARDS_MAX) {
            return invalid(format!("a cluster has 1 to {SHARDS_MAX} shards"));
        }
        if self.peer_address.is_empty() {
            return invalid("a node needs a peer address".to_owned());
        }
        if self.weight == 0 || self.weight > NODE_WEIGHT_MAX {
            return invalid(format!("a node's weight is 1 to {NODE_WEIGHT_MAX}, not {}", self.weight));
        }
        let names =
            [("peer address", &self.peer_address), ("client address", &self.client_address), ("zone", &self.zone)];
        if let Some((what, _)) = names.iter().find(|(_, name)| name.len() > NODE_NAME_BYTES_MAX) {
            return invalid(format!("a {what} has at most {NODE_NAME_BYTES_MAX} bytes"));
        }
        if self.expect.is_none() && !self.join.is_empty() && self.join.iter().all(|named| *named == self.peer_address) {
            return Err(StartError::JoinsItself { own: self.peer_address.clone() });
        }
        let mut seen = BTreeSet::new();
        match self.join.iter().find(|address| !seen.insert(address.as_str())) {
            Some(address) => Err(StartError::JoinListTwice { address: address.clone() }),
            None => Ok(()),
        }
    }

    /// Checks what matters only for a node that is to be founded: if every node is in the join list, so is this one.
    pub(crate) fn check_founding(&self) -> Result<(), StartError> {
        if self.join.is_empty() || self.join.contains(&self.peer_address) || self.join.len() < self.expected() as usize
        {
            return Ok(());
        }
        Err(StartError::NotInJoinList { own: self.peer_address.clone(), join: self.join.join(",") })
    }

    /// Whether this node may be founded with others, or alone. Otherwise it joins a cluster that there is.
    pub(crate) fn may_found(&self) -> bool {
        self.join.is_empty() || self.expect.is_some()
    }

    /// Nodes that the cluster is founded with.
    pub(crate) fn expected(&self) -> u32 {
        self.expect.unwrap_or(1)
    }

    /// Whether this node is the founder, as far as its own settings tell.
    pub(crate) fn is_first(&self) -> bool {
        self.may_found() && self.join.first().is_none_or(|first| *first == self.peer_address)
    }

    /// What this node says of itself to the meta group.
    pub(crate) fn joiner(&self, instance: InstanceId) -> Joiner {
        Joiner {
            instance,
            peer_address: self.peer_address.clone(),
            client_address: self.client_address.clone(),
            zone: self.zone.clone(),
            weight: self.weight,
            versions: self.versions,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn settings(own: &str, join: &[&str], expect: u32) -> NodeSettings {
        NodeSettings {
            cluster: ClusterName::default(),
            peer_address: own.to_owned(),
            client_address: format!("{own}-client"),
            zone: String::new(),
            weight: 1,
            versions: VersionRange::SUPPORTED,
            join: join.iter().map(|&address| address.to_owned()).collect(),
            expect: Some(expect),
            shards: Some(4),
            cores: 2,
            replace_after: NodeSettings::REPLACE_AFTER,
            timing: Timing::default(),
            retention: Retention::default(),
            snapshot_bytes_per_second: strata_raft::SNAPSHOT_BYTES_PER_SECOND,
            wal: WalOptions::default(),
        }
    }

    #[test]
    fn join_lists_are_checked() {
        assert_eq!(settings("a:1", &["a:1", "b:1"], 2).check(), Ok(()));
        let twice = settings("a:1", &["a:1", "b:1", "a:1"], 2).check();
        assert_eq!(twice, Err(StartError::JoinListTwice { address: "a:1".into() }));
        assert!(matches!(settings("a:1", &[], 0).check(), Err(StartError::Settings { .. })));
        let missing = settings("c:1", &["a:1", "b:1"], 2).check_founding();
        assert_eq!(missing, Err(StartError::NotInJoinList { own: "c:1".into(), join: "a:1,b:1".into() }));
        assert_eq!(settings("c:1", &["a:1", "b:1"], 3).check_founding(), Ok(()), "a list of some of the nodes");
        assert!(settings("a:1", &["a:1", "b:1"], 2).is_first());
        assert!(settings("a:1", &[], 1).is_first());
        assert!(!settings("b:1", &["a:1", "b:1"], 2).is_first());
        let joins = |own: &str, join: &[&str]| NodeSettings { expect: None, ..settings(own, join, 1) };
        assert!(!joins("a:1", &["a:1", "b:1"]).is_first(), "it founds nothing");
        assert!(joins("a:1", &[]).is_first());
        assert_eq!(joins("a:1", &["b:1"]).check(), Ok(()));
        assert_eq!(joins("a:1", &["a:1"]).check(), Err(StartError::JoinsItself { own: "a:1".into() }));
    }

    #[test]
    fn weights_and_names_have_limits() {
        let refused = |settings: NodeSettings| match settings.check() {
            Err(StartError::Settings { detail }) => detail,
            other => panic!("{other:?}"),
        };
        let light = NodeSettings { weight: 0, ..settings("a:1", &[], 1) };
        assert_eq!(refused(light), "a node's weight is 1 to 64, not 0");
        let long = NodeSettings { zone: "z".repeat(301), ..settings("a:1", &[], 1) };
        assert_eq!(refused(long), "a zone has at most 300 bytes");
    }
}
