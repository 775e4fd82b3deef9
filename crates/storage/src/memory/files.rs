//! The files of a checkpoint.
//!
//! ```text
//!   items-0000, items-0001, ...   { key: u32 length, bytes; value: u32 length, bytes } ...  CRC-32C of all that
//!   MANIFEST                      format u8, files u32, items u64                           CRC-32C of all that
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use strata_codec::{DecodeError, Decoder, Encoder, checksum};

use super::durable::Items;
use crate::{StorageError, StorageResult};

const FORMAT: u8 = 1;
const MANIFEST: &str = "MANIFEST";
const CHECKSUM_BYTES: usize = 4;

/// An item file ends at the first item past this: small enough that tests see several files.
const FILE_BYTES: usize = 256 << 10;

/// The checkpoint of `items`.
pub(super) fn encode(items: &Items) -> BTreeMap<String, Bytes> {
    let mut files = BTreeMap::new();
    let mut file = Encoder::default();
    for (key, value) in items {
        file.bytes(key).bytes(value);
        if file.len() >= FILE_BYTES {
            files.insert(item_file(files.len()), seal(std::mem::take(&mut file)));
        }
    }
    if !file.is_empty() {
        files.insert(item_file(files.len()), seal(file));
    }
    let mut manifest = Encoder::default();
    manifest.u8(FORMAT).u32(files.len() as u32).u64(items.len() as u64);
    files.insert(MANIFEST.to_string(), seal(manifest));
    files
}

/// What a disk may do to a file without anybody noticing.
pub(super) fn flip_a_bit(files: &mut BTreeMap<String, Bytes>) {
    for file in files.values_mut() {
        let mut bytes = file.to_vec();
        if let Some(byte) = bytes.first_mut() {
            *byte ^= 1;
        }
        *file = bytes.into();
    }
}

/// The items of a received checkpoint. Anything that [`encode`] could not have made is refused.
pub(super) fn decode(files: BTreeMap<String, Bytes>) -> StorageResult<Items> {
    let mut files = files;
    let (file_count, item_count) = decode_manifest(open(&mut files, MANIFEST)?).map_err(|e| damaged(MANIFEST, &e))?;
    let mut items = Items::new();
    for number in 0..file_count as usize {
        let name = item_file(number);
        let file = open(&mut files, &name)?;
        decode_items(file, &mut items).map_err(|error| damaged(&name, &error))?;
    }
    if !files.is_empty() || items.len() as u64 != item_count {
        return Err(invalid("files and manifest differ"));
    }
    Ok(items)
}

fn decode_manifest(file: Bytes) -> Result<(u32, u64), DecodeError> {
    let mut manifest = Decoder::new(file);
    let format = manifest.u8("format")?;
    if format != FORMAT {
        return Err(DecodeError::BadValue { field: "format", value: format.into() });
    }
    let counts = (manifest.u32("files")?, manifest.u64("items")?);
    manifest.finish()?;
    Ok(counts)
}

fn decode_items(file: Bytes, items: &mut Items) -> Result<(), DecodeError> {
    let mut rest = Decoder::new(file);
    while rest.remaining() > 0 {
        let key = rest.bytes("key")?;
        items.insert(key, rest.bytes("value")?);
    }
    Ok(())
}

fn item_file(number: usize) -> String {
    format!("items-{number:04}")
}

fn seal(mut file: Encoder) -> Bytes {
    let mut sealed = Encoder::with_capacity(file.len() + CHECKSUM_BYTES);
    let content = std::mem::take(&mut file).finish();
    sealed.raw(&content).u32(checksum(&content));
    sealed.finish()
}

fn open(files: &mut BTreeMap<String, Bytes>, name: &str) -> StorageResult<Bytes> {
    let mut content = files.remove(name).ok_or_else(|| invalid(&format!("file {name} is missing")))?;
    let trailer = content.split_off(content.len().saturating_sub(CHECKSUM_BYTES));
    match trailer[..] == checksum(&content).to_be_bytes() {
        true => Ok(content),
        false => Err(invalid(&format!("checksum of file {name} does not match"))),
    }
}

fn damaged(name: &str, error: &DecodeError) -> StorageError {
    invalid(&format!("file {name}: {error}"))
}

fn invalid(detail: &str) -> StorageError {
    StorageError::Invalid { detail: format!("received tablet is damaged: {detail}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    strata_codec::fuzz_targets!();

    fn sealed(content: &Bytes) -> Bytes {
        let mut file = Encoder::default();
        file.raw(content);
        seal(file)
    }

    /// What comes from another node: with right checksums, or damage would never come further than them.
    #[test]
    fn damaged_files_are_errors_or_other_items() {
        let pairs = [("a", "1"), ("b", ""), ("", "3")];
        let items: Items = pairs.map(|(key, value)| (Bytes::from(key), Bytes::from(value))).into();
        let files = encode(&items);
        assert_eq!(decode(files.clone()), Ok(items));
        for (name, file) in &files {
            let content = file.slice(..file.len() - CHECKSUM_BYTES);
            assert_eq!(sealed(&content), file);
            each(&[content], |damaged| {
                for file in [sealed(&damaged), damaged] {
                    let received = BTreeMap::from_iter(files.clone().into_iter().chain([(name.clone(), file)]));
                    if let Ok(items) = decode(received) {
                        assert_eq!(decode(encode(&items)), Ok(items));
                    }
                }
            });
        }
    }
}
