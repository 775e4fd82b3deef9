//! Why a node does not start.

use strata_types::{ClusterId, ClusterVersion, GroupId, NodeId, VersionRange};

/// A node cannot start. The message is the cause; [`StartError::hint`] is the next step. What may come right by itself,
/// such as a join address that does not answer yet, is no error: the start goes on trying and says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting contradicts itself or a limit.
    #[error("{detail}")]
    Settings {
        /// What is wrong with it.
        detail: String,
    },
    /// An address is in the join list twice.
    #[error("the address {address} is in the join list twice")]
    JoinListTwice {
        /// The address.
        address: String,
    },
    /// The join list names as many nodes as are expected, and this one is not among them.
    #[error("this node's own peer address {own} is not in the join list {join}")]
    NotInJoinList {
        /// This node's address.
        own: String,
        /// The list.
        join: String,
    },
    /// The data directory was written by a newer program.
    #[error("the data directory has format {found}, and this program knows formats up to {known}")]
    NewerFormat {
        /// What it has.
        found: u32,
        /// What this program knows.
        known: u32,
    },
    /// A file of the data directory is not what it should be.
    #[error("the file {file} in the data directory is damaged: {detail}")]
    DamagedFile {
        /// The file.
        file: String,
        /// What is wrong.
        detail: String,
    },
    /// The data directory cannot be read or written.
    #[error("the file {file} in the data directory cannot be {verb}: {detail}")]
    Disk {
        /// The file.
        file: String,
        /// What was tried.
        verb: &'static str,
        /// What the system says.
        detail: String,
    },
    /// The data directory is that of another cluster than the nodes of the join list.
    #[error("the data directory belongs to cluster {own}, and the node at {address} to cluster {other}")]
    OtherCluster {
        /// Cluster of the data directory.
        own: ClusterId,
        /// Cluster of the other node.
        other: ClusterId,
        /// Where that node is.
        address: String,
    },
    /// The data directory is that of a cluster with another name.
    #[error("the data directory belongs to a cluster called {own}, and the node was started for one called {wanted}")]
    OtherName {
        /// Name of the data directory's cluster.
        own: String,
        /// The name that was given.
        wanted: String,
    },
    /// The join list leads to this node only.
    #[error("the join list names nobody but this node, {own}, which has no cluster")]
    JoinsItself {
        /// This node's address.
        own: String,
    },
    /// The join list names members of different clusters.
    #[error("the nodes at {first} and at {second} belong to different clusters")]
    TwoClusters {
        /// A member of one.
        first: String,
        /// A member of another.
        second: String,
    },
    /// The data directory was a node that was removed.
    #[error("this data directory belongs to node {node}, which was removed from the cluster")]
    Removed {
        /// The id it had.
        node: NodeId,
    },
    /// The program is too old or too new for the cluster.
    #[error("the cluster at {address} has version {version}, and this program takes part in versions {versions}")]
    Version {
        /// Who said so.
        address: String,
        /// The version of the cluster.
        version: ClusterVersion,
        /// What this program can.
        versions: VersionRange,
    },
    /// The cluster has moved on since this program was exchanged for an older one.
    #[error("the cluster of this data directory has version {version}, and this program takes part in {versions}")]
    Outdated {
        /// The version of the cluster.
        version: ClusterVersion,
        /// What this program can.
        versions: VersionRange,
    },
    /// The cluster does not take the node for another reason.
    #[error("the cluster at {address} does not take this node: {detail}")]
    NotTaken {
        /// Who said so.
        address: String,
        /// Why.
        detail: String,
    },
    /// Another living process has the same node id.
    #[error("node {node} is already running at {address}")]
    IdentityTaken {
        /// The id.
        node: NodeId,
        /// Where the other one is.
        address: String,
    },
    /// Another node answers at this node's peer address.
    #[error("the peer address {address} that this node gives belongs to another node")]
    AddressTaken {
        /// The address.
        address: String,
    },
    /// Nodes that are to be founded together were started differently.
    #[error("this node and the one at {address} were started with different settings: {detail}")]
    SettingsDiffer {
        /// The other node.
        address: String,
        /// Which, and how.
        detail: String,
    },
    /// The other node's program is too old or too new.
    #[error("the node at {address} speaks protocols {min} to {max}, and this one does not")]
    Protocol {
        /// The other node.
        address: String,
        /// Its oldest.
        min: u16,
        /// Its newest.
        max: u16,
    },
    /// The log is damaged.
    #[error("the log file {file} is damaged: {detail}")]
    LogDamaged {
        /// The file.
        file: String,
        /// What is wrong.
        detail: String,
    },
    /// The log cannot be opened.
    #[error("the log cannot be opened: {detail}")]
    Log {
        /// What happened.
        detail: String,
    },
    /// A replica cannot be opened, and not because of a damaged file.
    #[error("group {group} cannot be opened: {detail}")]
    Group {
        /// The group.
        group: GroupId,
        /// What happened.
        detail: String,
    },
}

impl StartError {
    /// The next step.
    pub fn hint(&self) -> &'static str {
        match self {
            StartError::Settings { .. } => "correct the setting and start again",
            StartError::JoinListTwice { .. } => "name each node once in --join, the same line on every node",
            StartError::NotInJoinList { .. } => {
                "add it to --join on every node, or give the address that the list has with --advertise-peer; \
                 to join a cluster that there is already, leave --expect out"
            }
            StartError::NewerFormat { .. } => "start it with the newer program, or use another directory with --data",
            StartError::DamagedFile { .. } => "restore the file from a copy, or start with an empty directory",
            StartError::Disk { .. } => "check the permissions of the directory and the room on its disk",
            StartError::OtherCluster { .. } => {
                "use the data directory of this cluster, or the --join line of the other"
            }
            StartError::OtherName { .. } => {
                "give --cluster the name of the data directory's cluster, or start with another directory"
            }
            StartError::JoinsItself { .. } => {
                "name a member of the cluster with --join; to found a cluster, leave --join out or give --expect"
            }
            StartError::TwoClusters { .. } => "name members of one cluster with --join",
            StartError::Removed { .. } => "start with an empty directory: the node joins as a new one",
            StartError::Version { .. } | StartError::Outdated { .. } => {
                "start it with a program of the version that the other nodes have"
            }
            StartError::NotTaken { .. } => "correct what the message names and start again",
            StartError::IdentityTaken { .. } => {
                "stop that process; a copied data directory must not run beside its original"
            }
            StartError::AddressTaken { .. } => {
                "give every node a peer address of its own, which the other nodes can reach"
            }
            StartError::SettingsDiffer { .. } => {
                "start every node with the same program, --cluster, --join, --expect and --shards"
            }
            StartError::Protocol { .. } => "run the same version on all nodes, or versions next to each other",
            StartError::LogDamaged { .. } | StartError::Log { .. } => {
                "the other nodes have the data: keep this directory for inspection and check the disk"
            }
            StartError::Group { .. } => "check the disk and the messages above",
        }
    }
}
