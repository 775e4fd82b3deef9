//! What each command does.

pub mod bench;
pub mod cert;
pub mod cluster;
pub mod completion;
pub mod config;
pub mod demo;
pub mod kv;
pub mod start;
pub mod txn;
