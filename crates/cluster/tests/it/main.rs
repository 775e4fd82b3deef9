//! Whole nodes, without sockets.

mod hub;
mod life;
