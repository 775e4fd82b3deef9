//! `strata start`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

/// Settings of a node as flags. They stay text: the settings know how to read them, and where they came from.
#[derive(Clone, Debug, Default, Args)]
pub struct NodeArgs {
    /// Settings file [default: strata.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory [default: strata-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Name of the cluster: a node joins none of another name [default: strata]
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Client port: gRPC and HTTP [default: 127.0.0.1:7400]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Peer port [default: one above the client port]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen_peer: Option<String>,
    /// Where clients reach the client port, if elsewhere
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// Where other nodes reach the peer port, if elsewhere
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise_peer: Option<String>,
    /// Peer addresses: of any nodes of a cluster to join, or of all nodes that found one
    #[arg(long, value_name = "HOST:PORT,...")]
    pub join: Option<String>,
    /// Number of nodes that found the cluster [default: 1; with --join none, then the node joins]
    #[arg(long, value_name = "N")]
    pub expect: Option<String>,
    /// Number of shards of a new cluster [default: by cores and nodes]
    #[arg(long, value_name = "N")]
    pub shards: Option<String>,
    /// Failure domain: replicas of a shard go to different ones
    #[arg(long, value_name = "NAME")]
    pub zone: Option<String>,
    /// How many replicas it takes, relative to other nodes [default: 1]
    #[arg(long, value_name = "N")]
    pub weight: Option<String>,
    /// Allow other addresses than loopback without --certs and --require-client-cert
    #[arg(long)]
    pub insecure: bool,
    /// Encrypt with ca.crt, node.crt and node.key in this directory: see `strata cert`
    #[arg(long, value_name = "DIR", help_heading = "Encryption")]
    pub certs: Option<String>,
    /// Certificates of the CAs to believe [default: ca.crt in --certs]
    #[arg(long, alias = "ca", value_name = "FILE", help_heading = "Encryption")]
    pub tls_ca: Option<String>,
    /// Certificate of the node [default: node.crt in --certs]
    #[arg(long, value_name = "FILE", help_heading = "Encryption")]
    pub tls_cert: Option<String>,
    /// Key of the node's certificate [default: node.key in --certs]
    #[arg(long, value_name = "FILE", help_heading = "Encryption")]
    pub tls_key: Option<String>,
    /// Let in only clients with a certificate of the CA, also to /health and /metrics: see `strata cert client`
    #[arg(long, help_heading = "Encryption")]
    pub require_client_cert: bool,
    /// Most client connections [default: 20000]
    #[arg(long, value_name = "N", help_heading = "Tuning")]
    pub connections_max: Option<String>,
    /// How often a leader is heard of [default: 200ms]
    #[arg(long, value_name = "TIME", help_heading = "Tuning")]
    pub heartbeat: Option<String>,
    /// Shortest silence before an election, beyond election_max [default: 300ms]
    #[arg(long, value_name = "TIME", help_heading = "Tuning")]
    pub election_min: Option<String>,
    /// Longest such silence; as long a follower votes for nobody else [default: 350ms]
    #[arg(long, value_name = "TIME", help_heading = "Tuning")]
    pub election_max: Option<String>,
    /// Let leaders answer reads of level lease without asking their followers: trusts that the clocks of all nodes run at
    /// about the same rate, which a virtual machine that is stopped or moved may break
    #[arg(long, help_heading = "Tuning")]
    pub lease_reads: bool,
    /// Silence after which a node is lost and its replicas are built anew on others [default: 5m]
    #[arg(long, value_name = "TIME", help_heading = "Tuning")]
    pub replace_after: Option<String>,
    /// How long what was overwritten or removed can still be read by snapshots of the past [default: 10m]
    #[arg(long, value_name = "TIME", help_heading = "Tuning")]
    pub history: Option<String>,
    /// How long an open snapshot or transaction keeps history at most [default: 1h]
    #[arg(long, value_name = "TIME", help_heading = "Tuning")]
    pub reader_age_max: Option<String>,
    /// Highest cluster version that the node admits to know, to try out an upgrade [default: the newest]
    #[arg(long, value_name = "N", help_heading = "Tuning")]
    pub act_as_version: Option<String>,
    /// Size of one file of the log [default: 64MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Tuning")]
    pub log_segment: Option<String>,
    /// Newest log entries kept in memory [default: 256MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Tuning")]
    pub log_cache: Option<String>,
    /// How fast snapshots come and go, bytes a second, all shards together [default: 64MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Tuning")]
    pub snapshot_bytes_per_second: Option<String>,
    /// Recent rows and cached blocks, all shards together [default: 256MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Tuning")]
    pub tablet_memory: Option<String>,
}

impl NodeArgs {
    /// The settings that the user gave, by key.
    pub fn flags(&self) -> BTreeMap<String, String> {
        let given = [
            ("data", &self.data),
            ("cluster", &self.cluster),
            ("listen", &self.listen),
            ("listen_peer", &self.listen_peer),
            ("advertise", &self.advertise),
            ("advertise_peer", &self.advertise_peer),
            ("join", &self.join),
            ("expect", &self.expect),
            ("shards", &self.shards),
            ("zone", &self.zone),
            ("weight", &self.weight),
            ("certs", &self.certs),
            ("tls_ca", &self.tls_ca),
            ("tls_cert", &self.tls_cert),
            ("tls_key", &self.tls_key),
            ("connections_max", &self.connections_max),
            ("heartbeat", &self.heartbeat),
            ("election_min", &self.election_min),
            ("election_max", &self.election_max),
            ("replace_after", &self.replace_after),
            ("history", &self.history),
            ("reader_age_max", &self.reader_age_max),
            ("act_as_version", &self.act_as_version),
            ("log_segment", &self.log_segment),
            ("log_cache", &self.log_cache),
            ("snapshot_bytes_per_second", &self.snapshot_bytes_per_second),
            ("tablet_memory", &self.tablet_memory),
        ];
        let given = given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)));
        let switches = [
            ("insecure", self.insecure),
            ("require_client_cert", self.require_client_cert),
            ("lease_reads", self.lease_reads),
        ];
        let on = switches.into_iter().filter(|(_, is_on)| *is_on).map(|(key, _)| (key.to_owned(), "true".to_owned()));
        given.chain(on).collect()
    }
}

/// `strata start`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct StartArgs {
    /// Settings of the node
    #[command(flatten)]
    pub node: NodeArgs,
    /// Stop when standard input ends: whoever started this node is gone
    #[arg(long, hide = true)]
    pub stop_with_stdin: bool,
}

const EXAMPLES: &str = "\
Examples:
  strata start --data /var/lib/strata
  strata start --data d1 --join db1:7401,db2:7401,db3:7401 --expect 3 \\
               --listen db1:7400 --insecure      (the same on every node, but for --listen)
  strata start --data d4 --join db1:7401,db2:7401 --listen db4:7400 --insecure      (one node more)

Every flag is also an environment variable (--log-cache: STRATA_LOG_CACHE) and a line of strata.toml
(log_cache = \"256MiB\"). `strata config show` says which one won. STRATA_LOG=debug logs more to standard error.";
