//! What lies in the log's files, damaged in every way: whatever it is, reading it back answers and does not panic. The
//! checksums are made right again, or damage would never come further than them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use strata_codec::{DecodeError, checksum};
use strata_env::OpenMode;
use strata_env::sim::SimWorld;
use strata_types::{LogIndex, ReplicaId};

use crate::frame::{self, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::index::Index;
use crate::record::{self, Change, ChangeKind, EntriesKind};
use crate::recovery::scan;
use crate::replica::Replica;
use crate::segment::Segment;

strata_codec::fuzz_targets!();

const SEGMENT: u64 = 7;
const REPLICA: ReplicaId = ReplicaId(3);

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn entries(body: &mut BytesMut, kind: EntriesKind, first: u64) -> Change {
    let entries = [bytes("entry"), bytes("")];
    record::encode_entries(body, 0, SEGMENT, kind, REPLICA, LogIndex(first), &entries)
}

/// Bodies of frames.
fn bodies() -> Vec<Bytes> {
    let purged = Some((LogIndex(9), bytes("p")));
    let kinds = [
        ChangeKind::Checkpoint { vote: Some(bytes("v0")), committed: None, purged },
        ChangeKind::Vote(bytes("v1")),
        ChangeKind::Committed(bytes("c")),
        ChangeKind::Truncate(Some(LogIndex(12))),
        ChangeKind::Truncate(None),
        ChangeKind::Purge(LogIndex(11), bytes("q")),
        ChangeKind::Remove,
    ];
    let mut all = BytesMut::new();
    entries(&mut all, EntriesKind::Append, 10);
    for kind in kinds {
        record::encode(&mut all, &Change { replica: REPLICA, kind });
    }
    entries(&mut all, EntriesKind::Rewrite, 13);
    let mut ends = BytesMut::new();
    entries(&mut ends, EntriesKind::Append, u64::MAX - 1);
    record::encode(&mut ends, &Change { replica: REPLICA, kind: ChangeKind::Purge(LogIndex(u64::MAX), bytes("q")) });
    let mut short = BytesMut::new();
    entries(&mut short, EntriesKind::Append, 10);
    record::encode(&mut short, &Change { replica: REPLICA, kind: ChangeKind::Truncate(Some(LogIndex(u64::MAX))) });
    [all, ends, short].map(BytesMut::freeze).to_vec()
}

#[tokio::test(start_paused = true)]
async fn records_of_a_whole_frame() {
    let disk = SimWorld::new(1).node(1).disk();
    let file = disk.open(Path::new("segment"), OpenMode::CreateNew).await.expect("an empty disk");
    let segment = Arc::new(Segment { number: SEGMENT, path: "segment".into(), length: 4096, file });
    each(&bodies(), |body| {
        let Ok(changes) = record::decode(&body, SEGMENT, 104) else { return };
        for change in &changes {
            if let ChangeKind::Append(_, places) | ChangeKind::Rewrite(_, places) = &change.kind {
                for place in places {
                    let start = (place.offset - 104) as usize;
                    let entry = &body[start..start + place.length as usize];
                    assert_eq!(checksum(entry), place.crc, "it lies where it says");
                }
            } else {
                let mut again = BytesMut::new();
                record::encode(&mut again, change);
                assert_eq!(again.len(), record::encoded_bytes(&change.kind));
                assert_eq!(record::decode(&again.freeze(), SEGMENT, 104).as_deref(), Ok(std::slice::from_ref(change)));
            }
        }
        // What recovery does with them.
        let mut index = Index::default();
        index.add_segment(segment.clone());
        changes.into_iter().for_each(|change| index.apply(change));
        if index.hole().is_none() {
            for (replica, found) in index.replicas() {
                let recovered = Replica::recovered(*replica, found);
                let memory = recovered.memory.lock();
                assert_eq!(memory.first(), found.entries.keys().next().copied());
                assert_eq!(memory.last(), found.entries.keys().next_back().copied());
            }
        }
        index.checkpoint();
        index.oldest_pins();
    });
}

/// The last index has none after it, and no log gets there.
#[test]
fn indexes_without_a_next_one_are_refused() {
    let refused = |body: &Bytes| matches!(record::decode(body, SEGMENT, 0), Err(DecodeError::BadValue { .. }));
    assert!(!refused(&bodies()[0]));
    assert!(bodies()[1..].iter().all(refused));
}

/// A segment with two frames.
fn segment() -> Bytes {
    let mut buffer = BytesMut::new();
    SegmentHeader { epoch: 5, segment: SEGMENT, first_batch: 40 }.encode(&mut buffer);
    for (batch, body) in (40..).zip(&bodies()[..2]) {
        let start = frame::open_frame(&mut buffer);
        buffer.extend_from_slice(body);
        frame::seal_frame(&mut buffer, start, SEGMENT, 5, batch, batch - 1);
    }
    buffer.freeze()
}

/// The segment's checksums over what there is now.
fn seal(content: &Bytes) -> Bytes {
    let mut content = content.to_vec();
    if content.len() >= SEGMENT_HEADER_BYTES {
        let crc = checksum(&content[..40]);
        content[40..44].copy_from_slice(&crc.to_be_bytes());
    }
    let start = SEGMENT_HEADER_BYTES;
    if let Some(header) = content.get(start..start + FRAME_HEADER_BYTES) {
        let length = u32::from_be_bytes(header[4..8].try_into().expect("four bytes")) as usize;
        let body = content[start + FRAME_HEADER_BYTES..].iter().take(length).copied().collect::<Vec<u8>>();
        content[start + 32..start + 36].copy_from_slice(&checksum(&body).to_be_bytes());
        let crc = frame::header_checksum(SEGMENT, &content[start..start + FRAME_HEADER_BYTES]);
        content[start + 36..start + 40].copy_from_slice(&crc.to_be_bytes());
    }
    content.into()
}

#[test]
fn segments_and_frames() {
    let sample = segment();
    assert_eq!(seal(&sample), sample, "these are the places of the checksums");
    each(std::slice::from_ref(&sample), |content| {
        for content in [seal(&content), content] {
            let _ = SegmentHeader::decode(&content, SEGMENT);
            let Ok(scan) = scan(&content, SEGMENT, &BTreeSet::new()) else { continue };
            for frame in &scan.frames {
                let from = frame.body_offset as usize;
                assert_eq!(content[from..from + frame.body.len()], frame.body);
            }
            for start in [0, content.len(), usize::MAX - FRAME_HEADER_BYTES] {
                assert!(frame::decode_frame(&content, start, SEGMENT).is_none());
            }
        }
    });
}
