//! The router against a model of a cluster.

mod model;
mod retry;
mod routing;
mod scan;
mod session;
