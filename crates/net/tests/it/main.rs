//! Calls over a transport in memory, and over real sockets.

mod calls;
mod decoding;
mod encrypted;
mod loopback;
mod memory;
