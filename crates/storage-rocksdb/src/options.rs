//! How databases are set up, and what they share.

use std::path::Path;
use std::sync::Arc;

use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, DataBlockIndexType, Env, LogLevel, Options};
use strata_env::real::give_way;
use strata_storage::StorageResult;

use crate::budget::Budget;
use crate::error;
use crate::keeper::Keeper;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Recent rows take at most this part of the memory budget, or little more where there are many tablets; blocks take the
/// rest.
const RECENT_DIVISOR: usize = 2;

/// RocksDB's memtables stay empty: each takes this.
const ARENA_BLOCK_BYTES: usize = 16 * KIB;

/// 16 KiB compress better and need fewer index entries than RocksDB's default of 4.
const BLOCK_BYTES: usize = 16 * KIB;

/// About 1 % false positives.
const FILTER_BITS: f64 = 10.0;

/// Settings of all tablets of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RocksOptions {
    /// Recent rows and cached blocks of all tablets together.
    pub memory_bytes: usize,
    /// The recent rows of a tablet that are in no order, beyond which they are put in order. Scans look at each of them.
    pub bundle_bytes: usize,
    /// Threads for compactions, shared by all tablets.
    pub compaction_threads: usize,
    /// Ceiling of what compactions write; RocksDB tunes itself below it.
    pub background_write_bytes_per_second: u64,
    /// Files that one tablet keeps open.
    pub open_files_max: u32,
}

impl Default for RocksOptions {
    fn default() -> RocksOptions {
        RocksOptions {
            memory_bytes: 256 * MIB,
            bundle_bytes: 512 * KIB,
            compaction_threads: 2,
            background_write_bytes_per_second: 512 << 20,
            open_files_max: 128,
        }
    }
}

/// What all databases of a node share, and their settings.
pub(crate) struct Shared {
    /// Copies of it share the cache, the rate limiter and the threads.
    template: Options,
    keeper: Arc<Keeper>,
}

impl Shared {
    pub(crate) fn new(settings: &RocksOptions) -> StorageResult<Shared> {
        let mut env = Env::new().map_err(|e| error::of_rocksdb(&e, Path::new("")))?;
        start_compaction_threads(&mut env, settings.compaction_threads);

        let recent_bytes = settings.memory_bytes / RECENT_DIVISOR;
        let cache = Cache::new_hyper_clock_cache(settings.memory_bytes - recent_bytes, 0);
        let mut template = Options::default();
        template.set_env(&env);
        let rate = i64::try_from(settings.background_write_bytes_per_second).unwrap_or(i64::MAX);
        template.set_auto_tuned_ratelimiter(rate, RATE_REFILL_MICROS, RATE_FAIRNESS);
        template.set_max_background_jobs(count(settings.compaction_threads) + 1);
        template.set_max_open_files(i32::try_from(settings.open_files_max).unwrap_or(i32::MAX));
        template.set_arena_block_size(ARENA_BLOCK_BYTES);
        // What RocksDB takes for the size of new files: it keeps their indexes in memory, and after a full disk it wants room
        // for one before it goes on.
        template.set_write_buffer_size(recent_bytes);
        set_tables(&mut template, &cache);
        set_no_stalls(&mut template);
        set_housekeeping(&mut template);
        let budget = Budget::new(settings.bundle_bytes, recent_bytes);
        Ok(Shared { template, keeper: Arc::new(Keeper::start(Arc::new(budget))?) })
    }

    /// Who puts recent rows in order and has them flushed.
    pub(crate) fn keeper(&self) -> Arc<Keeper> {
        Arc::clone(&self.keeper)
    }

    /// How files are written that databases are given. RocksDB would take them for files of its lowest level, which are
    /// smaller and take longer to make.
    pub(crate) fn file_options(&self) -> Options {
        let mut options = self.template.clone();
        options.set_bottommost_compression_type(DBCompressionType::Lz4);
        let mut table = table_options();
        table.disable_cache();
        table.set_bloom_filter(FILTER_BITS, false);
        options.set_block_based_table_factory(&table);
        options
    }

    /// Opens a database, or makes a new one.
    pub(crate) fn open(&self, path: &Path, create: bool) -> StorageResult<DB> {
        let mut options = self.template.clone();
        options.create_if_missing(create);
        options.set_error_if_exists(create);
        DB::open_cf_with_opts(&options, path, [(rocksdb::DEFAULT_COLUMN_FAMILY_NAME, options.clone())])
            .map_err(|error| error::of_open(&error, path))
    }
}

/// Compactions take seconds of a processor, and nobody waits for one. RocksDB could only make its threads as low as there
/// is, where a node that is always busy would hardly compact at all. So they are started here, and take their priority
/// from the thread that starts them.
fn start_compaction_threads(env: &mut Env, threads: usize) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            give_way();
            env.set_low_priority_background_threads(count(threads));
        });
    });
}

/// How often the rate limiter hands out tokens, and how seldom low priorities overtake: RocksDB's defaults.
const RATE_REFILL_MICROS: i64 = 100_000;
const RATE_FAIRNESS: i32 = 10;

fn set_tables(options: &mut Options, cache: &Cache) {
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_target_file_size_base(64 << 20);
    options.set_max_bytes_for_level_base(256 << 20);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options.set_bytes_per_sync(1 << 20);

    let mut table = table_options();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // Bloom in level 0, which is short-lived; ribbon below it, which is smaller.
    table.set_hybrid_ribbon_filter(FILTER_BITS, 1);
    options.set_block_based_table_factory(&table);
}

/// What all files have in common.
fn table_options() -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_size(BLOCK_BYTES);
    table.set_whole_key_filtering(true);
    table.set_optimize_filters_for_memory(true);
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    table
}

/// RocksDB holds writes up where it has much to merge. It gets none, but who copies or closes a database would be held
/// up with them, on a full disk for ever. How many files a tablet may have is decided where they are made.
fn set_no_stalls(options: &mut Options) {
    options.set_level_zero_slowdown_writes_trigger(i32::MAX);
    options.set_level_zero_stop_writes_trigger(i32::MAX);
    // 0 would mean "never" as well, but also that each tablet always takes all threads for merging.
    options.set_soft_pending_compaction_bytes_limit(usize::MAX);
    options.set_hard_pending_compaction_bytes_limit(usize::MAX);
}

/// Keeps an idle database cheap, and opening one fast.
fn set_housekeeping(options: &mut Options) {
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(1);
    options.set_max_log_file_size(MIB);
    options.set_max_manifest_file_size(16 * MIB);
    options.set_manifest_preallocation_size(64 * KIB);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_skip_stats_update_on_db_open(true);
    options.set_max_file_opening_threads(1);
    options.set_table_cache_num_shard_bits(2);
    // Deleting files of an old version happens in the background, not in a reader's or writer's call.
    options.set_avoid_unnecessary_blocking_io(true);
}

fn count(threads: usize) -> i32 {
    i32::try_from(threads.max(1)).unwrap_or(i32::MAX)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    /// How nice the threads of this process are that have this name.
    fn niceness(name: &str) -> BTreeSet<i32> {
        let tasks = fs::read_dir("/proc/self/task").expect("the threads of this process");
        let niceness = |task: fs::DirEntry| {
            let named = fs::read_to_string(task.path().join("comm")).ok()?;
            let stat = fs::read_to_string(task.path().join("stat")).ok()?;
            let after_name = stat.rsplit_once(')')?.1;
            (named.trim() == name).then_some(after_name.split_whitespace().nth(16)?.parse().ok()?)
        };
        tasks.filter_map(|task| niceness(task.ok()?)).collect()
    }

    #[test]
    fn compactions_give_way_and_flushes_do_not() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let shared = Shared::new(&RocksOptions::default()).expect("options");
        // Opening may start threads as well: more of the same.
        let _database = shared.open(directory.path(), true).expect("a new database");
        let usual = niceness("strata-flush");
        let lower: BTreeSet<i32> = usual.iter().map(|niceness| (niceness + 10).min(19)).collect();
        assert_eq!((usual.len(), niceness("rocksdb:low")), (1, lower));
    }
}
