//! What nodes say to each other before, and beside, the messages of their cluster.

use strata_meta::Joiner;
use strata_types::{ClusterId, ClusterVersion, NodeId, VersionRange};

use crate::{Charter, ClusterName, InstanceId};

/// Oldest protocol between nodes that this program speaks.
pub(crate) const PROTOCOL_MIN: u16 = 1;
/// Newest one.
pub(crate) const PROTOCOL_MAX: u16 = 1;

/// An introduction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Introduction {
    /// Who is there?
    Probe,
    /// A node without a cluster wants a seat.
    Candidate(Candidate),
    /// A member tells that it is here now.
    Greeting(Greeting),
}

/// A node that has no cluster yet. For its founder are the join list, the counts and the cores; for a cluster that there
/// is already, the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The cluster that it was started for.
    pub(crate) cluster: ClusterName,
    pub(crate) instance: InstanceId,
    pub(crate) peer_address: String,
    pub(crate) client_address: String,
    pub(crate) zone: String,
    /// Its settings must be those of the founder. The first join address names the founder: two nodes that disagree
    /// about it would found two clusters.
    pub(crate) first: Option<String>,
    /// Zero: it only joins a cluster that there is.
    pub(crate) expect: u32,
    pub(crate) shards: Option<u32>,
    /// Cores of its machine.
    pub(crate) cores: u32,
    pub(crate) weight: u32,
    pub(crate) versions: VersionRange,
}

impl Candidate {
    /// What the meta group is told of it.
    pub(crate) fn joiner(self) -> Joiner {
        let Candidate { instance, peer_address, client_address, zone, weight, versions, .. } = self;
        Joiner { instance, peer_address, client_address, zone, weight, versions }
    }
}

/// A member of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    pub(crate) instance: InstanceId,
    /// The process: drawn at random when it starts.
    pub(crate) incarnation: u64,
    pub(crate) peer_address: String,
}

/// The answer to any introduction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) who: Who,
    pub(crate) verdict: Verdict,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) instance: InstanceId,
    pub(crate) incarnation: u64,
    pub(crate) peer_address: String,
    /// `None` while it has no cluster.
    pub(crate) member: Option<(ClusterId, NodeId)>,
}

/// What becomes of the one who introduced itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing: a probe, a greeting that is welcome, or a candidate at a node that founds nothing.
    Noted,
    /// It will have a seat when everybody is there.
    Wait { known: u32, expected: u32 },
    /// The founder does not reach it at the address that it gives.
    Unreachable { detail: String },
    /// It has a seat since the founding.
    Seated(Charter),
    /// It cannot take part.
    Refused(Refusal),
    /// The cluster cannot take it in at this moment: ask again.
    Later { detail: String },
    /// It has become a member of the cluster, which is this now.
    Joined(Charter),
}

/// Why a node cannot take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// This node is of another cluster.
    OtherCluster { cluster: ClusterId },
    /// A living process has that node id.
    IdentityTaken { node: NodeId, address: String },
    /// Another node answers at the address that it gives.
    AddressTaken { address: String },
    /// It was started with other settings.
    SettingsDiffer { detail: String },
    /// No protocol is spoken by both.
    Protocol { min: u16, max: u16 },
    /// The data directory was a node that was removed.
    Removed { node: NodeId },
    /// Its program is too old or too new for the cluster.
    Version { version: ClusterVersion, versions: VersionRange },
    /// Another reason of the meta group.
    NotTaken { detail: String },
}
