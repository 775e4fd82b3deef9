//! Bytes from the log, the disk and other nodes: whatever they are, decoders answer and do not panic.

use std::cell::Cell;

use bytes::Bytes;
use strata_meta::{MetaCommand, MetaReply, RowReader, decode_map, encode_map, read_map};

strata_codec::fuzz_targets!();

/// Every row is the same bytes.
struct Rows(Bytes);

impl RowReader for Rows {
    type Error = ();

    fn row(&self, _key: &[u8]) -> Result<Option<Bytes>, ()> {
        Ok(Some(self.0.clone()))
    }
}

/// Commands, replies and maps from the script of formats, so that damage hits what is nearly right.
fn samples() -> Vec<Bytes> {
    let script = include_str!("../scripts/formats");
    let is_hex =
        |word: &&str| word.len() >= 4 && word.len().is_multiple_of(2) && word.chars().all(|c| c.is_ascii_hexdigit());
    let digits = |word: &str| -> Bytes {
        (0..word.len()).step_by(2).map(|at| u8::from_str_radix(&word[at..at + 2], 16).expect("digits")).collect()
    };
    script.split([' ', '\n', '=']).filter(is_hex).map(digits).collect()
}

fn decode_everything(bytes: &Bytes) -> usize {
    let mut decoded = 0;
    // Tag 0 is only read: what it says is written under tag 3.
    if let Ok(command) = MetaCommand::decode(bytes.clone()) {
        assert!(bytes[1] == 0 || command.encode() == bytes, "one command, one encoding");
        decoded += 1;
    }
    if let Ok(reply) = MetaReply::decode(bytes.clone()) {
        assert_eq!(reply.encode(), bytes, "one reply, one encoding");
        decoded += 1;
    }
    if let Ok(map) = decode_map(bytes.clone()) {
        assert_eq!(encode_map(&map), bytes, "one map, one encoding");
        decoded += 1;
    }
    // A head row that names more nodes than could be counted would take for ever: only other rows are damaged here.
    if bytes.len() < 30 {
        let _ = read_map(&Rows(bytes.clone()));
    }
    decoded
}

#[test]
fn damaged_bytes_are_errors_or_other_values() {
    let decoded = Cell::new(0);
    each(&samples(), |bytes| decoded.set(decoded.get() + decode_everything(&bytes)));
    assert!(decoded.get() > 0, "some damage is not noticed, or nothing was tested");
}
