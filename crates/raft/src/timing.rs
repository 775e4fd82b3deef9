//! How quickly a group notices that its leader is gone.

use std::time::Duration;

use openraft::{Config, SnapshotPolicy, StepDownPolicy};
use strata_types::GroupId;

/// The timing profile of the groups of a node. Times decide when things are tried, never whether they are safe; leases
/// alone trust them (`lease.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader without traffic shows that it is alive.
    pub heartbeat: Duration,
    /// Shortest silence after which a follower campaigns, beyond the lease.
    pub election_min: Duration,
    /// Longest such silence; also how long a follower that hears a leader does not vote for another. At least
    /// [`crate::PROMISE`], on every node.
    pub election_max: Duration,
    /// Whether this node's leaders may read without a round while they hold a lease.
    pub lease_reads: bool,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            // Most of what an idle group costs (`beats.rs`).
            heartbeat: Duration::from_millis(200),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(350),
            lease_reads: false,
        }
    }
}

/// When the log and the tablets of a node are made durable and cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// A tablet with this many bytes that a crash would lose is flushed.
    pub flush_bytes: u64,
    /// Above this many bytes of all tablets of the node that a crash would lose, the fullest are flushed. It bounds what a
    /// restart replays, to half a million short writes.
    pub flush_node_bytes: u64,
    /// A log shorter than this is kept: followers that were away for a while catch up from it without a snapshot.
    pub keep_bytes: u64,
    /// A log longer than this is cut even when a live follower still needs it; that follower gets a snapshot.
    pub keep_bytes_max: u64,
    /// Above this many bytes in the node's log, the replicas that pin its oldest segments are flushed.
    pub log_bytes: u64,
    /// An idle tablet with unflushed writes is flushed after this time.
    pub flush_age: Duration,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            flush_bytes: 64 << 20,
            flush_node_bytes: 128 << 20,
            keep_bytes: 32 << 20,
            keep_bytes_max: 256 << 20,
            log_bytes: 1 << 30,
            flush_age: Duration::from_secs(600),
        }
    }
}

impl Timing {
    /// A follower that heard nothing of the leader for this long would have begun an election: one that was not heard for
    /// this long may have.
    pub(crate) fn silence_max(&self) -> Duration {
        self.election_max * 2
    }

    /// openraft's configuration for one group.
    pub(crate) fn config(&self, group: GroupId) -> Result<Config, openraft::ConfigError> {
        let millis = |duration: Duration| duration.as_millis() as u64;
        Config {
            cluster_name: group.to_string(),
            heartbeat_interval: millis(self.heartbeat),
            heartbeat_min_interval: Some(millis(self.heartbeat) / 4),
            election_timeout_min: millis(self.election_min),
            election_timeout_max: millis(self.election_max),
            // Entries are fat batches; bytes are capped where the log is read.
            max_payload_entries: 64,
            max_append_entries: Some(256),
            api_channel_size: Some(4096),
            api_batch_capacity: 256,
            // Flushing, snapshots and purging are decided by `maintain`.
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX / 2,
            enable_pre_vote: Some(true),
            // A restarted leader has to be elected again: its lease did not survive.
            enable_leader_restore: Some(false),
            // The others learn meanwhile that the membership without this leader is committed.
            removed_leader_step_down: StepDownPolicy::After(millis(self.heartbeat)),
            // A replica that is back takes entries only when its leader tries again, perhaps twice: until then the shard
            // cannot do without the others.
            backoff: "50ms 100ms ...200ms".into(),
            install_snapshot_timeout: 60_000,
            ..Config::default()
        }
        .validate()
    }
}
