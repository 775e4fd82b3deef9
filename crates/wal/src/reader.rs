//! Reads entries that are no longer in memory, on a thread of its own: the disk blocks.

use std::sync::Arc;

use bytes::Bytes;
use strata_codec::checksum;
use strata_env::Env;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::WalError;
use crate::record::Place;
use crate::segment::Segment;

/// Neighbouring entries are read together up to this size.
const RUN_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Entries this far apart are still neighbours: it is cheaper to read what lies between.
const GAP_BYTES_MAX: u64 = 4096;

/// Entries to read. Holding a segment keeps it from being overwritten.
pub(crate) struct ColdRead {
    pub(crate) entries: Vec<(Arc<Segment>, Place)>,
    pub(crate) reply: oneshot::Sender<Result<Vec<Bytes>, WalError>>,
}

/// Starts the reader. It ends when the last sender is gone.
pub(crate) fn start(env: &Env) -> UnboundedSender<ColdRead> {
    let (sender, mut inbox): (_, UnboundedReceiver<ColdRead>) = unbounded_channel();
    env.dedicated("wal-read", async move {
        while let Some(ColdRead { entries, reply }) = inbox.recv().await {
            let result = read_all(&entries).await;
            // Before the answer: whoever has it may rely on the segments being free.
            drop(entries);
            let _ = reply.send(result);
        }
    });
    sender
}

/// Reads entries, neighbours together, and checks each.
pub(crate) async fn read_all(entries: &[(Arc<Segment>, Place)]) -> Result<Vec<Bytes>, WalError> {
    let mut found = Vec::with_capacity(entries.len());
    let mut rest = entries;
    while let Some((segment, first)) = rest.first() {
        let mut end = first.offset + u64::from(first.length);
        let mut count = 1;
        for (_, place) in &rest[1..] {
            let place_end = place.offset + u64::from(place.length);
            let near = place.segment == first.segment && place.offset >= end && place.offset - end <= GAP_BYTES_MAX;
            if !near || place_end - first.offset > RUN_BYTES_MAX {
                break;
            }
            end = place_end;
            count += 1;
        }
        let places: Vec<Place> = rest[..count].iter().map(|(_, place)| *place).collect();
        found.extend(read_run(segment, &places).await?);
        rest = &rest[count..];
    }
    Ok(found)
}

/// Reads entries of one segment that lie in rising order, with one disk operation, and checks each.
async fn read_run(segment: &Segment, places: &[Place]) -> Result<Vec<Bytes>, WalError> {
    let (Some(first), Some(last)) = (places.first(), places.last()) else { return Ok(Vec::new()) };
    let length = (last.offset - first.offset) as usize + last.length as usize;
    let run = segment.file.read_at(first.offset, length).await;
    let run = run.map_err(|error| WalError::io("read", &segment.path, &error))?;
    let mut entries = Vec::with_capacity(places.len());
    for place in places {
        let start = (place.offset - first.offset) as usize;
        match run.get(start..start + place.length as usize) {
            Some(bytes) if checksum(bytes) == place.crc => entries.push(run.slice_ref(bytes)),
            _ => return Err(WalError::corrupt(&segment.path, format!("damaged entry at offset {}", place.offset))),
        }
    }
    Ok(entries)
}
