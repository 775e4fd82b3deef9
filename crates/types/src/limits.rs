//! Limits of requests, of shards and of the cluster that a client, a peer or an operator can meet. Bounds of what a
//! connection or a node holds for itself stand where it is held.

use std::time::Duration;

/// Longest user key. Keys are held whole in indexes, bloom filters and routes; longer ones are data, not names.
pub const KEY_BYTES_MAX: usize = 8 * 1024;
/// Longest value. One value travels in one log entry, which must fit a peer message with room to spare.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most bytes (keys and values) of one atomic batch: the same bound as one value, for the same reason.
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most operations of one atomic batch: bounds the time one entry takes to apply, during which the shard waits.
pub const BATCH_OPERATIONS_MAX: usize = 10_000;
/// Most writes of one transaction, over all its shards: they are kept in memory until it ends, and each shard applies its
/// part in one piece.
pub const TRANSACTION_WRITES_MAX: usize = 10_000;
/// Most keys and ranges that one transaction may have read to be able to write: each is checked when it commits.
pub const TRANSACTION_READS_MAX: usize = 10_000;
/// Most rows, older versions among them, that one shard has in the ranges which a transaction that writes has read: all of
/// them are looked at when it commits, while nothing else of the shard is applied.
pub const TRANSACTION_RANGE_ROWS_MAX: u64 = 250_000;
/// Most bytes that these rows have on one shard, for the same reason: as many as so many rows of a kilobyte.
pub const TRANSACTION_RANGE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Most bytes of the bounds of these ranges, if the transaction has parts on several shards: until it is decided, every
/// write of a shard that is prepared looks at them.
pub const TRANSACTION_BOUNDS_BYTES_MAX: usize = 1024 * 1024;
/// Most keys of one shard that one transaction has locked: as many as it may read. Its locks are in the memory of
/// the leader.
pub const TRANSACTION_LOCKS_MAX: usize = TRANSACTION_READS_MAX;
/// Most memory that the locks of one shard take at its leader: some 200,000 keys of usual length. Past it, who locks
/// further keys is refused as overloaded.
pub const SHARD_LOCK_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most bytes (keys and values) of one transaction: its part on a shard is one log entry, as a batch is.
pub const TRANSACTION_BYTES_MAX: usize = BATCH_BYTES_MAX;
/// Longest age of a transaction that writes, from its begin on: what it has read may have to be kept for so long.
pub const TRANSACTION_AGE_MAX: Duration = Duration::from_secs(300);
/// Largest gRPC message, in and out: one maximal batch and its framing.
pub const GRPC_MESSAGE_BYTES_MAX: usize = 20 * 1024 * 1024;
/// Most memory that a request may take beside its own bytes: its operations, keys and frames, each of which is larger in
/// memory than the two bytes that name it. Some 100,000 operations; what our own clients send stays far below.
pub const MESSAGE_MEMORY_MAX: usize = 64 * 1024 * 1024;
/// Most requests of one batch for a shard: it is answered as a whole, so who sends more makes them wait for each other.
/// Our own routers send 4,096.
pub const SHARD_BATCH_REQUESTS_MAX: usize = 10_000;
/// Most items of one scan page.
pub const SCAN_PAGE_ITEMS_MAX: u32 = 10_000;
/// A scan page of at most so many items takes no longer than some gets: it is carried out as they are.
pub const SHORT_PAGE_ITEMS_MAX: u32 = 100;
/// A scan page ends after the item that passes this many bytes, so that a page fits well into a message.
pub const SCAN_PAGE_BYTES_MAX: usize = 1024 * 1024;
/// Results a shard remembers for each client session; a client may have that many unanswered writes on one shard.
pub const SESSION_RESULTS_MAX: usize = 64;
/// Most sessions a shard remembers; the one that was used longest ago is forgotten first.
pub const SESSIONS_PER_SHARD_MAX: usize = 10_000;
/// Most shards of a cluster until in-place split exists: beyond this the idle cost of the groups shows.
pub const SHARDS_MAX: u32 = 256;
/// Most nodes of a cluster, and so the most that `--expect` can ask for.
pub const NODES_MAX: u32 = 1_000;
/// Heaviest weight of a node: bounds the virtual nodes of the ring.
pub const NODE_WEIGHT_MAX: u32 = 64;
/// Longest address or zone of a node: the longest DNS name, a port, and room to spare.
pub const NODE_NAME_BYTES_MAX: usize = 300;
/// Replicas of a shard: survives the loss of one node; the ring places them on distinct nodes and zones.
pub const REPLICAS_PER_SHARD: usize = 3;
/// Most replicas of the meta group.
pub const META_REPLICAS_MAX: usize = 5;
/// Longest deadline a client may ask for; also what applies when it asks for none on a long operation.
pub const REQUEST_DEADLINE_MAX: Duration = Duration::from_secs(60);
/// Deadline of a single-key operation whose client named none: longer than two failovers in a row.
pub const REQUEST_DEADLINE_DEFAULT: Duration = Duration::from_secs(5);
/// Most client connections of one node unless it is started with another number; the next one is refused with a
/// sentence.
pub const CLIENT_CONNECTIONS_MAX: usize = 20_000;
/// Bytes of proposals of one shard that wait for their log entry or for its commit. Past it, new writes are
/// refused as overloaded. As much again may wait in a router's queue.
pub const SHARD_INFLIGHT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Target size of one log entry: a batch closes when it passes this.
pub const ENTRY_BYTES_TARGET: usize = 1024 * 1024;
/// Largest peer message: one maximal entry and its framing.
pub const PEER_MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
