//! Whole nodes, without sockets.
#![allow(clippy::disallowed_methods, reason = "tests move the time of the whole world")]

mod hub;
mod life;
