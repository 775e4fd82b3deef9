//! Conversions: what survives the way, what is refused, and that nothing panics.

mod shard;
mod unary;
