//! Scanning a range while some changes to it lie elsewhere.

use crate::StorageResult;

/// Shows `visit` what `scan` shows, as it is with the `changes` made: in key order, until it returns `false`. Changes
/// come in key order and lie in the range of the scan; a change to `None` removes the key.
pub fn scan_over<'a>(
    changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    scan: impl FnOnce(&mut dyn FnMut(&[u8], &[u8]) -> bool) -> StorageResult<()>,
    visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> StorageResult<()> {
    let mut changes = changes.peekable();
    let mut going = true;
    scan(&mut |key, value| {
        while let Some((own, change)) = changes.next_if(|(own, _)| *own < key) {
            going = change.is_none_or(|value| visit(own, value));
            if !going {
                return false;
            }
        }
        going = match changes.next_if(|(own, _)| *own == key) {
            Some((_, change)) => change.is_none_or(|value| visit(key, value)),
            None => visit(key, value),
        };
        going
    })?;
    for (own, change) in changes {
        if !going {
            break;
        }
        going = change.is_none_or(|value| visit(own, value));
    }
    Ok(())
}
