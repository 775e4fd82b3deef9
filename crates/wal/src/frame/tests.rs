//! Pins the bytes of segments, frames and records.

use super::*;
use crate::record::{self, Change, ChangeKind, EntriesKind, Place};
use strata_types::{LogIndex, ReplicaId};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// One frame with a record of each kind, in segment 7.
fn sample() -> (BytesMut, Vec<Change>) {
    let mut buffer = BytesMut::new();
    SegmentHeader { epoch: 0x0102_0304_0506_0708, segment: 7, first_batch: 40 }.encode(&mut buffer);
    let start = open_frame(&mut buffer);
    let id = ReplicaId(3);
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
    let mut changes: Vec<Change> = kinds.into_iter().map(|kind| Change { replica: id, kind }).collect();
    for change in &changes {
        let before = buffer.len();
        record::encode(&mut buffer, change);
        assert_eq!(buffer.len() - before, record::encoded_bytes(&change.kind), "{change:?}");
    }
    let entries = [bytes("entry"), bytes("")];
    for kind in [EntriesKind::Append, EntriesKind::Rewrite] {
        changes.push(record::encode_entries(&mut buffer, 0, 7, kind, id, LogIndex(13), &entries));
    }
    seal_frame(&mut buffer, start, 7, 0x0102_0304_0506_0708, 40, 39);
    (buffer, changes)
}

#[test]
fn the_bytes_are_pinned() {
    let (buffer, _) = sample();
    let expected = concat!(
        // Segment header: magic, format and zeros, epoch, segment, first batch, crc, zeros.
        "535452415457414c",
        "0001000000000000",
        "0102030405060708",
        "0000000000000007",
        "0000000000000028",
        "54883860",
        "0000000000000000000000000000000000000000",
        // Frame header: magic, length, epoch, batch, durable up to, body crc, header crc.
        "53545746",
        "000000bb",
        "0102030405060708",
        "0000000000000028",
        "0000000000000027",
        "794b4efd",
        "13771029",
        // Checkpoint: vote "v0", no committed position, purged 9 "p".
        "080000000000000003010000000276300001000000000000000900000001",
        "70",
        // Vote, committed, truncate after 12, truncate all, purge 11, remove.
        "010000000000000003000000027631",
        "0200000000000000030000000163",
        "05000000000000000301000000000000000c",
        "05000000000000000300",
        "060000000000000003000000000000000b0000000171",
        "070000000000000003",
        // Append and rewrite of "entry" and "" from 13 on.
        "030000000000000003000000000000000d00000002000000",
        "05656e74727900000000",
        "040000000000000003000000000000000d00000002000000",
        "05656e74727900000000",
        // Padding.
        "0000000000",
    );
    assert_eq!(hex(&buffer), expected);
}

#[test]
fn a_frame_decodes_to_what_was_encoded() {
    let (buffer, changes) = sample();
    let content = buffer.freeze();
    let header = SegmentHeader::decode(&content, 7).unwrap();
    assert_eq!(header, SegmentHeader { epoch: 0x0102_0304_0506_0708, segment: 7, first_batch: 40 });
    let frame = decode_frame(&content, SEGMENT_HEADER_BYTES, 7).unwrap();
    assert_eq!((frame.header.batch, frame.header.durable_upto, frame.end), (40, 39, content.len()));
    assert_eq!(record::decode(&frame.body, 7, frame.body_offset).unwrap(), changes);
    let Some(Change { kind: ChangeKind::Append(_, places), .. }) = changes.iter().rev().nth(1) else {
        panic!("the last but one change is an append")
    };
    let [Place { offset, length, .. }, _] = places[..] else { panic!("it has two entries") };
    assert_eq!(&content[offset as usize..offset as usize + length as usize], b"entry");
}

/// WAL-5
#[test]
fn a_frame_validates_only_undamaged_and_in_its_segment() {
    let (buffer, _) = sample();
    let content = buffer.freeze();
    assert_eq!(SegmentHeader::decode(&content, 8), Err(HeaderError::Foreign));
    assert_eq!(decode_frame(&content, SEGMENT_HEADER_BYTES, 8), None);
    let padding = 5;
    for position in 0..content.len() - padding {
        let mut damaged = content.to_vec();
        damaged[position] ^= 1;
        let damaged = Bytes::from(damaged);
        if position < SEGMENT_CHECKED_BYTES + 4 {
            assert_eq!(SegmentHeader::decode(&damaged, 7), Err(HeaderError::Invalid), "{position}");
        } else if position >= SEGMENT_HEADER_BYTES {
            assert_eq!(decode_frame(&damaged, SEGMENT_HEADER_BYTES, 7), None, "{position}");
        }
    }
    for length in 0..content.len() - padding {
        assert_eq!(decode_frame(&content.slice(..length), SEGMENT_HEADER_BYTES, 7), None, "{length}");
    }
}

#[test]
fn a_newer_format_is_told_from_damage() {
    let mut buffer = BytesMut::new();
    SegmentHeader { epoch: 1, segment: 7, first_batch: 1 }.encode(&mut buffer);
    buffer[9] = 2;
    let crc = checksum(&buffer[..SEGMENT_CHECKED_BYTES]);
    buffer[SEGMENT_CHECKED_BYTES..SEGMENT_CHECKED_BYTES + 4].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(SegmentHeader::decode(&buffer, 7), Err(HeaderError::Newer(2)));
}

#[test]
fn damaged_records_are_errors() {
    for body in [&b"\x09\0\0\0\0\0\0\0\x01"[..], b"\x01\0\0", b"\x05\0\0\0\0\0\0\0\x01\x02", b"\x03\0\0\0\0\0\0\0\x01"]
    {
        assert!(record::decode(&Bytes::from_static(body), 1, 0).is_err());
    }
}
