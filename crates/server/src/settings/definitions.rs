//! Every setting of a node: one row each.

/// One setting. Its environment variable is `STRATA_` and the key in capitals, its flag is the key with dashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its name in `strata.toml`.
    pub key: &'static str,
    /// What applies when nobody says anything; empty when that depends on other settings.
    pub default: &'static str,
    /// One line for people.
    pub help: &'static str,
}

impl Definition {
    /// The environment variable.
    pub fn variable(&self) -> String {
        format!("STRATA_{}", self.key.to_uppercase())
    }

    /// The flag.
    pub fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }

    /// The definition of a key.
    pub fn of(key: &str) -> Option<&'static Definition> {
        DEFINITIONS.iter().find(|definition| definition.key == key)
    }
}

/// All settings, in the order in which `strata config show` lists them.
pub const DEFINITIONS: &[Definition] = &[
    row("data", "strata-data", "data directory of the node"),
    row("cluster", "strata", "name of the cluster; a node joins none of another name"),
    row("listen", "127.0.0.1:7400", "client port: gRPC and HTTP"),
    row("listen_peer", "", "peer port; default: one above the client port"),
    row("advertise", "", "where clients reach the client port; default: listen"),
    row("advertise_peer", "", "where other nodes reach the peer port; default: listen_peer"),
    row("join", "", "peer addresses: some of a cluster to join, or all that found one, in the same order everywhere"),
    row("expect", "", "number of nodes that found the cluster; default: 1, with join none: the node joins one"),
    row(
        "shards",
        "",
        "number of shards of a new cluster; default: 2 x cores x nodes, rounded up to a power of two, 4 to 256",
    ),
    row("zone", "", "failure domain: replicas of a shard go to different ones"),
    row("weight", "1", "how many replicas the node takes, relative to others"),
    row("insecure", "false", "allow other addresses than loopback without certs and require_client_cert"),
    row("certs", "", "directory with ca.crt, node.crt and node.key: both ports speak TLS"),
    row("tls_ca", "", "certificates of the CAs to believe; default: ca.crt in certs"),
    row("tls_cert", "", "certificate of the node; default: node.crt in certs"),
    row("tls_key", "", "key of the node's certificate; default: node.key in certs"),
    row("require_client_cert", "false", "let in only clients with a certificate of the CA; health and metrics too"),
    row("connections_max", "20000", "most client connections"),
    row("heartbeat", "200ms", "how often a leader is heard of; at most two thirds of election_min"),
    row("election_min", "300ms", "shortest silence beyond election_max after which a follower stands for election"),
    row("election_max", "350ms", "longest such silence, and how long a follower votes for nobody else; at least 300ms"),
    row("lease_reads", "false", "reads of level lease need no round: trust that clocks of nodes run at the same rate"),
    row("replace_after", "5m", "silence after which a node is lost and its replicas are built anew on others"),
    row("history", "10m", "how long what was overwritten or removed can still be read by snapshots of the past"),
    row("reader_age_max", "1h", "how long an open snapshot or transaction keeps history at most"),
    row(
        "act_as_version",
        "",
        "highest cluster version that the node admits to know, to try out an upgrade; default: the newest",
    ),
    row("log_segment", "64MiB", "size of one file of the log"),
    row("log_cache", "256MiB", "newest log entries kept in memory, all shards together"),
    row("snapshot_bytes_per_second", "64MiB", "how fast snapshots come and go, all shards together"),
    row("tablet_memory", "256MiB", "recent rows and cached blocks, all shards together"),
];

/// Environment variables that start like settings and mean something else.
pub const OTHER_VARIABLES: &[&str] = &["STRATA_CONFIG", "STRATA_ADDR", "STRATA_FORMAT", "STRATA_LOG"];

const fn row(key: &'static str, default: &'static str, help: &'static str) -> Definition {
    Definition { key, default, help }
}
