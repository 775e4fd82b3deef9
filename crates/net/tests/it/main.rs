//! Calls over a transport in memory, and over real sockets.

mod calls;
mod loopback;
mod memory;
