//! ReadLevel, ReadPreference, and how fresh an answer is.

use std::time::Duration;

use strata_types::{Error, Freshness, LogIndex, ReadLevel, ReadPreference, Timestamp};

use super::invalid;
use crate::v1;

impl From<ReadLevel> for v1::ReadLevel {
    fn from(level: ReadLevel) -> v1::ReadLevel {
        match level {
            ReadLevel::Linearizable => v1::ReadLevel::Linearizable,
            ReadLevel::Local => v1::ReadLevel::Local,
            ReadLevel::Lease => v1::ReadLevel::Lease,
            ReadLevel::Bounded { .. } => v1::ReadLevel::Bounded,
        }
    }
}

impl From<ReadPreference> for v1::ReadPreference {
    fn from(preference: ReadPreference) -> v1::ReadPreference {
        match preference {
            // What an older sender leaves out: so a header that prefers nothing takes no bytes.
            ReadPreference::Leader => v1::ReadPreference::Unspecified,
            ReadPreference::Any => v1::ReadPreference::Any,
        }
    }
}

/// The bound that goes with a level; zero where there is none.
pub(super) fn millis_of(level: ReadLevel) -> u32 {
    match level {
        ReadLevel::Bounded { max_staleness } => u32::try_from(max_staleness.as_millis()).unwrap_or(u32::MAX),
        ReadLevel::Linearizable | ReadLevel::Lease | ReadLevel::Local => 0,
    }
}

pub(super) fn level_of(number: i32, millis: u32) -> Result<ReadLevel, Error> {
    match v1::ReadLevel::try_from(number) {
        Ok(v1::ReadLevel::Unspecified | v1::ReadLevel::Linearizable) => Ok(ReadLevel::Linearizable),
        Ok(v1::ReadLevel::Local) => Ok(ReadLevel::Local),
        Ok(v1::ReadLevel::Lease) => Ok(ReadLevel::Lease),
        Ok(v1::ReadLevel::Bounded) => Ok(ReadLevel::Bounded { max_staleness: Duration::from_millis(millis.into()) }),
        Err(_) => Err(invalid(format!("there is no read level number {number}"))),
    }
}

pub(super) fn preference_of(number: i32) -> Result<ReadPreference, Error> {
    match v1::ReadPreference::try_from(number) {
        Ok(v1::ReadPreference::Unspecified | v1::ReadPreference::Leader) => Ok(ReadPreference::Leader),
        Ok(v1::ReadPreference::Any) => Ok(ReadPreference::Any),
        Err(_) => Err(invalid(format!("there is no read preference number {number}"))),
    }
}

/// What a reply says about how fresh it is: level, bound in milliseconds (rounded up), position.
pub(super) fn parts_of(freshness: Option<Freshness>) -> (i32, u32, u64) {
    let Some(Freshness { level, applied, .. }) = freshness else { return (0, 0, 0) };
    let millis = match level {
        ReadLevel::Bounded { max_staleness } => {
            u32::try_from(max_staleness.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
        }
        ReadLevel::Linearizable | ReadLevel::Lease | ReadLevel::Local => 0,
    };
    (v1::ReadLevel::from(level).into(), millis, applied.0)
}

/// The same the other way. A node that says nothing, or something newer, told nothing that could be relied on.
pub(super) fn freshness_of(level: i32, millis: u32, applied: u64, at: u64) -> Option<Freshness> {
    if level == i32::from(v1::ReadLevel::Unspecified) {
        return None;
    }
    // Timestamps begin at 1.
    let at = Some(Timestamp(at)).filter(|at| *at != Timestamp(0));
    Some(Freshness { level: level_of(level, millis).ok()?, applied: LogIndex(applied), at })
}

/// The timestamp up to which something was read, as it is sent.
pub(super) fn read_at(freshness: Option<Freshness>) -> u64 {
    freshness.and_then(|freshness| freshness.at).unwrap_or_default().0
}

/// The level of a scan's page and its bound in milliseconds, as they are sent.
pub fn level_parts(freshness: Option<Freshness>) -> (i32, u32) {
    let (level, millis, _) = parts_of(freshness);
    (level, millis)
}
