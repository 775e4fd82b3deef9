//! The log on a simulated disk.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "the harness waits in the world's time, not in a node's")]

mod basics;
mod faults;
mod model;
mod segments;
mod support;
