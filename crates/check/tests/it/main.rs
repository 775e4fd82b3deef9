//! The checkers against histories that are right and histories that are wrong in one way.

mod anomalies;
mod cycles;
mod cycles_differential;
mod cycles_generated;
mod differential;
mod generated;
mod model;
mod script;
mod transaction_model;
