//! Reserving timestamps: one row with the last one that was given away.
//!
//! ```text
//!   1 ............ bound | bound + 1 ..... bound + count | ...
//!   given away before      what this command gives away
//! ```
//! Which of them were handed out is known only to who reserved them. The row is no part of the shard map, so that time
//! goes on without anybody fetching a map.

use bytes::Bytes;
use strata_codec::{DecodeError, Decoder, Encoder};
use strata_machine::ViewMut;
use strata_types::Timestamp;

use crate::rows::{FORMAT, RowKind, ViewReader, head_key, row_key};
use crate::{MetaRefusal, ReadMapError, RowReader};

/// Most timestamps that one command can reserve: far more than anybody hands out in a second, far too few to run out.
pub const TIMESTAMPS_MAX: u32 = 10_000_000;

/// Reserves timestamps for the proposer and returns the first of them (META-10).
///
/// # Panics
/// When the row cannot be decoded: a broken invariant, which stops the node.
pub(crate) fn reserve(view: &mut dyn ViewMut, count: u32) -> Result<Timestamp, MetaRefusal> {
    if view.get(&head_key()).is_none() {
        return Err(MetaRefusal::NotFounded);
    }
    if count == 0 || count > TIMESTAMPS_MAX {
        return MetaRefusal::because(format!(
            "1 to {TIMESTAMPS_MAX} timestamps can be reserved at once: count=`{count}`"
        ));
    }
    let bound = match read_timestamp_bound(&ViewReader(view)) {
        Ok(bound) => bound,
        Err(ReadMapError::Reader(never)) => match never {},
        Err(ReadMapError::Damaged(error)) => panic!("meta row damaged: {error}"),
    };
    let Some(last) = bound.0.checked_add(count.into()) else {
        return MetaRefusal::because(format!("there are no more timestamps: bound=`{bound}`"));
    };
    view.put(time_key(), encode(Timestamp(last)));
    Ok(Timestamp(bound.0 + 1))
}

/// The last timestamp that was ever reserved; zero before the first.
pub fn read_timestamp_bound<R: RowReader + ?Sized>(reader: &R) -> Result<Timestamp, ReadMapError<R::Error>> {
    let Some(row) = reader.row(&time_key()).map_err(ReadMapError::Reader)? else { return Ok(Timestamp(0)) };
    Ok(decode(row)?)
}

fn time_key() -> Bytes {
    row_key(RowKind::Time, &[])
}

fn encode(bound: Timestamp) -> Bytes {
    let mut row = Encoder::with_capacity(9);
    row.u8(FORMAT).u64(bound.0);
    row.finish()
}

fn decode(row: Bytes) -> Result<Timestamp, DecodeError> {
    let mut row = Decoder::new(row);
    let format = row.u8("meta row format")?;
    if format != FORMAT {
        return Err(DecodeError::BadValue { field: "meta row format", value: format.into() });
    }
    let bound = Timestamp(row.u64("timestamp bound")?);
    row.finish()?;
    Ok(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    strata_codec::fuzz_targets!();

    #[test]
    fn damaged_rows_are_errors_or_other_bounds() {
        let bounds = [Timestamp(0), Timestamp(100_000), Timestamp(u64::MAX)];
        check_format(&bounds, |bound| encode(*bound), decode);
    }
}
