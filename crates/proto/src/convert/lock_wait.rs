//! LockWait.

use strata_types::{Error, LockWait};

use super::invalid;
use crate::v1;

impl From<LockWait> for v1::LockWait {
    fn from(wait: LockWait) -> v1::LockWait {
        match wait {
            LockWait::Wait => v1::LockWait::Wait,
            LockWait::NoWait => v1::LockWait::NoWait,
            LockWait::SkipLocked => v1::LockWait::SkipLocked,
        }
    }
}

impl From<v1::LockWait> for LockWait {
    fn from(wait: v1::LockWait) -> LockWait {
        match wait {
            v1::LockWait::Unspecified | v1::LockWait::Wait => LockWait::Wait,
            v1::LockWait::NoWait => LockWait::NoWait,
            v1::LockWait::SkipLocked => LockWait::SkipLocked,
        }
    }
}

/// What a number of the wire means.
pub fn lock_wait_of(number: i32) -> Result<LockWait, Error> {
    let known = v1::LockWait::try_from(number);
    known.map(LockWait::from).map_err(|_| invalid(format!("there is no way number {number} to wait for a lock")))
}
