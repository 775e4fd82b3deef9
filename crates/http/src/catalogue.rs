//! Every metric of the program: its name, its kind and one line about it.
//!
//! Names are `strata_<area>_<what>_<unit>`; counters end in `_total`. User keys are never labels, and neither is
//! anything else that grows with the data.

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Many samples, in buckets.
    Histogram,
}

/// What the numbers of a histogram are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes, operations or other things that are counted.
    Size,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// One line for people.
    pub help: &'static str,
}

impl Metric {
    /// What its numbers are, from the end of its name.
    pub fn unit(&self) -> Unit {
        if self.name.ends_with("_seconds") { Unit::Seconds } else { Unit::Size }
    }
}

/// Upper bounds of latency buckets: from well under one fsync to the longest deadline.
pub const SECONDS_BUCKETS: &[f64] =
    &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// Upper bounds of size buckets: powers of four up to the largest message.
pub const SIZE_BUCKETS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];

/// All of them, by name.
pub const CATALOGUE: &[Metric] = &[
    counter("strata_client_connections_accepted_total", "client connections by protocol"),
    gauge("strata_client_connections_open", "client connections that are open now"),
    counter(
        "strata_client_connections_refused_total",
        "client connections closed before anything was served, by reason",
    ),
    counter(
        "strata_cluster_changes_abandoned_total",
        "changes of members given up, seen by this node as it planned them",
    ),
    counter("strata_cluster_changes_finished_total", "changes of members made, seen by this node as it planned them"),
    counter("strata_cluster_changes_started_total", "changes of members begun, seen by this node as it planned them"),
    gauge("strata_cluster_leaders_entropy", "how evenly nodes should lead shards: 1 is even, 0 is all on one"),
    gauge("strata_cluster_leaders_largest_over_mean", "most shards that a node should lead, over the mean: 1 is even"),
    counter("strata_cluster_leaders_moved_total", "leaders given back to the nodes that should have them"),
    counter(
        "strata_cluster_leaders_spread_total",
        "leaders that should change because of their load; only where the meta group is led",
    ),
    gauge(
        "strata_cluster_load_entropy",
        "how evenly nodes carry out requests as leaders: 1 is even; only where the meta group is led",
    ),
    gauge(
        "strata_cluster_load_largest_over_mean",
        "most requests that a node carries out as leader, over the mean; only where the meta group is led",
    ),
    gauge("strata_cluster_map_epoch", "epoch of the shard map of this node"),
    gauge("strata_cluster_replicas_entropy", "how evenly nodes hold replicas: 1 is even, 0 is all on one"),
    gauge("strata_cluster_replicas_largest_over_mean", "most replicas that a node holds, over the mean: 1 is even"),
    counter("strata_cluster_replicas_refused_total", "replicas that refuse to serve because their files are damaged"),
    gauge("strata_cluster_replicas_to_move", "replicas to move or that move; only where the meta group is led"),
    counter("strata_grpc_errors_total", "unary calls that failed, by method"),
    histogram("strata_grpc_request_seconds", "how long unary calls took, by method"),
    counter("strata_grpc_requests_total", "unary calls that were answered, by method"),
    counter("strata_grpc_stream_batches_total", "batches that came over streams of SDKs"),
    counter("strata_grpc_stream_operations_total", "operations in these batches"),
    counter("strata_kv_reads_total", "reads carried out by the shards of this node, by level and role"),
    counter("strata_kv_rows_collected_total", "versions and records removed that nobody can need any more"),
    counter("strata_kv_transactions_aborted_total", "transactions aborted because they kept others waiting"),
    counter("strata_kv_writes_total", "writes proposed by the shards of this node"),
    counter("strata_net_connect_failures_total", "attempts to connect to another node that failed, by peer and lane"),
    counter("strata_net_connects_total", "connections made to other nodes, by peer and lane"),
    counter(
        "strata_net_dropped_messages_total",
        "messages to other nodes that were not sent, by peer, lane and reason",
    ),
    gauge("strata_net_queue_bytes", "bytes that wait to be sent, by peer and lane"),
    counter("strata_net_received_bytes_total", "bytes of messages from other nodes, by peer and lane"),
    counter("strata_net_received_messages_total", "messages from other nodes, by peer and lane"),
    counter("strata_net_refused_handshakes_total", "nodes that were not let in"),
    counter("strata_net_sent_bytes_total", "bytes of messages to other nodes, by peer and lane"),
    counter("strata_net_sent_messages_total", "messages to other nodes, by peer and lane"),
    counter("strata_raft_commands_total", "client operations proposed; divide by the entries for operations per entry"),
    counter("strata_raft_entries_total", "log entries proposed by leaders on this node"),
    counter(
        "strata_raft_read_rounds_total",
        "rounds that let reads through, of leaders and of followers that ask them",
    ),
    counter("strata_raft_reads_total", "reads let through by these rounds, by role"),
    counter(
        "strata_raft_reads_witnessed_total",
        "reads at a timestamp that came with a vote, so that no round was made",
    ),
    counter("strata_raft_reopened_total", "groups opened again after a fault in them"),
    counter("strata_raft_roll_calls_total", "questions to other nodes whether they still vote for leaders here"),
    counter("strata_raft_snapshot_received_bytes_total", "bytes of snapshots that were received and written"),
    counter("strata_raft_snapshot_resumed_total", "snapshots that went on where they had broken off"),
    counter("strata_raft_snapshot_sent_bytes_total", "bytes of snapshots that were sent"),
    gauge("strata_raft_snapshot_transfers_running", "snapshots on their way now, by direction"),
    counter("strata_router_batches_total", "batches sent to replicas by the router of this node"),
    counter("strata_router_hedges_total", "reads asked of a second replica because their answer was late"),
    counter("strata_router_hedges_won_total", "reads that the second replica answered first"),
    counter("strata_router_requests_total", "requests in these batches"),
    counter("strata_router_retries_refused_total", "requests not sent again because too many were"),
    counter("strata_router_retries_total", "requests sent again"),
    counter("strata_time_blocks_reserved_total", "blocks of timestamps reserved by this node"),
    counter("strata_time_checks_total", "timestamps that were news here and that others were asked about"),
    histogram("strata_time_clock_opening_seconds", "how long new leaders of shards waited for the time"),
    counter("strata_time_clocks_opened_total", "clocks of shards opened by this node"),
    counter("strata_time_failures_total", "questions for a timestamp without an answer, by kind"),
    gauge("strata_time_horizon", "timestamp below which nothing is kept for readers"),
    gauge("strata_time_in_use", "timestamps that readers of this node use"),
    counter("strata_time_in_use_too_long_total", "timestamps used for so long that they are kept no more"),
    gauge("strata_time_known", "highest timestamp that this node has heard of"),
    histogram("strata_time_question_seconds", "how long questions for a timestamp took, by kind"),
    counter("strata_time_questions_total", "questions for a timestamp, by kind"),
    counter("strata_time_told_total", "times that another node was told what was handed out here"),
    counter("strata_time_waiters_total", "those on whose behalf they were asked, by kind"),
    gauge("strata_tls_certificate_expires_seconds", "end of the certificate of this node, in seconds since 1970"),
    counter("strata_tls_certificates_unusable_total", "changed files of certificates that cannot be used"),
    counter("strata_txn_ended_total", "transactions kept for clients that ended, by how"),
    gauge("strata_txn_open", "transactions kept for clients that are open now"),
    gauge("strata_wal_disk_bytes", "bytes of the log's files"),
    histogram("strata_wal_sync_seconds", "how long syncs of the log took"),
    counter("strata_wal_written_bytes_total", "bytes written to the log"),
];

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, help }
}

const fn histogram(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, help }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for pair in CATALOGUE.windows(2) {
            assert!(pair[0].name < pair[1].name, "{} and {} are out of order", pair[0].name, pair[1].name);
        }
        for metric in CATALOGUE {
            assert!(metric.name.starts_with("strata_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
        }
    }

    /// HTTP-2: a name that the sources use and the catalogue lacks has no help and the wrong buckets.
    #[test]
    fn the_catalogue_is_what_the_sources_use() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates/");
        let mut used = BTreeSet::new();
        for name in children(crates) {
            // The benchmarks read metrics of others.
            if !name.ends_with("bench") {
                collect(&name.join("src"), &mut used);
            }
        }
        let known: BTreeSet<_> = CATALOGUE.iter().map(|metric| metric.name.to_owned()).collect();
        let missing: Vec<_> = used.difference(&known).collect();
        assert!(missing.is_empty(), "not in CATALOGUE: {missing:?}");
        let unused: Vec<_> = known.difference(&used).collect();
        assert!(unused.is_empty(), "in CATALOGUE, but nothing measures it: {unused:?}");
    }

    #[allow(clippy::disallowed_methods, reason = "reads the sources of the workspace")]
    fn children(directory: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(directory).expect("a directory");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }

    #[allow(clippy::disallowed_methods, reason = "reads the sources of the workspace")]
    fn collect(directory: &Path, used: &mut BTreeSet<String>) {
        for path in children(directory) {
            if path.is_dir() {
                collect(&path, used);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("catalogue.rs") {
                used.extend(names(&std::fs::read_to_string(&path).expect("text")));
            }
        }
    }

    /// String literals that look like a metric: `strata_<area>_<what>...`, and nothing else in the quotes.
    fn names(source: &str) -> Vec<String> {
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let literals = source.split('"');
        let metrics = literals.filter(|text| text.starts_with("strata_") && text.chars().all(is_part));
        metrics.filter(|text| text.matches('_').count() >= 2).map(str::to_owned).collect()
    }
}
