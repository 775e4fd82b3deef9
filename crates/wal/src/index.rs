//! What the log on the disk says, in the lane's order.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use strata_types::{LogIndex, ReplicaId};

use crate::record::{Change, ChangeKind, Place};
use crate::segment::Segment;

/// Weight of an entry beside its bytes: an empty entry keeps its segment alive like any other.
const ENTRY_WEIGHT: u64 = 16;

/// The durable state of all replicas and the segments it lies in.
///
/// The lane applies each change after the sync that made it durable, and recovery applies the same changes as it reads
/// them: both arrive at the same index. What replicas see of their logs is in [`crate::replica`] and runs ahead of it.
#[derive(Default)]
pub(crate) struct Index {
    replicas: BTreeMap<ReplicaId, ReplicaIndex>,
    segments: BTreeMap<u64, SegmentUse>,
}

/// The durable state of one replica.
#[derive(Default)]
pub(crate) struct ReplicaIndex {
    pub(crate) vote: Option<Bytes>,
    pub(crate) committed: Option<Bytes>,
    pub(crate) purged: Option<(LogIndex, Bytes)>,
    pub(crate) entries: BTreeMap<LogIndex, Place>,
}

/// A segment and who needs it.
struct SegmentUse {
    segment: Arc<Segment>,
    /// Bytes on the disk: more than the segment's length after an entry that was larger than a segment.
    bytes: u64,
    live: BTreeMap<ReplicaId, u64>,
}

/// A segment, measured for cleaning.
pub(crate) struct Measured {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    pub(crate) live: u64,
}

impl Index {
    pub(crate) fn add_segment(&mut self, segment: Arc<Segment>) {
        let (number, bytes) = (segment.number, segment.length);
        self.segments.insert(number, SegmentUse { segment, bytes, live: BTreeMap::new() });
    }

    /// Takes a segment out that holds no live entry.
    pub(crate) fn take_segment(&mut self, number: u64) -> Option<(Arc<Segment>, u64)> {
        self.segments.remove(&number).map(|usage| {
            assert!(usage.live.is_empty(), "a segment with live entries is needed");
            (usage.segment, usage.bytes)
        })
    }

    /// A segment was written up to `end`.
    pub(crate) fn note_written(&mut self, number: u64, end: u64) {
        if let Some(usage) = self.segments.get_mut(&number) {
            usage.bytes = usage.bytes.max(end);
        }
    }

    pub(crate) fn oldest_segment(&self) -> Option<Measured> {
        let (number, usage) = self.segments.first_key_value()?;
        Some(Measured { number: *number, bytes: usage.bytes, live: usage.live.values().sum() })
    }

    pub(crate) fn segment(&self, number: u64) -> Option<Arc<Segment>> {
        self.segments.get(&number).map(|usage| usage.segment.clone())
    }

    pub(crate) fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Bytes of all segments on the disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.segments.values().map(|usage| usage.bytes).sum()
    }

    /// Bytes of all live entries.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.segments.values().flat_map(|usage| usage.live.values()).sum()
    }

    /// Who keeps the oldest segment alive, biggest first.
    pub(crate) fn oldest_pins(&self) -> Vec<(ReplicaId, u64)> {
        let Some((_, usage)) = self.segments.first_key_value() else { return Vec::new() };
        let mut pins: Vec<_> = usage.live.iter().map(|(replica, bytes)| (*replica, *bytes)).collect();
        pins.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        pins
    }

    pub(crate) fn replicas(&self) -> &BTreeMap<ReplicaId, ReplicaIndex> {
        &self.replicas
    }

    /// Where an entry lies.
    pub(crate) fn locate(&self, replica: ReplicaId, index: LogIndex) -> Option<(Arc<Segment>, Place)> {
        let place = *self.replicas.get(&replica)?.entries.get(&index)?;
        Some((self.segment(place.segment)?, place))
    }

    /// Up to about `bytes_max` of live entries in a segment, at least one if there is any, by replica and index.
    pub(crate) fn live_entries(&self, segment: u64, bytes_max: u64) -> Vec<(ReplicaId, LogIndex, Place)> {
        let Some(usage) = self.segments.get(&segment) else { return Vec::new() };
        let all = usage.live.keys().flat_map(|replica| {
            let entries = self.replicas.get(replica).into_iter().flat_map(|found| &found.entries);
            entries.map(move |(index, place)| (*replica, *index, *place))
        });
        let mut total = 0;
        all.filter(|(.., place)| place.segment == segment)
            .take_while(|(.., place)| {
                let taken = total < bytes_max;
                total += weight(place);
                taken
            })
            .collect()
    }

    /// All that a new segment must repeat so that older ones can go.
    pub(crate) fn checkpoint(&self) -> Vec<Change> {
        let all = self.replicas.iter();
        all.map(|(replica, index)| Change {
            replica: *replica,
            kind: ChangeKind::Checkpoint {
                vote: index.vote.clone(),
                committed: index.committed.clone(),
                purged: index.purged.clone(),
            },
        })
        .collect()
    }

    pub(crate) fn apply(&mut self, change: Change) {
        let Index { replicas, segments } = self;
        let id = change.replica;
        if change.kind == ChangeKind::Remove {
            if let Some(removed) = replicas.remove(&id) {
                removed.entries.values().for_each(|place| release(segments, id, place));
            }
            return;
        }
        let replica = replicas.entry(id).or_default();
        match change.kind {
            ChangeKind::Vote(vote) => replica.vote = Some(vote),
            ChangeKind::Committed(committed) => replica.committed = Some(committed),
            ChangeKind::Append(first, places) | ChangeKind::Rewrite(first, places) => {
                for (index, place) in (first.0..).map(LogIndex).zip(places) {
                    occupy(segments, id, &place);
                    if let Some(former) = replica.entries.insert(index, place) {
                        release(segments, id, &former);
                    }
                }
            }
            ChangeKind::Truncate(keep) => {
                let from = keep.map_or(LogIndex(0), LogIndex::next);
                let gone = replica.entries.split_off(&from);
                gone.values().for_each(|place| release(segments, id, place));
            }
            ChangeKind::Purge(index, purged_id) => {
                let rest = replica.entries.split_off(&index.next());
                let gone = std::mem::replace(&mut replica.entries, rest);
                gone.values().for_each(|place| release(segments, id, place));
                replica.purged = Some((index, purged_id));
            }
            ChangeKind::Checkpoint { vote, committed, purged } => {
                (replica.vote, replica.committed, replica.purged) = (vote, committed, purged);
            }
            ChangeKind::Remove => unreachable!("handled above"),
        }
    }

    /// The first entry that is missing in the middle of a log, if any.
    pub(crate) fn hole(&self) -> Option<(ReplicaId, LogIndex)> {
        self.replicas.iter().find_map(|(replica, index)| {
            let first = index.entries.first_key_value().map(|(first, _)| *first)?;
            let start = index.purged.as_ref().map_or(first, |(purged, _)| purged.next());
            let mut expected = start;
            for found in index.entries.keys() {
                if *found != expected {
                    return Some((*replica, expected));
                }
                expected = expected.next();
            }
            None
        })
    }
}

fn weight(place: &Place) -> u64 {
    u64::from(place.length) + ENTRY_WEIGHT
}

fn occupy(segments: &mut BTreeMap<u64, SegmentUse>, replica: ReplicaId, place: &Place) {
    let usage = segments.get_mut(&place.segment).expect("the segment of a live entry is known");
    *usage.live.entry(replica).or_default() += weight(place);
}

fn release(segments: &mut BTreeMap<u64, SegmentUse>, replica: ReplicaId, place: &Place) {
    let usage = segments.get_mut(&place.segment).expect("the segment of a live entry is known");
    let live = usage.live.get_mut(&replica).expect("the replica has this entry there");
    *live = live.checked_sub(weight(place)).expect("entries are released once");
    if *live == 0 {
        usage.live.remove(&replica);
    }
}
