//! Transactions against real shards in one map.
#![allow(clippy::disallowed_methods, reason = "tests drive paused time and tasks by themselves")]

mod committing;
mod faults;
mod histories;
mod limits;
mod locking;
mod model;
mod reading;
mod retrying;
mod snapshots;
