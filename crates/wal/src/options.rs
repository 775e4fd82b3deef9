//! Settings of the log.

/// Settings of the log; the default is what production uses.
#[derive(Clone, Debug)]
pub struct WalOptions {
    /// Size of one segment file.
    pub segment_bytes: u64,
    /// Segments kept ready beside the active one.
    pub spare_segments: usize,
    /// Most bytes of entries held in memory, over all replicas. Older ones are read from the disk.
    pub cache_bytes: usize,
    /// A batch closes when it passes this many bytes: it bounds the time between two syncs.
    pub batch_bytes_max: usize,
    /// A deliberate mistake, to prove that the tests above find it.
    #[cfg(debug_assertions)]
    pub mutant: Option<Mutant>,
}

/// Deliberate mistakes; release builds have none.
#[cfg(debug_assertions)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutant {
    /// Completions fire before the sync.
    AckBeforeSync,
    /// Truncations are not written.
    TruncateNotDurable,
}

impl Default for WalOptions {
    fn default() -> WalOptions {
        WalOptions {
            segment_bytes: 64 * 1024 * 1024,
            spare_segments: 1,
            cache_bytes: 256 * 1024 * 1024,
            batch_bytes_max: 4 * 1024 * 1024,
            #[cfg(debug_assertions)]
            mutant: None,
        }
    }
}
