//! Lets old segments go.
//!
//! Segments go oldest first, so that their numbers never have a gap and a missing one is noticed. A segment goes when
//! no live entry is in it. One that is kept by a small remainder is emptied: its live entries are written again at the
//! head, a piece with each of the next batches: an idle log stays idle. So is the oldest one, whatever it holds, when the log has grown far beyond what is live
//! in it: one replica that does not purge must not keep everybody's segments.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use strata_types::{LogIndex, ReplicaId};

use crate::WalError;
use crate::lane::Lane;
use crate::reader::read_all;
use crate::record::EntriesKind;

/// A segment is emptied when less than one in so many of its bytes is live.
const REMAINDER: u64 = 10;
/// The log may be so many times larger than what is live in it.
const WASTE: u64 = 2;
/// Segments that the log may have beyond that.
const SLACK_SEGMENTS: u64 = 4;
/// Most bytes that move with one batch: what a batch waits longer for it is less than it notices.
const PIECE_BYTES: u64 = 256 * 1024;
/// Closed segments below which nothing is worth moving.
const CLOSED_SEGMENTS_MIN: usize = 2;

impl Lane {
    /// Gives up segments that nobody needs, and chooses one to be emptied.
    pub(crate) fn collect(&mut self) -> Result<(), WalError> {
        self.cleaning = None;
        let Some(active) = self.active.as_ref().filter(|active| active.offset > 0).map(|active| active.segment.number)
        else {
            return Ok(());
        };
        // WAL-6
        loop {
            let freed = {
                let mut index = self.shared.index.lock();
                match index.oldest_segment() {
                    Some(oldest) if oldest.number < active && oldest.live == 0 => index.take_segment(oldest.number),
                    _ => None,
                }
            };
            let Some((segment, bytes)) = freed else { break };
            let reusable = bytes == self.options.segment_bytes;
            if reusable && self.spares.count() < self.options.spare_segments.max(1) {
                self.spares.request(self.options.segment_bytes, Some(segment));
            } else {
                self.spares.retire(segment);
            }
        }
        self.keep_spares();
        self.cleaning = self.worth_moving(active);
        metrics::gauge!("strata_wal_disk_bytes").set(self.shared.index.lock().disk_bytes() as f64);
        Ok(())
    }

    /// The oldest segment, if moving its live entries pays.
    fn worth_moving(&self, active: u64) -> Option<u64> {
        let index = self.shared.index.lock();
        let oldest = index.oldest_segment().filter(|oldest| oldest.number < active)?;
        if index.segment_count() <= CLOSED_SEGMENTS_MIN {
            return None;
        }
        let small = oldest.live <= oldest.bytes / REMAINDER;
        let allowed = index.live_bytes() * WASTE + self.options.segment_bytes * SLACK_SEGMENTS;
        let wasteful = index.disk_bytes() > allowed;
        // On a full disk only what surely frees more than it takes.
        let room = !self.shared.full.load(Ordering::Relaxed);
        (small || (wasteful && room)).then_some(oldest.number)
    }

    /// Writes some live entries of the segment that is being emptied again.
    pub(crate) async fn move_entries(&mut self) -> Result<(), WalError> {
        let Some(number) = self.cleaning.take() else { return Ok(()) };
        let piece = PIECE_BYTES.min(self.options.segment_bytes / 4);
        let (segment, found) = {
            let index = self.shared.index.lock();
            (index.segment(number), index.live_entries(number, piece))
        };
        let Some(segment) = segment else { return Ok(()) };
        let places: Vec<_> = found.iter().map(|(.., place)| (segment.clone(), *place)).collect();
        let entries = read_all(&places).await?;
        let mut runs: Vec<(ReplicaId, LogIndex, Vec<Bytes>)> = Vec::new();
        for ((replica, index, _), bytes) in found.into_iter().zip(entries) {
            match runs.last_mut() {
                Some((last, first, run)) if *last == replica && first.0 + run.len() as u64 == index.0 => {
                    run.push(bytes)
                }
                _ => runs.push((replica, index, vec![bytes])),
            }
        }
        for (replica, first, run) in runs {
            self.put_entries(EntriesKind::Rewrite, replica, first, &run).await?;
        }
        Ok(())
    }
}
