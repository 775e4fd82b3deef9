//! Conversions: what survives the way, what is refused, and that nothing panics.

mod decoding;
mod shard;
mod transactions;
mod unary;
