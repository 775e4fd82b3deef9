//! The checkers against histories that are right and histories that are wrong in one way.

mod anomalies;
mod differential;
mod generated;
mod model;
