//! Routers of whole nodes, without sockets.
#![allow(clippy::disallowed_methods, reason = "tests move the time of the whole world")]

#[path = "../../../cluster/tests/it/hub.rs"]
#[allow(dead_code, reason = "shared with the tests of the cluster crate, which use all of it")]
mod hub;
mod keepers;
mod levels;
mod requests;
mod times;
mod transactions;
