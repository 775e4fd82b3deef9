//! The log on a simulated disk.

mod basics;
mod faults;
mod model;
mod segments;
mod support;
