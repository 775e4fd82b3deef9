//! Tests of the persisted formats: their pinned bytes, and properties that hold for any bytes.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may unwrap, and golden files are files")]

mod any;
mod decoding;
mod golden;
mod golden_transactions;
mod keys;
mod properties;
