//! Whole nodes, without sockets.
#![allow(clippy::disallowed_methods, reason = "tests move the time of the whole world")]

mod births;
mod full_disk;
mod hub;
mod joins;
mod life;
mod loads;
mod moves;
mod stops;
mod time;
mod town;
